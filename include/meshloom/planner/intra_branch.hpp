// SPDX-License-Identifier: Apache-2.0
// Branch and bound over the options of a network: the open part with the lowest bound is reduced, bounded by
// multipliers and split in two at the variable for whose bytes the multipliers pay most. Law: the bound it returns is
// proven whenever it stops, and with enough nodes it is the optimum.
#pragma once

#include <meshloom/planner/intra_presolve.hpp>
#include <meshloom/planner/intra_search.hpp>

namespace meshloom::intra {

/// Counts, so that equal problems end equally on every machine.
struct branch_limits {
  std::int32_t nodes = 0;
  std::int32_t rounds = 0;        ///< of raising the bound of one node
  std::int64_t most_entries = 0;  ///< of the tables of one elimination
  std::int64_t most_work = 0;     ///< prices read
};

struct branched {
  std::int64_t bound = 0;  ///< no legal assignment cheaper than the best one visited is cheaper than this
  std::int32_t nodes = 0, rounds = 0;
  std::int64_t work = 0;
};

/// Splits what the network has, from the bound of the whole.
branched branch(const network& net, const ascent& root, const branch_limits& limits, const visitor& visit);

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_branch.inl>
#endif
