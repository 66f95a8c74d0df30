// SPDX-License-Identifier: Apache-2.0
// Laws of tensor/view.hpp: a dense view lies in memory in row-major order, and a view is plain data.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>
#include <meshloom/tensor/view.hpp>

#include <random>
#include <type_traits>

using namespace meshloom;

namespace {

static_assert(std::is_trivially_copyable_v<view> && std::is_standard_layout_v<view>);

/// The offset of the element `number` in row-major order.
std::int64_t offset(const view& shard, std::int64_t number) {
  std::int64_t at = 0;
  for (int axis = shard.rank - 1; axis >= 0; --axis) {
    at += number % shard.extent[axis] * shard.stride[axis];
    number /= shard.extent[axis];
  }
  return at;
}

}  // namespace

TEST_CASE("a dense view counts its elements and visits them one after the other") {
  std::mt19937 dice(1);
  for (int round = 0; round < 300; ++round) {
    view shard{.rank = std::uniform_int_distribution(0, max_rank)(dice)};
    std::int64_t count = 1;
    for (int axis = 0; axis < shard.rank; ++axis)
      count *= shard.extent[axis] = std::uniform_int_distribution(0, 4)(dice);
    make_dense(shard);
    CHECK(shard.count() == count);
    for (std::int64_t number = 0; number < count; ++number) CHECK(offset(shard, number) == number);
  }
}

TEST_CASE("a scalar has one element") { CHECK(view{}.count() == 1); }

TEST_CASE("a view reads its memory as the element that one asks for") {
  vector<double> numbers{1.5, 2.5};
  const view shard{.data = numbers.data(), .extent = {2}, .stride = {1}, .rank = 1, .type = dtype::f64};
  CHECK(shard.as<const double>()[1] == 2.5);
  *shard.as<double>() = 7;
  CHECK(numbers[0] == 7);
}
