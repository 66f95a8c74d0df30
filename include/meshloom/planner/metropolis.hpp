// SPDX-License-Identifier: Apache-2.0
// A random walk over strategies: from data parallelism, an operator, and by lot those behind it, take a strategy by
// lot, and keep it if the step becomes shorter, or with a chance that halves with every share of the step that it
// becomes longer. There is a walk on every logical mesh; on its way the number of micro-batches changes as well. Laws:
// the answer is not worse than any start that fits; the same seed walks the same way. Source: Metropolis et al. 1953;
// FlexFlow (Jia, Zaharia and Aiken 2019), section 6.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/cluster/cluster.hpp>
#include <meshloom/plan/plan.hpp>

namespace meshloom {

struct walk_limits {
  std::int64_t steps = 2000;    ///< of all walks together; a walk ends when half of its steps have found nothing
  std::int64_t halvings = 100;  ///< a step longer by one of so many (1 or more) parts of the start's is half as welcome
  std::uint64_t seed = 0;       ///< of the lot
};

/// The strategies that a walk may give an operator: all that wait for no sum but their own, cuts in the order of the
/// mesh axes.
vector<strategy> walked_strategies(const graph& whole, const mesh_shape& mesh, node_id id);

/// The plan of one stage that follows from strategies of the forward operators. The operators of a gradient split the
/// axes that the operator itself splits, if they can; a parameter is kept as the first operator reads it, and updated
/// where it is kept; its gradient is summed as it is made.
plan follow(const graph& whole, const cluster& machine, const mesh_shape& mesh, std::int32_t micro_batches,
            const table<node_id, strategy>& forward);

/// The fastest plan that fits in memory on all walks; if none was met, what the leanest holds. A graph with constraints
/// of its own (`graph::pins`) is refused: walks do not keep to them; and so are several groups of hosts.
result<plan> walk_strategies(const graph& whole, const cluster& machine, const walk_limits& limits = {});

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/metropolis.inl>
#endif
