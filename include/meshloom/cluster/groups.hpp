// SPDX-License-Identifier: Apache-2.0
// The groups of hosts of a cluster: which one a rank stands on, with which device and links. A stage of a pipeline
// stands on ranks of one group, so it is priced as on a cluster of that group alone; what joins stages or all ranks
// crosses groups. Law: of a cluster of one group everything is what the cluster says.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/cluster.hpp>

#include <cstdint>

namespace meshloom {

/// A group of hosts as a cluster of its own, and where it begins.
struct placed_group {
  cluster alone{};
  std::int32_t number = 0, first_host = 0, first_rank = 0;

  std::int32_t end_rank() const { return first_rank + alone.ranks(); }
};

/// All groups, in the order of ranks.
vector<placed_group> groups_of(const cluster& machine);

/// The group on which a rank stands; the last, if there is no such rank.
placed_group group_of(const cluster& machine, std::int32_t rank);

/// The device behind a rank; that of the last group, if there is no such rank.
const device& device_of(const cluster& machine, std::int32_t rank);

/// The number of hosts of all groups.
std::int32_t hosts_of(const cluster& machine);

/// True if ranks from `first` up to, but not with, `end` stand on one group.
bool in_one_group(const cluster& machine, std::int32_t first, std::int32_t end);

/// The slower of two in everything.
link slower_of(const link& one, const link& other);

/// The same groups with this one in front: a stage on it stands on the first ranks.
cluster turned_to(const cluster& machine, std::int32_t number);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/cluster/groups.inl>
#endif
