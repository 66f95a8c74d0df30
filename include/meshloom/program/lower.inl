// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/lower.hpp>
#include <meshloom/program/lower_stage.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

MESHLOOM_INLINE port port_of(const graph& whole, value_id id) {
  const value& entry = whole.values[id];
  port made{.name = entry.name, .extents = extents_of(whole.sizes, entry.axes), .type = entry.type};
  const auto at = std::find(entry.axes.begin(), entry.axes.end(), whole.micro_batched);
  if (at != entry.axes.end()) made.batch_axis = static_cast<std::int32_t>(at - entry.axes.begin());
  return made;
}

MESHLOOM_INLINE message route_of(const crossing& each) {
  return {static_cast<std::int32_t>(each.from), each.from_pass, static_cast<std::int32_t>(each.to), each.to_pass};
}

/// Everything but the stages and their schedules.
inline program frame_of(const graph& whole, const plan& made, const vector<crossing>& crossings) {
  program out{.ranks = made.ranks,
              .micro_batches = made.micro_batches,
              .precision = whole.precision,
              .compute = whole.compute,
              .scaling = whole.scaling,
              .rate = whole.rate};
  for (const value_id id : whole.inputs) out.inputs.push_back(port_of(whole, id));
  for (const instance& each : results_of(whole)) out.results.push_back(port_of(whole, each.value));
  for (const auto& each : crossings) out.transfers.push_back({whole.values[each.what.value].name, route_of(each)});
  return out;
}

inline known_paths& paths_of(const plan& made, stage_id which, const cluster& machine, shared_paths& known) {
  const stage_plan& stage = made.stages[which];
  return known.of(made.micro_batches, stage.mesh, links_of(machine, stage.mesh, stage.first_rank));
}

MESHLOOM_INLINE vector<vector<action>> orders_of(const plan& made, schedule_kind kind,
                                                 std::span<const message> routes) {
  const auto stages = static_cast<int>(made.stages.size());
  vector<vector<task>> tasks;
  for (int s = 0; s < stages; ++s) tasks.push_back(order_of(kind, stages, s, made.micro_batches));
  return linearise(tasks, routes);
}

MESHLOOM_INLINE std::int32_t slots_of(const plan& made, schedule_kind kind, int stage, std::span<const message> routes,
                                      std::span<const action> order) {
  const int slots = slots_in_flight(kind, static_cast<int>(made.stages.size()), stage, made.micro_batches);
  int early = 0;
  for (std::size_t t = 0; t < routes.size(); ++t) {
    if (routes[t].to_stage != stage || routes[t].to != pass::forward) continue;
    early = std::max(early, landing_slots(order, routes, static_cast<std::int32_t>(t)) - 1);
  }
  return std::min(slots + early, made.micro_batches);
}

/// The actions of every stage, folded into loops, and its slots.
inline void schedule_stages(const plan& made, schedule_kind kind, program& whole) {
  vector<message> routes;
  for (const transfer& each : whole.transfers) routes.push_back(each.route);
  const auto orders = orders_of(made, kind, routes);
  for (std::size_t s = 0; s < orders.size(); ++s) {
    stage_program& stage = whole.stages[static_cast<stage_id>(s)];
    stage.schedule = fold(orders[s]);
    stage.slots = slots_of(made, kind, static_cast<int>(s), routes, orders[s]);
  }
}

}  // namespace detail

MESHLOOM_INLINE program lower(const graph& whole, const plan& made, const cluster& machine) {
  const auto faults = check(whole, made);
  if (!faults.empty()) throw error("lower: " + faults.front());
  const sorted_nodes nodes(whole);
  const auto crossings = find_crossings(whole, made, nodes);
  shared_paths known(whole);
  program out = detail::frame_of(whole, made, crossings);
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const auto which = static_cast<stage_id>(s);
    known_paths& paths = detail::paths_of(made, which, machine, known);
    out.stages.add(stage_lowering(whole, made, which, nodes, paths, crossings, out.transfers).run(out.results));
  }
  for (const instruction& at : out.stages[stage_id{0}].bodies[static_cast<std::size_t>(pass::update)]) {
    if (at.kind != instruction::total) continue;
    out.squares = {
        .name = at.name, .extents = {}, .type = whole.precision, .stage = stage_id{0}, .buffer = at.results[0]};
  }
  detail::schedule_stages(made, schedule_of(whole, made), out);
  return out;
}

MESHLOOM_INLINE stage_program lower_stage(const graph& whole, const plan& made, const cluster& machine,
                                          stage_id which) {
  const sorted_nodes nodes(whole);
  const auto crossings = find_crossings(whole, made, nodes);
  shared_paths known(whole);
  program frame = detail::frame_of(whole, made, crossings);
  known_paths& paths = detail::paths_of(made, which, machine, known);
  return stage_lowering(whole, made, which, nodes, paths, crossings, frame.transfers).run(frame.results);
}

}  // namespace meshloom
