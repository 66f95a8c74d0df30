// SPDX-License-Identifier: Apache-2.0
// Rotary positions (Su et al. 2021): along its last axis x is a row of pairs (i, i + half), as in GPT-NeoX and LLaMA;
// pair i of the element at position p along index `Seq` turns by the angle p · base^(−i / half).
// Law: a rotation per position, so that products of rotated queries and keys depend on distances alone; linear, and its
// gradient turns back. Of an odd number of elements the last stays.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// Operand: x, of rank `Rank`. Result: x rotated. Attribute 0: the base; attribute 1: a factor of all angles, 1, or −1
/// to turn back.
template <int Rank, int Seq>
struct rotary {
  static_assert(Seq >= 0 && Seq < Rank - 1, "meshloom: rotary: positions must be an axis before the last");
  using x = typename first<Rank>::list;
  static constexpr auto signature = describe("rotary")
                                        .operands<x>()
                                        .template results<x>()
                                        .is(role::blocked, first<Rank - 1>::row::list)
                                        .linear_in(1)
                                        .made;
  static constexpr std::uint64_t variant = Seq;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  static constexpr double flops_per_point = 4;
  using gradient = operators<rotary>;

  static void differentiate(differentiation& d) {
    if (!d.wanted(0)) return;
    attribute_list back = d.attributes();
    back[1] = -back[1];
    d.contribute(0, d.emit(record_of<rotary>, {d.gradient(0)}, back)[0]);
  }
};

}  // namespace meshloom::op
