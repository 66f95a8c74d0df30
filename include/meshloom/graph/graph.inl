// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/graph.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE std::vector<std::int64_t> extents_of(const size_table& sizes, const std::vector<axis_id>& axes) {
  std::vector<std::int64_t> extents;
  extents.reserve(axes.size());
  for (const axis_id axis : axes) extents.push_back(sizes[axis].extent);
  return extents;
}

namespace detail {

inline void check_shape(const graph& whole, const node& at, const index_list& list, value_id id, const char* side,
                        std::vector<std::string>& faults) {
  if (!whole.values.holds(id)) return faults.push_back("node " + at.name + ": a " + side + " does not exist");
  const value& entry = whole.values[id];
  bool same = static_cast<std::size_t>(list.count) == entry.axes.size();
  for (std::size_t axis = 0; same && axis < entry.axes.size(); ++axis) {
    const axis_id wanted = at.indices[static_cast<std::size_t>(list.at[axis])];
    same = whole.sizes[wanted].extent == whole.sizes[entry.axes[axis]].extent;
  }
  if (!same) faults.push_back("node " + at.name + ": " + side + " " + entry.name + " has another shape than the operator needs");
}

inline void check_node(const graph& whole, node_id id, std::vector<bool>& made, std::vector<std::string>& faults) {
  const node& at = whole.nodes[id];
  if (at.op == nullptr) return faults.push_back("node " + at.name + ": has no operator");
  const signature& op = at.op->op;
  if (at.operands.size() != static_cast<std::size_t>(op.operand_count) || at.results.size() != static_cast<std::size_t>(op.result_count) ||
      at.indices.size() != static_cast<std::size_t>(op.index_count)) {
    return faults.push_back("node " + at.name + ": operands, results or indices do not match the signature of " + std::string(op.name));
  }
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    check_shape(whole, at, op.operands[k], at.operands[k], "operand", faults);
    if (!whole.values.holds(at.operands[k])) continue;
    if (!made[index_of(at.operands[k])]) {
      faults.push_back("node " + at.name + ": reads " + whole.values[at.operands[k]].name + " before it is made");
    }
  }
  for (std::size_t k = 0; k < at.results.size(); ++k) {
    check_shape(whole, at, op.results[k], at.results[k], "result", faults);
    if (!whole.values.holds(at.results[k])) continue;
    if (made[index_of(at.results[k])]) faults.push_back("value " + whole.values[at.results[k]].name + ": has two producers");
    if (whole.values[at.results[k]].producer != id) faults.push_back("value " + whole.values[at.results[k]].name + ": names another producer than " + at.name);
    made[index_of(at.results[k])] = true;
  }
}

inline void check_carry(const graph& whole, const region& area, const carry& flow, std::vector<bool>& made,
                        std::vector<std::string>& faults) {
  for (const value_id id : {flow.outer_in, flow.body_in, flow.body_out, flow.outer_out}) {
    if (!whole.values.holds(id)) return faults.push_back("region " + area.name + ": its carry is incomplete");
  }
  if (!made[index_of(flow.body_out)]) faults.push_back("region " + area.name + ": carries a value that no node makes");
  made[index_of(flow.outer_out)] = true;
  const auto& in = whole.values[flow.body_in].axes;
  for (const value_id id : {flow.outer_in, flow.body_out, flow.outer_out}) {
    if (extents_of(whole.sizes, whole.values[id].axes) != extents_of(whole.sizes, in)) {
      faults.push_back("region " + area.name + ": a copy's result has another shape than its input");
      return;
    }
  }
}

/// Marks as made, in order, what the nodes of one phase and region make.
inline void check_region(const graph& whole, region_id area, phase when, std::vector<bool>& made, std::vector<std::string>& faults) {
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    if (whole.nodes[id].when == when && whole.nodes[id].region == area) check_node(whole, id, made, faults);
  }
  const region& here = whole.regions[area];
  const carry& flow = when == phase::forward ? here.forward : here.backward;
  const bool used = when == phase::forward || here.backward.body_in != value_id::none;
  if (here.repeated && when != phase::update && used) check_carry(whole, here, flow, made, faults);
}

}  // namespace detail

MESHLOOM_INLINE std::vector<std::string> check(const graph& whole) {
  std::vector<std::string> faults;
  std::vector<bool> made(whole.values.size());
  for (std::size_t v = 0; v < made.size(); ++v) {
    const value_kind kind = whole.values[static_cast<value_id>(v)].kind;
    made[v] = kind != value_kind::activation;
  }
  const auto regions = static_cast<std::int32_t>(whole.regions.size());
  for (std::int32_t r = 0; r < regions; ++r) detail::check_region(whole, region_id{r}, phase::forward, made, faults);
  for (std::int32_t r = regions - 1; r >= 0; --r) detail::check_region(whole, region_id{r}, phase::backward, made, faults);
  for (std::int32_t r = 0; r < regions; ++r) detail::check_region(whole, region_id{r}, phase::update, made, faults);
  for (const value_id result : whole.results) {
    if (!whole.values.holds(result) || !made[index_of(result)]) faults.push_back("the graph: a result is made by no node");
  }
  std::vector<std::string> names;
  for (const node& each : whole.nodes) names.push_back(each.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) faults.push_back("node " + *twice + ": two nodes have this name");
  return faults;
}

MESHLOOM_INLINE std::uint64_t hash_of(const graph& whole) {
  std::uint64_t hash = 1469598103934665603u;  // FNV-1a, 64 bits
  const auto mix = [&hash](std::string_view text) {
    for (const char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211u;
    hash = (hash ^ 0xffu) * 1099511628211u;
  };
  for (const region& area : whole.regions) mix(area.name + "*" + std::to_string(area.count));
  for (const node& at : whole.nodes) {
    mix(at.name);
    mix(at.op->op.name);
    for (const value_id id : at.results) {
      for (const axis_id axis : whole.values[id].axes) mix(whole.sizes[axis].name);
    }
  }
  return hash;
}

}  // namespace meshloom
