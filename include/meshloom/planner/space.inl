// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/allowed.hpp>
#include <meshloom/planner/space.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

MESHLOOM_INLINE bool is_named(const problem& posed, const std::string& mesh_axis) {
  const auto names = [&](const auto& each) { return each.mesh_axis == mesh_axis; };
  const manual& asked = posed.constraints;
  return is_ruled(posed, mesh_axis) || std::any_of(asked.pins.begin(), asked.pins.end(), names) ||
         std::any_of(posed.graph.pins.begin(), posed.graph.pins.end(), names);
}

/// True if constraints leave open how many stages there are and what they stand on.
inline bool is_open_to_places(const manual& asked) {
  const auto is_said = [](const mesh_axis_size& each) { return each.size > 0; };
  return asked.stages == 0 && asked.cuts.empty() && std::none_of(asked.mesh.begin(), asked.mesh.end(), is_said);
}

}  // namespace detail

MESHLOOM_INLINE vector<std::int32_t> micro_batch_counts(const problem& posed) {
  if (posed.constraints.micro_batches > 0) return {posed.constraints.micro_batches};
  const std::int64_t batch = posed.graph.sizes[posed.graph.micro_batched].extent;
  vector<std::int32_t> counts;
  for (std::int64_t each = 1; each <= batch; ++each) {
    if (batch % each == 0) counts.push_back(static_cast<std::int32_t>(each));
  }
  return counts;
}

MESHLOOM_INLINE vector<schedule_kind> schedules_of(const problem& posed) {
  if (!trains(posed.graph)) return {schedule_kind::forward_only};
  if (!posed.constraints.schedules.empty()) return posed.constraints.schedules;
  return {schedule_kind::one_f_one_b, schedule_kind::gpipe};
}

MESHLOOM_INLINE vector<submesh> submeshes_for(const problem& posed) {
  return submeshes_for(posed.constraints, posed.cluster);
}

MESHLOOM_INLINE vector<submesh> submeshes_for(const manual& asked, const cluster& machine) {
  constexpr std::int32_t most_parts = 128, few_hosts = 16, each_of_hosts = 8;
  vector<submesh> found = submeshes_of(machine);
  if (!detail::is_open_to_places(asked)) return found;
  erase_if(found, [&](const submesh& each) {
    if (each.devices < machine.devices_per_host)
      return machine.hosts > 1 && machine.ranks() / each.devices > most_parts;
    std::int32_t odd = each.hosts;
    while (odd % 2 == 0) odd /= 2;
    const bool is_round = odd == 1 || odd == 3;
    return machine.hosts > few_hosts && each.hosts > each_of_hosts && machine.hosts % each.hosts != 0 && !is_round;
  });
  return found;
}

MESHLOOM_INLINE vector<std::int32_t> stops_of(const problem& posed) {
  constexpr std::size_t many = 160, most_copies = 128;
  vector<std::int32_t> stops{0};
  if (!posed.constraints.cuts.empty()) {
    stops.insert(stops.end(), posed.constraints.cuts.begin(), posed.constraints.cuts.end());
    return stops;
  }
  const auto blocks = blocks_of(posed.graph);
  std::int32_t step = 1;
  while (blocks.size() > many && blocks.size() / static_cast<std::size_t>(step) > most_copies) step *= 2;
  for (std::size_t b = 1; b < blocks.size(); ++b) {
    if (blocks[b].copy % step == 0) stops.push_back(static_cast<std::int32_t>(b));
  }
  return stops;
}

MESHLOOM_INLINE vector<stage_plan> meshes_on(const problem& posed, const submesh& place) {
  const vector<mesh_axis_size>& axes = posed.constraints.mesh;
  vector<stage_plan> found;
  vector<vector<std::pair<std::string, std::int32_t>>> seen;
  vector<std::int32_t> sizes;
  detail::for_each_size(axes, place.ranks(), 0, sizes, [&](const auto& chosen) {
    stage_plan next;
    vector<std::pair<std::string, std::int32_t>> alike;
    for (std::size_t axis = 0; axis < chosen.size(); ++axis) {
      const std::string& name = axes[axis].name;
      if (chosen[axis] == 1) continue;
      next.mesh_axes.push_back(name);
      next.mesh.size[static_cast<std::size_t>(next.mesh.rank++)] = chosen[axis];
      alike.push_back({detail::is_named(posed, name) ? name : "", chosen[axis]});
    }
    // Where all links are alike, which of two axes is the inner one matters only to what both split: one is searched.
    const bool unnamed = std::all_of(alike.begin(), alike.end(), [](const auto& axis) { return axis.first.empty(); });
    if (place.hosts == 1 && unnamed) std::sort(alike.begin(), alike.end());
    if (std::find(seen.begin(), seen.end(), alike) != seen.end()) return;
    seen.push_back(std::move(alike));
    found.push_back(std::move(next));
  });
  return found;
}

MESHLOOM_INLINE problem freed(const problem& posed) { return formulate(posed.graph, posed.cluster); }

MESHLOOM_INLINE bool is_free(const problem& posed) {
  const manual& asked = posed.constraints;
  const auto free = detail::free_mesh(posed.graph, {});
  const auto same = [](const mesh_axis_size& a, const mesh_axis_size& b) {
    return a.name == b.name && a.size == b.size;
  };
  return asked.automatic && std::equal(asked.mesh.begin(), asked.mesh.end(), free.begin(), free.end(), same) &&
         asked.rules.empty() && asked.zero.empty() && asked.pins.empty() && asked.recompute.empty() &&
         asked.stages == 0 && asked.cuts.empty() && asked.micro_batches == 0 && asked.schedules.empty();
}

}  // namespace meshloom
