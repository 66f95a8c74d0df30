// SPDX-License-Identifier: Apache-2.0
// The bodies of collective.hpp.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/sharding/collective.hpp>

#include <utility>
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

/// The most ranks of a mesh on one host.
MESHLOOM_INLINE std::int32_t most_on_a_host(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank) {
  const std::int32_t to_next_host = machine.devices_per_host - first_rank % machine.devices_per_host;
  return std::min(mesh.ranks(),
                  std::max(to_next_host, std::min(mesh.ranks() - to_next_host, machine.devices_per_host)));
}

/// As many ranks of every group along `axis` as stand on each of its hosts, or 1 where these are not equally many.
MESHLOOM_INLINE std::int32_t ranks_per_host(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank,
                                            std::size_t axis) {
  std::int32_t common = 0;
  for (std::int32_t rank = 0; rank < mesh.ranks(); ++rank) {
    mesh_coordinates at = coordinates_of(mesh, rank);
    if (at[axis] != 0) continue;
    std::int32_t run = 0;  // of ranks on the same host, up to `at`
    for (; at[axis] < mesh.size[axis]; ++at[axis]) {
      ++run;
      mesh_coordinates next = at;
      const bool last = ++next[axis] == mesh.size[axis];
      const auto host = [&](const mesh_coordinates& of) { return machine.host_of(first_rank + rank_at(mesh, of)); };
      if (!last && host(next) == host(at)) continue;
      if (common != 0 && run != common) return 1;
      common = std::exchange(run, 0);
    }
  }
  return common;
}

/// The link of a host as one of `messages` that leave it at once has it.
MESHLOOM_INLINE meshloom::link shared_link(const cluster& machine, std::int32_t messages) {
  meshloom::link part = machine.between_hosts;
  part.bytes_per_second = std::max<std::int64_t>(part.bytes_per_second / messages, 1);
  return part;
}

}  // namespace detail

MESHLOOM_INLINE axis_links links_of(const cluster& machine) {
  axis_links links = machine.within_host;
  if (machine.hosts == 1) return links;
  links.ring = machine.between_hosts;
  links.across = detail::shared_link(machine, machine.devices_per_host);
  links.per_host = machine.devices_per_host;
  return links;
}

MESHLOOM_INLINE mesh_links links_of(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank) {
  mesh_links links;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
    links.axis[axis] = machine.within_host;
    const std::int32_t leaving = detail::most_leaving(machine, mesh, first_rank, axis);
    if (leaving == 0) continue;
    links.axis[axis].ring = detail::shared_link(machine, leaving);
    links.axis[axis].across = detail::shared_link(machine, detail::most_on_a_host(machine, mesh, first_rank));
    links.axis[axis].per_host = detail::ranks_per_host(machine, mesh, first_rank, axis);
  }
  return links;
}

}  // namespace meshloom
