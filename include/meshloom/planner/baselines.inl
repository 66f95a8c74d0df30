// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/baselines.hpp>
#include <meshloom/planner/grid.hpp>
#include <meshloom/planner/solve.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE std::string_view name_of(baseline which) {
  constexpr std::string_view names[] = {"megatron", "deepspeed",  "data",       "zero-3",
                                        "pp-dp",    "intra-only", "inter-only", "mcmc"};
  return names[static_cast<int>(which)];
}

namespace detail {

inline vector<std::int32_t> divisors_of(std::int64_t number) {
  vector<std::int32_t> found;
  for (std::int64_t each = 1; each <= number; ++each) {
    if (number % each == 0) found.push_back(static_cast<std::int32_t>(each));
  }
  return found;
}

/// The plan in every number of micro-batches of which each of `spread` ranks gets a sample, with activations kept and
/// computed again.
inline void add_runs(vector<manual>& grid, const graph& whole, std::int32_t spread, const manual& asked) {
  const std::int64_t batch = whole.sizes[whole.micro_batched].extent;
  const bool repeats = std::any_of(whole.regions.begin(), whole.regions.end(), may_recompute);
  for (const std::int32_t parts : divisors_of(batch)) {
    if (batch / parts < spread) break;
    manual each = asked;
    each.micro_batches = parts;
    grid.push_back(each);
    if (repeats && trains(whole)) grid.push_back(each & recompute());
  }
}

/// Experts over neighbouring ranks, the batch over all, as `expert_parallel` says it of one mesh axis.
inline manual deepspeed_plan(std::int32_t data, std::int32_t expert) {
  const std::string outer(name_of<mesh::data>()), inner(name_of<mesh::expert>());
  manual made = split_all<axis::batch, mesh::data>(data) & split_all<axis::expert, mesh::expert>(expert) &
                split_all<axis::batch, mesh::expert>(expert);
  made.rules[1].aligned = true;
  made.zero = {{outer, 2}, {inner, 2}};
  return made;
}

inline result<plan> faster_of(result<plan> one, result<plan> other) {
  if (!one || !other) return one ? std::move(one) : std::move(other);
  return other.value().predicted < one.value().predicted ? std::move(other) : std::move(one);
}

inline manual one_rank_each() {
  manual made = automatic();
  made.mesh = {{"inner", 1}};
  return made;
}

/// The best of a grid. One without points is of plans that split the batch over all ranks.
inline result<plan> best_in(const graph& whole, const cluster& machine, const vector<manual>& grid) {
  if (!grid.empty() || !machine.others.empty()) return best_of(whole, machine, grid);
  const axis_size& batch = whole.sizes[whole.micro_batched];
  return failure{"axis " + batch.name + " has " + std::to_string(batch.extent) + " elements, fewer than the " +
                 std::to_string(machine.ranks()) + " ranks that split it; enlarge the batch or use fewer ranks"};
}

}  // namespace detail

MESHLOOM_INLINE vector<manual> megatron_grid(const graph& whole, const cluster& machine) {
  vector<manual> grid;
  for (const std::int32_t tensor : detail::divisors_of(machine.devices_per_host)) {
    for (const std::int32_t stages : detail::divisors_of(machine.ranks() / tensor)) {
      const std::int32_t data = machine.ranks() / tensor / stages;
      for (const std::int32_t level : {0, 1}) {
        if (data == 1 && level > 0) continue;
        detail::add_runs(grid, whole, data, zero(level, data) & megatron(tensor) & pipeline(stages));
      }
    }
  }
  return grid;
}

MESHLOOM_INLINE vector<manual> deepspeed_grid(const graph& whole, const cluster& machine) {
  vector<manual> grid;
  const axis_id experts = find_axis(whole.sizes, name_of<axis::expert>());
  const std::int64_t most = experts == axis_id::none ? 1 : whole.sizes[experts].extent;
  for (const std::int32_t split : detail::divisors_of(machine.ranks())) {
    if (split > most) break;
    detail::add_runs(grid, whole, machine.ranks(), detail::deepspeed_plan(machine.ranks() / split, split));
  }
  return grid;
}

MESHLOOM_INLINE vector<manual> data_grid(const graph& whole, const cluster& machine, std::int32_t zero_level) {
  vector<manual> grid;
  detail::add_runs(grid, whole, machine.ranks(), zero(zero_level, machine.ranks()));
  return grid;
}

MESHLOOM_INLINE vector<manual> pipeline_data_grid(const graph& whole, const cluster& machine) {
  vector<manual> grid;
  for (const std::int32_t stages : detail::divisors_of(machine.ranks())) {
    const std::int32_t data = machine.ranks() / stages;
    detail::add_runs(grid, whole, data, data_parallel(data) & pipeline(stages));
  }
  return grid;
}

MESHLOOM_INLINE result<plan> solve(const graph& whole, const cluster& machine, baseline which,
                                   const baseline_limits& limits) {
  const auto solved = [&](const manual& asked) { return solve(formulate(whole, machine, asked), limits.intra); };
  switch (which) {
    case baseline::megatron:
      return detail::best_in(whole, machine, megatron_grid(whole, machine));
    case baseline::deepspeed:
      return detail::best_in(whole, machine, deepspeed_grid(whole, machine));
    case baseline::data_parallel:
      return detail::best_in(whole, machine, data_grid(whole, machine, 0));
    case baseline::zero_3:
      return detail::best_in(whole, machine, data_grid(whole, machine, 3));
    case baseline::pipeline_data:
      return detail::faster_of(solved(automatic() & data_parallel(0)),
                               detail::best_in(whole, machine, pipeline_data_grid(whole, machine)));
    case baseline::intra_only:
      return solved(automatic() & pipeline(1));
    case baseline::inter_only:
      return solved(detail::one_rank_each());
    case baseline::mcmc:
      return walk_strategies(whole, machine, limits.walk);
  }
  throw error("solve: there is no such baseline");
}

}  // namespace meshloom
