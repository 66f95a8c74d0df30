// SPDX-License-Identifier: Apache-2.0
// The collectives that move a sharded tensor, their alpha-beta price, and the link that each axis of a mesh crosses.
// Law: a price never falls when bytes grow, and is zero only for `slice` (a rank keeps a part of what it has), for a
// halo of nothing, and for a single rank.
// Source: Thakur, Rabenseifner and Gropp 2005, "Optimization of collective communication operations in MPICH".
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/sharding/spec.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

namespace meshloom {

enum class collective : std::uint8_t {
  all_reduce,
  all_gather,
  reduce_scatter,
  all_to_all,
  broadcast,
  slice,
  halo,
  rotate
};

constexpr std::string_view name_of(collective kind) {
  constexpr std::string_view names[] = {"all_reduce", "all_gather", "reduce_scatter", "all_to_all",
                                        "broadcast",  "slice",      "halo",           "rotate"};
  return names[static_cast<int>(kind)];
}

/// The time of a collective among p = `ranks` ranks, where `largest` = n is the size of the whole buffer: the one that
/// is reduced, gathered, scattered, exchanged or broadcast, not a rank's part of it; of a halo, what the rank that
/// lacks most receives; of a rotation by one step, the largest block. Every collective is a number of rounds in which
/// each rank sends one message; a round costs α + message/β, rounded up, and at least a picosecond.
///   all_reduce       2(p−1) rounds of n/p    a ring: a reduce-scatter, then an all-gather
///   all_gather        (p−1) rounds of n/p    a ring
///   reduce_scatter    (p−1) rounds of n/p    a ring, or pairwise exchange, which costs the same
///   all_to_all        (p−1) rounds of n/p²   pairwise exchange
///   broadcast       ⌈log₂ p⌉ rounds of n     a binomial tree
///   halo                   2 rounds of n/2    one message each way, to the neighbours
///   rotate                 1 round of n       every rank passes its block to the next
/// The arithmetic of a reduction (the source's γ) is taken as hidden behind the messages.
constexpr picoseconds price(collective kind, std::int32_t ranks, bytes largest, const link& over) {
  const bool nothing = kind == collective::halo && largest.count == 0;
  if (kind == collective::slice || ranks <= 1 || nothing) return {};
  const auto rounds = [&](std::int64_t count, std::int64_t parts) {
    const bytes message{largest.count / parts + (largest.count % parts > 0 ? 1 : 0)};
    return count * std::max(over.latency + carry_time(over, message), picoseconds{1});
  };
  const std::int64_t p = ranks;
  const auto doublings = static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(p - 1)));
  switch (kind) {
    case collective::all_reduce:
      return rounds(2 * (p - 1), p);
    case collective::all_to_all:
      return rounds(p - 1, p * p);
    case collective::broadcast:
      return rounds(doublings, 1);
    case collective::halo:
      return rounds(2, 2);
    case collective::rotate:
      return rounds(1, 1);
    default:
      return rounds(p - 1, p);
  }
}

/// The link that a collective along each axis of a mesh crosses.
struct mesh_links {
  std::array<link, max_mesh_rank> axis{};

  constexpr bool operator==(const mesh_links&) const = default;
};

/// The links of the mesh that lies on ranks `first_rank`, `first_rank` + 1, … of `machine`, row by row. An axis whose
/// rings all stay within a host crosses the link within hosts. Any other crosses the link between hosts, and all the
/// rings of the axis run at once: the bandwidth of a host is shared by as many messages as leave it.
mesh_links links_of(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/sharding/collective.inl>
#endif
