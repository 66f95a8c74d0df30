// SPDX-License-Identifier: Apache-2.0
// Tokens to train on where only the time of a step matters: spread over the vocabulary, the same on every machine.
#pragma once

#include <meshloom/model/gpt.hpp>

#include <vector>

struct token_samples {
  std::vector<std::int32_t> input, target;

  explicit token_samples(const meshloom::gpt_shape& of) {
    const auto vocab = static_cast<std::size_t>(of.vocab);
    for (std::size_t at = 0; at < static_cast<std::size_t>(of.batch * of.seq); ++at) {
      input.push_back(static_cast<std::int32_t>(at * 7919 % vocab));
      target.push_back(static_cast<std::int32_t>(at * 104729 % vocab));
    }
  }
};
