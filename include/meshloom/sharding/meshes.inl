// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/config.hpp>
#include <meshloom/sharding/meshes.hpp>

#include <algorithm>
#include <optional>
#include <string>

namespace meshloom {
namespace detail {

inline bool is_submesh(const cluster& machine, const submesh& stage) {
  const std::int32_t each = machine.devices_per_host;
  if (stage.hosts == 1) return stage.devices >= 1 && stage.devices <= each && each % stage.devices == 0;
  return stage.hosts > 1 && stage.hosts <= machine.hosts && stage.devices == each;
}

/// Each after the one before, if that splits no host wrongly.
inline std::optional<vector<std::int32_t>> place_in_order(const cluster& machine, std::span<const submesh> stages) {
  vector<std::int32_t> first;
  std::int32_t next = 0;
  for (const submesh& stage : stages) {
    const std::int32_t within = next % machine.devices_per_host;
    if (within > 0 && within + stage.ranks() > machine.devices_per_host) return std::nullopt;
    first.push_back(next);
    next += stage.ranks();
  }
  return first;
}

/// Puts each part, largest first, into the first host that has room for it, and goes back where one has none.
/// The host of each part; nothing if there is no way, or none in as many moves as `most_moves`.
inline std::optional<vector<std::size_t>> pack_parts(std::span<const std::int32_t> parts, vector<std::int32_t> room) {
  constexpr int most_moves = 1 << 22;
  constexpr std::size_t nowhere = static_cast<std::size_t>(-1);
  vector<std::size_t> host(parts.size(), nowhere);
  int moves = 0;
  for (std::size_t k = 0; k < parts.size(); ++moves) {
    if (moves == most_moves) return std::nullopt;
    const bool back = host[k] != nowhere;
    if (back) room[host[k]] += parts[k];
    // Of hosts with equal room the first is enough, and of equal parts a later one need not come before an earlier.
    const std::int32_t tried = back ? room[host[k]] : 0;
    std::size_t next = back ? host[k] + 1 : 0;
    if (!back && k > 0 && parts[k] == parts[k - 1]) next = host[k - 1];
    while (next < room.size() && (room[next] < parts[k] || room[next] == tried)) ++next;
    host[k] = next < room.size() ? next : nowhere;
    if (host[k] != nowhere)
      room[next] -= parts[k++];
    else if (k-- == 0)
      return std::nullopt;
  }
  return host;
}

/// Whole hosts from the first host on, then parts, large ones first.
inline std::optional<vector<std::int32_t>> place_by_size(const cluster& machine, std::span<const submesh> stages) {
  const std::int32_t each = machine.devices_per_host;
  vector<std::int32_t> first(stages.size()), parts;
  vector<std::size_t> order;
  std::int32_t taken = 0;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    if (stages[s].devices < each) {
      order.push_back(s);
      continue;
    }
    first[s] = taken;
    taken += stages[s].ranks();
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return stages[a].devices != stages[b].devices ? stages[a].devices > stages[b].devices : a < b;
  });
  for (const std::size_t s : order) parts.push_back(stages[s].devices);
  const auto free_hosts = static_cast<std::size_t>(machine.hosts - taken / each);
  const auto hosts = pack_parts(parts, vector<std::int32_t>(free_hosts, each));
  if (!hosts) return std::nullopt;
  vector<std::int32_t> filled(free_hosts);
  for (std::size_t k = 0; k < order.size(); ++k) {
    const std::size_t host = (*hosts)[k];
    first[order[k]] = taken + static_cast<std::int32_t>(host) * each + filled[host];
    filled[host] += parts[k];
  }
  return first;
}

}  // namespace detail

MESHLOOM_INLINE vector<submesh> submeshes_of(const cluster& machine) {
  vector<submesh> all;
  for (std::int32_t part = 1; part < machine.devices_per_host; ++part) {
    if (machine.devices_per_host % part == 0) all.push_back({1, part});
  }
  for (std::int32_t hosts = 1; hosts <= machine.hosts; ++hosts) all.push_back({hosts, machine.devices_per_host});
  return all;
}

MESHLOOM_INLINE vector<mesh_shape> logical_meshes(std::int32_t ranks, int axes) {
  if (ranks == 1) return {mesh_shape{}};
  vector<mesh_shape> all{{1, {ranks}}};
  // Every shape comes from exactly one other: the one in which its last two axes are one.
  for (std::size_t at = 0; at < all.size() && all[at].rank < axes; ++at) {
    const mesh_shape wide = all[at];
    const auto last = static_cast<std::size_t>(wide.rank - 1);
    for (std::int32_t outer = 2; outer < wide.size[last]; ++outer) {
      if (wide.size[last] % outer != 0) continue;
      mesh_shape narrow = wide;
      narrow.size[last] = outer;
      narrow.size[last + 1] = wide.size[last] / outer;
      ++narrow.rank;
      all.push_back(narrow);
    }
  }
  return all;
}

MESHLOOM_INLINE result<vector<std::int32_t>> tile(const cluster& machine, std::span<const submesh> stages) {
  if (!machine.others.empty())
    return failure{machine.name + " has several groups of hosts, each of which is tiled by itself; give one alone"};
  std::int64_t ranks = 0;
  for (const submesh& stage : stages) {
    if (!detail::is_submesh(machine, stage)) {
      return failure{std::to_string(stage.devices) + " devices of each of " + std::to_string(stage.hosts) +
                     " hosts are no submesh of " + machine.name + "; take whole hosts, or a divisor of the " +
                     std::to_string(machine.devices_per_host) + " devices of one"};
    }
    ranks += stage.ranks();
  }
  if (ranks > machine.ranks()) {
    return failure{"the stages have " + std::to_string(ranks) + " ranks, but " + machine.name + " has " +
                   std::to_string(machine.ranks()) + "; take smaller submeshes"};
  }
  if (auto ordered = detail::place_in_order(machine, stages)) return std::move(*ordered);
  if (auto sorted = detail::place_by_size(machine, stages)) return std::move(*sorted);
  return failure{"the stages take parts of hosts that do not fit together on hosts of " +
                 std::to_string(machine.devices_per_host) + " devices; take sizes that divide each other"};
}

}  // namespace meshloom
