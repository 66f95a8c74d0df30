// SPDX-License-Identifier: Apache-2.0
// The signature of an operator: which axes its operands and results have, and the role each axis plays. From it follow
// the legal strategies, their price, and the law tests. Axes are positions in the operator's own index list, so that
// operators of the same pattern share one type whatever their axes are called.
// Law: `valid` holds; every index appears in an operand or a result.
#pragma once

#include <meshloom/sharding/spec.hpp>

#include <cstdint>
#include <string_view>
#include <utility>

namespace meshloom {

inline constexpr int max_indices = 10;
inline constexpr int max_operands = 8;
inline constexpr int max_results = 4;
inline constexpr int max_statistics = 3;
inline constexpr int max_linear = 8;

/// What splitting an axis does to an operator.
enum class role : std::uint8_t {
  mapped,      ///< any shard computes alone; every result has the axis
  contracted,  ///< results without the axis become partial sums, results with it are split
  blocked,     ///< the axis must be whole
  statistic,   ///< shards exchange a small reduction inside the operator; results without the axis are whole
};

/// The axes of one operand or result, as positions in the operator's index list.
struct index_list {
  std::int8_t count = 0;
  std::array<std::int8_t, max_rank> at{};

  constexpr bool operator==(const index_list&) const = default;
  constexpr int find(int index) const {
    for (int axis = 0; axis < count; ++axis) {
      if (at[static_cast<std::size_t>(axis)] == index) return axis;
    }
    return -1;
  }
};

/// One exchange inside an operator: after part k its shards reduce `values` numbers per element of `rows`.
struct statistic {
  reduction combine = reduction::sum;
  std::int8_t values = 1;
};

struct signature {
  std::string_view name;
  std::int8_t index_count = 0;
  std::int8_t operand_count = 0;
  std::int8_t result_count = 0;
  std::int8_t statistic_count = 0;
  std::int8_t linear_count = 0;
  std::array<role, max_indices> roles{};
  std::array<index_list, max_operands> operands{};
  std::array<index_list, max_results> results{};
  index_list rows;  ///< the axes of the exchanged statistics
  std::array<statistic, max_statistics> statistics{};
  std::array<std::uint16_t, max_linear> linear{};  ///< sets of operands (bit masks) in which it is jointly linear
};

/// Axes of an operand, as a type: `at<0, 1, 2>`.
template <int... Index>
struct at {
  static constexpr index_list list{sizeof...(Index), {static_cast<std::int8_t>(Index)...}};
  static constexpr int end = [] {
    int last = 0;
    ((last = Index >= last ? Index + 1 : last), ...);
    return last;
  }();
};

/// Builds a signature step by step, at compile time.
struct describe {
  signature made;

  constexpr explicit describe(std::string_view name) { made.name = name; }

  template <class... Lists>
  constexpr describe& operands() {
    ((made.operands[static_cast<std::size_t>(made.operand_count++)] = Lists::list), ...);
    ((made.index_count = Lists::end > made.index_count ? static_cast<std::int8_t>(Lists::end) : made.index_count), ...);
    return *this;
  }
  template <class... Lists>
  constexpr describe& results() {
    ((made.results[static_cast<std::size_t>(made.result_count++)] = Lists::list), ...);
    ((made.index_count = Lists::end > made.index_count ? static_cast<std::int8_t>(Lists::end) : made.index_count), ...);
    return *this;
  }
  constexpr describe& is(role what, const index_list& indices) {
    for (int axis = 0; axis < indices.count; ++axis) {
      made.roles[static_cast<std::size_t>(indices.at[static_cast<std::size_t>(axis)])] = what;
    }
    return *this;
  }
  /// Jointly linear in the operands of the mask.
  constexpr describe& linear_in(unsigned mask) {
    made.linear[static_cast<std::size_t>(made.linear_count++)] = static_cast<std::uint16_t>(mask);
    return *this;
  }
  constexpr describe& exchanges(const index_list& rows, reduction combine, int values) {
    made.rows = rows;
    made.statistics[static_cast<std::size_t>(made.statistic_count++)] = {combine, static_cast<std::int8_t>(values)};
    return *this;
  }
};

/// True if the roles fit the axes: a mapped index is in every result, a statistic one is not among the rows.
constexpr bool valid(const signature& op) {
  for (int index = 0; index < op.index_count; ++index) {
    const role what = op.roles[static_cast<std::size_t>(index)];
    bool used = false;
    for (int operand = 0; operand < op.operand_count; ++operand) {
      used = used || op.operands[static_cast<std::size_t>(operand)].find(index) >= 0;
    }
    for (int result = 0; result < op.result_count; ++result) {
      const bool has = op.results[static_cast<std::size_t>(result)].find(index) >= 0;
      if (what == role::mapped && !has) return false;
      used = used || has;
    }
    if (!used) return false;
    if (what == role::statistic && (op.statistic_count == 0 || op.rows.find(index) >= 0)) return false;
  }
  return true;
}

}  // namespace meshloom

namespace meshloom::op {

namespace detail {

template <class Sequence>
struct leading;
template <int... I>
struct leading<std::integer_sequence<int, I...>> {
  using list = at<I...>;                                                                  // 0 … Rank-1
  using row = at<sizeof...(I)>;                                                           // Rank
  using with_row = at<I..., static_cast<int>(sizeof...(I))>;                              // 0 … Rank
  using with_column = at<I..., static_cast<int>(sizeof...(I)) + 1>;                       // 0 … Rank-1, Rank+1
  using matrix = at<static_cast<int>(sizeof...(I)), static_cast<int>(sizeof...(I)) + 1>;  // Rank, Rank+1
};

}  // namespace detail

/// The first `Rank` indices and the lists built from them.
template <int Rank>
using first = detail::leading<std::make_integer_sequence<int, Rank>>;

}  // namespace meshloom::op
