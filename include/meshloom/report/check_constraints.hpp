// SPDX-License-Identifier: Apache-2.0
// The part of `evaluate` that looks at constraints, derived anew from what the problem says.
// Law: every plan that `solve` makes keeps to them; a plan changed in one of them does not.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/plan/plan.hpp>
#include <meshloom/plan/problem.hpp>

#include <string>

namespace meshloom {

/// One sentence per constraint that a plan without a fault does not keep to, with its place and cure:
/// - the number of stages, cuts, micro-batches, the schedule, sizes of mesh axes;
/// - rules: an operator that could split an axis but does not; pins of the model and of the problem;
/// - ZeRO: state, gradients or parameters whole that are to be split, or split that are not to be.
vector<std::string> check_constraints(const problem& posed, const plan& made);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/check_constraints.inl>
#endif
