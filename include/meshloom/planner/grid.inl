// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/contest.hpp>
#include <meshloom/planner/grid.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/memories.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// How many copies of the values of a region a stage has.
inline std::int64_t copies_in(const graph& whole, const stage_plan& stage, region_id home) {
  if (!whole.regions[home].repeated) return 1;
  const std::int32_t first = block_number(whole, {home, 0}), end = first + whole.regions[home].count;
  return std::max(std::min(end, stage.end_block) - std::max(first, stage.first_block), 0);
}

/// What the parameters of a stage and their state take on its fullest rank: a part of what it holds.
inline bytes parameter_bytes(const graph& whole, const stage_plan& stage) {
  bytes held;
  const auto add = [&](value_id id, const spec& layout) {
    const value& entry = whole.values[id];
    const std::int64_t shard = largest_shard(layout, stage.mesh, extents_of(whole.sizes, entry.axes));
    held += bytes{shard * size_of(entry.type)} * copies_in(whole, stage, entry.region);
  };
  for (std::size_t p = 0; p < stage.parameters.size(); ++p) {
    const parameter_plan& kept = stage.parameters[p];
    if (!kept.used) continue;
    add(whole.parameters[p].value, kept.stored);
    for (const value_id state : whole.parameters[p].states)
      add(state, state_spec(whole, whole.parameters[p], state, kept.state));
  }
  return held;
}

inline bytes parameter_bytes(const graph& whole, const plan& made) {
  bytes most;
  for (const stage_plan& stage : made.stages) most = std::max(most, parameter_bytes(whole, stage));
  return most;
}

/// The plans of a grid that can be had and whose parameters fit; of others the least that they hold, and why one cannot
/// be had.
struct priced_grid {
  vector<plan> plans;
  std::optional<bytes> leanest;
  std::string stuck = "there is no plan to choose from; ask for at least one";
};

inline priced_grid price_grid(const graph& whole, const cluster& machine, const vector<manual>& grid) {
  priced_grid priced;
  for (const manual& asked : grid) {
    result<plan> made = solve(formulate(whole, machine, asked));
    if (!made) {
      priced.stuck = made.error();
      continue;
    }
    const bytes held = parameter_bytes(whole, made.value());
    if (held > machine.device.memory)
      priced.leanest = std::min(priced.leanest.value_or(held), held);
    else
      priced.plans.push_back(std::move(made).value());
  }
  return priced;
}

/// Fastest first, equals in the order of the grid.
inline vector<const plan*> by_price(const vector<plan>& plans) {
  vector<const plan*> order;
  for (const plan& each : plans) order.push_back(&each);
  std::sort(order.begin(), order.end(), [](const plan* a, const plan* b) {
    return a->predicted != b->predicted ? a->predicted < b->predicted : a < b;
  });
  return order;
}

/// Why plans of equal stages are not looked for.
inline failure for_equal_hosts(const cluster& machine) {
  return {"plans of a grid have equal stages, and " + machine.name + " has " +
          std::to_string(machine.others.size() + 1) +
          " groups of hosts; leave the plan to the planner (automatic), or give one group"};
}

MESHLOOM_INLINE std::string too_much(bytes leanest, bytes limit) {
  return "keeps to the limit of " + std::to_string(limit.count) + " bytes per rank: the leanest holds at least " +
         std::to_string(leanest.count) + ", " + std::to_string((leanest - limit).count) +
         " more; raise the limit by at least as much, or take more ranks";
}

}  // namespace detail

MESHLOOM_INLINE bytes peak_of(const graph& whole, const plan& made, const cluster& machine, bytes limit) {
  const bytes least = detail::parameter_bytes(whole, made);
  if (least > limit) return least;
  const auto peaks = peaks_of(whole, made, machine);
  return *std::max_element(peaks.begin(), peaks.end());
}

MESHLOOM_INLINE result<plan> best_of(const graph& whole, const cluster& machine, const vector<manual>& grid) {
  if (!machine.others.empty()) return detail::for_equal_hosts(machine);
  const bytes limit = machine.device.memory;
  const detail::priced_grid priced = detail::price_grid(whole, machine, grid);
  std::optional<bytes> leanest = priced.leanest;
  contest plans;
  for (const plan* next : detail::by_price(priced.plans)) {
    plans.enter(*next, [&] {
      const bytes held = peak_of(whole, *next, machine, limit);
      leanest = std::min(leanest.value_or(held), held);
      return held <= limit;
    });
  }
  if (plans.best()) return plans.winner();
  if (!leanest) return failure{priced.stuck};
  return failure{"none of " + std::to_string(grid.size()) + " plans " + detail::too_much(*leanest, limit)};
}

}  // namespace meshloom
