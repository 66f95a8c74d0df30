// SPDX-License-Identifier: Apache-2.0
// Rows of a table chosen by integers (embedding), and its gradient, the scatter-add. `Rank` is the number of axes of
// the integers. Law: with the table's rows split, every shard adds what it holds and zero elsewhere: a partial sum.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// Operands: integers, dy. Result: the table's gradient.
template <int Rank>
struct lookup_gradient {
  using lists = first<Rank>;
  static constexpr auto signature = describe("lookup_gradient")
                                        .operands<typename lists::list, typename lists::with_column>()
                                        .template results<typename lists::matrix>()
                                        .is(role::contracted, lists::list::list)
                                        .linear_in(2)
                                        .made;
  static constexpr rounding rounded{.operands = 2};
  static constexpr bool accumulates = true;
  using gradient = operators<>;
};

/// Operands: integers, table [row, column]. Result: the chosen rows.
template <int Rank>
struct lookup {
  using lists = first<Rank>;
  static constexpr auto signature = describe("lookup")
                                        .operands<typename lists::list, typename lists::matrix>()
                                        .template results<typename lists::with_column>()
                                        .is(role::contracted, lists::row::list)
                                        .linear_in(2)
                                        .made;
  static constexpr rounding rounded{.operands = 2, .results = 1, .always = true};
  using gradient = operators<lookup_gradient<Rank>>;

  static void differentiate(differentiation& d) {
    if (!d.wanted(1)) return;
    const axis_id row = d.index(Rank);
    d.contribute(1, d.emit(record_of<lookup_gradient<Rank>>, {d.operand(0), d.gradient(0)}, {}, std::span(&row, 1))[0]);
  }
};

}  // namespace meshloom::op
