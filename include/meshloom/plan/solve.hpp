// SPDX-License-Identifier: Apache-2.0
// Fills in what constraints leave open: cut stages → keep parameters → choose strategies → price.
// Strategies follow from pinned neighbours: first in the order of execution, then improved operator by operator, each
// weighed with the reshards to and from its neighbours, until no single change is cheaper or 20 sweeps are done.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/plan/plan.hpp>
#include <meshloom/plan/problem.hpp>

namespace meshloom {

/// The plan, or why there is none.
result<plan> solve(const problem& posed);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/solve.inl>
#endif
