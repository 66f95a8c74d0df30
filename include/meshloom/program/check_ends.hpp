// SPDX-License-Identifier: Apache-2.0
// The part of `check` that looks at what stages must agree on: messages, results, how parameters start, and totals.
// Law: shares no code with `lower`; each of its sentences is provoked by a planted fault.
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

/// One sentence per fault:
/// - messages whose ends are not shards of one tensor, or carry pending sums;
/// - results that are not where the program says;
/// - parameters that start or are numbered otherwise on another stage;
/// - totals that not every stage adds up.
vector<std::string> check_ends(const program& whole);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/check_ends.inl>
#endif
