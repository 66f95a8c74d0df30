// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/storage.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

inline std::int32_t zero_level(const problem& posed, std::size_t mesh_axis) {
  std::int32_t level = 0;
  for (const zero_rule& rule : posed.constraints.zero) {
    if (rule.mesh_axis == posed.constraints.mesh[mesh_axis].name) level = std::max(level, rule.level);
  }
  return level;
}

/// The tensor axis that ZeRO splits: one that no rule splits and that divides evenly, if there is one, else the
/// longest.
inline int roomy_axis(const problem& posed, const mesh_shape& mesh, std::size_t mesh_axis, const value& entry) {
  int best = -1;
  std::int64_t best_score = -1;
  for (std::size_t axis = 0; axis < entry.axes.size(); ++axis) {
    const std::int64_t extent = posed.graph.sizes[entry.axes[axis]].extent;
    std::int64_t score = extent;
    if (extent % mesh.size[mesh_axis] == 0) score += std::int64_t{1} << 50;
    for (std::size_t other = 0; other < static_cast<std::size_t>(mesh.rank); ++other) {
      const placement ruled = ruled_placement(posed, mesh, other, entry);
      if (ruled.kind == placement::split && ruled.axis == static_cast<int>(axis)) score -= std::int64_t{1} << 51;
    }
    if (best < 0 || score > best_score) {
      best = static_cast<int>(axis);
      best_score = score;
    }
  }
  return best;
}

}  // namespace detail

MESHLOOM_INLINE placement ruled_placement(const problem& posed, const mesh_shape&, std::size_t mesh_axis,
                                          const value& entry) {
  for (const axis_rule& rule : posed.constraints.rules) {
    if (rule.mesh_axis != posed.constraints.mesh[mesh_axis].name) continue;
    for (std::size_t axis = 0; axis < entry.axes.size(); ++axis) {
      if (posed.graph.sizes[entry.axes[axis]].name == rule.axis)
        return {placement::split, static_cast<std::int8_t>(axis)};
    }
  }
  return {};
}

MESHLOOM_INLINE parameter_plan storage_of(const problem& posed, const mesh_shape& mesh, const value& entry) {
  parameter_plan kept{.used = true, .stored = {}, .state = {}, .accumulated = {}};
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
    const placement ruled = ruled_placement(posed, mesh, axis, entry);
    const std::int32_t level = detail::zero_level(posed, axis);
    const int roomy = ruled.kind == placement::whole && level > 0 ? detail::roomy_axis(posed, mesh, axis, entry) : -1;
    const placement spread = roomy < 0 ? ruled : placement{placement::split, static_cast<std::int8_t>(roomy)};
    kept.state = kept.state.with(static_cast<int>(axis), spread);
    kept.stored = kept.stored.with(static_cast<int>(axis), level >= 3 ? spread : ruled);
  }
  return kept;
}

MESHLOOM_INLINE spec accumulated_as(const problem& posed, const mesh_shape& mesh, const spec& made, const spec& state) {
  spec kept = made;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
    const int which = static_cast<int>(axis);
    const bool pending = made.on(which).kind == placement::partial_sum;
    if (pending && detail::zero_level(posed, axis) >= 2) kept = kept.without(which).with(which, state.on(which));
  }
  return kept;
}

}  // namespace meshloom
