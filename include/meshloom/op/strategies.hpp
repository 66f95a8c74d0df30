// SPDX-License-Identifier: Apache-2.0
// From signature to strategies: the table of legal ways to split an operator over one mesh axis, and their combination
// on a mesh of rank 1, 2 or 3. The same table is enumerated, priced, executed and tested.
// Law: executing any strategy on its shards, with its exchanges, equals the unsharded operator.
// A mesh axis either splits one index of the operator, or carries a pending sum through operands in which the operator
// is linear, or repeats the work. No row feeds `partial` to an operand in which the operator is not linear. An index
// that reads windows is split by one mesh axis at most, so that all that its shards lack lies along that one; and
// blocks go around along one mesh axis at most.
#pragma once

#include <meshloom/op/signature.hpp>

#include <array>
#include <cstdint>

namespace meshloom {

/// What one mesh axis does to an operator.
struct choice {
  enum kind_type : std::uint8_t { whole, split, linear } kind = whole;
  std::int8_t index = -1;      ///< the operator index that is split
  std::uint16_t operands = 0;  ///< the operands (bit mask) that are partial sums, if linear
  std::int8_t windowed = -1;   ///< the index of which the split index reads windows, if it does
  std::int8_t rotated = -1;    ///< the index of which blocks go around, if they do: it is split as well
  constexpr bool operator==(const choice&) const = default;
};

/// The choices one mesh axis has; `whole` is the first.
struct choice_table {
  std::array<choice, 1 + max_indices + 1 + max_linear> rows{};
  int count = 0;
};

constexpr choice_table choices_of(const signature& op) {
  choice_table table;
  const auto add = [&table](choice row) { table.rows[static_cast<std::size_t>(table.count++)] = row; };
  add({});
  for (int index = 0; index < op.index_count; ++index) {
    const role what = op.roles[static_cast<std::size_t>(index)];
    if (what == role::blocked || what == role::windowed) continue;
    choice row{choice::split, static_cast<std::int8_t>(index), 0};
    for (int k = 0; k < op.window_count; ++k) {
      const window& read = op.windows[static_cast<std::size_t>(k)];
      if (read.of == index) row.windowed = read.in;
    }
    add(row);
    if (op.rotates.of != index) continue;
    row.rotated = op.rotates.in;
    add(row);
  }
  for (int set = 0; set < op.linear_count; ++set) add({choice::linear, -1, op.linear[static_cast<std::size_t>(set)]});
  return table;
}

/// One choice per mesh axis (a row number of the table), and for indices split by several mesh axes the order of the
/// cuts: mesh axes in the order `cut_orders[order]`, outer first.
struct strategy {
  std::array<std::uint8_t, max_mesh_rank> row{};
  std::uint8_t order = 0;
  constexpr bool operator==(const strategy&) const = default;
};

inline constexpr std::array<std::array<std::int8_t, 3>, 6> cut_orders{
    {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}};

/// True if two mesh axes with these rows cut the same index of some tensor.
constexpr bool cut_alike(const choice& a, const choice& b) {
  if (a.kind != choice::split || b.kind != choice::split) return false;
  const auto cuts = [](const choice& row, int index) {
    return index >= 0 && (row.index == index || row.rotated == index);
  };
  return cuts(a, b.index) || cuts(a, b.rotated);
}

/// The axis of a tensor that a row splits; −1 if there is none.
constexpr int axis_split(const choice& row, const index_list& axes) {
  for (const int index : {row.index, row.windowed, row.rotated}) {
    if (row.kind == choice::split && index >= 0 && axes.find(index) >= 0) return axes.find(index);
  }
  return -1;
}

/// What one mesh axis does to an operand, under one choice.
constexpr placement operand_placement(const signature& op, int operand, const choice& row) {
  const auto& axes = op.operands[static_cast<std::size_t>(operand)];
  if (row.kind == choice::linear && (row.operands >> operand & 1)) return {placement::partial_sum, -1};
  const int axis = axis_split(row, axes);
  return axis >= 0 ? placement{placement::split, static_cast<std::int8_t>(axis)} : placement{};
}

/// What one mesh axis does to a result.
constexpr placement result_placement(const signature& op, int result, const choice& row) {
  const auto& axes = op.results[static_cast<std::size_t>(result)];
  if (row.kind == choice::linear) return {placement::partial_sum, -1};
  if (row.kind == choice::whole) return {};
  const int axis = axis_split(row, axes);
  if (axis >= 0) return {placement::split, static_cast<std::int8_t>(axis)};
  const bool pending = op.roles[static_cast<std::size_t>(row.index)] == role::contracted;
  return pending ? placement{placement::partial_sum, -1} : placement{};
}

/// The spec that operand `operand` must have under `how`.
constexpr spec operand_spec(const signature& op, const choice_table& table, int mesh_rank, const strategy& how,
                            int operand) {
  spec layout;
  for (const std::int8_t axis : cut_orders[how.order]) {
    if (axis >= mesh_rank) continue;
    layout = layout.with(axis, operand_placement(op, operand, table.rows[how.row[static_cast<std::size_t>(axis)]]));
  }
  return layout;
}

/// The spec that result `result` has under `how`.
constexpr spec result_spec(const signature& op, const choice_table& table, int mesh_rank, const strategy& how,
                           int result) {
  spec layout;
  for (const std::int8_t axis : cut_orders[how.order]) {
    if (axis >= mesh_rank) continue;
    layout = layout.with(axis, result_placement(op, result, table.rows[how.row[static_cast<std::size_t>(axis)]]));
  }
  return layout;
}

/// The mesh axes (bit mask) that split a statistic axis under `how`: if there are any, the operator runs in parts.
constexpr std::uint8_t exchange_axes(const signature& op, const choice_table& table, int mesh_rank,
                                     const strategy& how) {
  std::uint8_t mask = 0;
  for (int axis = 0; axis < mesh_rank; ++axis) {
    const choice& row = table.rows[how.row[static_cast<std::size_t>(axis)]];
    const bool statistic =
        row.kind == choice::split && op.roles[static_cast<std::size_t>(row.index)] == role::statistic;
    if (statistic) mask = static_cast<std::uint8_t>(mask | 1 << axis);
  }
  return mask;
}

/// Those over which statistic `k` is exchanged: what splits its rows splits the statistic as well.
constexpr std::uint8_t exchange_axes(const signature& op, const choice_table& table, int mesh_rank, const strategy& how,
                                     int k) {
  std::uint8_t mask = exchange_axes(op, table, mesh_rank, how);
  for (int axis = 0; axis < mesh_rank; ++axis) {
    const choice& row = table.rows[how.row[static_cast<std::size_t>(axis)]];
    const bool splits =
        row.kind == choice::split && op.statistics[static_cast<std::size_t>(k)].rows.find(row.index) >= 0;
    if (splits) mask = static_cast<std::uint8_t>(mask & ~(1 << axis));
  }
  return mask;
}

/// The spec of the rows of statistic `k`: they are cut like every tensor that has their axes.
constexpr spec rows_spec(const signature& op, const choice_table& table, int mesh_rank, const strategy& how, int k) {
  spec layout;
  for (const std::int8_t axis : cut_orders[how.order]) {
    if (axis >= mesh_rank) continue;
    const choice& row = table.rows[how.row[static_cast<std::size_t>(axis)]];
    const int where = row.kind == choice::split ? op.statistics[static_cast<std::size_t>(k)].rows.find(row.index) : -1;
    if (where >= 0) layout = layout.with(axis, {placement::split, static_cast<std::int8_t>(where)});
  }
  return layout;
}

/// The mesh axis along which blocks go around under `how`; −1 if there is none, or if it has one rank.
constexpr int rotating_axis(const choice_table& table, const mesh_shape& mesh, const strategy& how) {
  for (int axis = 0; axis < mesh.rank; ++axis) {
    const auto which = static_cast<std::size_t>(axis);
    if (table.rows[how.row[which]].rotated >= 0 && mesh.size[which] > 1) return axis;
  }
  return -1;
}

/// The index that more than one mesh axis splits though it reads windows, or though blocks go around, which is not
/// legal; −1 if there is none.
constexpr int crowded_index(const choice_table& table, int mesh_rank, const strategy& how) {
  for (int a = 0; a < mesh_rank; ++a) {
    const std::uint8_t row = how.row[static_cast<std::size_t>(a)];
    for (int b = 0; b < a; ++b) {
      const bool same = how.row[static_cast<std::size_t>(b)] == row;
      if (same && (table.rows[row].windowed >= 0 || table.rows[row].rotated >= 0)) return table.rows[row].index;
    }
  }
  return -1;
}

/// Why an index is crowded: "reads windows".
constexpr std::string_view why_crowded(const choice_table& table, int index) {
  for (const choice& row : table.rows) {
    if (row.index == index && row.windowed >= 0) return "reads windows";
  }
  return "meets blocks that go around";
}

/// True if a strategy takes rows of the table that go together.
constexpr bool is_legal(const choice_table& table, int mesh_rank, const strategy& how) {
  for (int axis = 0; axis < mesh_rank; ++axis) {
    if (how.row[static_cast<std::size_t>(axis)] >= table.count) return false;
  }
  return crowded_index(table, mesh_rank, how) < 0;
}

namespace detail {

/// Of mesh axes 0 and 1, 0 and 2, 1 and 2 (bits 0, 1, 2): whether the first cuts outside the second.
constexpr unsigned pairs_in_order(std::uint8_t order) {
  const auto& sequence = cut_orders[order];
  const auto before = [&](int a, int b) {
    for (const std::int8_t axis : sequence) {
      if (axis == a || axis == b) return axis == a;
    }
    return false;
  };
  return (before(0, 1) ? 1u : 0u) | (before(0, 2) ? 2u : 0u) | (before(1, 2) ? 4u : 0u);
}

/// True if no earlier order cuts alike, where only the order of the mesh axes of `shared` pairs matters.
constexpr bool is_new_order(std::uint8_t order, unsigned shared) {
  for (std::uint8_t earlier = 0; earlier < order; ++earlier) {
    if (((pairs_in_order(earlier) ^ pairs_in_order(order)) & shared) == 0) return false;
  }
  return true;
}

}  // namespace detail

/// Calls `visit(strategy)` for every legal strategy on a mesh of `mesh_rank` axes; distinct cut orders are visited only
/// where two mesh axes split the same index.
template <class Visit>
constexpr void for_each_strategy(const choice_table& table, int mesh_rank, Visit visit) {
  const int rows = table.count;
  const int total = mesh_rank == 0 ? 1 : mesh_rank == 1 ? rows : mesh_rank == 2 ? rows * rows : rows * rows * rows;
  for (int code = 0; code < total; ++code) {
    strategy how;
    for (int axis = mesh_rank - 1, rest = code; axis >= 0; --axis, rest /= rows) {
      how.row[static_cast<std::size_t>(axis)] = static_cast<std::uint8_t>(rest % rows);
    }
    if (!is_legal(table, mesh_rank, how)) continue;
    const auto shared = [&](int a, int b) {
      return b < mesh_rank && cut_alike(table.rows[how.row[static_cast<std::size_t>(a)]],
                                        table.rows[how.row[static_cast<std::size_t>(b)]]);
    };
    const unsigned pairs = (shared(0, 1) ? 1u : 0u) | (shared(0, 2) ? 2u : 0u) | (shared(1, 2) ? 4u : 0u);
    for (std::uint8_t order = 0; order < (pairs == 0 ? 1 : 6); ++order) {
      if (!detail::is_new_order(order, pairs)) continue;
      how.order = order;
      visit(how);
    }
  }
}

/// The table of an operator type, at compile time. Specialise it for an operator that allows less, or knows more, than
/// its signature says.
template <class Operator>
struct sharding_traits {
  static_assert(valid(Operator::signature),
                "meshloom: sharding_traits: the operator's signature is not valid: a mapped axis must be in every "
                "result, and a statistic axis needs an exchange; correct the roles");
  static constexpr choice_table choices = choices_of(Operator::signature);

  /// The number of strategies on a mesh of rank 1, 2 or 3.
  static constexpr int count(int mesh_rank) {
    int found = 0;
    for_each_strategy(choices, mesh_rank, [&](const strategy&) { ++found; });
    return found;
  }
};

}  // namespace meshloom
