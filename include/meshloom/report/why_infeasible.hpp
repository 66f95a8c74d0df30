// SPDX-License-Identifier: Apache-2.0
// Why a problem has no plan, and what would have to change for it to have one. Nothing here is estimated: a change is
// named because `solve` has found a plan with it. It plans some twenty times, or more where much was asked for.
// Law: each plan found is sound for its problem, as `evaluate` sees it; with 6 % less memory than is named there is
// no plan; a problem that has a sound plan gets no answer.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/plan/plan.hpp>
#include <meshloom/plan/problem.hpp>

#include <optional>
#include <string>

namespace meshloom {

/// One change to a problem that is enough on its own.
struct relaxation {
  std::string change;  ///< in a line: "give each device 1.5 MiB of memory (1572864 bytes), 24.1 % more"
  problem posed;       ///< with the change
  plan found;          ///< for it
};

struct infeasibility {
  std::string reason;  ///< what limits, by how much, and the sentence of `solve` or `evaluate`
  /// The smallest change of each kind, nearest first: another number of micro-batches, a higher level of ZeRO, the
  /// fewest blocks to recompute where the plan is by hand, or one kind of constraint left out, and all of them only if
  /// nothing of this will do; then more memory, or more hosts (devices, if there is one host: one more, or 2, 4 or 8
  /// times as many), whichever grows less.
  vector<relaxation> relaxations;
};

/// None if there is a plan that `evaluate` finds nothing wrong with.
std::optional<infeasibility> why_infeasible(const problem& posed);

/// The reason and a row per relaxation, with the plan found; no line is wider than `text_width`.
std::string explain(const infeasibility& why);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/why_infeasible.inl>
#endif
