// SPDX-License-Identifier: Apache-2.0
// What a shard lacks of the windows that it reads: its halo. Where a strategy splits an index that reads windows, the
// operand it reads lies in even parts along the same mesh axis, and every rank fetches from its neighbours what its
// part of the index reads besides: along high, then, corners with it, along wide. Law: what a rank then holds is
// `window_over` its part of the index; a halo that no rank lacks is none.
#pragma once

#include <meshloom/base/units.hpp>
#include <meshloom/graph/graph.hpp>

#include <span>

namespace meshloom {

/// Along one axis of a tensor, ranks hold windows instead of even parts.
struct halo {
  std::int8_t axis = -1;       ///< of the tensor
  std::int8_t mesh_axis = -1;  ///< that splits it, and the index that reads it
  stencil shape = {};
  bool transposed = false;
  std::int64_t readers = 0;  ///< elements of the index that reads it

  constexpr bool operator==(const halo&) const = default;
};

/// The elements of an axis of `extent` elements that a rank at `coordinate` of the mesh axis holds with its halo.
constexpr interval window_of(const halo& read, const mesh_shape& mesh, std::int32_t coordinate, std::int64_t extent) {
  const interval part =
      balanced_part({0, read.readers}, mesh.size[static_cast<std::size_t>(read.mesh_axis)], coordinate);
  return window_over(read.shape, read.transposed, part, extent);
}

/// The halos of an operand of a node under `how`, by mesh axis.
vector<halo> halos_of(const size_table& sizes, const node& at, const mesh_shape& mesh, const strategy& how,
                      std::size_t operand);

/// The elements of the largest shard, halos included.
std::int64_t largest_shard(const spec& layout, const mesh_shape& mesh, std::span<const std::int64_t> extents,
                           std::span<const halo> halos);

/// The elements that the rank which lacks most receives when the last of `halos` is fetched, the others being there.
std::int64_t largest_halo(const spec& layout, const mesh_shape& mesh, std::span<const std::int64_t> extents,
                          std::span<const halo> halos);

/// Bytes of the operands that a rank holds a second time, with their halos, while a node runs.
bytes bytes_of_windows(const graph& whole, const size_table& sizes, node_id id, const mesh_shape& mesh,
                       const strategy& how);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/halo.inl>
#endif
