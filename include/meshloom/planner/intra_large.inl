// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_large.hpp.
#pragma once

#include <meshloom/planner/intra_large.hpp>
#include <meshloom/planner/intra_moments.hpp>
#include <meshloom/planner/intra_search.hpp>

#include <algorithm>

namespace meshloom::intra {

MESHLOOM_INLINE large_search::large_search(const network& net, const intra_options& limits, assignment best,
                                           part_solver solve_part)
    : net_(net), limits_(limits), solve_part_(solve_part), inner_(net, 0) {
  if (!best.empty()) offer(best);
}

MESHLOOM_INLINE bool large_search::tired() const {
  return closes(net_, bound_, best_price_) || count_.work >= limits_.most_work || (limits_.stop && limits_.stop());
}

/// At first, and until something legal is met, all work goes to the bound, then a quarter: what good multipliers
/// suggest is where to begin.
MESHLOOM_INLINE void large_search::run() {
  constexpr std::uint64_t first_turns = 8, most_turns_without = 20;
  std::int64_t raising = 0;
  do {
    const std::int64_t before = count_.work;
    raise();
    raising += count_.work - before;
    ++turns_;
    if (best_.empty() && turns_ >= first_turns) repair();
    while (!best_.empty() && turns_ >= first_turns && !tired() && count_.work < 4 * raising) improve();
  } while (!tired() && (!best_.empty() || turns_ < most_turns_without));
}

/// Some rounds at the moments known; those that the assignments on the way overfill are known from then on.
MESHLOOM_INLINE void large_search::raise() {
  constexpr std::int32_t rounds = 25;
  const network some = at_moments(net_, moments_);
  vector<std::int32_t> more;
  assignment last;
  up_ = ascend(
      some, inner_, std::move(up_.at), rounds,
      [&](const assignment& met) {
        add_moments(more, overfull(net_, held(net_, met)));
        offer(met);
        return best_price_;
      },
      std::max(up_.halvings - 1, 0), limits_.stop);
  if (std::min(up_.bound, best_price_) > bound_) {
    bound_ = std::min(up_.bound, best_price_);
    count_.byte_prices.clear();
    for (std::size_t m = 0; m < some.times.size(); ++m) {
      if (up_.at[m] > 0) count_.byte_prices.emplace_back(some.times[m], up_.at[m]);
    }
  }
  count_.rounds += up_.rounds;
  count_.work += up_.rounds * (inner_.work() + 1000);  // small networks take their time as well
  if (!add_moments(moments_, more)) return;
  up_.at = carried(some.times, up_.at, at_moments(net_, moments_).times);
}

/// Single moves that make the leanest assignment fit.
MESHLOOM_INLINE void large_search::repair() {
  if (leanest_.empty()) return;
  local_search search(net_, limits_.seed, 40 * inner_.work());
  search.start(leanest_);
  search.descend();
  count_.work += search.work();
  offer(search.options());
}

/// A number of neighbourhoods of the best.
MESHLOOM_INLINE void large_search::improve() {
  constexpr int tries = 200;
  neighbourhoods around(net_, best_, limits_.seed + static_cast<std::uint64_t>(count_.nodes) + turns_);
  for (int t = 0; t < tries && !tired(); ++t) improve_around(around, kinds_[around.random() % 2]);
  offer(around.options());
}

/// Solves one exactly, or nearly: the more of them are, the larger are the next.
MESHLOOM_INLINE void large_search::improve_around(neighbourhoods& around, kind& chosen) {
  constexpr std::size_t least = 10;
  intra_options limits;
  limits.quick_entries = 1 << 14;
  limits.most_entries = 1 << 16;
  limits.neighbourhoods = 0;
  limits.nodes = 20;
  limits.most_work = 30'000'000;
  limits.stop = limits_.stop;
  const std::size_t size = 2 + around.random() % chosen.most;
  const vector<std::int32_t> members = (around.*chosen.choose)(size);
  const part_answer part = solve_part_(around.around(members), around.chosen(members), limits);
  if (part.closed && 4 * size > 3 * chosen.most) chosen.most += 1 + chosen.most / 20;
  if (!part.closed) chosen.most = std::max(least, chosen.most * 9 / 10);
  around.choose(members, part.best);
  ++count_.nodes;
  count_.work += part.work + static_cast<std::int64_t>(net_.room.size()) + 1000;
}

MESHLOOM_INLINE void large_search::offer(const assignment& options) {
  const std::int64_t price = price_of(net_, options);
  if (price >= never) return;
  const wide excess = intra::excess(net_, held(net_, options));
  if (leanest_.empty() || excess < least_excess_) leanest_ = options, least_excess_ = excess;
  if (excess == 0 && price < best_price_) best_ = options, best_price_ = price;
}

}  // namespace meshloom::intra
