// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/solve.hpp>
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
  plan made{.model = hash_of(posed.graph),
            .sizes = posed.graph.sizes,
            .ranks = posed.cluster.ranks(),
            .micro_batches = posed.constraints.micro_batches,
            .schedule = posed.constraints.schedule,
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

inline picoseconds transfer_time(const problem& posed, const plan& made, std::size_t cut) {
  const stage_plan& stage = made.stages[static_cast<stage_id>(cut)];
  const block last = blocks_of(posed.graph)[static_cast<std::size_t>(stage.end_block - 1)];
  const auto nodes = nodes_of(posed.graph, last.region, phase::forward);
  if (nodes.empty()) return {};
  const value& leaving = posed.graph.values[posed.graph.nodes[nodes.back()].results.front()];
  std::int64_t elements = 1;
  for (const std::int64_t extent : extents_of(micro_batch_sizes(posed.graph, made.micro_batches), leaving.axes))
    elements *= extent;
  const cluster& machine = posed.cluster;
  const std::int32_t here = machine.host_of(stage.first_rank),
                     there = machine.host_of(stage.first_rank + stage.mesh.ranks());
  return transfer_price({elements * size_of(leaving.type)},
                        here == there ? machine.within_host : machine.between_hosts);
}

}  // namespace detail

MESHLOOM_INLINE result<plan> solve(const problem& posed) {
  const auto faults = check(posed);
  if (!faults.empty()) return failure{faults.front()};
  plan made = detail::empty_plan(posed);
  std::vector<stage_times> times;
  std::vector<picoseconds> transfers;
  picoseconds update;
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    stage_solver solver(posed, made.stages[static_cast<stage_id>(s)], made.micro_batches);
    const std::string stuck = solver.run();
    if (!stuck.empty())
      return failure{"operator " + stuck +
                     " has no strategy that meets its pins; remove one, or pin an axis it can split"};
    times.push_back({solver.time_of(phase::forward), solver.time_of(phase::backward)});
    update = std::max(update, solver.time_of(phase::update));
    if (s + 1 < made.stages.size()) transfers.push_back(detail::transfer_time(posed, made, s));
  }
  made.predicted = makespan(made.schedule, times, transfers, made.micro_batches) + update;
  return made;
}

}  // namespace meshloom
