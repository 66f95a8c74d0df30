// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/free_bound.hpp>
#include <meshloom/planner/solve.hpp>

namespace meshloom {

MESHLOOM_INLINE result<picoseconds> free_bound(const problem& posed, const intra_options& limits,
                                               const planning_watch& watch) {
  const auto made = solve(freed(posed), limits, watch);
  if (!made) return failure{made.error()};
  return made.value().bound;
}

}  // namespace meshloom
