// SPDX-License-Identifier: Apache-2.0
// Collectives and messages between ranks that are threads of one process. Members publish where their shards lie, meet,
// fetch what they need from each other's memory, and meet again before any of it may change.
// Laws: a result depends on the shards and the order of members only, so it is the same on every member and in every
// run; nothing is allocated after construction, unless to say what is wrong; after `stop` nobody waits.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/exec/box.hpp>
#include <meshloom/exec/meeting.hpp>
#include <meshloom/sharding/collective.hpp>

#include <deque>
#include <span>
#include <string>
#include <vector>

namespace meshloom {

/// The ends of a queue of messages: two ranks.
struct channel {
  std::int32_t from = 0;
  std::int32_t to = 0;
};

namespace detail {

/// What one member has published.
struct alignas(64) seat {
  view from{};
  view to{};
  collective kind = collective::slice;
  reduction combine = reduction::sum;
};

/// Ranks that meet: a group, or the two ends of a channel.
struct party {
  party(std::string called, std::span<const std::int32_t> members, waiting how);

  std::string name;
  std::vector<seat> seats;
  meshloom::meeting door;
};

}  // namespace detail

class shared_memory {
 public:
  /// Each group lists its ranks in member order. Throws if a group or channel names a rank that does not exist, or one
  /// rank twice.
  shared_memory(std::int32_t ranks, std::span<const vector<std::int32_t>> groups, std::span<const channel> channels,
                waiting how = waiting::block);

  /// Fills `to` with this member's shard of what all `from` hold together: reduced in member order (all_reduce,
  /// reduce_scatter), put together (all_gather, all_to_all, halo), the whole of what the member before
  /// it has (rotate), or member 0's (broadcast). Called by the threads of
  /// all members, in the same order; only a slice, part of the member's own `from`, is taken alone. `from` and `to`
  /// share no memory, except that equal elements may lie in one place. Throws on every member if their calls differ,
  /// and on this one if the shards do not add up to `to`.
  void redistribute(std::int32_t group, std::int32_t member, collective kind, reduction combine, const view& from,
                    const view& to);

  /// Returns when the receiver has what its shard and this one share.
  void send(std::int32_t channel, const view& from);
  void receive(std::int32_t channel, const view& to);

  /// Ends all waits of all ranks, now and later, with `stopped`; from any thread, any number of times. Whoever catches
  /// the error of a rank calls it. Others may still be reading: shards must outlive the last rank of the run.
  void stop() noexcept;

 private:
  std::deque<detail::party> groups_;
  std::deque<detail::party> channels_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/exec/shared_memory.inl>
#endif
