// SPDX-License-Identifier: Apache-2.0
#include <meshloom/exec/shared_memory.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace meshloom {

namespace detail {

/// Partial results of a block stay on the stack, in the first cache; only operands and results cross memory.
inline constexpr std::int64_t block_bytes = 16 * 1024;

/// An all-reduce is not cut into parts smaller than this: the copies between cores would cost more than the sums.
inline constexpr std::int64_t least_part_bytes = 4 * 1024;

inline bool reduces(collective kind) { return kind == collective::all_reduce || kind == collective::reduce_scatter; }

inline std::string call_text(const seat& call) {
  std::string text(name_of(call.kind));
  if (reduces(call.kind)) text += call.combine == reduction::sum ? " (sum)" : " (max)";
  return text + " from " + describe_tensor(call.from) + " to " + describe_tensor(call.to);
}

inline std::string box_text(const box& part) {
  std::string text = "[";
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(part.rank); ++axis) {
    const interval side = part.side[axis];
    text += (axis == 0 ? "" : ", ") + std::to_string(side.origin) + ":" + std::to_string(side.origin + side.extent);
  }
  return text + ")";
}

/// Part `which` of `parts`, cut along the longest side.
inline box share_of(const box& whole, std::int64_t parts, std::int64_t which) {
  std::size_t longest = 0;
  for (std::size_t axis = 1; axis < static_cast<std::size_t>(whole.rank); ++axis) {
    if (whole.side[axis].extent > whole.side[longest].extent) longest = axis;
  }
  box part = whole;
  part.side[longest] = balanced_part(whole.side[longest], parts, which);
  return part;
}

/// The members whose shards the others read.
inline std::span<const seat> givers(std::span<const seat> members) {
  return members.first(members[0].kind == collective::broadcast ? 1 : members.size());
}

inline std::size_t previous(std::size_t member, std::size_t members) { return (member + members - 1) % members; }

/// Numbers of 16 bits are summed as f32, and rounded once.
inline dtype sum_type(dtype type) { return is_half(type) ? dtype::f32 : type; }

inline void reduce_block(const box& block, std::span<const seat> members, std::span<const seat> targets) {
  alignas(64) std::byte memory[block_bytes];
  view result = dense_view(members[0].from, block, memory);
  result.type = sum_type(result.type);
  copy_overlap(members[0].from, result);
  for (const seat& next : members.subspan(1)) combine_overlap(members[0].combine, next.from, result);
  for (const seat& target : targets) copy_overlap(result, target.to);
}

/// Halves along the outermost axis until a block fits, so that rows stay long.
inline void reduce_part(const box& part, std::span<const seat> members, std::span<const seat> targets) {
  const std::int64_t elements = count(part);
  if (elements == 0) return;
  if (elements * size_of(sum_type(members[0].to.type)) <= block_bytes) return reduce_block(part, members, targets);
  std::size_t outermost = 0;
  while (part.side[outermost].extent == 1) ++outermost;
  for (std::int64_t which = 0; which < 2; ++which) {
    box half = part;
    half.side[outermost] = balanced_part(part.side[outermost], 2, which);
    reduce_part(half, members, targets);
  }
}

/// Each member reduces a part and hands it to all, in place or not: nothing is read twice, no third meeting is needed.
inline void all_reduce(std::span<const seat> members, std::size_t member) {
  const view& whole = members[member].to;
  const std::int64_t useful = whole.count() * size_of(whole.type) / least_part_bytes;
  const std::int64_t parts = std::clamp<std::int64_t>(useful, 1, static_cast<std::int64_t>(members.size()));
  const auto which = static_cast<std::int64_t>(member);
  if (which < parts) reduce_part(share_of(box_of(whole), parts, which), members, members);
}

inline void fetch(std::span<const seat> members, std::size_t member) {
  const seat& mine = members[member];
  switch (mine.kind) {
    case collective::all_reduce:
      return all_reduce(members, member);
    case collective::reduce_scatter:
      return reduce_part(box_of(mine.to), members, members.subspan(member, 1));
    case collective::rotate:
      return copy_overlap(members[previous(member, members.size())].from, mine.to);
    default:
      for (const seat& peer : givers(members)) copy_overlap(peer.from, mine.to);
  }
}

/// All members see the same calls, so all throw the same error.
inline void require_equal_calls(const party& all) {
  const seat& first = all.seats[0];
  for (std::size_t member = 0; member < all.seats.size(); ++member) {
    const seat& call = all.seats[member];
    const bool agrees = call.kind == first.kind && (call.combine == first.combine || !reduces(call.kind)) &&
                        same_tensor(call.from, first.to) && same_tensor(call.to, first.to);
    if (agrees) continue;
    throw error(all.name + ": member 0 calls " + call_text(first) + ", but member " + std::to_string(member) +
                " calls " + call_text(call) + "; all members must make the same calls in the same order");
  }
}

/// So do both ends of a channel.
inline void require_equal_ends(const party& ends) {
  const view &sent = ends.seats[0].from, &wanted = ends.seats[1].to;
  if (same_tensor(sent, wanted)) return;
  throw error(ends.name + ": the first sends " + describe_tensor(sent) + ", but the second receives " +
              describe_tensor(wanted) + "; both ends must name the same tensor");
}

/// Throws unless the members hold what `member` wants: each all of it if they reduce, otherwise one each element.
inline void require_complete(const party& all, std::size_t member) {
  const seat& mine = all.seats[member];
  const box wanted = box_of(mine.to);
  const auto refuse = [&](const std::string& why) {
    throw error(all.name + ": " + call_text(mine) + ": member " + std::to_string(member) + " wants " +
                box_text(wanted) + ", but " + why);
  };
  if (mine.kind == collective::rotate) {
    const std::size_t giver = previous(member, all.seats.size());
    const box given = box_of(all.seats[giver].from);
    if (contains(given, wanted) && contains(wanted, given)) return;
    refuse("member " + std::to_string(giver) + ", which is before it, holds " + box_text(given));
  }
  std::int64_t held = 0;
  for (const seat& peer : givers(all.seats)) {
    const box there = box_of(peer.from);
    held += count(overlap(there, wanted));
    if (reduces(mine.kind) && !contains(there, wanted)) {
      refuse("member " + std::to_string(&peer - all.seats.data()) + " holds " + box_text(there));
    }
  }
  const box first = box_of(all.seats[0].to);
  if (mine.kind == collective::all_reduce && !(contains(first, wanted) && contains(wanted, first))) {
    refuse("member 0 wants " + box_text(first));
  }
  if (!reduces(mine.kind) && held != count(wanted)) {
    refuse("the members hold " + std::to_string(held) + " elements of it");
  }
}

inline void take_slice(const party& all, std::int32_t member, const view& from, const view& to) {
  if (!contains(box_of(from), box_of(to))) {
    throw error(all.name + ": slice of " + describe_tensor(from) + ": member " + std::to_string(member) + " wants " +
                box_text(box_of(to)) + ", but holds " + box_text(box_of(from)));
  }
  copy_overlap(from, to);
}

/// "group 3 (ranks 0, 2)"; throws if a rank does not exist or is named twice.
inline std::string name_party(const char* what, std::size_t number, std::span<const std::int32_t> members,
                              std::int32_t ranks) {
  std::string name = what + (" " + std::to_string(number)) + " (ranks ";
  for (const std::int32_t& rank : members) name += (&rank == members.data() ? "" : ", ") + std::to_string(rank);
  name += ")";
  for (const std::int32_t& rank : members) {
    if (rank < 0 || rank >= ranks) throw error(name + ": there are " + std::to_string(ranks) + " ranks, from 0");
    if (std::find(members.data(), &rank, rank) != &rank) {
      throw error(name + ": rank " + std::to_string(rank) + " is named twice");
    }
  }
  return name;
}

inline party& find_party(std::deque<party>& parties, const char* what, std::int32_t number, std::int32_t member) {
  const auto index = static_cast<std::size_t>(number);
  if (index >= parties.size()) throw error("there is no " + (what + (" " + std::to_string(number))));
  party& found = parties[index];
  if (static_cast<std::size_t>(member) >= found.seats.size()) {
    throw error(found.name + " has no member " + std::to_string(member));
  }
  return found;
}

/// Publishes, meets, exchanges, meets again.
template <class Exchange>
void meet(party& all, std::int32_t member, const seat& mine, Exchange exchange) {
  all.seats[static_cast<std::size_t>(member)] = mine;
  all.door.arrive_and_wait();
  exchange();
  all.door.arrive_and_wait();
}

MESHLOOM_INLINE party::party(std::string called, std::span<const std::int32_t> members, waiting how)
    : name(std::move(called)), seats(members.size()), door(static_cast<std::int32_t>(members.size()), how) {}

}  // namespace detail

MESHLOOM_INLINE shared_memory::shared_memory(std::int32_t ranks, std::span<const vector<std::int32_t>> groups,
                                             std::span<const channel> channels, waiting how) {
  for (const auto& members : groups) {
    groups_.emplace_back(detail::name_party("group", groups_.size(), members, ranks), members, how);
  }
  for (const channel& c : channels) {
    const std::int32_t ends[] = {c.from, c.to};
    channels_.emplace_back(detail::name_party("channel", channels_.size(), ends, ranks), ends, how);
  }
}

MESHLOOM_INLINE void shared_memory::redistribute(std::int32_t group, std::int32_t member, collective kind,
                                                 reduction combine, const view& from, const view& to) {
  detail::party& all = detail::find_party(groups_, "group", group, member);
  if (kind == collective::slice) return detail::take_slice(all, member, from, to);
  const bool gives = kind != collective::broadcast || member == 0;
  detail::meet(all, member, {gives ? from : to, to, kind, combine}, [&] {
    const auto place = static_cast<std::size_t>(member);
    detail::require_equal_calls(all);
    detail::require_complete(all, place);
    detail::fetch(all.seats, place);
  });
}

MESHLOOM_INLINE void shared_memory::send(std::int32_t channel, const view& from) {
  detail::party& ends = detail::find_party(channels_, "channel", channel, 0);
  detail::meet(ends, 0, {.from = from}, [&] { detail::require_equal_ends(ends); });
}

MESHLOOM_INLINE void shared_memory::receive(std::int32_t channel, const view& to) {
  detail::party& ends = detail::find_party(channels_, "channel", channel, 1);
  detail::meet(ends, 1, {.to = to}, [&] {
    detail::require_equal_ends(ends);
    copy_overlap(ends.seats[0].from, to);
  });
}

MESHLOOM_INLINE void shared_memory::stop() noexcept {
  for (detail::party& all : groups_) all.door.stop();
  for (detail::party& ends : channels_) ends.door.stop();
}

}  // namespace meshloom
