// SPDX-License-Identifier: Apache-2.0
// The bodies of collective.hpp.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/base/error.hpp>
#include <meshloom/base/vector.hpp>
#include <meshloom/sharding/collective.hpp>

#include <string>
#include <utility>

namespace meshloom {

namespace detail {

/// The most messages that leave one host when every ring along `axis` sends to its next rank.
MESHLOOM_INLINE std::int32_t most_leaving(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank,
                                          std::size_t axis) {
  vector<std::int32_t> leaving(static_cast<std::size_t>(machine.host_of(first_rank + mesh.ranks() - 1)) + 1);
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

/// A mesh on a cluster of one group.
MESHLOOM_INLINE mesh_links links_in_group(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank) {
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

}  // namespace detail

MESHLOOM_INLINE axis_links links_of(const cluster& machine) {
  axis_links links = machine.within_host;
  if (hosts_of(machine) == 1) return links;
  links.ring = machine.between_hosts;
  links.across = detail::shared_link(machine, machine.devices_per_host);
  links.per_host = machine.devices_per_host;
  for (const placed_group& each : groups_of(machine)) {
    links.within = slower_of(links.within, each.alone.within_host);
    links.ring = slower_of(links.ring, each.alone.between_hosts);
    links.across = slower_of(links.across, detail::shared_link(each.alone, each.alone.devices_per_host));
    if (each.alone.devices_per_host != links.per_host) links.per_host = 1;
  }
  return links;
}

MESHLOOM_INLINE mesh_links links_of(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank) {
  if (machine.others.empty()) return detail::links_in_group(machine, mesh, first_rank);
  const placed_group group = group_of(machine, first_rank);
  const std::int32_t end = first_rank + mesh.ranks();
  if (end > group.end_rank()) {
    throw error("links_of: ranks " + std::to_string(first_rank) + " to " + std::to_string(end - 1) +
                " lie on several groups of hosts of " + machine.name +
                "; a stage stands on one group, so let it end with rank " + std::to_string(group.end_rank() - 1));
  }
  return detail::links_in_group(group.alone, mesh, first_rank - group.first_rank);
}

MESHLOOM_INLINE link message_link(const cluster& machine, const rank_run& from, const rank_run& to) {
  const std::int32_t first = std::min(from.first, to.first);
  const std::int32_t last = std::max(from.first + from.count, to.first + to.count) - 1;
  const bool far = machine.host_of(first) != machine.host_of(last);
  if (machine.others.empty())
    return far ? detail::shared_link(machine, std::min(to.count, machine.devices_per_host)) : machine.within_host;
  const placed_group left = group_of(machine, from.first), right = group_of(machine, to.first);
  const cluster &sends = left.alone, &receives = right.alone;
  if (!far) return sends.within_host;
  const link over = detail::shared_link(receives, std::min(to.count, receives.devices_per_host));
  if (left.number == right.number) return over;
  const std::int32_t hosts = std::max(from.count / sends.devices_per_host, 1);
  const std::int32_t leaving = (to.count + hosts - 1) / hosts;
  return slower_of(
      over, detail::shared_link(sends, std::min(leaving, std::max(sends.devices_per_host, receives.devices_per_host))));
}

}  // namespace meshloom
