// SPDX-License-Identifier: Apache-2.0
// Units are types: bytes, flops and picoseconds never mix by accident, and all of them are exact 64-bit integers, so that
// comparing two plans gives the same answer under every compiler.
#pragma once

#include <compare>
#include <cstdint>

namespace meshloom {

template <class Unit>
struct quantity {
  std::int64_t count = 0;

  constexpr auto operator<=>(const quantity&) const = default;
  constexpr quantity& operator+=(quantity other) {
    count += other.count;
    return *this;
  }
  constexpr quantity& operator-=(quantity other) {
    count -= other.count;
    return *this;
  }
  friend constexpr quantity operator+(quantity a, quantity b) { return {a.count + b.count}; }
  friend constexpr quantity operator-(quantity a, quantity b) { return {a.count - b.count}; }
  friend constexpr quantity operator*(quantity a, std::int64_t times) { return {a.count * times}; }
  friend constexpr quantity operator*(std::int64_t times, quantity a) { return {a.count * times}; }
};

using bytes = quantity<struct byte_unit>;
using flops = quantity<struct flop_unit>;
using picoseconds = quantity<struct picosecond_unit>;

constexpr double seconds(picoseconds time) { return static_cast<double>(time.count) * 1e-12; }

/// Rounds up, so that a price is never zero for work that is not.
constexpr picoseconds from_seconds(double time) {
  const double exact = time * 1e12;
  const auto floor = static_cast<std::int64_t>(exact);
  return {static_cast<double>(floor) < exact ? floor + 1 : floor};
}

}  // namespace meshloom
