// SPDX-License-Identifier: Apache-2.0
#include <meshloom/schedule/loops.hpp>

namespace meshloom {

namespace detail {

/// A loop in a list of actions: `saved` actions that repeat the `length` actions before them.
struct repetition {
  std::size_t begin = 0;
  std::size_t length = 0;
  std::size_t saved = 0;
  std::int32_t advance = 1;
};

/// By how many micro-batches `later` is the same action again; 0 if it is another action.
inline std::int32_t advance_of(const action& earlier, const action& later) {
  const bool same = earlier.kind == later.kind && earlier.index == later.index;
  return same ? std::max(later.micro_batch - earlier.micro_batch, 0) : 0;
}

inline repetition best_repetition(std::span<const action> actions) {
  repetition best;
  for (std::size_t length = 1; length <= longest_body && length + best.saved < actions.size(); ++length) {
    std::size_t run = 0;  // actions up to here that repeat the one `length` before, all by the same advance
    std::int32_t advance = 0;
    for (std::size_t at = length; at < actions.size(); ++at) {
      const std::int32_t here = advance_of(actions[at - length], actions[at]);
      run = here == 0 ? 0 : here == advance ? run + 1 : 1;
      advance = here;
      if (run > best.saved && run % length == 0) best = {at + 1 - run - length, length, run, advance};
    }
  }
  return best;
}

inline void fold_onto(vector<loop>& loops, std::span<const action> actions) {
  if (actions.empty()) return;
  const auto [begin, length, saved, advance] = best_repetition(actions);
  if (saved == 0) {
    loops.push_back({1, {actions.begin(), actions.end()}});
    return;
  }
  const auto body = actions.subspan(begin, length);
  fold_onto(loops, actions.first(begin));
  loops.push_back({static_cast<std::int32_t>(saved / length + 1), {body.begin(), body.end()}, advance});
  fold_onto(loops, actions.subspan(begin + length + saved));
}

}  // namespace detail

MESHLOOM_INLINE vector<loop> fold(std::span<const action> actions) {
  vector<loop> loops;
  detail::fold_onto(loops, actions);
  return loops;
}

MESHLOOM_INLINE vector<action> expand(std::span<const loop> loops) {
  vector<action> actions;
  for_each_action(loops, [&](const action& each) { actions.push_back(each); });
  return actions;
}

}  // namespace meshloom
