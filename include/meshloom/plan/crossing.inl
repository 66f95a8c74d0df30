// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/crossing.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE sorted_nodes::sorted_nodes(const graph& whole)
    : blocks(blocks_of(whole)), forward(whole.regions.size()), backward(whole.regions.size()) {
  std::int32_t before = 0;
  for (const region& each : whole.regions) {
    first.add(before);
    before += each.count;
  }
  const auto parameters = parameters_updated(whole);
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    const node& at = whole.nodes[id];
    if (at.when != phase::update) {
      (at.when == phase::forward ? forward : backward)[at.region].push_back(id);
    } else if (parameters[id] >= 0) {
      updates.push_back({id, static_cast<std::size_t>(parameters[id])});
    }
  }
}

MESHLOOM_INLINE vector<crossing> find_crossings(const graph& whole, const plan& made) {
  return find_crossings(whole, made, sorted_nodes(whole));
}

MESHLOOM_INLINE vector<crossing> find_crossings(const graph& whole, const plan& made, const sorted_nodes& nodes) {
  vector<stage_id> stages(nodes.blocks.size(), stage_id::none);  // of each block
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const stage_plan& each = made.stages[static_cast<stage_id>(s)];
    std::fill(stages.begin() + each.first_block, stages.begin() + each.end_block, static_cast<stage_id>(s));
  }
  vector<crossing> found;
  const auto visit = [&](stage_id stage, node_id id, const block& here, pass to_pass) {
    const node& at = whole.nodes[id];
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const value& named = whole.values[at.operands[k]];
      const bool own = named.kind == value_kind::activation && named.region == here.region;
      if (own && to_pass != pass::update) continue;  // of the same block
      const instance what = resolve(whole, at.operands[k], here);
      const value& entry = whole.values[what.value];
      if (entry.kind != value_kind::activation) continue;
      const phase made_when = whole.nodes[entry.producer].when;
      if (made_when == phase::update) continue;
      const stage_id from = stages[static_cast<std::size_t>(nodes.first[entry.region] + what.copy)];
      if (from == stage) continue;
      const bool known =
          std::any_of(found.begin(), found.end(), [&](const crossing& c) { return c.what == what && c.to == stage; });
      if (known) continue;
      const pass from_pass = to_pass == pass::update ? pass::reduce : pass_of(made_when);
      const spec wanted = operand_spec_in(whole, made.stages[stage], id, k).without_partial();
      found.push_back({what, from, stage, from_pass, made_when == phase::forward ? pass::forward : to_pass, wanted});
    }
  };
  const auto again = [](std::int32_t) { return vector<node_id>(); };  // would read what forward has read
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    for_each_node_of(whole, made.stages[stage_id(s)], nodes, again,
                     [&](node_id id, const block& here, pass when) { visit(stage_id(s), id, here, when); });
  }
  return found;
}

}  // namespace meshloom
