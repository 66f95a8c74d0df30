// SPDX-License-Identifier: Apache-2.0
// Laws of tensor/sizes.hpp: every axis has the size it was bound to, keys of an axis have its size, and `with` changes
// one axis only.
#include <doctest/doctest.h>

#include <meshloom/tensor/sizes.hpp>

using namespace meshloom;
using namespace meshloom::axis;

namespace {

struct width;

constexpr sizes all{size<batch>{8}, size<width>{5}, size<seq>{16}};
static_assert(std::is_same_v<decltype(all), const sizes<batch, width, seq>>);
static_assert(all.get<batch>() == 8 && all.get<width>() == 5 && all.get<seq>() == 16 && all.get<keys<seq>>() == 16);
static_assert(all.has<width> && all.has<keys<seq>> && !all.has<embed> && !all.has<keys<embed>>);

constexpr sizes longer = all.with(size<seq>{32});
static_assert(longer.get<seq>() == 32 && longer.get<keys<seq>>() == 32 && longer.get<batch>() == 8 &&
              longer.get<width>() == 5);
static_assert(all.get<seq>() == 16);
static_assert(all.with(size<batch>{1}).with(size<width>{2}).get<width>() == 2);

constexpr sizes<> none;
static_assert(!none.has<batch>);

constexpr bool ceiling_of_ceilings() {
  for (std::int64_t n = 0; n < 40; ++n) {
    const sizes bound{size<axis::high>{n}};
    if (bound.get<strided<axis::high, 6>>() != (((n + 1) / 2) + 2) / 3) return false;
    if (bound.get<taps<strided<axis::high, 2>, 3>>() != 3) return false;
  }
  return true;
}
static_assert(ceiling_of_ceilings());

}  // namespace

TEST_CASE("axes are found by name in the plain table") {
  size_table table;
  table.add({"batch", 8});
  table.add({"seq", 16});
  table.add({"seq_keys", 16});
  CHECK(find_axis(table, "batch") == axis_id{0});
  CHECK(find_axis(table, "seq_keys") == axis_id{2});
  CHECK(find_axis(table, "seq_") == axis_id::none);
  CHECK(find_axis(table, "") == axis_id::none);
  CHECK(find_axis({}, "batch") == axis_id::none);

  size_table other = table;
  CHECK(other == table);
  other[axis_id{1}].extent = 32;
  CHECK(other != table);
}
