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
  table<region_id, vector<node_id>> forward(whole.regions.size()), backward = forward;
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const node& at = whole.nodes[node_id(n)];
    if (at.when != phase::update) (at.when == phase::forward ? forward : backward)[at.region].push_back(node_id(n));
  }
  const auto blocks = blocks_of(whole);
  for (std::size_t k = again_.size(); k-- > 0;) {
    const block here = blocks[static_cast<std::size_t>(stage.first_block) + k];
    own_values own(whole.values.size());
    for (const node_id id : backward[here.region]) read(id, here, own);
    if (stage.recompute[k]) again_[k] = makers_of(own, here, forward[here.region]);
  }
}

MESHLOOM_INLINE vector<node_id> recomputation::again(std::int32_t block) const {
  if (again_.empty()) return {};
  return again_[static_cast<std::size_t>(block - stage_.first_block)];
}

MESHLOOM_INLINE bool recomputation::drops(const instance& what) const {
  if (again_.empty()) return false;
  if (!is_of_forward(what)) return false;
  const std::int32_t number = block_number(whole_, maker_of(whole_, what));
  return number >= stage_.first_block && number < stage_.end_block &&
         stage_.recompute[static_cast<std::size_t>(number - stage_.first_block)] && !is_kept(what);
}

MESHLOOM_INLINE bool recomputation::is_kept(const instance& what) const {
  const bool* kept = kept_.find(what);
  return kept != nullptr && *kept;
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
        if (is_of_forward(what)) kept_[what] = true;
      }
    }
  }
}

MESHLOOM_INLINE void recomputation::read(node_id id, const block& here, own_values& own) {
  for (const value_id operand : whole_.nodes[id].operands) {
    const instance what = resolve(whole_, operand, here);
    if (!is_of_forward(what)) continue;
    if (maker_of(whole_, what) == here)
      own[what.value] = true;
    else
      kept_[what] = true;
  }
}

MESHLOOM_INLINE vector<node_id> recomputation::makers_of(own_values& own, const block& here,
                                                         const vector<node_id>& forward) {
  vector<node_id> makers;
  for (auto at = forward.rbegin(); at != forward.rend(); ++at) {
    const auto& results = whole_.nodes[*at].results;
    const auto is_missed = [&](value_id id) { return own[id] && !is_kept({id, here.copy}); };
    if (std::none_of(results.begin(), results.end(), is_missed)) continue;
    makers.push_back(*at);
    read(*at, here, own);
  }
  std::reverse(makers.begin(), makers.end());
  return makers;
}

}  // namespace meshloom
