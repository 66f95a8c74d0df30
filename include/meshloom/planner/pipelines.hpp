// SPDX-License-Identifier: Apache-2.0
// All pipelines of an inter-operator problem that may take less than a given time, one by one: where there are few, the
// best is found by the makespan itself and not by what it is for equal stages in lockstep.
// Law: visits every sequence of candidates that tiles blocks and ranks and whose bound is below the time, once.
#pragma once

#include <meshloom/planner/inter_problem.hpp>

#include <functional>

namespace meshloom {

/// Calls `visit(candidates)` for every pipeline whose `inter_price::bound`, messages for nothing, is below `worth()`,
/// which may fall meanwhile; memory is looked at stage by stage, as if one micro-batch were in flight. Gives up after
/// `most_moves`, and returns whether it did not have to.
bool for_each_pipeline(const inter_problem& posed, std::int64_t most_moves, const std::function<picoseconds()>& worth,
                       const std::function<void(const vector<std::int32_t>&)>& visit);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/pipelines.inl>
#endif
