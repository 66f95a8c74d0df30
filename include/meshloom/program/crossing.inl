// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/crossing.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE bool updates_in(const graph& whole, const stage_plan& stage, const node& at, const block& here) {
  for (std::size_t p = 0; p < whole.parameters.size(); ++p) {
    const parameter& each = whole.parameters[p];
    const auto reads = [&](value_id id) {
      return std::find(at.operands.begin(), at.operands.end(), id) != at.operands.end();
    };
    if (!reads(each.value) && !std::any_of(each.gradients.begin(), each.gradients.end(), reads)) continue;
    if (!stage.parameters[p].used) return false;
    const std::int32_t number = block_number(whole, here);
    return !whole.regions[at.region].repeated || (number >= stage.first_block && number < stage.end_block);
  }
  return false;
}
namespace detail {

constexpr pass pass_of(phase when) {
  return when == phase::forward ? pass::forward : when == phase::backward ? pass::backward : pass::update;
}
/// Calls `visit(stage, node, block)` for every node of every stage, in the order in which a stage runs them.
template <class Visit>
void for_each_node(const graph& whole, const plan& made, const Visit& visit) {
  const auto blocks = blocks_of(whole);
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const auto stage = static_cast<stage_id>(s);
    const std::int32_t first = made.stages[stage].first_block, end = made.stages[stage].end_block;
    for (std::int32_t b = first; b < end; ++b) {
      const block here = blocks[static_cast<std::size_t>(b)];
      for (const node_id id : nodes_of(whole, here.region, phase::forward)) visit(stage, id, here);
    }
    for (std::int32_t b = end - 1; b >= first; --b) {
      const block here = blocks[static_cast<std::size_t>(b)];
      for (const node_id id : nodes_of(whole, here.region, phase::backward)) visit(stage, id, here);
    }
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      const node& at = whole.nodes[id];
      if (at.when != phase::update) continue;
      for (std::int32_t copy = 0; copy < whole.regions[at.region].count; ++copy) {
        const block here{at.region, copy};
        if (updates_in(whole, made.stages[stage], at, here)) visit(stage, id, here);
      }
    }
  }
}
inline spec without_pending(spec layout) {
  for (int axis = 0; axis < max_mesh_rank; ++axis) {
    if ((layout.partial_sum() | layout.partial_max()) >> axis & 1) layout = layout.without(axis);
  }
  return layout;
}

}  // namespace detail

MESHLOOM_INLINE std::vector<crossing> find_crossings(const graph& whole, const plan& made) {
  std::vector<crossing> found;
  detail::for_each_node(whole, made, [&](stage_id stage, node_id id, const block& here) {
    const node& at = whole.nodes[id];
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const instance what = resolve(whole, at.operands[k], here);
      const value& entry = whole.values[what.value];
      if (entry.kind != value_kind::activation) continue;
      const phase made_when = whole.nodes[entry.producer].when;
      if (made_when == phase::update) continue;
      const stage_id from = stage_of(made, block_number(whole, maker_of(whole, what)));
      if (from == stage) continue;
      const bool known =
          std::any_of(found.begin(), found.end(), [&](const crossing& c) { return c.what == what && c.to == stage; });
      if (known) continue;
      const pass to_pass = detail::pass_of(at.when);
      const pass from_pass = to_pass == pass::update ? pass::reduce : detail::pass_of(made_when);
      // A message carries whole or split values; what a reader wants pending it must find made pending in its stage.
      const spec wanted = detail::without_pending(operand_spec_in(whole, made.stages[stage], id, k));
      found.push_back({what, from, stage, from_pass, made_when == phase::forward ? pass::forward : to_pass, wanted});
    }
  });
  return found;
}
}  // namespace meshloom
