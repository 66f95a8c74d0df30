// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/crossing.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE std::vector<crossing> find_crossings(const graph& whole, const plan& made) {
  std::vector<crossing> found;
  for_each_node(whole, made, [&](stage_id stage, node_id id, const block& here, pass to_pass) {
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
      const pass from_pass = to_pass == pass::update ? pass::reduce : pass_of(made_when);
      const spec wanted = operand_spec_in(whole, made.stages[stage], id, k).without_partial();
      found.push_back({what, from, stage, from_pass, made_when == phase::forward ? pass::forward : to_pass, wanted});
    }
  });
  return found;
}

}  // namespace meshloom
