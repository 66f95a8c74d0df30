// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/storage.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

inline std::int32_t zero_level(const problem& posed, const std::string& mesh_axis) {
  std::int32_t level = 0;
  for (const zero_rule& rule : posed.constraints.zero) {
    if (rule.mesh_axis == mesh_axis) level = std::max(level, rule.level);
  }
  return level;
}

inline bool splits(const placement& what, std::size_t axis) {
  return what.kind == placement::split && what.axis == static_cast<int>(axis);
}

/// The tensor axis that ZeRO splits along a mesh axis: one that nothing else splits and that divides evenly, if there
/// is one, else the longest; −1 if none has room. Only the innermost cuts of an axis can be gathered alone, so the cuts
/// that the state has and the parameter has not must lie inside those of both: this one may not lie around that of a
/// later rule nor, at level 3, inside one that the state alone has. `so_far`: what earlier mesh axes do.
inline int roomy_axis(const problem& posed, const stage_plan& stage, std::size_t mesh_axis, const value& entry,
                      const parameter_plan& so_far) {
  int best = -1;
  std::int64_t best_score = 0;
  for (std::size_t axis = 0; axis < entry.axes.size(); ++axis) {
    const std::int64_t extent = posed.graph.sizes[entry.axes[axis]].extent;
    std::int64_t score = extent;
    bool fits = true;
    if (extent % stage.mesh.size[mesh_axis] == 0) score += std::int64_t{1} << 50;
    for (std::size_t other = 0; other < static_cast<std::size_t>(stage.mesh.rank); ++other) {
      const int number = static_cast<int>(other);
      if (other > mesh_axis) fits = fits && !splits(ruled_placement(posed, stage.mesh_axes[other], entry), axis);
      if (!splits(so_far.state.on(number), axis)) continue;
      fits = fits && (splits(so_far.stored.on(number), axis) || zero_level(posed, stage.mesh_axes[mesh_axis]) < 3);
      score -= std::int64_t{1} << 51;
    }
    if (fits && (best < 0 || score > best_score)) {
      best = static_cast<int>(axis);
      best_score = score;
    }
  }
  return best;
}

}  // namespace detail

MESHLOOM_INLINE placement ruled_placement(const problem& posed, const std::string& mesh_axis, const value& entry) {
  for (const axis_rule& rule : posed.constraints.rules) {
    if (rule.mesh_axis != mesh_axis) continue;
    for (std::size_t axis = 0; axis < entry.axes.size(); ++axis) {
      if (names(rule, posed.graph.sizes[entry.axes[axis]].name))
        return {placement::split, static_cast<std::int8_t>(axis)};
    }
  }
  return {};
}

MESHLOOM_INLINE parameter_plan storage_of(const problem& posed, const stage_plan& stage, const value& entry) {
  parameter_plan kept{.used = true, .stored = {}, .state = {}, .accumulated = {}};
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage.mesh.rank); ++axis) {
    const placement ruled = ruled_placement(posed, stage.mesh_axes[axis], entry);
    const std::int32_t level = detail::zero_level(posed, stage.mesh_axes[axis]);
    const int roomy =
        ruled.kind == placement::whole && level > 0 ? detail::roomy_axis(posed, stage, axis, entry, kept) : -1;
    const placement spread = roomy < 0 ? ruled : placement{placement::split, static_cast<std::int8_t>(roomy)};
    kept.state = kept.state.with(static_cast<int>(axis), spread);
    kept.stored = kept.stored.with(static_cast<int>(axis), level >= 3 ? spread : ruled);
  }
  return kept;
}

MESHLOOM_INLINE spec accumulated_as(const problem& posed, const stage_plan& stage, const spec& made,
                                    const spec& state) {
  spec kept = made;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage.mesh.rank); ++axis) {
    const int which = static_cast<int>(axis);
    const bool pending = made.on(which).kind == placement::partial_sum;
    if (pending && state.on(which).kind == placement::split && detail::zero_level(posed, stage.mesh_axes[axis]) >= 2)
      kept = kept.without(which).with(which, state.on(which));
  }
  return kept;
}

}  // namespace meshloom
