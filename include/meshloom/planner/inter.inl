// SPDX-License-Identifier: Apache-2.0
// The bodies of inter.hpp.
#pragma once

#include <meshloom/planner/inter.hpp>
#include <meshloom/planner/inter_lattice.hpp>

#include <algorithm>

namespace meshloom {

namespace inter {

/// What the stages before a state leave to those from it on.
struct outlook {
  picoseconds slowest = never;    ///< the slowest of those before takes at least this: being faster gains nothing
  picoseconds allowance = never;  ///< what costs more is beaten by a known plan of as many stages
};

/// By state; nothing is beaten yet. Where no plan passes, `slowest` is `never`.
MESHLOOM_INLINE std::vector<outlook> look_back(const lattice& grid) {
  std::vector<outlook> states(grid.states_below(grid.most_stages() + 1));
  for (std::int32_t s = grid.most_stages(); s > 0; --s) {
    states[grid.at(s, 0, 0)].slowest = {};
    for (std::int32_t k = 0; k < grid.blocks(); ++k) {
      grid.for_each_move(s, k, [&](const choice& each, std::int32_t r) {
        picoseconds& next = states[grid.at(s - 1, each.end, r + each.ranks)].slowest;
        next = std::min(next, std::max(states[grid.at(s, k, r)].slowest, each.rest));
      });
    }
  }
  return states;
}

/// What the end of a plan adds to a step: the sum of its stages and of the cuts in front of them, and its slowest
/// stage.
struct ending {
  picoseconds sum = never, slowest;

  picoseconds cost() const { return sum + slowest; }
  auto operator<=>(const ending&) const = default;

  /// One stage longer.
  ending after(picoseconds own, picoseconds at_least) const { return {sum + own, std::max(slowest, at_least)}; }
};

/// By number of stages, what some plan costs, `never` if there is none: every state keeps its cheapest ending,
/// though the stages before may be better served by another.
MESHLOOM_INLINE std::vector<picoseconds> known_costs(const lattice& grid, const std::vector<outlook>& states) {
  std::vector<ending> best(states.size());
  best[grid.at(0, grid.blocks(), grid.ranks())].sum = {};
  std::vector<picoseconds> costs{never};
  for (std::int32_t s = 1; s <= grid.most_stages(); ++s) {
    for (std::int32_t k = 0; k < grid.blocks(); ++k) {
      grid.for_each_move(s, k, [&](const choice& each, std::int32_t r) {
        const std::size_t here = grid.at(s, k, r);
        const picoseconds at_least = std::max(each.rest, states[here].slowest);
        const ending made = best[grid.at(s - 1, each.end, r + each.ranks)].after(each.time + grid.cut(k, r), at_least);
        if (made.cost() < best[here].cost()) best[here] = made;
      });
    }
    costs.push_back(best[grid.at(s, 0, 0)].cost());
  }
  return costs;
}

/// Only what is no dearer than the plan known of as many stages is allowed.
MESHLOOM_INLINE void allow(const lattice& grid, const std::vector<picoseconds>& costs, std::vector<outlook>& states) {
  constexpr picoseconds nothing{-never.count};
  for (outlook& each : states) each.allowance = nothing;
  for (std::int32_t s = grid.most_stages(); s > 0; --s) {
    const picoseconds known = costs[static_cast<std::size_t>(s)];
    if (known < never) states[grid.at(s, 0, 0)].allowance = known;
    for (std::int32_t k = 0; k < grid.blocks(); ++k) {
      grid.for_each_move(s, k, [&](const choice& each, std::int32_t r) {
        picoseconds& next = states[grid.at(s - 1, each.end, r + each.ranks)].allowance;
        next = std::max(next, states[grid.at(s, k, r)].allowance - each.time - grid.cut(k, r));
      });
    }
  }
}

/// The Pareto frontier of endings of every state, and how they go on.
class frontiers {
 public:
  frontiers(const lattice& grid, const std::vector<outlook>& states);

  /// The cheapest plan of so many stages; costs `never` if there is none.
  inter_plan plan(std::int32_t stages) const;

 private:
  struct label {
    ending what;
    std::int32_t candidate = -1;
    std::uint32_t next = 0;
    auto operator<=>(const label&) const = default;
  };

  void gather(std::int32_t s, std::int32_t k, const std::vector<outlook>& states);
  void settle(std::vector<label>& found);

  const lattice& grid_;
  std::vector<label> labels_;                ///< by state; those of one state by sum
  std::vector<std::size_t> begin_;           ///< of the labels of each state and of the next
  std::vector<std::vector<label>> by_rank_;  ///< found for the states of one s and k
};

MESHLOOM_INLINE frontiers::frontiers(const lattice& grid, const std::vector<outlook>& states) : grid_(grid) {
  begin_.assign(grid.states_below(1), 0);
  labels_.emplace_back().what.sum = {};  // no stage to go: the empty ending, past the last block and rank
  begin_.push_back(labels_.size());
  by_rank_.resize(static_cast<std::size_t>(grid.ranks()) + 1);
  for (std::int32_t s = 1; s <= grid.most_stages(); ++s) {
    for (std::int32_t k = 0; k <= grid.blocks(); ++k) {
      if (k < grid.blocks()) gather(s, k, states);
      for (std::vector<label>& found : by_rank_) settle(found);
    }
  }
}

MESHLOOM_INLINE void frontiers::gather(std::int32_t s, std::int32_t k, const std::vector<outlook>& states) {
  grid_.for_each_move(s, k, [&](const choice& each, std::int32_t r) {
    const outlook& here = states[grid_.at(s, k, r)];
    const picoseconds own = each.time + grid_.cut(k, r), at_least = std::max(each.rest, here.slowest);
    if (own + at_least > here.allowance) return;
    const std::size_t next = grid_.at(s - 1, each.end, r + each.ranks);
    for (std::size_t n = begin_[next]; n < begin_[next + 1]; ++n) {
      const label made{labels_[n].what.after(own, at_least), each.candidate, static_cast<std::uint32_t>(n)};
      if (made.what.cost() <= here.allowance) by_rank_[static_cast<std::size_t>(r)].push_back(made);
    }
  });
}

/// Closes a state: keeps, in order of sum, what is faster than all before.
MESHLOOM_INLINE void frontiers::settle(std::vector<label>& found) {
  std::sort(found.begin(), found.end());
  picoseconds fastest = never;
  for (const label& each : found) {
    if (each.what.slowest >= fastest) continue;
    fastest = each.what.slowest;
    labels_.push_back(each);
  }
  begin_.push_back(labels_.size());
  found.clear();
}

MESHLOOM_INLINE inter_plan frontiers::plan(std::int32_t stages) const {
  const std::size_t start = grid_.at(stages, 0, 0);
  inter_plan found{{}, never};
  const label* best = nullptr;
  for (std::size_t n = begin_[start]; n < begin_[start + 1]; ++n) {
    const picoseconds cost = labels_[n].what.cost();
    if (cost < found.cost) best = &labels_[n], found.cost = cost;
  }
  for (; best && best->candidate >= 0; best = &labels_[best->next]) found.candidates.push_back(best->candidate);
  return found;
}

/// The least max(B · time + Σ time + Σ cuts before) of a plan without a stage that takes more than `most` in a step;
/// `never` if there is none. Stages to go are not counted where their number makes no difference.
MESHLOOM_INLINE picoseconds least_wait(const lattice& grid, std::int32_t micro_batches, picoseconds most) {
  const std::int32_t settled = grid.settled();
  std::vector<picoseconds> least(grid.states_below(settled + 1), never);
  least[grid.at(0, grid.blocks(), grid.ranks())] = {};
  picoseconds total = never;
  for (std::int32_t s = 1; s <= settled; ++s) {
    for (std::int32_t k = grid.blocks() - 1; k >= 0; --k) {
      grid.for_each_move(s, k, [&](const choice& each, std::int32_t r) {
        if (each.time + each.rest > most) return;
        picoseconds after = least[grid.at(s - 1, each.end, r + each.ranks)];
        if (s == settled) after = std::min(after, least[grid.at(s, each.end, r + each.ranks)]);
        picoseconds& here = least[grid.at(s, k, r)];
        here = std::min(here, std::max(micro_batches * each.time, each.time + after) + grid.cut(k, r));
      });
    }
    total = std::min(total, least[grid.at(s, 0, 0)]);
  }
  return total;
}

/// The plan whose fullest rank holds least: how much, and its number of stages.
struct leanest {
  bytes holds{never.count};
  std::int32_t stages = 0;
};

MESHLOOM_INLINE leanest find_leanest(const inter_problem& posed, const lattice& grid) {
  leanest found;
  std::vector<bytes> least(grid.states_below(grid.most_stages() + 1), found.holds);
  least[grid.at(0, grid.blocks(), grid.ranks())] = {};
  for (std::int32_t s = 1; s <= grid.most_stages(); ++s) {
    const int slots = slots_in_flight(posed.schedule, s, 0, posed.micro_batches);
    for (const stage_candidate& each : posed.candidates) {
      const bytes holds = each.held + slots * each.slot;
      for (const std::int32_t r : grid.places(each.ranks)) {
        bytes& here = least[grid.at(s, each.first_block, r)];
        here = std::min(here, std::max(holds, least[grid.at(s - 1, each.end_block, r + each.ranks)]));
      }
    }
    const bytes all = least[grid.at(s, 0, 0)];
    if (all < found.holds) found = {all, s};
  }
  return found;
}

/// The first block that no sequence of stages from the start gets past; the number of blocks if there is none.
MESHLOOM_INLINE std::int32_t stuck_at(const inter_problem& posed) {
  std::vector<std::vector<std::int32_t>> ends(static_cast<std::size_t>(posed.blocks));
  for (const stage_candidate& each : posed.candidates) {
    ends[static_cast<std::size_t>(each.first_block)].push_back(each.end_block);
  }
  std::vector<bool> reached(static_cast<std::size_t>(posed.blocks) + 1);
  reached[0] = true;
  std::int32_t furthest = 0;
  for (std::size_t k = 0; k < ends.size(); ++k) {
    for (const std::int32_t end : ends[k]) {
      if (!reached[k]) continue;
      reached[static_cast<std::size_t>(end)] = true;
      furthest = std::max(furthest, end);
    }
  }
  return furthest;
}

/// Why there is no plan, where there is none.
MESHLOOM_INLINE failure why_none(const inter_problem& posed) {
  const std::string blocks = std::to_string(posed.blocks);
  if (const std::int32_t block = stuck_at(posed); block < posed.blocks) {
    return {"no stages cover the " + blocks + " blocks: those that can be reached end before block " +
            std::to_string(block) + ", where none begins; price stages that begin there"};
  }
  inter_problem unlimited = posed;
  unlimited.limit.reset();
  const lattice grid(unlimited);
  const leanest lean = find_leanest(posed, grid);
  if (lean.stages == 0) {
    std::string sizes;
    for (std::int32_t ranks = 1; ranks <= grid.ranks(); ++ranks) {
      if (!grid.places(ranks).empty()) sizes += (sizes.empty() ? "" : ", ") + std::to_string(ranks);
    }
    return {"no stages that cover the " + blocks + " blocks tile " + std::to_string(posed.hosts) + " hosts of " +
            std::to_string(posed.devices_per_host) + " devices in order; they have " + sizes +
            " ranks: price stages of other numbers of ranks"};
  }
  return {"no plan keeps to the limit of " + std::to_string(posed.limit->count) + " bytes per rank: the leanest, of " +
          std::to_string(lean.stages) + (lean.stages == 1 ? " stage" : " stages") + ", holds " +
          std::to_string(lean.holds.count) + " bytes, " + std::to_string((lean.holds - *posed.limit).count) +
          " more; raise the limit or price leaner stages"};
}

}  // namespace inter

MESHLOOM_INLINE result<inter_answer> solve(const inter_problem& posed) {
  if (const auto faults = check(posed); !faults.empty()) return failure{faults.front()};
  const inter::lattice grid(posed);
  auto states = inter::look_back(grid);
  inter::allow(grid, inter::known_costs(grid, states), states);
  const inter::frontiers exact(grid, states);
  inter_answer answer{{{}, inter::never}, {std::nullopt}};
  for (std::int32_t n = 1; n <= grid.most_stages(); ++n) {
    const inter_plan found = exact.plan(n);
    answer.by_stages.push_back(found.cost < inter::never ? std::optional(found) : std::nullopt);
    if (found.cost < answer.best.cost) answer.best = found;
  }
  if (answer.best.candidates.empty()) return inter::why_none(posed);
  return answer;
}

/// The least wait falls as the slowest stage is let grow: the bound lies where they cross.
MESHLOOM_INLINE result<picoseconds> bound_of(const inter_problem& posed) {
  if (const auto faults = check(posed); !faults.empty()) return failure{faults.front()};
  const inter::lattice grid(posed);
  const auto wait = [&](picoseconds most) { return inter::least_wait(grid, posed.micro_batches, most); };
  const picoseconds least = wait(inter::never);
  if (least == inter::never) return inter::why_none(posed);
  picoseconds bound = wait(least);
  std::vector<picoseconds> slowest;
  for (const stage_candidate& each : posed.candidates) {
    const picoseconds whole = posed.micro_batches * each.time + each.once;
    if (least < whole && whole < bound) slowest.push_back(whole);
  }
  std::sort(slowest.begin(), slowest.end());
  const auto crossing =
      std::partition_point(slowest.begin(), slowest.end(), [&](picoseconds most) { return wait(most) > most; });
  if (crossing != slowest.begin()) bound = wait(crossing[-1]);
  if (crossing != slowest.end()) bound = std::min(bound, *crossing);
  return bound;
}

}  // namespace meshloom
