// SPDX-License-Identifier: Apache-2.0
// The bodies of inter_bound.hpp.
#pragma once

#include <meshloom/planner/inter_bound.hpp>
#include <meshloom/planner/inter_frontiers.hpp>
#include <meshloom/planner/inter_outlook.hpp>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

namespace meshloom {
namespace inter {

/// By how much a stage makes those before it idle (`idle_of`), at the least, where none takes longer than `slowest`.
struct idling {
  schedule_kind schedule = schedule_kind::forward_only;  ///< under which none idles
  picoseconds slowest;
  bool apart = false;  ///< whatever the number of stages, the first and the last micro-batch come back one by one

  /// `passing`: of one micro-batch, through the stage and with the messages in front of it.
  picoseconds behind(picoseconds passing) const {
    if (schedule == schedule_kind::forward_only) return {};
    if (schedule == schedule_kind::gpipe) return passing;
    const picoseconds idle = passing + std::min(passing - slowest, picoseconds{});
    return apart ? idle : picoseconds{idle.count >> 1};
  }
};

/// In plans that cost less than `worth`.
MESHLOOM_INLINE idling idling_in(const lattice& grid, const inter_problem& posed, picoseconds worth) {
  picoseconds longest;
  for (const stage_candidate& each : posed.candidates)
    longest = std::max(longest, longest_time(each, posed.micro_batches));
  return {posed.schedule, std::min(longest, {worth.count / posed.micro_batches + 1}),
          posed.micro_batches > grid.most_stages()};
}

/// What the end of a plan makes a step take: the wait for its first micro-batch to come back, with others to work on
/// meanwhile, and its slowest stage; and how long it makes those before it idle, less than nothing where it is fast.
/// `stages` are not counted where their number makes no difference.
struct wait {
  picoseconds time, slowest, idle;
  std::int32_t stages = 0;

  std::size_t lane() const { return 0; }
  bool covers(const wait& other) const {
    return time <= other.time && slowest <= other.slowest && idle <= other.idle && stages <= other.stages;
  }
};

/// The least bound of a plan, whatever pace it keeps, or `worth` if there is none below; none after `most_tried` ends
/// of plans.
MESHLOOM_INLINE std::optional<picoseconds> least_at_any_pace(const lattice& grid, std::int64_t batches,
                                                             picoseconds worth, const idling& idle,
                                                             std::int64_t most_tried) {
  const auto before = look_back(grid, true, [&](const outlook& each) { return each.sum < worth; });
  frontiers<wait> waits(before.size(), 1);
  if (before.empty()) return worth;
  waits.add({});
  waits.close(before.size() - 1);
  grid.for_each_state_back([&](std::size_t state, std::int32_t k, std::int32_t r) {
    const picoseconds sum = before[state].sum, cut = grid.cut(k, r);
    if (sum == never || most_tried < 0) return;
    grid.for_each_move(k, r, [&](const choice& each, const move& to) {
      if (sum + cut + batches * each.time >= worth || most_tried < 0) return;
      for (const wait& rest : waits.at(to.next)) {
        const std::int32_t stages = std::min(rest.stages + 1, grid.settled());
        if (stages < each.least_stages || stages > each.most_stages) continue;
        --most_tried;
        const picoseconds idles = std::max(rest.idle, picoseconds{});
        const picoseconds time = std::max(batches * each.time + idles, each.time + rest.time) + cut;
        // to be faster than what waits for the stages before gains nothing
        const wait made{time, std::max({rest.slowest, each.time + each.rest + idles, sum + time}),
                        rest.idle + idle.behind(each.time + cut), stages};
        if (made.slowest < worth) waits.add(made);
      }
    });
    waits.close(state);
  });
  if (most_tried < 0) return std::nullopt;
  for (const wait& each : waits.at(0)) worth = std::min(worth, each.slowest);
  return worth;
}

/// What the end of a plan that keeps to a bound makes those before it take: the wait for its first micro-batch to come
/// back, how long it makes them idle, and by how much those of its stages that come next exceed the bound at the most,
/// on average, with the messages between them and with half of those in front of it.
struct bounded_ending {
  picoseconds wait, idle, beyond;
  std::int32_t stages = 0, candidate = -1;
  std::uint32_t next = 0;

  std::size_t lane() const { return 0; }
  bool covers(const bounded_ending& other) const {
    return wait <= other.wait && idle <= other.idle && beyond <= other.beyond && stages <= other.stages;
  }
};

/// Looks for plans of which it cannot be said that they take more than so long.
class bounded_search {
 public:
  bounded_search(const lattice& grid, const inter_problem& posed)
      : grid_(grid),
        batches_(posed.micro_batches),
        messages_(posed.schedule == schedule_kind::one_f_one_b ? std::max(posed.micro_batches - grid.most_stages(), 0)
                                                               : 0),
        idle_(idling_in(grid, posed, never)) {}

  /// The candidates of such a plan; none if there is none.
  vector<std::int32_t> find(picoseconds most);

  /// Such a plan where that is the least, as its cost, and not less than what is known; of no stages if no less than
  /// what it is worth.
  inter_plan least(picoseconds known, picoseconds worth, std::int64_t closeness);

  std::int64_t work() const { return work_; }

 private:
  bool is_too_much() const {
    constexpr std::int64_t most_tried = 50'000;  // ends of plans
    return tried_ >= most_tried && waits_;
  }
  void find_before(picoseconds most);
  /// By how much a stage makes those before it idle in a plan that takes no more than that.
  picoseconds idle_behind(picoseconds passing, picoseconds most) const {
    if (!idles_) return {};
    idling here = idle_;
    here.slowest = std::min(here.slowest, {most.count / batches_ + 1});
    return here.behind(passing);
  }
  void extend(frontiers<bounded_ending>& ends, std::size_t state, std::int32_t k, std::int32_t r, picoseconds most);

  const lattice& grid_;
  std::int64_t batches_;
  std::int64_t messages_;  ///< so many at a cut keep both stages beside it from working
  idling idle_;
  vector<picoseconds> before_;  ///< by state, what a micro-batch takes to get there and back
  std::int64_t tried_ = 0, work_ = 0;
  /// What is left out where it makes too much to look at: the waits for stages behind, and then for micro-batches to
  /// come back from them.
  bool idles_ = true, waits_ = true;
};

MESHLOOM_INLINE void bounded_search::find_before(picoseconds most) {
  before_.assign(grid_.states(), never);
  before_.front() = {};
  grid_.for_each_state([&](std::size_t state, std::int32_t k, std::int32_t r) {
    const picoseconds here = before_[state];
    if (here > most) return;
    grid_.for_each_move(k, r, [&](const choice& each, const move& to) {
      if (each.time + each.rest > most) return;
      ++work_;
      picoseconds& next = before_[to.next];
      next = std::min(next, here + to.entering + each.time + to.leaving);
    });
  });
}

/// What lies further below the bound than the messages in front make good never matters.
MESHLOOM_INLINE void bounded_search::extend(frontiers<bounded_ending>& ends, std::size_t state, std::int32_t k,
                                            std::int32_t r, picoseconds most) {
  const picoseconds spare{-messages_ * (grid_.cut(k, r).count / 2)};
  grid_.for_each_move(k, r, [&](const choice& each, const move& to) {
    const picoseconds own = each.time + each.rest;
    if (own > most) return;
    ++work_;
    for (const bounded_ending& rest : ends.at(to.next)) {
      if (is_too_much()) return;
      ++tried_;
      const std::int32_t stages = std::min(rest.stages + 1, grid_.settled());
      if (stages < each.least_stages || stages > each.most_stages) continue;
      const picoseconds idles = std::max(rest.idle, picoseconds{});
      const picoseconds wait = std::max(batches_ * each.time + idles, each.time + to.leaving + rest.wait) + to.entering;
      const picoseconds here = own - most + std::max(rest.beyond + messages_ * to.leaving, picoseconds{});
      if (before_[state] + wait > most || own + idles > most || here.count > 0) continue;
      const picoseconds idle = rest.idle + idle_behind(each.time + to.entering, most);
      ends.add({waits_ ? wait : picoseconds{}, idle, std::max(here + messages_ * to.entering, spare), stages,
                each.candidate, ends.number_of(rest)});
    }
  });
}

MESHLOOM_INLINE vector<std::int32_t> bounded_search::find(picoseconds most) {
  vector<std::int32_t> found;
  if (grid_.states() == 0) return found;
  find_before(most);
  tried_ = 0;
  frontiers<bounded_ending> ends(grid_.states(), 1);
  ends.add({});
  ends.close(grid_.states() - 1);
  grid_.for_each_state_back([&](std::size_t state, std::int32_t k, std::int32_t r) {
    if (before_[state] <= most && !is_too_much()) extend(ends, state, k, r, most);
    ends.close(state);
  });
  work_ += tried_;
  if (is_too_much()) {
    (idles_ ? idles_ : waits_) = false;
    return find(most);
  }
  if (ends.at(0).empty()) return found;
  for (const bounded_ending* each = &ends.at(0).front(); each->candidate >= 0; each = &ends[each->next])
    found.push_back(each->candidate);
  return found;
}

/// Halves the interval between what no plan keeps to and what one does; that is looked for from below, where there is
/// less to look at.
MESHLOOM_INLINE inter_plan bounded_search::least(picoseconds known, picoseconds worth, std::int64_t closeness) {
  constexpr std::int64_t first_step = 256;  // of what is known to be too little, one part in so many
  if (known >= worth) return {{}, worth};
  if (auto found = find(known); !found.empty()) return {std::move(found), known};
  picoseconds little = known, enough = known;
  vector<std::int32_t> best;
  for (std::int64_t step = known.count / first_step + 1; best.empty(); step *= 2) {
    little = enough;
    if (little + picoseconds{1} >= worth) return {{}, worth};
    enough = std::min(worth - picoseconds{1}, little + picoseconds{step});
    best = find(enough);
  }
  while (enough.count - little.count > 1 + little.count / closeness) {
    const picoseconds middle{little.count + (enough.count - little.count) / 2};
    auto found = find(middle);
    (found.empty() ? little : enough) = middle;
    if (!found.empty()) best = std::move(found);
  }
  return {std::move(best), little + picoseconds{1}};
}

}  // namespace inter

MESHLOOM_INLINE result<picoseconds> bound_of(const inter_problem& posed) {
  if (const auto faults = check(posed); !faults.empty()) return failure{faults.front()};
  const inter::lattice grid(posed);
  const picoseconds worth = posed.worth.value_or(inter::never);
  constexpr std::int64_t most_tried = 50'000, all = std::numeric_limits<std::int64_t>::max();
  const std::int32_t batches = posed.micro_batches;
  auto bound = inter::least_at_any_pace(grid, batches, worth, inter::idling_in(grid, posed, worth), most_tried);
  if (!bound) bound = inter::least_at_any_pace(grid, batches, worth, {}, all);
  if (*bound == inter::never) return inter::why_none(posed);
  return *bound;
}

MESHLOOM_INLINE result<inter_plan> least_bound(const inter_problem& posed, picoseconds known, std::int64_t closeness,
                                               std::int64_t* work) {
  if (const auto faults = check(posed); !faults.empty()) return failure{faults.front()};
  const inter::lattice grid(posed);
  inter::bounded_search search(grid, posed);
  inter_plan found = search.least(known, posed.worth.value_or(inter::never), closeness);
  if (work != nullptr) *work += search.work();
  if (found.cost == inter::never) return inter::why_none(posed);
  return found;
}

}  // namespace meshloom
