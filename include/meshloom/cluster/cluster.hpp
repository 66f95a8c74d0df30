// SPDX-License-Identifier: Apache-2.0
// A cluster as data: equal hosts of equal devices, a link between the devices of a host and one between hosts; and
// after them, if there are several kinds of hosts, groups of others. Plans are made for a cluster that need not exist
// here. Law: ranks are numbered group by group and host by host, so a host is a run of ranks. What a rank stands on is
// asked through cluster/groups.hpp.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/device.hpp>
#include <meshloom/cluster/link.hpp>

#include <cstdint>
#include <string>

namespace meshloom {

/// The most ranks that a cluster may have: prices of collectives among more would not be exact.
inline constexpr std::int32_t most_ranks = 1 << 20;

/// Equal hosts of equal devices that follow others.
struct host_group {
  meshloom::device device{};
  std::int32_t hosts = 1;
  std::int32_t devices_per_host = 1;
  link within_host{};
  link between_hosts{};

  bool operator==(const host_group&) const = default;
  std::int32_t ranks() const { return hosts * devices_per_host; }
};

struct cluster {
  std::string name{};
  meshloom::device device{};
  std::int32_t hosts = 1;
  std::int32_t devices_per_host = 1;
  link within_host{};    ///< of each device
  link between_hosts{};  ///< of each host: all its devices share it
  /// Groups of other hosts, which come after these. A message between groups crosses the links of both ends' hosts.
  vector<host_group> others{};

  bool operator==(const cluster&) const = default;

  std::int32_t ranks() const {
    std::int32_t all = hosts * devices_per_host;
    for (const host_group& each : others) all += each.ranks();
    return all;
  }

  /// The number of a rank's host.
  std::int32_t host_of(std::int32_t rank) const {
    std::int32_t left = rank - hosts * devices_per_host, before = hosts;
    if (left < 0 || others.empty()) return rank / devices_per_host;
    for (const host_group& each : others) {
      if (left < each.ranks() || &each == &others.back()) return before + left / each.devices_per_host;
      left -= each.ranks();
      before += each.hosts;
    }
    return before;
  }
};

}  // namespace meshloom
