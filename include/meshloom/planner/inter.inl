// SPDX-License-Identifier: Apache-2.0
// The bodies of inter.hpp.
#pragma once

#include <meshloom/planner/inter.hpp>
#include <meshloom/planner/inter_frontiers.hpp>
#include <meshloom/planner/inter_outlook.hpp>

#include <algorithm>
#include <limits>
#include <utility>

namespace meshloom {

namespace inter {

/// What the last stages of a plan, so many, add to a step from a state on: at least, and in a plan that is known.
struct prospect {
  std::int32_t stages = 0;
  picoseconds sum = never, slowest = never;              ///< no way to go on has less of either
  picoseconds known_sum = never, known_slowest = never;  ///< of one way to go on
  /// What those before leave in plans that are not beaten: the whole costs less than this, the sum is less than that,
  /// and the slowest takes so long.
  picoseconds room{-never.count}, room_of_sum{-never.count}, before = never;

  void add(const prospect& rest, picoseconds own, picoseconds at_least) {
    sum = std::min(sum, rest.sum + own);
    slowest = std::min(slowest, std::max(rest.slowest, at_least));
    const picoseconds made_sum = rest.known_sum + own, made_slowest = std::max(rest.known_slowest, at_least);
    if (made_sum + made_slowest >= known_sum + known_slowest) return;
    known_sum = made_sum;
    known_slowest = made_slowest;
  }
  bool is_open() const { return sum + std::max(slowest, before) < room && sum < room_of_sum; }
};

/// The prospects of the states of a lattice, by the number of stages to go.
class prospects {
 public:
  /// `all_numbers`: plans of every number of stages are asked for, or else only the cheapest of all.
  prospects(const lattice& grid, picoseconds worth, bool all_numbers, std::int64_t& work);

  std::span<const prospect> at(std::size_t state) const {
    return std::span(found_).subspan(begin_[state], end_[state] - begin_[state]);
  }

 private:
  std::span<prospect> at(std::size_t state) {
    return std::span(found_).subspan(begin_[state], end_[state] - begin_[state]);
  }
  void look_ahead(const lattice& grid, const vector<outlook>& before, const vector<remainder>& after,
                  picoseconds worth);
  void look_back(const lattice& grid, picoseconds worth, bool all_numbers);

  vector<prospect> found_;
  vector<std::uint32_t> begin_, end_;
};

MESHLOOM_INLINE prospects::prospects(const lattice& grid, picoseconds worth, bool all_numbers, std::int64_t& work)
    : begin_(grid.states()), end_(grid.states()) {
  if (grid.states() == 0) return;
  const auto before =
      inter::look_back(grid, false, [&](const outlook& here) { return here.sum + here.slowest < worth; });
  const auto after = survey(grid, before, work);
  const remainder& known = after.front();
  if (!all_numbers && known.known_sum < never)
    worth = std::min(worth, grid.cost(known.known_sum, known.known_slowest, known.known_stages) + picoseconds{1});
  look_ahead(grid, before, after, worth);
  look_back(grid, worth, all_numbers);
}

/// Rounds of all stages are left out: how many stages there are in all is not known. What is known holds where the
/// number of stages before does not matter.
MESHLOOM_INLINE void prospects::look_ahead(const lattice& grid, const vector<outlook>& before,
                                           const vector<remainder>& after, picoseconds worth) {
  vector<prospect> made(static_cast<std::size_t>(grid.most_stages()) + 1);
  for (std::size_t s = 0; s < made.size(); ++s) made[s].stages = static_cast<std::int32_t>(s);
  const vector<prospect> none = made;
  found_.push_back({0, {}, {}, {}, {}});
  end_.back() = 1;
  grid.for_each_state_back([&](std::size_t state, std::int32_t k, std::int32_t r) {
    const outlook& here = before[state];
    if (here.sum + after[state].sum + std::max(here.slowest, after[state].slowest) >= worth) return;
    const picoseconds room = worth - here.sum;
    std::int32_t least = grid.most_stages(), most = 0;
    grid.for_each_move(k, r, [&](const choice& by, const move& to) {
      const auto ways = std::as_const(*this).at(to.next);
      if (ways.empty()) return;
      const picoseconds at_least = std::max(by.rest, here.slowest);
      if (to.own + after[to.next].sum + std::max(at_least, after[to.next].slowest) >= room) return;
      least = std::min(least, ways.front().stages + 1);
      most = std::max(most, ways.back().stages + 1);
      for (const prospect& rest : ways) {
        const std::int32_t s = rest.stages + 1;
        if (by.least_stages <= s && s <= by.most_stages) made[static_cast<std::size_t>(s)].add(rest, to.own, at_least);
      }
    });
    begin_[state] = static_cast<std::uint32_t>(found_.size());
    for (auto s = static_cast<std::size_t>(least); s <= static_cast<std::size_t>(most); ++s) {
      if (made[s].sum + made[s].slowest < room) found_.push_back(made[s]);
      made[s] = none[s];
    }
    end_[state] = static_cast<std::uint32_t>(found_.size());
  });
}

/// Plans that are dearer than the known one, of as many stages or of all, are beaten.
MESHLOOM_INLINE void prospects::look_back(const lattice& grid, picoseconds worth, bool all_numbers) {
  const auto known = [&](const prospect& all) { return grid.cost(all.known_sum, all.known_slowest, all.stages); };
  if (!all_numbers) {
    for (const prospect& all : at(0)) worth = std::min(worth, known(all) + picoseconds{1});
  }
  for (prospect& all : at(0)) {
    all.room = std::min(worth, known(all) + picoseconds{1});
    all.room_of_sum = grid.most_passing(all.room, all.stages);
    all.before = {};
  }
  grid.for_each_state([&](std::size_t state, std::int32_t k, std::int32_t r) {
    const auto here = std::as_const(*this).at(state);
    if (std::none_of(here.begin(), here.end(), [](const prospect& each) { return each.is_open(); })) return;
    grid.for_each_move(k, r, [&](const choice& by, const move& to) {
      auto from = here.begin();
      for (prospect& rest : at(to.next)) {
        const std::int32_t s = rest.stages + 1;
        while (from != here.end() && from->stages < s) ++from;
        if (from == here.end()) return;
        if (from->stages != s || s < by.least_stages || s > by.most_stages || !from->is_open()) continue;
        rest.room = std::max(rest.room, from->room - to.own);
        rest.room_of_sum = std::max(rest.room_of_sum, from->room_of_sum - to.own);
        rest.before = std::min(rest.before, std::max(from->before, by.rest));
      }
    });
  });
}

/// What the end of a plan adds to a step: the sum of its stages and of the messages around them, and its slowest stage;
/// and how it goes on.
struct ending {
  picoseconds sum, slowest;
  std::int32_t stages = 0, candidate = -1;
  std::uint32_t next = 0;

  std::size_t lane() const { return static_cast<std::size_t>(stages); }
  bool covers(const ending& other) const { return sum <= other.sum && slowest <= other.slowest; }
};

/// All endings that may be those of the cheapest plan of some number of stages, by state.
MESHLOOM_INLINE frontiers<ending> find_endings(const lattice& grid, picoseconds worth, bool all_numbers,
                                               std::int64_t& work) {
  const prospects open(grid, worth, all_numbers, work);
  frontiers<ending> ends(grid.states(), static_cast<std::size_t>(grid.most_stages()) + 1);
  if (grid.states() == 0) return ends;
  ends.add({});
  ends.close(grid.states() - 1);
  grid.for_each_state_back([&](std::size_t state, std::int32_t k, std::int32_t r) {
    const auto here = open.at(state);
    if (std::none_of(here.begin(), here.end(), [](const prospect& each) { return each.is_open(); })) return;
    grid.for_each_move(k, r, [&](const choice& by, const move& to) {
      auto from = here.begin();
      for (const ending& rest : ends.at(to.next)) {
        const std::int32_t s = rest.stages + 1;
        while (from != here.end() && from->stages < s) ++from;
        if (from == here.end()) return;
        if (from->stages != s || s < by.least_stages || s > by.most_stages) continue;
        ++work;
        // to be faster than the slowest of those before gains nothing
        const ending made{rest.sum + to.own, std::max({rest.slowest, by.rest, from->before}), s, by.candidate,
                          ends.number_of(rest)};
        if (made.sum + made.slowest < from->room && made.sum < from->room_of_sum) ends.add(made);
      }
    });
    ends.close(state);
  });
  return ends;
}

/// What the fullest rank of the end of a plan holds; where limits differ, as if all were the largest: by so much more
/// as its own is smaller.
struct fullest {
  bytes holds;
  std::int32_t stages = 0;

  std::size_t lane() const { return 0; }
  bool covers(const fullest& other) const { return holds <= other.holds && stages <= other.stages; }
};

/// The largest limit of any group; 0 if there is none.
MESHLOOM_INLINE bytes largest_limit(const inter_problem& posed) {
  bytes most = posed.limit.value_or(bytes{});
  for (const inter_group& each : posed.others) most = std::max(most, each.limit.value_or(bytes{}));
  return most;
}

/// The plan whose fullest rank holds least; of no stages if there is no plan. Its problem is one of bytes for times.
MESHLOOM_INLINE fullest find_leanest(const inter_problem& posed) {
  inter_problem sizes = posed;
  sizes.micro_batches = 1;
  sizes.limit.reset();
  for (inter_group& each : sizes.others) each.limit.reset();
  const bytes largest = largest_limit(posed);
  for (stage_candidate& each : sizes.candidates) {
    const auto limit = limit_of(posed, each.kind);
    each.time = {each.held.count + (limit ? largest - *limit : bytes{}).count};
    each.once = {each.slot.count};
  }
  const lattice grid(sizes);
  frontiers<fullest> plans(grid.states(), 1);
  fullest found{{never.count}};
  if (grid.states() == 0) return {};
  plans.add({});
  plans.close(grid.states() - 1);
  grid.for_each_state_back([&](std::size_t state, std::int32_t k, std::int32_t r) {
    grid.for_each_move(k, r, [&](const choice& each, const move& to) {
      for (const fullest& rest : plans.at(to.next)) {
        const int slots = slots_in_flight(posed.schedule, rest.stages + 1, 0, posed.micro_batches);
        plans.add({std::max(rest.holds, bytes{each.time.count + slots * each.rest.count}), rest.stages + 1});
      }
    });
    plans.close(state);
  });
  for (const fullest& each : plans.at(0))
    found = std::min(found, each, [](auto& a, auto& b) { return a.holds < b.holds; });
  return found.holds.count < never.count ? found : fullest{};
}

/// The first block that no sequence of stages from the start gets past; the number of blocks if there is none.
MESHLOOM_INLINE std::int32_t stuck_at(const inter_problem& posed) {
  vector<vector<std::int32_t>> ends(static_cast<std::size_t>(posed.blocks));
  for (const stage_candidate& each : posed.candidates) {
    for (std::int32_t n = 0; n <= each.shifts; ++n)
      ends[static_cast<std::size_t>(each.first_block + n)].push_back(each.end_block + n);
  }
  vector<bool> reached(static_cast<std::size_t>(posed.blocks) + 1);
  reached[0] = true;
  std::int32_t furthest = 0;
  for (std::size_t k = 0; k < ends.size(); ++k) {
    const auto block = static_cast<std::int32_t>(k);
    const bool may_begin = posed.stops.empty() || std::binary_search(posed.stops.begin(), posed.stops.end(), block);
    for (const std::int32_t end : ends[k]) {
      if (!reached[k] || !may_begin) continue;
      reached[static_cast<std::size_t>(end)] = true;
      furthest = std::max(furthest, end);
    }
  }
  return furthest;
}

/// "1, 2, 8": the numbers of ranks that stages have.
MESHLOOM_INLINE std::string sizes_of(const inter_problem& posed) {
  vector<std::int32_t> sizes;
  for (const stage_candidate& each : posed.candidates) sizes.push_back(each.ranks);
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  std::string text;
  for (const std::int32_t ranks : sizes) text += (text.empty() ? "" : ", ") + std::to_string(ranks);
  return text;
}

/// Why there is no plan, where there is none.
MESHLOOM_INLINE failure why_none(const inter_problem& posed) {
  if (posed.worth)
    return {"no plan costs less than the " + std::to_string(posed.worth->count) + " ps that it is worth"};
  const std::string blocks = std::to_string(posed.blocks);
  if (const std::int32_t block = stuck_at(posed); block < posed.blocks) {
    return {"no stages cover the " + blocks + " blocks: those that can be reached end before block " +
            std::to_string(block) + ", where none begins; price stages that begin there"};
  }
  const fullest lean = find_leanest(posed);
  if (lean.stages == 0) {
    return {"no stages that cover the " + blocks + " blocks tile " + hosts_of(posed) + " in order; they have " +
            sizes_of(posed) + " ranks: price stages of other numbers of ranks"};
  }
  const std::string leanest = std::to_string(lean.stages) + (lean.stages == 1 ? " stage" : " stages");
  const std::string more = std::to_string((lean.holds - largest_limit(posed)).count);
  if (!posed.others.empty())
    return {"no plan keeps to the limits of all groups of hosts: the leanest, of " + leanest + ", holds " + more +
            " bytes more per rank than one of them; raise the limit or price leaner stages"};
  return {"no plan keeps to the limit of " + std::to_string(posed.limit->count) + " bytes per rank: the leanest, of " +
          leanest + ", holds " + std::to_string(lean.holds.count) + " bytes, " + more +
          " more; raise the limit or price leaner stages"};
}

}  // namespace inter

namespace inter {

MESHLOOM_INLINE result<inter_answer> solve(const inter_problem& posed, bool all_numbers, std::int64_t* work) {
  if (const auto faults = check(posed); !faults.empty()) return failure{faults.front()};
  const inter::lattice grid(posed);
  std::int64_t here = 0;
  const auto ends = inter::find_endings(grid, posed.worth.value_or(inter::never), all_numbers, here);
  if (work != nullptr) *work += here;
  if (grid.states() == 0 || ends.at(0).empty()) return inter::why_none(posed);
  vector<const inter::ending*> cheapest(static_cast<std::size_t>(grid.most_stages()) + 1);
  const auto cost = [&](const inter::ending& each) { return grid.cost(each.sum, each.slowest, each.stages); };
  for (const inter::ending& each : ends.at(0)) {
    if (posed.worth && cost(each) >= *posed.worth) continue;
    const inter::ending*& known = cheapest[each.lane()];
    if (!known || cost(each) < cost(*known)) known = &each;
  }
  inter_answer answer{{{}, inter::never}, {}};
  for (const inter::ending* each : cheapest) {
    answer.by_stages.emplace_back();
    if (!each) continue;
    inter_plan& found = answer.by_stages.back().emplace(inter_plan{{}, cost(*each)});
    for (; each->candidate >= 0; each = &ends[each->next]) found.candidates.push_back(each->candidate);
    if (found.cost < answer.best.cost) answer.best = found;
  }
  if (answer.best.candidates.empty()) return inter::why_none(posed);
  return answer;
}

}  // namespace inter

MESHLOOM_INLINE result<inter_answer> solve(const inter_problem& posed, std::int64_t* work) {
  return inter::solve(posed, true, work);
}

MESHLOOM_INLINE result<inter_plan> cheapest(const inter_problem& posed, std::int64_t* work) {
  auto found = inter::solve(posed, false, work);
  if (!found) return failure{found.error()};
  return std::move(found.value().best);
}

}  // namespace meshloom
