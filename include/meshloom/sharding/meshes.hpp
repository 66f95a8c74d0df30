// SPDX-License-Identifier: Apache-2.0
// What the stages of a pipeline may stand on: submeshes of a cluster, the logical meshes that can be laid over one, and
// the placement of a list of submeshes. A submesh is a part of one host that divides it evenly, or whole hosts.
// Law: placed submeshes are disjoint; whole hosts begin at a host, and no part of a host crosses into the next.
// Source: Alpa (Zheng et al. 2022), section 5.2 and appendix A, where parts are powers of two; here any divisor.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/cluster.hpp>
#include <meshloom/sharding/spec.hpp>

#include <cstdint>
#include <span>

namespace meshloom {

/// `devices` of each of `hosts` hosts. No two submeshes of a cluster have equally many ranks.
struct submesh {
  std::int32_t hosts = 1;
  std::int32_t devices = 1;

  constexpr bool operator==(const submesh&) const = default;
  constexpr std::int32_t ranks() const { return hosts * devices; }
};

/// All submeshes that a stage may take, by rising number of ranks; of a cluster of several groups of hosts, those on
/// the first.
vector<submesh> submeshes_of(const cluster& machine);

/// All shapes of at most `axes` axes whose product is `ranks`, fewest axes first. Axes of size 1 are left out, so a
/// single rank has one shape, of no axes; the last axis is fastest, so its ranks are neighbours, on one host if they
/// fit. `ranks` is at least 1, `axes` from 1 to `max_mesh_rank`.
vector<mesh_shape> logical_meshes(std::int32_t ranks, int axes = 2);

/// The first rank of each stage: in the order of the stages if that keeps the law, otherwise whole hosts first, then
/// parts of hosts, large ones first. Fails for what is no submesh, for more ranks than there are, and where parts do
/// not fit together; they always do if of any two parts one divides the other, as powers of two. All stand on one group
/// of hosts: where there are several, it is asked for each by itself (cluster/groups.hpp).
result<vector<std::int32_t>> tile(const cluster& machine, std::span<const submesh> stages);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/sharding/meshes.inl>
#endif
