// SPDX-License-Identifier: Apache-2.0
// LAMB (You et al. 2020, algorithm 2): AdamW's direction, as long as the parameter itself. `Rank` is the rank of the
// parameter. Law: the norms are of whole tensors, so shards exchange their parts of the square sums, and the parameter
// may be split in any way; each copy of a repeated layer is a tensor of its own.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// u = m̂ / (√v̂ + ε) + decay·p, of Adam's unbiased moments; p ← p − rate · ‖p‖/‖u‖ · u, the ratio 1 if a norm is 0.
/// Operands: p, g, first moment, second moment. Results: p and both moments. Exchange: Σ p² and Σ u².
/// Attributes: rate, beta1, beta2, epsilon, decay.
template <int Rank>
struct lamb {
  using list = typename first<Rank>::list;
  static constexpr auto signature = describe("lamb")
                                        .operands<list, list, list, list>()
                                        .template results<list, list, list>()
                                        .is(role::statistic, list::list)
                                        .exchanges(at<>::list, reduction::sum, 2)
                                        .made;
  static constexpr double flops_per_point = 28;
  static constexpr std::array<std::int8_t, max_results> replaces{0, 2, 3};
  using gradient = operators<>;
};

}  // namespace meshloom::op
