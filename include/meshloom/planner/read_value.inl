// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/plan.hpp>
#include <meshloom/planner/read_value.hpp>

#include <algorithm>
#include <tuple>

namespace meshloom {
namespace detail {

/// One reading of one instance.
struct instance_use {
  instance what;
  phase pass = phase::forward;  ///< of a parameter's reader; parameters are looked at pass by pass
  phase when = phase::forward;
  reading by;
  bool outside = false;

  auto key() const { return std::tuple(what, pass); }
  auto order() const { return std::tuple(what, pass, when, by); }
};

inline void find_uses(const graph& whole, const block& here, bool outside, std::vector<instance_use>& uses) {
  for (const phase when : {phase::forward, phase::backward}) {
    for (const node_id id : nodes_of(whole, here.region, when)) {
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
}

/// What comes from another block is another value where that block is another, but is read alike.
inline void sort_by_readers(std::vector<read_value>& values) {
  std::sort(values.begin(), values.end(), [](const read_value& a, const read_value& b) {
    const auto key = [](const read_value& each) {
      return std::tie(each.made_here, each.leaves, each.is_result, each.forward, each.backward, each.value);
    };
    return key(a) < key(b);
  });
}

}  // namespace detail

MESHLOOM_INLINE std::vector<read_value> values_read(const graph& whole, std::int32_t first_block,
                                                    std::int32_t end_block) {
  const auto blocks = blocks_of(whole);
  const auto is_inside = [&](const block& which) {
    const std::int32_t number = block_number(whole, which);
    return number >= first_block && number < end_block;
  };
  std::vector<detail::instance_use> uses;
  for (const block& here : blocks) detail::find_uses(whole, here, !is_inside(here), uses);
  for (const instance& what : results_of(whole)) {
    if (whole.values[what.value].kind != value_kind::parameter)
      uses.push_back({what, phase::forward, phase::forward, {}, true});
  }
  std::sort(uses.begin(), uses.end(), [](const auto& a, const auto& b) { return a.order() < b.order(); });
  std::vector<read_value> found;
  for (std::size_t at = 0; at < uses.size();) {
    const auto key = uses[at].key();
    const value& entry = whole.values[uses[at].what.value];
    read_value next{.value = uses[at].what.value, .copies = 1};
    next.made_here = entry.kind == value_kind::activation && is_inside(maker_of(whole, uses[at].what));
    for (; at < uses.size() && uses[at].key() == key; ++at) {
      const bool is_result = uses[at].by.node == node_id::none;
      next.is_result = next.is_result || (is_result && next.made_here);
      next.leaves = next.leaves || (uses[at].outside && !is_result && next.made_here);
      if (!uses[at].outside) (uses[at].when == phase::forward ? next.forward : next.backward).push_back(uses[at].by);
    }
    if (next.forward.empty() && next.backward.empty() && !next.leaves && !next.is_result) continue;
    const auto same = [&](const read_value& known) {
      return known.value == next.value && known.made_here == next.made_here && known.leaves == next.leaves &&
             known.is_result == next.is_result && known.forward == next.forward && known.backward == next.backward;
    };
    const auto known = std::find_if(found.begin(), found.end(), same);
    if (known == found.end())
      found.push_back(std::move(next));
    else
      ++known->copies;
  }
  detail::sort_by_readers(found);
  return found;
}

}  // namespace meshloom
