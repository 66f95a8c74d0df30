// SPDX-License-Identifier: Apache-2.0
// A link: what a message crosses, as latency and bandwidth (the alpha-beta model). Law: carrying more bytes never takes
// less time, and one byte takes at least a picosecond.
#pragma once

#include <meshloom/base/units.hpp>

#include <cstdint>

namespace meshloom {

struct link {
  picoseconds latency{};
  std::int64_t bytes_per_second = 0;  ///< in each direction; at least 1, at most 9·10^15

  constexpr bool operator==(const link&) const = default;
};

/// The time in which `over` carries `load`, latency apart, rounded up; exact while it is below 2^63 picoseconds
/// (106 days). A long division in four groups of three digits, since load · 10^12 would overflow.
constexpr picoseconds carry_time(const link& over, bytes load) {
  std::int64_t time = load.count / over.bytes_per_second;
  std::int64_t rest = load.count % over.bytes_per_second;
  for (int group = 0; group < 4; ++group) {
    rest *= 1000;
    time = time * 1000 + rest / over.bytes_per_second;
    rest %= over.bytes_per_second;
  }
  return {rest > 0 ? time + 1 : time};
}

}  // namespace meshloom
