// SPDX-License-Identifier: Apache-2.0
// Drawing from logits: the last step of generation. Law: with temperature → 0 the largest logit is drawn; what has the
// probability 0 never is; equal seeds and numbers draw the same.
#pragma once

#include <meshloom/kernel/random.hpp>

#include <algorithm>
#include <cmath>
#include <span>

namespace meshloom {

/// An index drawn with probability ∝ exp(logit / temperature); there is at least one logit. `number` is the place in
/// the text that is drawn.
inline std::int64_t draw(std::span<const float> logits, double temperature, std::uint64_t seed, std::uint64_t number) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (temperature <= 0) return largest - logits.begin();
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit - *largest) / temperature);
  double rest = uniform(seed, 0, number) * total;
  for (std::size_t at = 0; at < logits.size(); ++at) {
    rest -= std::exp(static_cast<double>(logits[at] - *largest) / temperature);
    if (rest <= 0) return static_cast<std::int64_t>(at);
  }
  return largest - logits.begin();  // the rounding of the sums left a rest
}

}  // namespace meshloom
