// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/config.hpp>
#include <meshloom/cluster/groups.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

inline cluster alone(const cluster& machine, const host_group& which) {
  return {.name = machine.name,
          .device = which.device,
          .hosts = which.hosts,
          .devices_per_host = which.devices_per_host,
          .within_host = which.within_host,
          .between_hosts = which.between_hosts};
}

inline host_group first_group_of(const cluster& machine) {
  return {.device = machine.device,
          .hosts = machine.hosts,
          .devices_per_host = machine.devices_per_host,
          .within_host = machine.within_host,
          .between_hosts = machine.between_hosts};
}

}  // namespace detail

MESHLOOM_INLINE vector<placed_group> groups_of(const cluster& machine) {
  vector<placed_group> all{{detail::alone(machine, detail::first_group_of(machine)), 0, 0, 0}};
  for (const host_group& each : machine.others) {
    const placed_group& before = all.back();
    all.push_back(
        {detail::alone(machine, each), before.number + 1, before.first_host + before.alone.hosts, before.end_rank()});
  }
  return all;
}

MESHLOOM_INLINE placed_group group_of(const cluster& machine, std::int32_t rank) {
  if (machine.others.empty()) return {machine, 0, 0, 0};
  const auto all = groups_of(machine);
  return *std::find_if(all.begin(), all.end() - 1, [&](const placed_group& each) { return rank < each.end_rank(); });
}

MESHLOOM_INLINE const device& device_of(const cluster& machine, std::int32_t rank) {
  const device* found = &machine.device;
  std::int32_t end = machine.hosts * machine.devices_per_host;
  for (const host_group& each : machine.others) {
    if (rank < end) break;
    found = &each.device;
    end += each.ranks();
  }
  return *found;
}

MESHLOOM_INLINE std::int32_t hosts_of(const cluster& machine) {
  std::int32_t all = machine.hosts;
  for (const host_group& each : machine.others) all += each.hosts;
  return all;
}

MESHLOOM_INLINE bool in_one_group(const cluster& machine, std::int32_t first, std::int32_t end) {
  return machine.others.empty() || end <= group_of(machine, first).end_rank();
}

MESHLOOM_INLINE link slower_of(const link& one, const link& other) {
  return {.latency = std::max(one.latency, other.latency),
          .bytes_per_second = std::min(one.bytes_per_second, other.bytes_per_second)};
}

MESHLOOM_INLINE cluster turned_to(const cluster& machine, std::int32_t number) {
  if (number == 0) return machine;
  const host_group& front = machine.others[static_cast<std::size_t>(number - 1)];
  cluster turned = detail::alone(machine, front);
  turned.others = machine.others;
  turned.others[static_cast<std::size_t>(number - 1)] = detail::first_group_of(machine);
  return turned;
}

}  // namespace meshloom
