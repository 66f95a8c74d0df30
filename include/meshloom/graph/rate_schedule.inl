// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/rate_schedule.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace meshloom {

MESHLOOM_INLINE double factor_at(const rate_schedule& schedule, std::uint64_t step) {
  const auto done = static_cast<double>(step), warmup = static_cast<double>(schedule.warmup);
  if (done < warmup) return (done + 1) / warmup;
  const double rest = static_cast<double>(schedule.steps) - warmup;
  const double fallen = rest > 0 ? std::min((done - warmup) / rest, 1.0) : 1;
  const double above = 1 - schedule.floor;
  switch (schedule.kind) {
    case rate_schedule::constant:
      return 1;
    case rate_schedule::cosine:
      return schedule.floor + above * (1 + std::cos(std::numbers::pi * fallen)) / 2;
    case rate_schedule::linear:
      return schedule.floor + above * (1 - fallen);
    case rate_schedule::inverse_square_root:
      return std::sqrt(std::max(warmup, 1.0) / (done + 1));
    case rate_schedule::staircase:
      return std::pow(schedule.floor, std::floor((done - warmup) / static_cast<double>(schedule.steps)));
  }
  return 1;
}

MESHLOOM_INLINE bool is_sound(const rate_schedule& schedule) {
  const bool falls = schedule.kind == rate_schedule::cosine || schedule.kind == rate_schedule::linear;
  const std::int64_t least = falls ? schedule.warmup + 1 : schedule.kind == rate_schedule::staircase ? 1 : 0;
  return schedule.warmup >= 0 && schedule.steps >= least && schedule.floor >= 0 && std::isfinite(schedule.floor);
}

}  // namespace meshloom
