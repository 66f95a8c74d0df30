// SPDX-License-Identifier: Apache-2.0
// The intra-operator solver: one option for each choice of an intra problem, at the least price that fits in memory. It
// climbs a ladder until the proof is complete: presolve → narrow, where memory does not matter → eliminate → raise the
// bound and search → branch → integer program. Laws: bound ≤ optimum ≤ cost, always; limits on work are counts; equal
// questions get equal answers.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/planner/intra_options.hpp>

namespace meshloom {

/// The answer; or the first fault of the problem; or why nothing fits, with the least memory that is needed and when.
result<intra_answer> solve_intra(const intra_problem& posed, const intra_options& limits = {});

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra.inl>
#endif
