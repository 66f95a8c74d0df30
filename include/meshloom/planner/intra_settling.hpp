// SPDX-License-Identifier: Apache-2.0
// The rest of an assignment of which most is known, where what is open hangs loosely together: as a forest.
// Law: no other way to settle the rest costs less. Source: dynamic programming on trees (Bertelè & Brioschi 1972).
#pragma once

#include <meshloom/planner/intra_problem.hpp>

namespace meshloom {

/// The options with those that are open (−1) settled at the least price. An open choice must be coupled at most once
/// with open choices before it.
vector<std::int32_t> settle(const intra_problem& posed, vector<std::int32_t> options);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_settling.inl>
#endif
