// SPDX-License-Identifier: Apache-2.0
// Layer normalisation over the last axis (Ba et al. 2016): y = (x − mean) · rstd · gain + bias. `Rank` is the rank of
// x. Law: where the last axis is split, shards exchange sums of rows, in two passes: the mean first, then the centred
// squares, so that no precision is lost to cancellation.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// Operands: dy, x, gain, mean, rstd. Result: dx. Exchange: Σ dy·gain and Σ dy·gain·x̂ of each row.
template <int Rank>
struct layer_norm_gradient_input {
  using x = typename first<Rank>::list;
  using rows = typename first<Rank - 1>::list;
  using last = typename first<Rank - 1>::row;
  static constexpr auto signature = describe("layer_norm_gradient_input")
                                        .operands<x, x, last, rows, rows>()
                                        .template results<x>()
                                        .is(role::statistic, last::list)
                                        .exchanges(rows::list, reduction::sum, 2)
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 3, .results = 1};
  static constexpr double flops_per_point = 9;
  using gradient = operators<>;
};

/// Operands: dy, x, mean, rstd. Results: the gradients of gain and bias.
template <int Rank>
struct layer_norm_gradient_weights {
  using x = typename first<Rank>::list;
  using rows = typename first<Rank - 1>::list;
  using last = typename first<Rank - 1>::row;
  static constexpr auto signature = describe("layer_norm_gradient_weights")
                                        .operands<x, x, rows, rows>()
                                        .template results<last, last>()
                                        .is(role::contracted, rows::list)
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 3};
  static constexpr double flops_per_point = 5;
  static constexpr bool accumulates = true;
  using gradient = operators<>;
};

/// Operands: x, gain, bias. Results: y, mean, rstd. Attribute 0: epsilon. Exchanges: Σ x, then Σ (x − mean)².
template <int Rank>
struct layer_norm {
  using x = typename first<Rank>::list;
  using rows = typename first<Rank - 1>::list;
  using last = typename first<Rank - 1>::row;
  static constexpr auto signature = describe("layer_norm")
                                        .operands<x, last, last>()
                                        .template results<x, rows, rows>()
                                        .is(role::statistic, last::list)
                                        .exchanges(rows::list, reduction::sum, 1)
                                        .exchanges(rows::list, reduction::sum, 1)
                                        .made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  static constexpr double flops_per_point = 8;
  using gradient = operators<layer_norm_gradient_input<Rank>, layer_norm_gradient_weights<Rank>>;

  static void differentiate(differentiation& d) {
    const handle dy = d.gradient(0), mean = d.result(1), rstd = d.result(2);
    if (d.wanted(0)) {
      d.contribute(0, d.emit(record_of<layer_norm_gradient_input<Rank>>, {dy, d.operand(0), d.operand(1), mean, rstd},
                             d.attributes())[0]);
    }
    if (!d.wanted(1) && !d.wanted(2)) return;
    const auto made =
        d.emit(record_of<layer_norm_gradient_weights<Rank>>, {dy, d.operand(0), mean, rstd}, d.attributes());
    d.contribute(1, made[0]);
    d.contribute(2, made[1]);
  }
};

}  // namespace meshloom::op
