// SPDX-License-Identifier: Apache-2.0
// The inter-operator solver: cuts blocks into pipeline stages and lays the stages on ranks. It minimises the time of a
// step, Σ time + Σ cuts + max((B − 1) · time + once), exactly, for every number of stages, by dynamic programming from
// the last stage back; a state keeps the Pareto frontier of sums and slowest stages, which one pass makes. Whatever
// cannot become a plan that is worth it, given what the stages before take at least, is dropped at once.
// Law: equals enumeration. Source: Alpa (Zheng et al. 2022, section 5.2), which tries every slowest stage in turn.
#pragma once

#include <meshloom/planner/inter_problem.hpp>

namespace meshloom {

/// The candidates of the stages from first to last, and what `evaluate` says that they cost.
struct inter_plan {
  vector<std::int32_t> candidates;
  picoseconds cost;
  bool operator==(const inter_plan&) const = default;
};

struct inter_answer {
  inter_plan best;  ///< of equally cheap plans, one of the fewest stages
  /// The cheapest plan of n stages is entry n, absent if none is worth it. The cost is that of the
  /// slowest stage or, under 1F1B, of the rounds of all stages; the true makespan may rank two numbers of stages the
  /// other way.
  vector<std::optional<inter_plan>> by_stages;
};

/// The cheapest plans, or a sentence that names what rules all out: blocks that no candidate runs, ranks that cannot be
/// tiled, or the limit, with what the leanest plan holds; or that none costs less than `worth`, and then no more. A
/// problem with faults is refused with the first of them. To `work` is added how many moves and ends of plans were
/// looked at.
result<inter_answer> solve(const inter_problem& posed, std::int64_t* work = nullptr);

/// The best of those alone, sooner.
result<inter_plan> cheapest(const inter_problem& posed, std::int64_t* work = nullptr);

namespace inter {

/// Why there is no plan, where there is none.
failure why_none(const inter_problem& posed);

}  // namespace inter

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/inter.inl>
#endif
