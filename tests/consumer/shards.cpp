// SPDX-License-Identifier: Apache-2.0
// A user's program: 8 elements on 3 ranks are shards of 3, 3 and 2.
#include <meshloom/sharding/spec.hpp>

#include <cstdio>

int main() {
  const meshloom::mesh_shape mesh{1, {3}};
  const auto layout = meshloom::spec{}.with(0, {meshloom::placement::split, 0});
  std::int64_t total = 0;
  for (std::int32_t rank = 0; rank < mesh.ranks(); ++rank) {
    const auto shard = meshloom::shard_interval(layout, mesh, meshloom::coordinates_of(mesh, rank), 0, 8);
    std::printf("rank %d holds %d elements\n", static_cast<int>(rank), static_cast<int>(shard.extent));
    total += shard.extent;
  }
  return total == 8 ? 0 : 1;
}
