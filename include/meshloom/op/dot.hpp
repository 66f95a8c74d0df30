// SPDX-License-Identifier: Apache-2.0
// Contraction of named axes: result = Σ left · right over the axes that the result lacks (matrix product, batched
// matrix product, outer product). Law: linear in each operand; its gradients are contractions of the same family.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

template <class Left, class Right, class Result>
struct dot {
  static constexpr auto signature = [] {
    auto made = describe("dot").operands<Left, Right>().template results<Result>().linear_in(1).linear_in(2).made;
    for (int index = 0; index < made.index_count; ++index) {
      if (Result::list.find(index) < 0) made.roles[static_cast<std::size_t>(index)] = role::contracted;
    }
    return made;
  }();
  static constexpr double flops_per_point = 2;
  static constexpr bool products = true;
  static constexpr rounding rounded{.operands = 3, .results = 1, .always = true, .wide = true};
  static constexpr bool accumulates = true;

  using gradient = operators<dot<Result, Right, Left>, dot<Left, Result, Right>>;

  static void differentiate(differentiation& d) {
    const handle left = d.operand(0), right = d.operand(1), slope = d.gradient(0);
    if (d.wanted(0)) d.contribute(0, d.emit(record_of<dot<Result, Right, Left>>, {slope, right}, {})[0]);
    if (d.wanted(1)) d.contribute(1, d.emit(record_of<dot<Left, Result, Right>>, {left, slope}, {})[0]);
  }
};

}  // namespace meshloom::op
