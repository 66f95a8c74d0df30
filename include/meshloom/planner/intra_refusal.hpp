// SPDX-License-Identifier: Apache-2.0
// Why there is no answer to an intra problem: couplings that forbid every assignment, a time at which even the leanest
// assignment holds more than the limit, or a search that met none. Law: a sentence claims only what is proven.
#pragma once

#include <meshloom/planner/intra_network.hpp>

namespace meshloom::intra {

/// The sentence for a problem none of whose assignments is legal, if `proven`, or for which none was met. `leanest` is
/// the assignment met that came nearest to the limit, or empty.
std::string refusal(const intra_problem& posed, const assignment& leanest, bool proven, std::int64_t most_entries);

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_refusal.inl>
#endif
