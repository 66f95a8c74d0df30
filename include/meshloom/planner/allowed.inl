// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/allowed.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// What a pin binds may be carried through the copies of a layer: then it binds whoever makes it.
inline bool is_bound(const graph& whole, const pin& bound, value_id made) {
  const value_id target = bound.gradient ? whole.values[bound.value].gradient : bound.value;
  if (target == value_id::none || whole.values[target].kind != value_kind::carried) return target == made;
  const region_id home = whole.values[target].region;
  const std::int32_t last = whole.regions[home].count - 1;
  return resolve(whole, target, {home, 0}).value == made || resolve(whole, target, {home, last}).value == made;
}

inline bool meets_pins(const problem& posed, const node& at, const std::string& mesh_axis, const choice& row) {
  const graph& whole = posed.graph;
  for (std::size_t k = 0; k < at.results.size(); ++k) {
    const placement made = result_placement(at.op->op, static_cast<int>(k), row);
    const auto meets = [&](int wanted) {
      return wanted < 0 ? made.kind == placement::whole : made.kind == placement::split && made.axis == wanted;
    };
    for (const pin& bound : whole.pins) {
      if (bound.mesh_axis == mesh_axis && is_bound(whole, bound, at.results[k]) && !meets(bound.axis)) return false;
    }
    for (const path_pin& bound : posed.constraints.pins) {
      if (bound.mesh_axis != mesh_axis || bound.path != at.name || k != 0) continue;
      const auto& axes = whole.values[at.results[k]].axes;
      const auto named = std::find(axes.begin(), axes.end(), find_axis(whole.sizes, bound.axis));
      if (!meets(bound.axis.empty() ? -1 : static_cast<int>(named - axes.begin()))) return false;
    }
  }
  return true;
}

/// True if every operand and result of an operator has its index `index`, and shards of it stand alone.
inline bool is_aligned(const signature& op, int index) {
  const auto has = [&](const index_list& list) { return list.find(index) >= 0; };
  return op.roles[static_cast<std::size_t>(index)] == role::mapped &&
         std::all_of(op.operands.begin(), op.operands.begin() + op.operand_count, has) &&
         std::all_of(op.results.begin(), op.results.begin() + op.result_count, has);
}

/// The row that a rule asks of an operator; −1 if it cannot keep the rule.
inline int ruled_row(const problem& posed, const node& at, const axis_rule& rule) {
  for (int row = 0; row < at.op->choices.count; ++row) {
    const choice& each = at.op->choices.rows[static_cast<std::size_t>(row)];
    const bool can = each.index == at.op->op.rotates.of;
    if (each.kind == choice::split && can && rule.around != (each.rotated >= 0)) continue;
    if (each.kind != choice::split || (rule.aligned && !is_aligned(at.op->op, each.index))) continue;
    if (names(rule, posed.graph.sizes[at.indices[static_cast<std::size_t>(each.index)]].name)) return row;
  }
  return -1;
}

/// The rows that constraints allow along one mesh axis.
inline vector<bool> allowed_rows(const problem& posed, const node& at, const std::string& mesh_axis) {
  const choice_table& table = at.op->choices;
  vector<bool> allowed(static_cast<std::size_t>(table.count), true);
  for (const axis_rule& rule : posed.constraints.rules) {
    const int ruled = rule.mesh_axis == mesh_axis ? ruled_row(posed, at, rule) : -1;
    if (ruled < 0) continue;
    allowed.assign(allowed.size(), false);
    allowed[static_cast<std::size_t>(ruled)] = true;
    break;
  }
  for (std::size_t row = 0; row < allowed.size(); ++row)
    allowed[row] = allowed[row] && meets_pins(posed, at, mesh_axis, table.rows[row]);
  return allowed;
}

MESHLOOM_INLINE bool is_ruled(const problem& posed, const std::string& mesh_axis) {
  const auto names = [&](const auto& rule) { return rule.mesh_axis == mesh_axis; };
  return std::any_of(posed.constraints.rules.begin(), posed.constraints.rules.end(), names) ||
         std::any_of(posed.constraints.zero.begin(), posed.constraints.zero.end(), names);
}

}  // namespace detail

MESHLOOM_INLINE vector<strategy> allowed_strategies(const problem& posed, const stage_plan& stage, node_id id) {
  const node& at = posed.graph.nodes[id];
  std::array<vector<bool>, max_mesh_rank> rows;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage.mesh.rank); ++axis)
    rows[axis] = detail::allowed_rows(posed, at, stage.mesh_axes[axis]);
  vector<strategy> found;
  for_each_strategy(at.op->choices, stage.mesh.rank, [&](const strategy& how) {
    bool fits = how.order == 0;
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage.mesh.rank); ++axis)
      fits = fits && rows[axis][how.row[axis]];
    if (fits) found.push_back(how);
  });
  return found;
}

MESHLOOM_INLINE vector<storage> allowed_storages(const problem& posed, const stage_plan& stage, const value& entry) {
  const parameter_plan ruled = storage_of(posed, stage, entry);
  vector<storage> found{{}};
  for (int axis = 0; axis < stage.mesh.rank; ++axis) {
    const bool fixed = detail::is_ruled(posed, stage.mesh_axes[static_cast<std::size_t>(axis)]);
    vector<storage> next;
    for (const storage& before : found) {
      const auto add = [&](const placement& stored, const placement& state) {
        // Inside a cut that the state alone has it could not be gathered alone.
        bool inside = false;
        for (int other = 0; stored.kind == placement::split && other < axis; ++other)
          inside = inside || (before.state.on(other) == stored && !(before.stored.on(other) == stored));
        if (!inside) next.push_back({before.stored.with(axis, stored), before.state.with(axis, state)});
      };
      if (fixed) {
        add(ruled.stored.on(axis), ruled.state.on(axis));
        continue;
      }
      add({}, {});
      for (std::size_t cut = 0; cut < entry.axes.size(); ++cut) {
        const placement split{placement::split, static_cast<std::int8_t>(cut)};
        add({}, split);
        add(split, split);
      }
    }
    found = std::move(next);
  }
  return found;
}

MESHLOOM_INLINE vector<std::string> pinned_axes(const problem& posed, const node& at) {
  vector<std::string> found;
  for (const value_id made : at.results) {
    for (const pin& bound : posed.graph.pins) {
      if (bound.axis >= 0 && detail::is_bound(posed.graph, bound, made)) found.push_back(bound.mesh_axis);
    }
  }
  for (const path_pin& bound : posed.constraints.pins) {
    if (!bound.axis.empty() && bound.path == at.name) found.push_back(bound.mesh_axis);
  }
  return found;
}

MESHLOOM_INLINE strategy update_strategy(const node& at, const mesh_shape& mesh, const spec& state) {
  strategy how;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
    const placement wanted = state.on(static_cast<int>(axis));
    for (std::uint8_t row = 0; row < at.op->choices.count; ++row) {
      if (operand_placement(at.op->op, 0, at.op->choices.rows[row]) == wanted) {
        how.row[axis] = row;
        break;
      }
    }
  }
  return how;
}

}  // namespace meshloom
