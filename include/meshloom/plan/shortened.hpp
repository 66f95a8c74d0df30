// SPDX-License-Identifier: Apache-2.0
// A plan with fewer copies of its layers that costs the same, if one of them is counted as often as it stands for
// others: what is asked about deep models costs no more than about shallow ones.
// Law: what a copy pays is decided by itself and the two copies on either side of it, for each value is made by one
// copy and read by it and its neighbours, who in turn are told by theirs what to keep. So where five or more copies of
// a stage recompute alike, the third speaks for all but two at either end.
#pragma once

#include <meshloom/plan/plan.hpp>

namespace meshloom {

struct shortened_plan {
  graph whole;
  plan made;
  vector<std::int64_t> times;  ///< per block of `whole`: for how many it stands
};

/// The plan with the fewest copies; nothing where that saves less than half the blocks, or where copies that recompute
/// do not run the same again.
std::optional<shortened_plan> shortened(const graph& whole, const plan& made);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/shortened.inl>
#endif
