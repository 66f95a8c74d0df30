// SPDX-License-Identifier: Apache-2.0
// Laws of base/units.hpp: units never mix, arithmetic is exact, and no work is free.
#include <doctest/doctest.h>

#include <meshloom/base/units.hpp>

#include <cmath>
#include <random>

using namespace meshloom;

namespace {

template <class Left, class Right>
concept adds = requires(Left left, Right right) {
  left + right;
};
template <class Left, class Right>
concept compares = requires(Left left, Right right) {
  left < right;
};

static_assert(adds<bytes, bytes> && !adds<bytes, int> && !adds<picoseconds, bytes>);
static_assert(compares<bytes, bytes> && !compares<bytes, picoseconds> && !compares<picoseconds, int>);

constexpr bytes sum = [] {
  bytes total{5};
  total += bytes{7};
  total -= bytes{2};
  return total + 3 * bytes{4} - bytes{1} * 2;
}();
static_assert(sum == bytes{20} && bytes{} == bytes{0} && bytes{1} < bytes{2});

// 2^53 + 1 is no double; a quantity has it.
static_assert((bytes{(std::int64_t{1} << 53)} + bytes{1}).count == 9007199254740993);

static_assert(from_seconds(0) == picoseconds{0} && from_seconds(1) == picoseconds{1'000'000'000'000});
static_assert(from_seconds(1e-15) == picoseconds{1} && from_seconds(2.5e-12) == picoseconds{3});
static_assert(seconds(picoseconds{2'000'000'000'000}) == 2);

}  // namespace

TEST_CASE("seconds round up to the next picosecond") {
  std::mt19937_64 dice(1);
  std::uniform_real_distribution<double> exponent(-14, 3);
  for (int round = 0; round < 10'000; ++round) {
    const double time = std::pow(10, exponent(dice));
    const picoseconds price = from_seconds(time);
    CHECK(price.count >= 1);
    CHECK(static_cast<double>(price.count) >= time * 1e12);
    CHECK(static_cast<double>(price.count - 1) < time * 1e12);
    CHECK(from_seconds(seconds(price)).count - price.count <= std::max<std::int64_t>(1, price.count >> 51));
  }
}
