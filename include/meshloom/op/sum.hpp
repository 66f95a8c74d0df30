// SPDX-License-Identifier: Apache-2.0
// Sum over the axes that the result lacks, and its gradient, the broadcast. Law: both are linear.
#pragma once

#include <meshloom/op/record.hpp>

#include <span>

namespace meshloom::op {

template <class Operand, class Result>
struct sum;

/// Repeats its operand along the axes that only the result has. Attribute 0 scales it.
template <class Operand, class Result>
struct broadcast {
  static constexpr auto signature =
      describe("broadcast").operands<Operand>().template results<Result>().linear_in(1).made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  using gradient = operators<sum<Result, Operand>>;
  static void differentiate(differentiation& d) {
    if (d.wanted(0)) d.contribute(0, d.emit(record_of<sum<Result, Operand>>, {d.gradient(0)}, d.attributes(), {})[0]);
  }
};

/// Attribute 0 scales it.
template <class Operand, class Result>
struct sum {
  static constexpr auto signature = [] {
    auto made = describe("sum").operands<Operand>().template results<Result>().linear_in(1).made;
    for (int index = 0; index < made.index_count; ++index) {
      if (Result::list.find(index) < 0) made.roles[static_cast<std::size_t>(index)] = role::contracted;
    }
    return made;
  }();
  static constexpr rounding rounded{.operands = 1};
  static constexpr bool accumulates = true;
  using gradient = operators<broadcast<Result, Operand>>;
  static void differentiate(differentiation& d) {
    if (!d.wanted(0)) return;
    std::array<axis_id, max_indices> missing{};
    std::size_t count = 0;
    for (int index = 0; index < signature.index_count; ++index) {
      if (Result::list.find(index) < 0) missing[count++] = d.index(index);
    }
    d.contribute(0, d.emit(record_of<broadcast<Result, Operand>>, {d.gradient(0)}, d.attributes(),
                           std::span(missing.data(), count))[0]);
  }
};

}  // namespace meshloom::op
