// SPDX-License-Identifier: Apache-2.0
// Between the compute type of a training and its precision: what `graph_builder` puts where an operator needs the other
// one. `Rank` is the rank of what is converted. Source: Micikevicius et al., Mixed Precision Training (2018), whose
// master copy of the weights is the operand of `store_rounded`. Law: linear, up to the rounding.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// To the compute type, rounded to nearest.
template <int Rank>
struct narrow {
  using list = typename first<Rank>::list;
  static constexpr auto signature = describe("narrow").operands<list>().template results<list>().linear_in(1).made;
  static constexpr rounding rounded{.operands = 0, .results = 1, .always = true};
  using gradient = operators<>;
  static void differentiate(differentiation& d) { d.contribute(0, d.gradient(0)); }
};

/// To the precision.
template <int Rank>
struct widen {
  using list = typename first<Rank>::list;
  static constexpr auto signature = describe("widen").operands<list>().template results<list>().linear_in(1).made;
  static constexpr rounding rounded{.operands = 1, .results = 0, .always = true};
  using gradient = operators<>;
  static void differentiate(differentiation& d) { d.contribute(0, d.gradient(0)); }
};

/// What a step computes with, from what updates change. Operands: the parameter, its master. Result: the parameter.
template <int Rank>
struct store_rounded {
  using list = typename first<Rank>::list;
  static constexpr auto signature = describe("store_rounded").operands<list, list>().template results<list>().made;
  static constexpr rounding rounded{.operands = 1, .results = 1, .always = true};
  static constexpr std::uint16_t reads_updated = 1 << 1;
  static constexpr std::array<std::int8_t, max_results> replaces{0};
  using gradient = operators<>;
};

}  // namespace meshloom::op
