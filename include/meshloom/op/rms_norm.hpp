// SPDX-License-Identifier: Apache-2.0
// Root-mean-square normalisation over the last axis (Zhang and Sennrich 2019): y = x · rstd · gain, where
// rstd = 1 / √(mean x² + attribute 0). `Rank` is the rank of x.
// Law: where the last axis is split, shards exchange one sum of each row.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// Operands: dy, x, gain, rstd. Result: dx. Exchange: Σ dy·gain·x of each row.
template <int Rank>
struct rms_norm_gradient_input {
  using x = typename first<Rank>::list;
  using rows = typename first<Rank - 1>::list;
  using last = typename first<Rank - 1>::row;
  static constexpr auto signature = describe("rms_norm_gradient_input")
                                        .operands<x, x, last, rows>()
                                        .template results<x>()
                                        .is(role::statistic, last::list)
                                        .exchanges(rows::list, reduction::sum, 1)
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 3, .results = 1};
  static constexpr double flops_per_point = 7;
  using gradient = operators<>;
};

/// Operands: dy, x, rstd. Result: the gradient of gain.
template <int Rank>
struct rms_norm_gradient_gain {
  using x = typename first<Rank>::list;
  using rows = typename first<Rank - 1>::list;
  using last = typename first<Rank - 1>::row;
  static constexpr auto signature = describe("rms_norm_gradient_gain")
                                        .operands<x, x, rows>()
                                        .template results<last>()
                                        .is(role::contracted, rows::list)
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 3};
  static constexpr double flops_per_point = 3;
  static constexpr bool accumulates = true;
  using gradient = operators<>;
};

/// Operands: x, gain. Results: y, rstd.
template <int Rank>
struct rms_norm {
  using x = typename first<Rank>::list;
  using rows = typename first<Rank - 1>::list;
  using last = typename first<Rank - 1>::row;
  static constexpr auto signature = describe("rms_norm")
                                        .operands<x, last>()
                                        .template results<x, rows>()
                                        .is(role::statistic, last::list)
                                        .exchanges(rows::list, reduction::sum, 1)
                                        .made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  static constexpr double flops_per_point = 4;
  using gradient = operators<rms_norm_gradient_input<Rank>, rms_norm_gradient_gain<Rank>>;

  static void differentiate(differentiation& d) {
    const handle dy = d.gradient(0), x = d.operand(0), rstd = d.result(1);
    if (d.wanted(0)) {
      d.contribute(0, d.emit(record_of<rms_norm_gradient_input<Rank>>, {dy, x, d.operand(1), rstd}, d.attributes())[0]);
    }
    if (d.wanted(1)) d.contribute(1, d.emit(record_of<rms_norm_gradient_gain<Rank>>, {dy, x, rstd}, {})[0]);
  }
};

}  // namespace meshloom::op
