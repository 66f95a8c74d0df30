// SPDX-License-Identifier: Apache-2.0
// The referee of plans: whether a plan solves a problem, and what it costs. It lowers the plan and reads everything off
// the program; it shares no code with `solve`, nor with the prices that `solve` goes by.
// Law: a plan predicts what the operators, collectives and messages of its program take under its schedule, to the
// picosecond, but for the rounding of operators in parts, or nothing; `breakdown::step` has the copies within ranks
// besides, and messages that hold up both their ends.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/plan/plan.hpp>
#include <meshloom/plan/problem.hpp>
#include <meshloom/report/breakdown.hpp>

#include <optional>
#include <string>

namespace meshloom {

struct verdict {
  vector<std::string> violations;  ///< a sentence each: where, what, by how much, and the cure; none: it is sound
  std::optional<breakdown> parts;  ///< of a step and of memory, unless the plan cannot be lowered
  program lowered = {};            ///< what was judged, if there are parts
  picoseconds recounted = {};      ///< what the plan should predict, if there are parts
};

/// Judges a plan, however bad: ranks, the model's operators and parameters, constraints, the program, the memory of
/// every rank, the time predicted, the bound and the runner-up. What cannot be looked at because of an earlier
/// violation is left out.
verdict evaluate(const problem& posed, const plan& made);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/evaluate.inl>
#endif
