// SPDX-License-Identifier: Apache-2.0
// The pipelines that keep a pace. Under 1F1B the stages in a row that are slowest, with the messages between them, set
// the pace of all: slow or uneven messages may make a pipeline of fast stages the slower one. For a given pace a pass
// over the lattice from the last stage back finds the plan whose stages and messages take least; intervals of the pace
// are halved as long as a plan in them may be better. Law: to one part in 256, no plan has a lower `inter_price::paced`
// than the first that is found.
#pragma once

#include <meshloom/planner/inter.hpp>

namespace meshloom {

/// Plans whose `paced`, here said as their cost, is less than `worth`, the best first; none if there is none. To `work`
/// is added how many moves were looked at. The problem has no fault.
vector<inter_plan> steadiest(const inter_problem& posed, std::int64_t* work = nullptr);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/inter_pace.inl>
#endif
