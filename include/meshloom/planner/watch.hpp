// SPDX-License-Identifier: Apache-2.0
// A watch on a search for a plan, for searches that take long: what it is told between steps, and how it ends them.
// Law: whoever only looks changes nothing; no clock is read unless there are seconds to keep to.
#pragma once

#include <meshloom/base/units.hpp>

#include <cstdint>
#include <functional>
#include <optional>

namespace meshloom {

/// How far a search has come.
struct planning_progress {
  std::optional<picoseconds> best;     ///< what a step is predicted to take under the best plan so far; none: no plan
  std::optional<picoseconds> promise;  ///< and under the most promising pipeline that is not, if it does as hoped
  std::int64_t work = 0;               ///< prices read, and moves of pipelines
  std::int32_t racing = 0;             ///< numbers of micro-batches of which one may still win; 0: the best is polished
                                       ///< and its bound raised
};

struct planning_watch {
  std::function<bool(const planning_progress&)> proceed = {};  ///< asked between steps, if given; false ends the search
  double seconds = 0;  ///< after which the search ends with the step that it is in; 0: it takes as long as it takes
};

/// Asks a watch whether to go on. Once that was answered with no, it is over.
class watched {
 public:
  explicit watched(planning_watch by);

  bool ends(const planning_progress& now);
  bool is_over() const { return over_; }

 private:
  planning_watch by_;
  std::int64_t deadline_ = 0;  ///< in nanoseconds of the clock, if there are seconds to keep to
  bool over_ = false;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/watch.inl>
#endif
