// SPDX-License-Identifier: Apache-2.0
// What a bound speaks of: the space of plans that the planner searches for a problem, in words, choice by choice, and
// what constraints leave out of it.
// Law: every number is counted in the lists that the search itself goes through (planner/space.hpp, allowed.hpp).
#pragma once

#include <meshloom/plan/problem.hpp>
#include <meshloom/report/text_table.hpp>

namespace meshloom {

/// One row per choice: what it is between; and, if the constraints or the model leave something out, what. The
/// constraints are those of an automatic plan.
text_table space_table(const problem& posed);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/space.inl>
#endif
