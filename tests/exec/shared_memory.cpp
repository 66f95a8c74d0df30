// SPDX-License-Identifier: Apache-2.0
#include "shards.hpp"

#include <doctest/doctest.h>

#include <meshloom/exec/shared_memory.hpp>

#include <chrono>
#include <string>
#include <thread>

using namespace meshloom;
using namespace shards;

namespace {

constexpr collective kinds[] = {collective::all_reduce, collective::all_gather, collective::reduce_scatter,
                                collective::all_to_all, collective::broadcast,  collective::halo,
                                collective::rotate};

constexpr std::size_t group_sizes[] = {1, 2, 3, 4, 5, 8};

/// How each rank ended: "" or the sentence of its error. A rank that throws stops the others.
template <class Body>
vector<std::string> on_ranks(shared_memory& memory, std::size_t ranks, Body body) {
  vector<std::string> ends(ranks);
  vector<std::thread> threads;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(rank);
      } catch (const error& why) {
        ends[rank] = why.what();
        memory.stop();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return ends;
}

const std::string stopped_by_another = stopped().what();

vector<std::int32_t> first_ranks(std::size_t count) {
  vector<std::int32_t> ranks(count);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

/// The shards of one collective, and what it should make of them.
template <class Element>
struct exchange {
  collective kind = collective::slice;
  reduction combine = reduction::sum;
  bool in_place = false;
  vector<shard<Element>> from, to;

  exchange(chance& dice, collective which, std::size_t members, int rank, std::int64_t largest = 6) : kind(which) {
    combine = draw(dice, 2) ? reduction::sum : reduction::max;
    in_place = which == collective::all_reduce && draw(dice, 1);
    const auto global = random_extents(dice, rank, largest);
    const box whole = random_box(dice, global);
    const auto pieces = [&] { return pieces_of(dice, whole, static_cast<std::size_t>(draw(dice, rank - 1)), members); };
    const vector<box> wholes(members, whole), sources = pieces(), targets = pieces();
    const bool splits_from = puts_together();
    const bool splits_to = kind == collective::reduce_scatter || kind == collective::all_to_all;
    for (std::size_t member = 0; member < members; ++member) {
      from.emplace_back(dice, global, splits_from ? sources[member] : wholes[member]);
      to.emplace_back(dice, global, splits_to ? targets[member] : wholes[member]);
      const bool any_part = kind == collective::broadcast || kind == collective::halo;
      if (any_part) to.back() = shard<Element>(dice, global, random_box_in(dice, whole, global));
      const std::size_t before = (member + members - 1) % members;
      if (kind == collective::rotate) to.back() = shard<Element>(dice, global, sources[before]);
    }
  }

  bool puts_together() const {
    return kind == collective::all_gather || kind == collective::all_to_all || kind == collective::halo ||
           kind == collective::rotate;
  }

  static box random_box_in(chance& dice, const box& whole, const vector<std::int64_t>& global) {
    return overlap(whole, random_box(dice, global));
  }

  void fill(std::uint64_t salt) {
    for (std::size_t member = 0; member < from.size(); ++member) from[member].fill(member, salt);
  }

  void run(shared_memory& memory, std::int32_t group, std::size_t member) {
    const view& source = from[member].seen;
    const view& target = in_place ? source : to[member].seen;
    memory.redistribute(group, static_cast<std::int32_t>(member), kind, combine, source, target);
  }

  /// One element of the result, by one thread, in member order.
  Element expected(const place& at, std::uint64_t salt) const {
    if (puts_together()) {
      for (std::size_t member = 0; member < from.size(); ++member) {
        const box held = box_of(from[member].seen);
        box point{.rank = held.rank};
        for (std::size_t axis = 0; axis < at.size(); ++axis) point.side[axis] = {at[axis], 1};
        if (contains(held, point)) return value<Element>(member, at, salt);
      }
    }
    using number = meshloom::computed<Element>;  // 16 bits are rounded once, at the end
    number result = value<Element>(0, at, salt);
    for (std::size_t member = 1; member < from.size() && kind != collective::broadcast; ++member) {
      const number next = value<Element>(member, at, salt);
      result = combine == reduction::sum ? result + next : std::max(result, next);
    }
    return static_cast<Element>(result);
  }

  std::size_t count_wrong(std::uint64_t salt) const {
    std::size_t wrong = 0;
    for (std::size_t member = 0; member < from.size(); ++member) {
      const auto result = [&](const place& at) { return expected(at, salt); };
      const auto source = [&](const place& at) { return value<Element>(member, at, salt); };
      wrong += in_place ? from[member].count_wrong(result)
                        : from[member].count_wrong(source) + to[member].count_wrong(result);
    }
    return wrong;
  }
};

/// Random exchanges of all kinds on one group whose members are not in the order of the ranks.
template <class Element>
void check_collectives(std::size_t members, waiting how) {
  chance dice(static_cast<unsigned>(members) * 31 + 7);
  auto ranks = first_ranks(members);
  std::shuffle(ranks.begin(), ranks.end(), dice);
  vector<vector<std::int32_t>> groups{ranks};
  shared_memory memory(static_cast<std::int32_t>(members), groups, {}, how);
  vector<exchange<Element>> work;
  for (int round = 0; round < 60; ++round) work.emplace_back(dice, kinds[round % 6], members, 1 + (round / 6) % 4);
  for (auto& one : work) one.fill(3);
  const auto ends = on_ranks(memory, members, [&](std::size_t rank) {
    const auto member = std::find(ranks.begin(), ranks.end(), static_cast<std::int32_t>(rank)) - ranks.begin();
    for (auto& one : work) one.run(memory, 0, static_cast<std::size_t>(member));
  });
  CHECK(ends == vector<std::string>(members));
  for (const auto& one : work) CHECK_MESSAGE(one.count_wrong(3) == 0, name_of(one.kind));
}

}  // namespace

TEST_CASE("every collective equals one thread that does the same in member order") {
  for (const waiting how : {waiting::block, waiting::spin_then_block}) {
    for (const std::size_t members : group_sizes) {
      check_collectives<float>(members, how);
      check_collectives<double>(members, how);
      check_collectives<meshloom::bf16>(members, how);
      check_collectives<std::int32_t>(members, how);
    }
  }
}

TEST_CASE("the checker of the collectives sees one wrong element and a sum in another order") {
  chance dice(1);
  exchange<float> one(dice, collective::all_reduce, 3, 2);
  while (one.in_place || one.combine != reduction::sum || one.to[0].seen.count() < 12) {
    one = exchange<float>(dice, collective::all_reduce, 3, 2);
  }
  one.fill(0);
  const auto sum_in_order = [&](std::array<std::size_t, 3> order) {
    for (auto& target : one.to) {
      for_each_index(box_of(target.seen), [&](const place& at) {
        float sum = 0;
        for (const std::size_t member : order) sum += value<float>(member, at);
        element<float>(target.seen, at) = sum;
      });
    }
  };
  sum_in_order({0, 1, 2});
  CHECK(one.count_wrong(0) == 0);
  sum_in_order({2, 1, 0});
  CHECK(one.count_wrong(0) > 0);
  sum_in_order({0, 1, 2});
  one.to[1].seen.as<float>()[0] += 1;
  CHECK(one.count_wrong(0) == 1);
}

TEST_CASE("large shards are reduced in many blocks by many members") {
  const vector<vector<std::int32_t>> groups{{0, 1, 2}};
  for (const vector<std::int64_t>& extents : {vector<std::int64_t>{70001}, {3, 20011}, {257, 129, 2}}) {
    for (const collective kind : kinds) {
      chance dice(17);
      shared_memory memory(3, groups, {});
      const box whole = whole_box(extents);
      exchange<float> one(dice, kind, 3, 1);
      one.in_place = kind == collective::all_reduce;
      one.from.clear();
      one.to.clear();
      const auto pieces = pieces_of(dice, whole, 0, 3), others = pieces_of(dice, whole, extents.size() - 1, 3);
      for (std::size_t member = 0; member < 3; ++member) {
        const bool gathers = one.puts_together();
        const bool scatters = kind == collective::reduce_scatter || kind == collective::all_to_all;
        const bool rotates = kind == collective::rotate;
        one.from.emplace_back(dice, extents, gathers ? pieces[member] : whole);
        one.to.emplace_back(dice, extents, rotates ? pieces[(member + 2) % 3] : scatters ? others[member] : whole);
      }
      one.fill(1);
      CHECK(on_ranks(memory, 3, [&](std::size_t rank) { one.run(memory, 0, rank); }) == vector<std::string>(3));
      CHECK(one.count_wrong(1) == 0);
    }
  }
}

TEST_CASE("an all-reduce is bitwise equal on all members and in every run") {
  const std::size_t members = 5;
  const vector<vector<std::int32_t>> groups{first_ranks(members)};
  vector<float> first;
  for (int run = 0; run < 20; ++run) {
    shared_memory memory(5, groups, {}, run % 2 ? waiting::block : waiting::spin_then_block);
    chance dice(4);
    vector<shard<float>> shards;
    for (std::size_t member = 0; member < members; ++member) {
      shards.emplace_back(dice, vector<std::int64_t>{9973}, whole_box({9973}), true).fill(member);
    }
    on_ranks(memory, members, [&](std::size_t rank) {
      const view& mine = shards[rank].seen;
      memory.redistribute(0, static_cast<std::int32_t>(rank), collective::all_reduce, reduction::sum, mine, mine);
    });
    if (run == 0) first = shards[0].memory;
    for (const auto& one : shards) CHECK(one.memory == first);
  }
}

TEST_CASE("ranks meet in the groups of every axis of a mesh") {
  vector<vector<std::int32_t>> groups;  // of 2 x 2 x 2 ranks; group 4 * axis + k is the k-th line of an axis
  for (const int axis : {0, 1, 2}) {
    for (std::int32_t rank = 0; rank < 8; ++rank) {
      if (!(rank >> axis & 1)) groups.push_back({rank, rank + (1 << axis)});
    }
  }
  const auto group_of = [&](std::size_t rank, std::size_t axis) {
    const auto low = static_cast<std::int32_t>(rank & ~(std::size_t{1} << axis));
    std::size_t k = 4 * axis;
    while (groups[k][0] != low) ++k;
    return static_cast<std::int32_t>(k);
  };
  chance dice(2);
  shared_memory memory(8, groups, {});
  vector<shard<std::int32_t>> shards;
  for (int rank = 0; rank < 8; ++rank) shards.emplace_back(dice, vector<std::int64_t>{5}, whole_box({5}), true);
  vector<int> wrong(8);
  const auto ends = on_ranks(memory, 8, [&](std::size_t rank) {
    for (int round = 0; round < 100; ++round) {
      std::fill_n(shards[rank].seen.as<std::int32_t>(), 5, round + (1 << rank));
      for (std::size_t axis = 0; axis < 3; ++axis) {
        memory.redistribute(group_of(rank, axis), static_cast<std::int32_t>(rank >> axis & 1), collective::all_reduce,
                            reduction::sum, shards[rank].seen, shards[rank].seen);
        if (axis == 0) wrong[rank] += shards[rank].memory[4] != 2 * round + (3 << (rank & ~std::size_t{1}));
      }
      for (int i = 0; i < 5; ++i) wrong[rank] += shards[rank].memory[static_cast<std::size_t>(i)] != 8 * round + 255;
    }
  });
  CHECK(ends == vector<std::string>(8));
  CHECK(wrong == vector<int>(8));
}

TEST_CASE("thousands of small collectives of more ranks than cores come out right, however ranks wait") {
  const std::size_t members = 8;
  const vector<vector<std::int32_t>> groups{first_ranks(members)};
  for (const waiting how : {waiting::block, waiting::spin_then_block}) {
    shared_memory memory(8, groups, {}, how);
    chance dice(6);
    vector<exchange<float>> work;
    for (const collective kind : kinds) work.emplace_back(dice, kind, members, 2);
    const auto start = std::chrono::steady_clock::now();
    const auto ends = on_ranks(memory, members, [&](std::size_t rank) {
      for (int round = 0; round < 2000; ++round) {
        auto& one = work[static_cast<std::size_t>(round) % work.size()];
        one.from[rank].fill(rank, 0);
        one.run(memory, 0, rank);
      }
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    CHECK(ends == vector<std::string>(members));
    for (const auto& one : work) CHECK(one.count_wrong(0) == 0);
    MESSAGE("2000 collectives of 8 ranks: " << took.count() << " s");
  }
}

TEST_CASE("channels carry messages in order, both ways, and only what both shards share") {
  const channel channels[] = {{0, 1}, {1, 0}};
  shared_memory memory(2, {}, channels, waiting::spin_then_block);
  chance dice(8);
  const vector<std::int64_t> global{6, 7};
  const box sent{.side = {{{1, 4}, {0, 5}}}, .rank = 2}, wanted{.side = {{{0, 3}, {2, 5}}}, .rank = 2};
  shard<double> ping(dice, global, sent), pong(dice, global, wanted), back(dice, global, sent);
  const auto meets = [](const place& at, std::uint64_t round, std::size_t otherwise) {
    const bool shared = at[0] >= 1 && at[0] < 3 && at[1] >= 2 && at[1] < 5;
    return value<double>(shared ? 0 : otherwise, at, round);
  };
  vector<std::size_t> wrong(2);
  const auto ends = on_ranks(memory, 2, [&](std::size_t rank) {
    for (std::uint64_t round = 0; round < 500; ++round) {
      if (rank == 0) {
        ping.fill(0, round);
        back.fill(2, round);
        memory.send(0, ping.seen);
        ping.fill(5);  // a sender may write again at once
        memory.receive(1, back.seen);
        wrong[0] += back.count_wrong([&](const place& at) { return meets(at, round, 2); });
      } else {
        pong.fill(1, round);
        memory.receive(0, pong.seen);
        wrong[1] += pong.count_wrong([&](const place& at) { return meets(at, round, 1); });
        memory.send(1, pong.seen);
      }
    }
  });
  CHECK(ends == vector<std::string>(2));
  CHECK(wrong == vector<std::size_t>(2));
}

TEST_CASE("a rank that throws stops all others, wherever they wait") {
  const vector<vector<std::int32_t>> groups{first_ranks(8), {0, 1, 3}};
  const channel channels[] = {{3, 4}, {5, 3}};
  for (const waiting how : {waiting::block, waiting::spin_then_block}) {
    shared_memory memory(8, groups, channels, how);
    chance dice(11);
    vector<shard<float>> shards;
    for (int rank = 0; rank < 8; ++rank) shards.emplace_back(dice, vector<std::int64_t>{40}, whole_box({40}));
    const auto ends = on_ranks(memory, 8, [&](std::size_t rank) {
      const view& mine = shards[rank].seen;
      const auto reduce = [&](std::int32_t group, std::size_t place) {
        const auto member = static_cast<std::int32_t>(place);
        memory.redistribute(group, member, collective::all_reduce, reduction::max, mine, mine);
      };
      for (int round = 0; round < 50; ++round) reduce(0, rank);
      if (rank == 3) throw error("rank 3 has had enough");
      if (rank < 2) reduce(1, rank);
      if (rank == 4) memory.receive(0, mine);
      if (rank == 5) memory.send(1, mine);
      reduce(0, rank);
    });
    for (std::size_t rank = 0; rank < 8; ++rank) {
      CHECK(ends[rank] == (rank == 3 ? "rank 3 has had enough" : stopped_by_another));
    }
    CHECK_THROWS_AS(memory.send(0, shards[0].seen), stopped);
  }
}

namespace {

struct request {
  collective kind;
  const view& from;
  const view& to;
  reduction combine = reduction::sum;
};

/// How the ranks of group 1 end when rank `odd` asks for something else than the others.
vector<std::string> ends_of(const request& usual, std::size_t odd, const request& other) {
  const vector<vector<std::int32_t>> groups{{0}, first_ranks(3)};
  shared_memory memory(3, groups, {});
  return on_ranks(memory, 3, [&](std::size_t rank) {
    const request& mine = rank == odd ? other : usual;
    memory.redistribute(1, static_cast<std::int32_t>(rank), mine.kind, mine.combine, mine.from, mine.to);
  });
}

}  // namespace

TEST_CASE("calls that differ are refused on every member, with both sides named") {
  chance dice(12);
  shard<float> ours(dice, {4, 5}, whole_box({4, 5})), other(dice, {4, 6}, whole_box({4, 6}));
  shard<float> flat(dice, {20}, whole_box({20}));
  shard<double> wide(dice, {4, 5}, whole_box({4, 5}));
  const view &a = ours.seen, &b = other.seen;
  const collective reduce = collective::all_reduce;
  const auto refused = [&](std::size_t odd, const request& call, const std::string& what) {
    const std::string sentence =
        "group 1 (ranks 0, 1, 2): member 0 calls all_reduce (sum) from f32 [4, 5] to "
        "f32 [4, 5], but member " +
        std::to_string(odd) + " calls " + what + "; all members must make the same calls in the same order";
    CHECK(ends_of({reduce, a, a}, odd, call) == vector<std::string>(3, sentence));
  };
  refused(2, {collective::all_gather, a, a}, "all_gather from f32 [4, 5] to f32 [4, 5]");
  refused(1, {reduce, a, a, reduction::max}, "all_reduce (max) from f32 [4, 5] to f32 [4, 5]");
  refused(1, {reduce, b, b}, "all_reduce (sum) from f32 [4, 6] to f32 [4, 6]");
  refused(1, {reduce, wide.seen, wide.seen}, "all_reduce (sum) from f64 [4, 5] to f64 [4, 5]");
  refused(2, {reduce, a, flat.seen}, "all_reduce (sum) from f32 [4, 5] to f32 [20]");
}

TEST_CASE("shards that do not add up are refused, and nobody waits for the result") {
  chance dice(13);
  const auto part = [&](std::int64_t origin, std::int64_t extent) {
    return shard<float>(dice, {6}, {.side = {{{origin, extent}}}, .rank = 1}, true);
  };
  const shard<float> all_six = part(0, 6), first_two = part(0, 2), last_five = part(1, 5), nothing = part(3, 0);
  const view &whole = all_six.seen, &first = first_two.seen, &rest = last_five.seen, &none = nothing.seen;
  const auto refused = [](const vector<std::string>& ends, const std::string& sentence) {
    CHECK(std::count(ends.begin(), ends.end(), "group 1 (ranks 0, 1, 2): " + sentence) >= 1);
    CHECK(std::count(ends.begin(), ends.end(), "") == 0);
  };
  const collective gather = collective::all_gather, reduce = collective::all_reduce;
  const collective scatter = collective::reduce_scatter, broadcast = collective::broadcast;
  refused(ends_of({gather, first, whole}, 2, {gather, none, whole}),
          "all_gather from f32 [6] to f32 [6]: member 1 wants [0:6), but the members hold 4 elements of it");
  refused(ends_of({gather, first, whole}, 2, {gather, rest, whole}),
          "all_gather from f32 [6] to f32 [6]: member 2 wants [0:6), but the members hold 9 elements of it");
  refused(ends_of({reduce, whole, whole}, 2, {reduce, first, first}),
          "all_reduce (sum) from f32 [6] to f32 [6]: member 1 wants [0:6), but member 2 holds [0:2)");
  refused(ends_of({reduce, whole, whole}, 2, {reduce, whole, first}),
          "all_reduce (sum) from f32 [6] to f32 [6]: member 2 wants [0:2), but member 0 wants [0:6)");
  refused(ends_of({reduce, whole, first}, 2, {reduce, whole, whole}),
          "all_reduce (sum) from f32 [6] to f32 [6]: member 2 wants [0:6), but member 0 wants [0:2)");
  refused(ends_of({scatter, whole, first}, 0, {scatter, rest, rest}),
          "reduce_scatter (sum) from f32 [6] to f32 [6]: member 2 wants [0:2), but member 0 holds [1:6)");
  refused(ends_of({collective::halo, first, whole}, 0, {collective::halo, none, none}),
          "halo from f32 [6] to f32 [6]: member 1 wants [0:6), but the members hold 4 elements of it");
  refused(ends_of({collective::rotate, first, first}, 0, {collective::rotate, rest, first}),
          "rotate from f32 [6] to f32 [6]: member 1 wants [0:2), but member 0, which is before it, holds [1:6)");
  refused(ends_of({broadcast, none, first}, 0, {broadcast, rest, none}),
          "broadcast from f32 [6] to f32 [6]: member 1 wants [0:2), but the members hold 1 elements of it");
}

TEST_CASE("a slice is taken alone, from what the member has") {
  chance dice(15);
  const vector<vector<std::int32_t>> groups{{1, 0}};
  shared_memory memory(2, groups, {});
  shard<std::int32_t> whole(dice, {5, 4}, whole_box({5, 4}));
  shard<std::int32_t> part(dice, {5, 4}, {.side = {{{0, 5}, {1, 2}}}, .rank = 2});
  whole.fill(1);
  memory.redistribute(0, 1, collective::slice, reduction::sum, whole.seen, part.seen);
  CHECK(part.count_wrong([](const place& at) { return value<std::int32_t>(1, at); }) == 0);
  CHECK_THROWS_WITH_AS(memory.redistribute(0, 1, collective::slice, reduction::sum, part.seen, whole.seen),
                       "group 0 (ranks 1, 0): slice of i32 [5, 4]: member 1 wants [0:5, 0:4), but holds [0:5, 1:3)",
                       error);
}

TEST_CASE("a gather may be in place: what a member gives lies where it goes") {
  const vector<vector<std::int32_t>> groups{first_ranks(3)};
  shared_memory memory(3, groups, {});
  chance dice(18);
  const vector<std::int64_t> global{4, 7};
  const auto pieces = pieces_of(dice, whole_box(global), 1, 3);
  vector<shard<float>> wholes;
  vector<view> given;
  for (std::size_t member = 0; member < 3; ++member) {
    view part = wholes.emplace_back(dice, global, whole_box(global)).seen;
    part.origin[1] = pieces[member].side[1].origin;
    part.extent[1] = pieces[member].side[1].extent;
    part.data = part.as<float>() + part.origin[1] * part.stride[1];
    for_each_index(box_of(part), [&](const place& at) { element<float>(part, at) = value<float>(0, at); });
    given.push_back(part);
  }
  on_ranks(memory, 3, [&](std::size_t rank) {
    const auto member = static_cast<std::int32_t>(rank);
    memory.redistribute(0, member, collective::all_gather, reduction::sum, given[rank], wholes[rank].seen);
  });
  for (const auto& one : wholes) CHECK(one.count_wrong([](const place& at) { return value<float>(0, at); }) == 0);
}

TEST_CASE("scalars are reduced and broadcast") {
  const vector<vector<std::int32_t>> groups{first_ranks(3)};
  shared_memory memory(3, groups, {});
  chance dice(16);
  vector<shard<double>> shards;
  for (std::size_t member = 0; member < 3; ++member) shards.emplace_back(dice, vector<std::int64_t>{}, box{});
  vector<double> sums(3);
  on_ranks(memory, 3, [&](std::size_t rank) {
    const auto member = static_cast<std::int32_t>(rank);
    double& mine = *shards[rank].seen.as<double>();
    const view& scalar = shards[rank].seen;
    mine = 0.5 + member;
    memory.redistribute(0, member, collective::all_reduce, reduction::sum, scalar, scalar);
    sums[rank] = mine;
    mine = member;
    memory.redistribute(0, member, collective::broadcast, reduction::sum, scalar, scalar);
    sums[rank] += mine;
  });
  CHECK(sums == vector<double>(3, 4.5));
}

TEST_CASE("the two ends of a channel name the same tensor") {
  chance dice(14);
  shard<float> one(dice, {4}, whole_box({4})), other(dice, {5}, whole_box({5}));
  const channel channels[] = {{1, 0}};
  shared_memory memory(2, {}, channels);
  const auto ends = on_ranks(
      memory, 2, [&](std::size_t rank) { rank == 1 ? memory.send(0, one.seen) : memory.receive(0, other.seen); });
  const std::string sentence =
      "channel 0 (ranks 1, 0): the first sends f32 [4], but the second receives f32 [5]; "
      "both ends must name the same tensor";
  CHECK(ends == vector<std::string>(2, sentence));
}

TEST_CASE("groups and channels name ranks that exist, once, and calls name groups and members that exist") {
  using lists = vector<vector<std::int32_t>>;
  CHECK_THROWS_WITH_AS(shared_memory(2, lists{{0, 1}, {1, 2}}, {}), "group 1 (ranks 1, 2): there are 2 ranks, from 0",
                       error);
  CHECK_THROWS_WITH_AS(shared_memory(2, lists{{1, 0, 1}}, {}), "group 0 (ranks 1, 0, 1): rank 1 is named twice", error);
  const channel itself[] = {{1, 1}};
  CHECK_THROWS_WITH_AS(shared_memory(2, {}, itself), "channel 0 (ranks 1, 1): rank 1 is named twice", error);
  shared_memory memory(2, lists{{0, 1}}, {});
  view none;
  const auto call = [&](std::int32_t group, std::int32_t member) {
    memory.redistribute(group, member, collective::all_gather, reduction::sum, none, none);
  };
  CHECK_THROWS_WITH_AS(call(1, 0), "there is no group 1", error);
  CHECK_THROWS_WITH_AS(call(0, 2), "group 0 (ranks 0, 1) has no member 2", error);
  CHECK_THROWS_WITH_AS(memory.send(-1, none), "there is no channel -1", error);
}
