// SPDX-License-Identifier: Apache-2.0
// When one layout of a tensor is a further cut of another.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/sharding/spec.hpp>

/// True if every rank's shard under `inner` lies in its shard under `outer`.
inline bool refines(const meshloom::spec& inner, const meshloom::spec& outer, const meshloom::mesh_shape& mesh,
                    const meshloom::vector<std::int64_t>& extents) {
  for (std::int32_t rank = 0; rank < mesh.ranks(); ++rank) {
    const meshloom::mesh_coordinates at = meshloom::coordinates_of(mesh, rank);
    for (std::size_t axis = 0; axis < extents.size(); ++axis) {
      const auto part = [&](const meshloom::spec& layout) {
        return meshloom::shard_interval(layout, mesh, at, static_cast<int>(axis), extents[axis]);
      };
      const meshloom::interval small = part(inner), large = part(outer);
      if (small.origin < large.origin || small.origin + small.extent > large.origin + large.extent) return false;
    }
  }
  return true;
}
