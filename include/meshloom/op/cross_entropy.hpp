// SPDX-License-Identifier: Apache-2.0
// Cross-entropy of logits [rows…, class] against integer targets [rows…]: one loss per row. `Rank` is the number of row
// axes. Attribute 0 is the smoothing ε of the labels (Szegedy et al. 2016): the expected share of every one of K
// classes is q = (1 − ε)·onehot(target) + ε/K. Attribute 1 is the weight z of logsum² (the z-loss of Chowdhery et al.
// 2022). Law: with the class axis split (vocabulary-parallel) shards exchange the maximum, then the sum of exponentials
// and Σ q·logits, to which every shard adds what it holds.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// Operands: dloss, logits, targets, logsum. Result: dlogits = dloss · ((1 + 2·z·logsum)·softmax(logits) − q).
template <int Rank>
struct cross_entropy_gradient {
  using rows = typename first<Rank>::list;
  using logits = typename first<Rank>::with_row;
  static constexpr auto signature = describe("cross_entropy_gradient")
                                        .operands<rows, logits, rows, rows>()
                                        .template results<logits>()
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 2, .results = 1};
  static constexpr double flops_per_point = 13;
  using gradient = operators<>;
};

/// Operands: logits, targets. Results: loss = logsum − Σ q·logits + z·logsum², and logsum (the logarithm of the sum of
/// exponentials), both per row.
template <int Rank>
struct cross_entropy {
  using rows = typename first<Rank>::list;
  using logits = typename first<Rank>::with_row;
  static constexpr auto signature = describe("cross_entropy")
                                        .operands<logits, rows>()
                                        .template results<rows, rows>()
                                        .is(role::statistic, first<Rank>::row::list)
                                        .exchanges(rows::list, reduction::max, 1)
                                        .exchanges(rows::list, reduction::sum, 2)
                                        .made;
  static constexpr rounding rounded{.operands = 1};
  static constexpr double flops_per_point = 12;
  using gradient = operators<cross_entropy_gradient<Rank>>;

  static void differentiate(differentiation& d) {
    d.contribute(0, d.emit(record_of<cross_entropy_gradient<Rank>>,
                           {d.gradient(0), d.operand(0), d.operand(1), d.result(1)}, d.attributes())[0]);
  }
};

}  // namespace meshloom::op
