// SPDX-License-Identifier: Apache-2.0
// What no plan of an inter-operator problem beats: no schedule places the work of its stages so that a step takes less.
// Law: the least over all plans, as an enumeration finds it; never more than the makespan of a plan.
#pragma once

#include <meshloom/planner/inter.hpp>

namespace meshloom {

/// What no plan beats under the schedule, or `worth` where that is less; without `worth` it fails as `solve` does. It
/// is the least `inter_price::bound`, but that stages that wait for those behind them are taken to work meanwhile for
/// as long as a stage may that is worth it; or not to wait at all, where there are too many plans to look at.
result<picoseconds> bound_of(const inter_problem& posed);

/// The same to one part in `closeness`, as the cost of a plan of which no more can be said, of no stages where `worth`
/// is less; but that messages take only the halves that their stages pay, and that under 1F1B stages keep no quicker
/// pace than they can: d of them in a row send d micro-batches around at a time, so that a step takes at least what
/// they do on average, B · time + once and (B − n) times the messages between them, where plans have up to n stages.
/// What is `known` to be a bound already is the least that is looked for. To `work` is added how many moves were looked
/// at.
result<inter_plan> least_bound(const inter_problem& posed, picoseconds known = {}, std::int64_t closeness = 4096,
                               std::int64_t* work = nullptr);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/inter_bound.inl>
#endif
