// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/solve.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/plan/stage_solver.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// Cuts blocks into stages: as asked, or so that every stage has about the same work.
inline std::vector<std::int32_t> cut_stages(const problem& posed) {
  if (!posed.constraints.cuts.empty()) return posed.constraints.cuts;
  const auto blocks = blocks_of(posed.graph);
  std::vector<double> until{0};
  for (const block& here : blocks) {
    double work = 0;
    for (const node& at : posed.graph.nodes) {
      if (at.region != here.region || at.when == phase::update) continue;
      double points = at.op->flops_per_point;
      for (const axis_id axis : at.indices) points *= static_cast<double>(posed.graph.sizes[axis].extent);
      work += points;
    }
    until.push_back(until.back() + work);
  }
  std::vector<std::int32_t> cuts;
  const auto count = static_cast<std::int32_t>(blocks.size());
  for (std::int32_t s = 1; s < posed.constraints.stages; ++s) {
    const double share = until.back() * s / posed.constraints.stages;
    auto cut = static_cast<std::int32_t>(std::lower_bound(until.begin(), until.end(), share) - until.begin());
    if (cut > 0 && share - until[static_cast<std::size_t>(cut - 1)] < until[static_cast<std::size_t>(cut)] - share)
      --cut;
    cut = std::max(cut, cuts.empty() ? 1 : cuts.back() + 1);
    cuts.push_back(std::min(cut, count - (posed.constraints.stages - s)));
  }
  return cuts;
}

inline plan empty_plan(const problem& posed) {
  const auto& schedules = posed.constraints.schedules;
  plan made{.model = hash_of(posed.graph),
            .sizes = posed.graph.sizes,
            .ranks = posed.cluster.ranks(),
            .micro_batches = posed.constraints.micro_batches,
            .schedule = schedules.empty() ? schedule_kind::one_f_one_b : schedules.front(),
            .stages = {},
            .predicted = {},
            .bound = {}};
  auto cuts = cut_stages(posed);
  cuts.insert(cuts.begin(), 0);
  cuts.push_back(static_cast<std::int32_t>(blocks_of(posed.graph).size()));
  for (std::size_t s = 0; s + 1 < cuts.size(); ++s) {
    stage_plan stage;
    for (const mesh_axis_size& axis : posed.constraints.mesh) {
      stage.mesh_axes.push_back(axis.name);
      stage.mesh.size[static_cast<std::size_t>(stage.mesh.rank++)] = axis.size;
    }
    stage.first_rank = static_cast<std::int32_t>(s) * stage.mesh.ranks();
    stage.first_block = cuts[s];
    stage.end_block = cuts[s + 1];
    stage.recompute.assign(static_cast<std::size_t>(stage.end_block - stage.first_block), false);
    made.stages.add(std::move(stage));
  }
  return made;
}

}  // namespace detail

MESHLOOM_INLINE result<plan> solve(const problem& posed) {
  const auto faults = check(posed);
  if (!faults.empty()) return failure{faults.front()};
  plan made = detail::empty_plan(posed);
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    stage_solver solver(posed, made.stages[static_cast<stage_id>(s)], made.micro_batches);
    const std::string stuck = solver.run();
    if (!stuck.empty())
      return failure{"operator " + stuck +
                     " has no strategy that meets its pins; remove one, or pin an axis it can split"};
  }
  std::vector<stage_times> times;
  picoseconds update;
  for (const stage_price& each : prices_of(posed.graph, made, posed.cluster)) {
    times.push_back({each.forward, each.backward});
    update = std::max(update, each.update);
  }
  const auto transfers = transfers_of(posed.graph, made, posed.cluster);
  made.predicted = makespan(made.schedule, times, transfers, made.micro_batches) + update;
  return made;
}

}  // namespace meshloom
