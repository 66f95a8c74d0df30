// SPDX-License-Identifier: Apache-2.0
// The average of a parameter over steps, later ones counting more (Polyak and Juditsky 1992): weights that generalise
// better than those of any step. `Rank` is the rank of the parameter. Law: every axis is mapped.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// a ← decay·a + (1 − decay)·p, and in the first step a ← p. Operands: a, and p as the step has left it. Result: a.
/// Attribute: decay.
template <int Rank>
struct ema {
  using list = typename first<Rank>::list;
  static constexpr auto signature = describe("ema").operands<list, list>().template results<list>().made;
  static constexpr double flops_per_point = 3;
  static constexpr std::array<std::int8_t, max_results> replaces{0};
  static constexpr std::uint16_t reads_updated = 1 << 1;
  using gradient = operators<>;
};

}  // namespace meshloom::op
