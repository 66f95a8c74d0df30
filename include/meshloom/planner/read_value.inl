// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/recomputation.hpp>
#include <meshloom/planner/read_value.hpp>

#include <algorithm>
#include <tuple>

namespace meshloom {
namespace detail {

/// One reading of one instance.
struct instance_use {
  instance what;
  phase pass = phase::forward;  ///< of a parameter's reading; parameters are looked at pass by pass
  phase when = phase::forward;  ///< it is read
  reading by;
  bool outside = false;

  auto key() const { return std::tuple(what, pass); }
  auto order() const { return std::tuple(what, pass, when, by); }
};

/// What nodes of a block read in one pass.
inline void find_uses(const graph& whole, const std::vector<node_id>& nodes, const block& here, phase when,
                      bool outside, std::vector<instance_use>& uses) {
  for (const node_id id : nodes) {
    const node& at = whole.nodes[id];
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const instance what = resolve(whole, at.operands[k], here);  // which may turn out to be an input
      const value_kind kind = whole.values[what.value].kind;
      if (kind == value_kind::input || kind == value_kind::state) continue;
      const bool parameter = kind == value_kind::parameter;
      if (parameter && outside) continue;
      uses.push_back({what, parameter ? when : phase::forward, when, {id, static_cast<std::int8_t>(k)}, outside});
    }
  }
}

/// Every reading of every block, those of other stages among them, and what leaves the step.
inline std::vector<instance_use> uses_of(const graph& whole, const stage_plan& stage, const recomputation& recomputed) {
  std::vector<instance_use> uses;
  const auto blocks = blocks_of(whole);
  for (std::int32_t number = 0; number < static_cast<std::int32_t>(blocks.size()); ++number) {
    const block& here = blocks[static_cast<std::size_t>(number)];
    const bool outside = number < stage.first_block || number >= stage.end_block;
    for (const phase when : {phase::forward, phase::backward})
      find_uses(whole, nodes_of(whole, here.region, when), here, when, outside, uses);
    if (!outside) find_uses(whole, recomputed.again(number), here, phase::backward, false, uses);
  }
  for (const instance& what : results_of(whole)) {
    if (whole.values[what.value].kind != value_kind::parameter)
      uses.push_back({what, phase::forward, phase::forward, {}, true});
  }
  std::sort(uses.begin(), uses.end(), [](const auto& a, const auto& b) { return a.order() < b.order(); });
  return uses;
}

/// What tells values apart. What comes from another block is another value where that block is another, but is read
/// alike: the value comes last.
inline auto order_of(const read_value& each) {
  return std::tie(each.made_here, each.leaves, each.is_result, each.made_again, each.forward, each.backward,
                  each.value);
}

}  // namespace detail

MESHLOOM_INLINE std::vector<read_value> values_read(const graph& whole, const stage_plan& stage) {
  const auto is_inside = [&](const block& which) {
    const std::int32_t number = block_number(whole, which);
    return number >= stage.first_block && number < stage.end_block;
  };
  const recomputation recomputed(whole, stage);
  const std::vector<detail::instance_use> uses = detail::uses_of(whole, stage, recomputed);
  std::vector<read_value> found;
  for (std::size_t at = 0; at < uses.size();) {
    const auto key = uses[at].key();
    const instance what = uses[at].what;
    read_value next{.value = what.value, .copies = 1};
    next.made_here = whole.values[what.value].kind == value_kind::activation && is_inside(maker_of(whole, what));
    for (; at < uses.size() && uses[at].key() == key; ++at) {
      const bool is_result = uses[at].by.node == node_id::none;
      next.is_result = next.is_result || (is_result && next.made_here);
      next.leaves = next.leaves || (uses[at].outside && !is_result && next.made_here);
      if (!uses[at].outside) (uses[at].when == phase::forward ? next.forward : next.backward).push_back(uses[at].by);
    }
    if (next.forward.empty() && next.backward.empty() && !next.leaves && !next.is_result) continue;
    next.made_again = !next.backward.empty() && recomputed.drops(what);
    const auto known = std::find_if(found.begin(), found.end(), [&](const read_value& each) {
      return detail::order_of(each) == detail::order_of(next);
    });
    if (known == found.end())
      found.push_back(std::move(next));
    else
      ++known->copies;
  }
  std::sort(found.begin(), found.end(),
            [](const read_value& a, const read_value& b) { return detail::order_of(a) < detail::order_of(b); });
  return found;
}

}  // namespace meshloom
