// SPDX-License-Identifier: Apache-2.0
#include <meshloom/schedule/loops.hpp>

namespace meshloom {

namespace detail {

/// A loop in a list of steps: `saved` steps that repeat the `length` steps before them.
struct repetition {
  std::size_t begin = 0;
  std::size_t length = 0;
  std::size_t saved = 0;
  std::int32_t advance = 1;
};

/// By how many micro-batches `later` is the same step again; 0 if it is another step.
inline std::int32_t advance_of(const step& earlier, const step& later) {
  const bool same = earlier.kind == later.kind && earlier.index == later.index;
  return same ? std::max(later.micro_batch - earlier.micro_batch, 0) : 0;
}

inline repetition best_repetition(std::span<const step> steps) {
  repetition best;
  for (std::size_t length = 1; length <= longest_body && length + best.saved < steps.size(); ++length) {
    std::size_t run = 0;  // steps up to here that repeat the one `length` before, all by the same advance
    std::int32_t advance = 0;
    for (std::size_t at = length; at < steps.size(); ++at) {
      const std::int32_t here = advance_of(steps[at - length], steps[at]);
      run = here == 0 ? 0 : here == advance ? run + 1 : 1;
      advance = here;
      if (run > best.saved && run % length == 0) best = {at + 1 - run - length, length, run, advance};
    }
  }
  return best;
}

inline void fold_onto(std::vector<loop>& loops, std::span<const step> steps) {
  if (steps.empty()) return;
  const auto [begin, length, saved, advance] = best_repetition(steps);
  if (saved == 0) {
    loops.push_back({1, {steps.begin(), steps.end()}});
    return;
  }
  const auto body = steps.subspan(begin, length);
  fold_onto(loops, steps.first(begin));
  loops.push_back({static_cast<std::int32_t>(saved / length + 1), {body.begin(), body.end()}, advance});
  fold_onto(loops, steps.subspan(begin + length + saved));
}

}  // namespace detail

MESHLOOM_INLINE std::vector<loop> fold(std::span<const step> steps) {
  std::vector<loop> loops;
  detail::fold_onto(loops, steps);
  return loops;
}

MESHLOOM_INLINE std::vector<step> expand(std::span<const loop> loops) {
  std::vector<step> steps;
  for (const loop& l : loops) {
    for (std::int32_t iteration = 0; iteration < l.count; ++iteration) {
      for (step now : l.body) {
        now.micro_batch += iteration * l.advance;
        steps.push_back(now);
      }
    }
  }
  return steps;
}

}  // namespace meshloom
