// SPDX-License-Identifier: Apache-2.0
#include "shards.hpp"

#include <doctest/doctest.h>

#include <meshloom/base/error.hpp>

using namespace meshloom;
using namespace shards;

namespace {

bool holds(const box& part, const place& at) {
  bool inside = true;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(part.rank); ++axis) {
    inside &= part.side[axis].origin <= at[axis] && at[axis] < part.side[axis].origin + part.side[axis].extent;
  }
  return inside;
}

template <class Element>
void check_copies(chance& dice) {
  for (int round = 0; round < 300; ++round) {
    const auto global = random_extents(dice, round % (max_rank + 1), 5);
    shard<Element> from(dice, global, random_box(dice, global)), to(dice, global, random_box(dice, global));
    from.fill(1);
    to.fill(2);
    const box held = box_of(from.seen);
    copy_overlap(from.seen, to.seen);
    CHECK(to.count_wrong([&](const place& at) { return value<Element>(holds(held, at) ? 1 : 2, at); }) == 0);
    CHECK(from.count_wrong([&](const place& at) { return value<Element>(1, at); }) == 0);

    to.fill(2);
    const reduction how = round % 2 ? reduction::sum : reduction::max;
    combine_overlap(how, from.seen, to.seen);
    CHECK(to.count_wrong([&](const place& at) {
      const Element mine = value<Element>(2, at), other = value<Element>(1, at);
      return !holds(held, at)        ? mine
             : how == reduction::sum ? static_cast<Element>(mine + other)
                                     : std::max(mine, other);
    }) == 0);
  }
}

}  // namespace

TEST_CASE("a copy or reduction changes the overlap of two boxes and nothing else") {
  chance dice(20260101);
  check_copies<float>(dice);
  check_copies<double>(dice);
  check_copies<std::int32_t>(dice);
  check_copies<bf16>(dice);
  check_copies<f16>(dice);
}

TEST_CASE("16 bits are summed beside the shard, in f32, and rounded on the way back") {
  chance dice(11);
  const box all = whole_box({40});
  shard<bf16> one(dice, {40}, all), rounded(dice, {40}, all);
  shard<float> sums(dice, {40}, all);
  one.fill(1);
  sums.fill(2);
  combine_overlap(reduction::sum, one.seen, sums.seen);
  const auto sum = [](const place& at) { return value<float>(2, at) + float(value<bf16>(1, at)); };
  CHECK(sums.count_wrong(sum) == 0);
  copy_overlap(sums.seen, rounded.seen);
  CHECK(rounded.count_wrong([&](const place& at) { return bf16(sum(at)); }) == 0);
  shard<double> other(dice, {40}, all);
  CHECK_THROWS_AS(copy_overlap(one.seen, other.seen), error);
}

TEST_CASE("the checker of the copies sees one wrong element, inside or outside the box") {
  chance dice(7);
  shard<float> one(dice, {4, 5}, {.side = {{{1, 2}, {0, 3}}}, .rank = 2});
  one.fill(1);
  const auto expected = [](const place& at) { return value<float>(1, at); };
  CHECK(one.count_wrong(expected) == 0);
  element<float>(one.seen, {2, 1}) += 1;
  CHECK(one.count_wrong(expected) == 1);
  one.fill(1);
  one.memory.back() = 0;
  CHECK(one.count_wrong(expected) == 1);
}

TEST_CASE("scatter and gather are each other's way back") {
  chance dice(3);
  for (int round = 0; round < 200; ++round) {
    const auto global = random_extents(dice, 1 + round % 4, 6);
    const box whole = whole_box(global);
    vector<double> dense(static_cast<std::size_t>(count(whole))), back(dense.size(), 0.5);
    std::size_t next = 0;
    for_each_index(whole, [&](const place& at) { dense[next++] = value<double>(1, at); });
    for (const box& part : pieces_of(dice, whole, static_cast<std::size_t>(draw(dice, round % 4)), 3)) {
      shard<double> mine(dice, global, part);
      scatter(dense.data(), mine.seen);
      CHECK(mine.count_wrong([](const place& at) { return value<double>(1, at); }) == 0);
      gather(mine.seen, back.data());
    }
    CHECK(back == dense);
  }
}

TEST_CASE("boxes contain what the definition says, and an empty one lies in any") {
  chance dice(5);
  for (int round = 0; round < 500; ++round) {
    const auto global = random_extents(dice, 1 + round % 3, 4);
    const box outer = random_box(dice, global), inner = random_box(dice, global);
    std::int64_t shared = 0;
    for_each_index(inner, [&](const place& at) { shared += holds(outer, at); });
    CHECK(count(overlap(outer, inner)) == shared);
    CHECK(contains(outer, inner) == (shared == count(inner)));
  }
}

TEST_CASE("shards of different tensors do not meet") {
  chance dice(9);
  shard<float> one(dice, {4, 5}, whole_box({4, 5})), other(dice, {4, 6}, whole_box({4, 6}));
  CHECK_THROWS_WITH_AS(copy_overlap(one.seen, other.seen),
                       "a shard of f32 [4, 5] has no overlap with a shard of f32 [4, 6]: dtype, rank and global "
                       "extents must be equal",
                       error);
  shard<double> wider(dice, {4, 5}, whole_box({4, 5}));
  CHECK_THROWS_AS(combine_overlap(reduction::sum, one.seen, wider.seen), error);
  shard<float> flat(dice, {20}, whole_box({20}));
  CHECK_THROWS_AS(copy_overlap(one.seen, flat.seen), error);
}
