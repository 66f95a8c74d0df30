// SPDX-License-Identifier: Apache-2.0
// What is known of stages, for whom, and how it is taken up again: bodies of stage_ways.hpp.
#include <meshloom/planner/space.hpp>
#include <meshloom/planner/stage_ways.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// A stage on two mesh axes, those the other way round.
inline stage_plan turned(stage_plan stage) {
  const auto turn = [](const spec& layout) { return spec{}.with(0, layout.on(1)).with(1, layout.on(0)); };
  std::swap(stage.mesh_axes[0], stage.mesh_axes[1]);
  std::swap(stage.mesh.size[0], stage.mesh.size[1]);
  for (strategy& each : stage.strategies) std::swap(each.row[0], each.row[1]);
  for (parameter_plan& each : stage.parameters) {
    each.stored = turn(each.stored);
    each.state = turn(each.state);
    for (spec& sum : each.accumulated) sum = turn(sum);
  }
  return stage;
}

}  // namespace detail

MESHLOOM_INLINE vector<stage_plan> stage_ways::plans_on(const stage_plan& mesh) const {
  const bool known =
      std::any_of(of_.meshes.begin(), of_.meshes.end(), [&](const stage_plan& each) { return is_same(each, mesh); });
  vector<stage_plan> found;
  for (const stage_way& each : ways_) {
    stage_plan stage = each.chosen;
    if (!known && stage.mesh.rank == 2) stage = detail::turned(std::move(stage));
    if (is_same(stage, mesh)) found.push_back(std::move(stage));
  }
  return found;
}

MESHLOOM_INLINE bool stage_ways::is_same(const stage_plan& a, const stage_plan& b) const {
  const auto named = [&](const std::string& axis) { return detail::is_named(posed_, axis); };
  return a.mesh == b.mesh &&
         (a.mesh_axes == b.mesh_axes || (std::none_of(a.mesh_axes.begin(), a.mesh_axes.end(), named) &&
                                         std::none_of(b.mesh_axes.begin(), b.mesh_axes.end(), named)));
}

MESHLOOM_INLINE bool stage_ways::is_asked_alike(const stage_family& of, std::int32_t micro_batches) const {
  const bool staged = of.meshes.front().mesh.ranks() < of.machine.value_or(posed_.cluster).ranks();
  return micro_batches == micro_batches_ && of.around == of_.around && staged == is_staged() &&
         (of.slots.front() == 0) == (of_.slots.front() == 0);
}

MESHLOOM_INLINE bool stage_ways::is_about(const stage_family& of, std::int32_t micro_batches) const {
  return is_asked_alike(of, micro_batches) && of.ranges.front() == of_.ranges.front() &&
         of.meshes.front().mesh.ranks() == of_.meshes.front().mesh.ranks();
}

MESHLOOM_INLINE bool stage_ways::covers(const stage_family& of) const {
  return std::all_of(of.meshes.begin(), of.meshes.end(), [&](const stage_plan& mesh) {
    return std::any_of(of_.meshes.begin(), of_.meshes.end(),
                       [&](const stage_plan& each) { return is_same(each, mesh); });
  });
}

MESHLOOM_INLINE bool stage_ways::is_fitted_for(const stage_family& of) const {
  return of.machine.value_or(posed_.cluster).device.memory == machine().device.memory &&
         fitting(of.slots.front()).has_value();
}

MESHLOOM_INLINE stage_ways::section stage_ways::section_of(const stage_family& of, std::int32_t micro_batches) const {
  const auto same_mesh = [](const stage_plan& a, const stage_plan& b) {
    return a.mesh == b.mesh && a.mesh_axes == b.mesh_axes;
  };
  if (!is_asked_alike(of, micro_batches) ||
      !std::equal(of.meshes.begin(), of.meshes.end(), of_.meshes.begin(), of_.meshes.end(), same_mesh))
    return {};
  const auto first = std::find(of_.ranges.begin(), of_.ranges.end(), of.ranges.front());
  const auto end = std::mismatch(first, of_.ranges.end(), of.ranges.begin(), of.ranges.end()).first;
  return {static_cast<std::size_t>(first - of_.ranges.begin()), static_cast<std::size_t>(end - first)};
}

/// What was looked for to fit says nothing of another limit, but where it was found it is known.
MESHLOOM_INLINE void stage_ways::resume(const stage_family& of) {
  const bytes memory = of.machine.value_or(posed_.cluster).device.memory;
  if (memory != machine().device.memory || of.slots != of_.slots) {
    leaned_.clear();
    fitting_.clear();
    resumed_ = true;
  }
  through_.clear();
  of_.machine = of.machine;
  of_.slots = of.slots;
  of_.known = of.known;
  of_.worth = of.worth;
  of_.alike = of.alike;
}

MESHLOOM_INLINE void stage_ways::rest() {
  of_.known = {};
  of_.alike.clear();
  drop_problems();
}

}  // namespace meshloom
