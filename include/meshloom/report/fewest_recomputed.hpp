// SPDX-License-Identifier: Apache-2.0
// How many blocks more must recompute for a plan by hand to fit: a plan that is not automatic recomputes what its rules
// name, and nothing else.
// Law: with them the ranks of every stage hold no more than they have; no stage has one of them too many, as long as
// every block that recomputes saves memory.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/plan/problem.hpp>

#include <optional>

namespace meshloom {

/// By block, whether it is to recompute although no rule says so: of every stage that does not fit those that save
/// most. None if the problem is automatic, has no plan whatever its memory, or does not fit if every block recomputes.
std::optional<vector<bool>> fewest_recomputed(const problem& posed);

/// The problem with a rule for each of these blocks besides its own.
problem recomputing(const problem& posed, const vector<bool>& blocks);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/fewest_recomputed.inl>
#endif
