// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/program.hpp>

namespace meshloom {

MESHLOOM_INLINE stage_id stage_of_rank(const program& whole, std::int32_t rank) {
  for (std::size_t s = 0; s < whole.stages.size(); ++s) {
    const stage_program& stage = whole.stages[static_cast<stage_id>(s)];
    if (rank >= stage.first_rank && rank < stage.first_rank + stage.mesh.ranks()) return static_cast<stage_id>(s);
  }
  return stage_id::none;
}

MESHLOOM_INLINE view shard_view(const stage_program& stage, const buffer& what, std::int32_t member) {
  view shard;
  shard.rank = what.rank;
  shard.type = what.type;
  const mesh_coordinates at = coordinates_of(stage.mesh, member);
  for (int axis = 0; axis < what.rank; ++axis) {
    const std::int64_t global = what.global[static_cast<std::size_t>(axis)];
    interval part = shard_interval(what.layout, stage.mesh, at, axis, global);
    for (const halo& each : what.widened) {
      if (each.axis == axis) part = window_of(each, stage.mesh, at[static_cast<std::size_t>(each.mesh_axis)], global);
    }
    shard.global[axis] = global;
    shard.origin[axis] = part.origin;
    shard.extent[axis] = part.extent;
  }
  make_dense(shard);
  return shard;
}

MESHLOOM_INLINE dtype compute_type_of(const stage_program& stage, const instruction& at, dtype precision) {
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    const dtype type = stage.buffers[at.operands[k]].type;
    if (at.op->rounded.operand(k) && type != dtype::i32) return type;
  }
  return at.op->rounded.result(0) ? stage.buffers[at.results[0]].type : precision;
}

}  // namespace meshloom
