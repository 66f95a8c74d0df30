// SPDX-License-Identifier: Apache-2.0
// Softmax of attribute 0 (the scale) times x over the last axis; with `Causal`, the element of query q and key k counts
// only if k ≤ q, where q is the index along the axis before the last. `Rank` is the rank of x.
// Law: where the last axis is split, shards exchange the maximum and then the sum of each row.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// Operands: dy, y. Result: dx = scale · y · (dy − Σ dy·y). Attribute 0: the scale.
template <int Rank>
struct softmax_gradient {
  using x = typename first<Rank>::list;
  using rows = typename first<Rank - 1>::list;
  static constexpr auto signature = describe("softmax_gradient")
                                        .operands<x, x>()
                                        .template results<x>()
                                        .is(role::statistic, first<Rank - 1>::row::list)
                                        .exchanges(rows::list, reduction::sum, 1)
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 3, .results = 1};
  static constexpr double flops_per_point = 5;
  using gradient = operators<>;
};

/// Operand: x. Result: y.
template <int Rank, bool Causal>
struct softmax {
  static_assert(!Causal || Rank >= 2, "meshloom: softmax: a causal mask needs a query axis before the key axis");
  using x = typename first<Rank>::list;
  using rows = typename first<Rank - 1>::list;
  static constexpr auto signature = describe(Causal ? "causal_softmax" : "softmax")
                                        .operands<x>()
                                        .template results<x>()
                                        .is(role::statistic, first<Rank - 1>::row::list)
                                        .exchanges(rows::list, reduction::max, 1)
                                        .exchanges(rows::list, reduction::sum, 1)
                                        .made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  static constexpr double flops_per_point = 14;
  using gradient = operators<softmax_gradient<Rank>>;

  static void differentiate(differentiation& d) {
    d.contribute(0, d.emit(record_of<softmax_gradient<Rank>>, {d.gradient(0), d.result(0)}, d.attributes())[0]);
  }
};

}  // namespace meshloom::op
