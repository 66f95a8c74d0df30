// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/config.hpp>
#include <meshloom/planner/watch.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace meshloom {
namespace detail {

inline std::int64_t nanoseconds_now() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace detail

MESHLOOM_INLINE watched::watched(planning_watch by) : by_(std::move(by)) {
  constexpr double longest = 1e9;  // a number of seconds that every clock can count
  if (by_.seconds > 0)
    deadline_ = detail::nanoseconds_now() + static_cast<std::int64_t>(std::min(by_.seconds, longest) * 1e9);
}

MESHLOOM_INLINE bool watched::ends(const planning_progress& now) {
  over_ = over_ || (by_.proceed && !by_.proceed(now)) || (by_.seconds > 0 && detail::nanoseconds_now() >= deadline_);
  return over_;
}

}  // namespace meshloom
