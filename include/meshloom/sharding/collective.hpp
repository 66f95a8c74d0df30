// SPDX-License-Identifier: Apache-2.0
// The collectives that move a sharded tensor, their alpha-beta price, and the links that each axis of a mesh crosses.
// Law: a price never falls when bytes grow, and is zero only for `slice` (a rank keeps a part of what it has), for a
// halo of nothing, and for a single rank.
// Source: Thakur, Rabenseifner and Gropp 2005, "Optimization of collective communication operations in MPICH"; Cho et
// al. 2019, "BlueConnect: decomposing all-reduce for deep learning on heterogeneous network hierarchy".
#pragma once

#include <meshloom/cluster/groups.hpp>
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

/// The time of a collective among p = `ranks` ranks over links that are all alike, where `largest` = n is the size of
/// the whole buffer: the one that is reduced, gathered, scattered, exchanged or broadcast, not a rank's part of it; of
/// a halo, what the rank that lacks most receives; of a rotation by one step, the largest block. Every collective is a
/// number of rounds in which each rank sends one message; a round costs α + message/β, rounded up, and at least a
/// picosecond.
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

/// What the ranks along an axis of a mesh cross. Those of a group, which a collective joins, stand on one host or, in
/// order, on several; all groups of the axis run at once and share what leaves a host.
struct axis_links {
  link ring{};                ///< of messages to the next rank: the slowest, if some leave a host
  link within{};              ///< of messages between ranks of one host
  link across{};              ///< of messages to other hosts, where all ranks of each host send one
  std::int32_t per_host = 0;  ///< ranks of a group on each host; 1 also where they are not equally many; 0: one host

  constexpr axis_links() = default;
  /// Of an axis that stays within hosts.
  constexpr axis_links(const link& only) : ring(only), within(only), across(only) {}

  constexpr bool operator==(const axis_links&) const = default;
};

namespace detail {

/// The part of a buffer that is left to each of `parts` ranks.
constexpr bytes part_of(bytes whole, std::int64_t parts) {
  return {whole.count / parts + (whole.count % parts > 0 ? 1 : 0)};
}

/// Among hosts: a gather in ⌈log₂ p⌉ rounds that double what a rank has, (p−1)/p·n together, a reduce-scatter as the
/// same rounds backwards, an all-reduce as both. A ring carries as much in more rounds.
constexpr picoseconds price_of_doubling(collective kind, std::int32_t ranks, bytes largest,
                                        const meshloom::link& over) {
  const bool twice = kind == collective::all_reduce;
  if (ranks <= 1 || (!twice && kind != collective::all_gather && kind != collective::reduce_scatter))
    return price(kind, ranks, largest, over);
  const auto rounds = static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(ranks - 1)));
  const picoseconds carried = carry_time(over, {largest.count - largest.count / ranks});
  return (twice ? 2 : 1) * std::max(rounds * over.latency + carried, rounds * picoseconds{1});
}

/// A collective in levels: what can be done within hosts is, and every rank of a host takes its part in the exchange
/// with the others.
constexpr picoseconds price_in_levels(collective kind, std::int32_t ranks, bytes largest, const axis_links& over) {
  const std::int32_t near = over.per_host, hosts = ranks / near;
  const picoseconds far = price_of_doubling(kind, hosts, part_of(largest, near), over.across);
  switch (kind) {
    case collective::all_reduce:
    case collective::all_gather:
    case collective::reduce_scatter:
      return price(kind, near, largest, over.within) + far;
    case collective::all_to_all:
      return price(kind, near, part_of(largest, hosts), over.within) + far;
    case collective::broadcast:
      return price(kind, near, largest, over.within) + price(kind, hosts, largest, over.ring);
    default:
      return price(kind, ranks, largest, over.ring);
  }
}

}  // namespace detail

/// The time of a collective along an axis, as `price` above where it stays within a host. Where it does not, the least
/// of what libraries do: rings (NCCL, Open MPI); and levels, that is for an all-reduce a reduce-scatter within hosts,
/// an all-reduce between them and an all-gather within (BlueConnect), where among p hosts there are ⌈log₂ p⌉ rounds and
/// not p−1 (Thakur et al.'s halving and doubling, Bruck's algorithm, NCCL's trees and PAT). An all-to-all sends what is
/// for other hosts directly, all ranks of a host at once, or first to the rank of its own host that stands as the
/// addressee does on its own. Law: never more than the ring.
constexpr picoseconds price(collective kind, std::int32_t ranks, bytes largest, const axis_links& over) {
  if (over.per_host == 0 || ranks <= 1) return price(kind, ranks, largest, over.ring);
  const picoseconds levels = detail::price_in_levels(kind, ranks, largest, over);
  if (kind != collective::all_to_all) return std::min(levels, price(kind, ranks, largest, over.ring));
  const auto messages = [&](std::int64_t count, const link& by) {
    const bytes message = detail::part_of(largest, std::int64_t{ranks} * ranks);
    return count * std::max(by.latency + carry_time(by, message), picoseconds{1});
  };
  return std::min(levels, messages(over.per_host - 1, over.within) + messages(ranks - over.per_host, over.across));
}

/// The links that a collective along each axis of a mesh crosses.
struct mesh_links {
  std::array<axis_links, max_mesh_rank> axis{};

  constexpr bool operator==(const mesh_links&) const = default;
};

/// The links of the axis that all ranks of `machine` lie on; of groups of hosts, the slowest.
axis_links links_of(const cluster& machine);

/// The links of the mesh that lies on ranks `first_rank`, `first_rank` + 1, … of `machine`, row by row. The bandwidth
/// of a host is shared by as many messages as leave it. Throws `error` for a mesh on several groups of hosts: there are
/// no stages that straddle groups.
mesh_links links_of(const cluster& machine, const mesh_shape& mesh, std::int32_t first_rank);

/// So many ranks from one on.
struct rank_run {
  std::int32_t first = 0, count = 0;
};

/// What each message crosses where every rank of one run receives one from another run. Between hosts, the receivers of
/// a host share its link; and where those who send stand on another group, the messages that leave one of their hosts
/// share that of theirs: it is the slower of the two.
link message_link(const cluster& machine, const rank_run& from, const rank_run& to);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/sharding/collective.inl>
#endif
