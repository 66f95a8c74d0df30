// SPDX-License-Identifier: Apache-2.0
// The bodies of collective.hpp.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/sharding/collective.hpp>

#include <vector>

namespace meshloom {

namespace detail {

/// The most messages that leave one host when every ring along `axis` sends to its next rank.
MESHLOOM_INLINE std::int32_t most_leaving(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank,
                                          std::size_t axis) {
  std::vector<std::int32_t> leaving(static_cast<std::size_t>(machine.host_of(first_rank + mesh.ranks() - 1)) + 1);
  for (std::int32_t rank = 0; rank < mesh.ranks(); ++rank) {
    mesh_coordinates next = coordinates_of(mesh, rank);
    next[axis] = (next[axis] + 1) % mesh.size[axis];
    const std::int32_t host = machine.host_of(first_rank + rank);
    if (machine.host_of(first_rank + rank_at(mesh, next)) != host) ++leaving[static_cast<std::size_t>(host)];
  }
  return *std::max_element(leaving.begin(), leaving.end());
}

}  // namespace detail

MESHLOOM_INLINE mesh_links links_of(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank) {
  mesh_links links;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
    const std::int32_t sharing = detail::most_leaving(machine, mesh, first_rank, axis);
    links.axis[axis] = sharing == 0 ? machine.within_host : machine.between_hosts;
    if (sharing > 1) {
      links.axis[axis].bytes_per_second = std::max<std::int64_t>(machine.between_hosts.bytes_per_second / sharing, 1);
    }
  }
  return links;
}

}  // namespace meshloom
