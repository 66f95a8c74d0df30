// SPDX-License-Identifier: Apache-2.0
// The cheapest way from one spec of a tensor to another on the same mesh: a shortest path over specs, each step of
// which is one collective along one mesh axis. Data parallelism's all-reduce, ZeRO's gather and sequence parallelism's
// reduce-scatter are such paths, and so are those that nobody named.
// Law: the steps form a chain from the first spec to the last, every step is legal, and no chain costs less.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/sharding/collective.hpp>

#include <cstdint>
#include <span>

namespace meshloom {

/// One collective along one mesh axis; the placement on all other mesh axes stays. A cut may be undone only where it is
/// the innermost of its tensor axis, and a new cut is the innermost of its own.
///   all_reduce      partial → whole        reduce_scatter  partial → split
///   all_gather      split → whole          all_to_all      split → split, another tensor axis
///   slice           whole → split, local
struct reshard_step {
  collective kind = collective::slice;
  std::int8_t mesh_axis = 0;
  std::int8_t from_axis = -1;          ///< the tensor axis that the mesh axis split before; -1 if none
  std::int8_t to_axis = -1;            ///< the tensor axis that it splits now; -1 if none
  reduction combine = reduction::sum;  ///< how a reducing collective combines
  spec before{}, after{};
  picoseconds time{};

  constexpr bool operator==(const reshard_step&) const = default;
};

struct reshard_path {
  vector<reshard_step> steps{};
  picoseconds time{};
  bool possible = false;  ///< false if the target asks for a partial that the source lacks: none can be made

  bool operator==(const reshard_path&) const = default;
};

/// The cheapest path from `from` to `to` for a tensor of the given extents and `element` bytes per element; of equally
/// cheap paths one of the fewest steps, always the same. A message is priced at the size of the largest shard, to which
/// uneven shards are padded; on mesh axes of size 1 all is free. Both specs must fit the mesh and the extents.
reshard_path reshard(const spec& from, const spec& to, std::span<const std::int64_t> extents, bytes element,
                     const mesh_shape& mesh, const mesh_links& links);

/// A spec that a tensor can be brought to, and the price of the cheapest path to it.
struct reachable_spec {
  spec layout{};
  picoseconds time{};
};

/// Every spec that a tensor in spec `from` can be brought to, itself first; prices are those of `reshard`.
vector<reachable_spec> reachable_from(const spec& from, std::span<const std::int64_t> extents, bytes element,
                                      const mesh_shape& mesh, const mesh_links& links);

namespace detail {

/// What one mesh axis can do to a tensor: whole, partial sum, partial max, a split of any axis.
constexpr int placement_count(int tensor_rank) { return 3 + tensor_rank; }

/// More than any `number_of` a spec that fits.
constexpr std::size_t spec_count(int mesh_rank, int tensor_rank) {
  int count = 8;
  for (int axis = 0; axis < mesh_rank; ++axis) count *= placement_count(tensor_rank);
  return static_cast<std::size_t>(count);
}

/// A number below `spec_count`, its own for every spec: the placement on each mesh axis, and for each of the three
/// pairs of mesh axes whether the later one is the outer cut of a tensor axis that both split.
std::size_t number_of(const spec& layout, int mesh_rank, int tensor_rank);

}  // namespace detail

/// Every spec of a tensor of `tensor_rank` axes on `mesh`, in a fixed order, `whole` first: each mesh axis whole, a cut
/// of any tensor axis at any depth or, if `partial_sum`, a pending sum.
vector<spec> all_specs(int tensor_rank, const mesh_shape& mesh, bool partial_sum);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/sharding/reshard.inl>
#endif
