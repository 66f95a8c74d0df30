// SPDX-License-Identifier: Apache-2.0
// Laws of tensor/half.hpp: every number of 16 bits survives the way to float and back, and every float is rounded to
// the nearest of them, ties to the even one; found again by search among all of them, in order.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>
#include <meshloom/tensor/dtype.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace {

template <class Half>
Half of_bits(std::uint32_t bits) {
  Half made;
  made.bits = static_cast<std::uint16_t>(bits);
  return made;
}

/// All that are not negative and finite, in order.
template <class Half>
meshloom::vector<float> all_of() {
  meshloom::vector<float> made;
  for (std::uint32_t bits = 0; std::isfinite(float(of_bits<Half>(bits))); ++bits) made.push_back(of_bits<Half>(bits));
  return made;
}

/// The nearest in an ordered list, of two equally near the one at an even place; beyond half a step after the last one
/// infinity.
float nearest(const meshloom::vector<float>& all, float value) {
  const double last = all.back(), step = last - all[all.size() - 2], size = std::abs(static_cast<double>(value));
  if (size >= last + step / 2) return std::copysign(std::numeric_limits<float>::infinity(), value);
  const auto above = std::lower_bound(all.begin(), all.end(), std::abs(value));
  if (above == all.end()) return std::copysign(all.back(), value);
  if (above == all.begin()) return std::copysign(0.0f, value);
  const double up = static_cast<double>(*above) - size, down = size - static_cast<double>(*(above - 1));
  const bool takes_upper = up < down || (up == down && (above - all.begin()) % 2 == 0);
  return std::copysign(takes_upper ? *above : *(above - 1), value);
}

template <class Half>
void check_all() {
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const Half half = of_bits<Half>(bits);
    const float wide = half;
    if (std::isnan(wide))
      CHECK(std::isnan(float(Half(wide))));
    else
      REQUIRE(Half(wide).bits == half.bits);
  }
  const meshloom::vector<float> all = all_of<Half>();
  CHECK(std::is_sorted(all.begin(), all.end()));
  std::mt19937_64 dice{7};
  const auto check = [&](float value) {
    const float expected = nearest(all, value), made = Half(value);
    REQUIRE(made == expected);
    CHECK(std::signbit(made) == std::signbit(expected));
  };
  for (int round = 0; round < 200000; ++round) {
    const float value = __builtin_bit_cast(float, static_cast<std::uint32_t>(dice()));
    if (!std::isnan(value)) check(value);
  }
  for (std::size_t at = 1; at < all.size(); ++at) {  // ties, and what is next to them
    const float half_way = static_cast<float>((static_cast<double>(all[at - 1]) + static_cast<double>(all[at])) / 2);
    for (const float value : {half_way, std::nextafterf(half_way, 0), std::nextafterf(half_way, 1e38f)}) check(value);
  }
  for (const float value : {65504.0f, 65519.99f, 65520.0f, 3.3895314e38f, 3.3961777e38f}) {
    check(value);
    check(-value);
  }
}

}  // namespace

TEST_CASE("bf16 rounds to nearest") {
  check_all<meshloom::bf16>();
  CHECK(float(meshloom::bf16(std::numeric_limits<float>::quiet_NaN())) != 0);
  CHECK(std::isnan(float(meshloom::bf16(__builtin_bit_cast(float, 0x7f800001u)))));
}

TEST_CASE("f16 rounds to nearest") {
  check_all<meshloom::f16>();
  CHECK(std::isnan(float(meshloom::f16(__builtin_bit_cast(float, 0x7f800001u)))));
}
