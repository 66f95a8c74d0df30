// SPDX-License-Identifier: Apache-2.0
// A cluster as data: equal hosts of equal devices, a link between the devices of a host and one between hosts. Plans
// are made for a cluster that need not exist here. Law: ranks are numbered host by host, so a host is a run of ranks.
#pragma once

#include <meshloom/cluster/device.hpp>
#include <meshloom/cluster/link.hpp>

#include <cstdint>
#include <string>

namespace meshloom {

/// The most ranks that a cluster may have: prices of collectives among more would not be exact.
inline constexpr std::int32_t most_ranks = 1 << 20;

struct cluster {
  std::string name{};
  meshloom::device device{};
  std::int32_t hosts = 1;
  std::int32_t devices_per_host = 1;
  link within_host{};    ///< of each device
  link between_hosts{};  ///< of each host: all its devices share it

  bool operator==(const cluster&) const = default;
  std::int32_t ranks() const { return hosts * devices_per_host; }
  std::int32_t host_of(std::int32_t rank) const { return rank / devices_per_host; }
};

}  // namespace meshloom
