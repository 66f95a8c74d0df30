// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/read_value.hpp>

#include <algorithm>
#include <iterator>

namespace meshloom {
namespace detail {

inline auto key_of(const instance_use& each) { return std::tie(each.what, each.pass); }

inline bool comes_before(const instance_use& a, const instance_use& b) {
  return std::tie(a.what, a.pass, a.when, a.by) < std::tie(b.what, b.pass, b.when, b.by);
}

/// What tells values apart. What comes from another block is another value where that block is another, but is read
/// alike: the value comes last.
inline auto order_of(const read_value& each) {
  return std::tie(each.made_here, each.leaves, each.is_result, each.made_again, each.forward, each.backward,
                  each.value);
}

}  // namespace detail

MESHLOOM_INLINE value_uses::value_uses(const graph& whole) : whole_(whole), blocks_(blocks_of(whole)) {
  for (std::int32_t number = 0; number < static_cast<std::int32_t>(blocks_.size()); ++number) {
    const region_id area = blocks_[static_cast<std::size_t>(number)].region;
    for (const phase when : {phase::forward, phase::backward}) find(nodes_of(whole, area, when), number, when, uses_);
  }
  for (const instance& what : results_of(whole)) {
    const value_kind kind = whole.values[what.value].kind;
    if (kind == value_kind::parameter) continue;
    uses_.push_back({.what = what});
    if (kind == value_kind::activation) uses_.back().made_in = block_number(whole, maker_of(whole, what));
  }
  std::sort(uses_.begin(), uses_.end(), detail::comes_before);
}

MESHLOOM_INLINE void value_uses::find(const vector<node_id>& nodes, std::int32_t block, phase when,
                                      vector<instance_use>& uses) const {
  for (const node_id id : nodes) {
    const node& at = whole_.nodes[id];
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const instance what = resolve(whole_, at.operands[k], blocks_[static_cast<std::size_t>(block)]);
      const value_kind kind = whole_.values[what.value].kind;
      if (kind == value_kind::input || kind == value_kind::state) continue;  // which a carry may turn out to be
      const bool made = kind == value_kind::activation;
      uses.push_back({.what = what,
                      .made_in = made ? block_number(whole_, maker_of(whole_, what)) : -1,
                      .pass = kind == value_kind::parameter ? when : phase::forward,
                      .when = when,
                      .by = {id, static_cast<std::int8_t>(k)},
                      .read_in = block});
    }
  }
}

/// All uses, those by operators of the stage that run again among them.
MESHLOOM_INLINE vector<instance_use> value_uses::with_again(const stage_plan& stage,
                                                            const recomputation& recomputed) const {
  vector<instance_use> again, all;
  for (std::int32_t block = stage.first_block; block < stage.end_block; ++block)
    find(recomputed.again(block), block, phase::backward, again);
  std::sort(again.begin(), again.end(), detail::comes_before);
  all.reserve(uses_.size() + again.size());
  std::merge(uses_.begin(), uses_.end(), again.begin(), again.end(), std::back_inserter(all), detail::comes_before);
  return all;
}

MESHLOOM_INLINE vector<read_value> value_uses::in(const stage_plan& stage, const recomputation& recomputed) const {
  const auto is_inside = [&](std::int32_t block) { return block >= stage.first_block && block < stage.end_block; };
  const bool recomputing = recomputes(stage);
  const vector<instance_use> more = recomputing ? with_again(stage, recomputed) : vector<instance_use>();
  const vector<instance_use>& uses = recomputing ? more : uses_;
  vector<read_value> found;
  for (std::size_t at = 0; at < uses.size();) {
    const instance_use& first = uses[at];
    read_value next{.value = first.what.value, .made_here = is_inside(first.made_in), .copies = 1};
    for (; at < uses.size() && detail::key_of(uses[at]) == detail::key_of(first); ++at) {
      const instance_use& each = uses[at];
      const bool is_result = each.read_in < 0, inside = is_inside(each.read_in);
      next.is_result = next.is_result || (is_result && next.made_here);
      next.leaves = next.leaves || (!inside && !is_result && next.made_here);
      if (inside) (each.when == phase::forward ? next.forward : next.backward).push_back(each.by);
    }
    if (next.forward.empty() && next.backward.empty() && !next.leaves && !next.is_result) continue;
    next.made_again = !next.backward.empty() && recomputed.drops(first.what);
    const auto known = std::find_if(found.rbegin(), found.rend(), [&](const read_value& each) {
      return each.value == next.value && detail::order_of(each) == detail::order_of(next);
    });
    if (known == found.rend())
      found.push_back(std::move(next));
    else
      ++known->copies;
  }
  std::sort(found.begin(), found.end(),
            [](const read_value& a, const read_value& b) { return detail::order_of(a) < detail::order_of(b); });
  return found;
}

MESHLOOM_INLINE const vector<read_value>& value_uses::known_in(const stage_plan& stage,
                                                               const recomputation& recomputed) {
  const blocks_run run{stage.first_block, stage.end_block, stage.recompute};
  const auto known = known_.find(run);
  return known != known_.end() ? known->second : known_.emplace(run, in(stage, recomputed)).first->second;
}

MESHLOOM_INLINE vector<read_value> values_read(const graph& whole, const stage_plan& stage) {
  return value_uses(whole).in(stage, recomputation(whole, stage));
}

}  // namespace meshloom
