// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/recomputation.hpp>

#include <algorithm>

namespace meshloom {

/// Values go from block to block in one direction: once all later blocks have said what they read, it is known which
/// values of a block are kept.
MESHLOOM_INLINE recomputation::recomputation(const graph& whole, const stage_plan& stage)
    : whole_(whole), stage_(stage) {
  if (!recomputes(stage)) return;
  again_.resize(stage.recompute.size());
  keep_sums();
  const auto blocks = blocks_of(whole);
  for (std::size_t k = again_.size(); k-- > 0;) {
    const block here = blocks[static_cast<std::size_t>(stage.first_block) + k];
    std::set<instance> own;
    for (const node_id id : nodes_of(whole, here.region, phase::backward)) read(id, here, own);
    if (stage.recompute[k]) again_[k] = makers_of(own, here);
  }
}

MESHLOOM_INLINE std::vector<node_id> recomputation::again(std::int32_t block) const {
  if (again_.empty()) return {};
  return again_[static_cast<std::size_t>(block - stage_.first_block)];
}

MESHLOOM_INLINE bool recomputation::drops(const instance& what) const {
  if (again_.empty()) return false;
  if (!is_of_forward(what)) return false;
  const std::int32_t number = block_number(whole_, maker_of(whole_, what));
  return number >= stage_.first_block && number < stage_.end_block &&
         stage_.recompute[static_cast<std::size_t>(number - stage_.first_block)] && kept_.count(what) == 0;
}

MESHLOOM_INLINE bool recomputation::is_of_forward(const instance& what) const {
  const value& entry = whole_.values[what.value];
  return entry.kind == value_kind::activation && whole_.nodes[entry.producer].when == phase::forward;
}

MESHLOOM_INLINE void recomputation::keep_sums() {
  for (const parameter& each : whole_.parameters) {
    const region_id home = whole_.values[each.value].region;
    for (const value_id gradient : each.gradients) {
      for (std::int32_t copy = 0; copy < whole_.regions[home].count; ++copy) {
        const instance what = resolve(whole_, gradient, {home, copy});
        if (is_of_forward(what)) kept_.insert(what);
      }
    }
  }
}

MESHLOOM_INLINE void recomputation::read(node_id id, const block& here, std::set<instance>& own) {
  for (const value_id operand : whole_.nodes[id].operands) {
    const instance what = resolve(whole_, operand, here);
    if (!is_of_forward(what)) continue;
    (maker_of(whole_, what) == here ? own : kept_).insert(what);
  }
}

MESHLOOM_INLINE std::vector<node_id> recomputation::makers_of(std::set<instance>& own, const block& here) {
  std::vector<node_id> makers;
  const auto forward = nodes_of(whole_, here.region, phase::forward);
  for (auto at = forward.rbegin(); at != forward.rend(); ++at) {
    const auto& results = whole_.nodes[*at].results;
    const auto is_missed = [&](value_id id) {
      const instance what{id, here.copy};
      return own.count(what) != 0 && kept_.count(what) == 0;
    };
    if (std::none_of(results.begin(), results.end(), is_missed)) continue;
    makers.push_back(*at);
    read(*at, here, own);
  }
  std::reverse(makers.begin(), makers.end());
  return makers;
}

}  // namespace meshloom
