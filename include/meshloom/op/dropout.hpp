// SPDX-License-Identifier: Apache-2.0
// Dropout (Srivastava et al. 2014): every element is 0 with the probability `rate`, a multiple of 2⁻¹⁶, or else divided
// by 1 − rate. No
// mask is stored: whether an element is kept is a number drawn by counter (Salmon et al. 2011), from the seed of the
// run, the step, a stream of the layer's own, the copy of a repeated layer, and the place of the element in the whole
// batch. Law: so the same elements are dropped in forward and backward, under any plan and any number of micro-batches.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// Operand: x. Result: x with elements dropped. Attributes: the rate, the stream, and which axis micro-batches cut (−1
/// if none). Linear; its gradient drops the same elements.
template <int Rank>
struct dropout {
  using x = typename first<Rank>::list;
  static constexpr auto signature = describe("dropout").operands<x>().template results<x>().linear_in(1).made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  static constexpr double flops_per_point = 16;
  using gradient = operators<dropout>;

  static void differentiate(differentiation& d) {
    if (d.wanted(0)) d.contribute(0, d.emit(record_of<dropout>, {d.gradient(0)}, d.attributes())[0]);
  }
};

}  // namespace meshloom::op
