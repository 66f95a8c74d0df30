// SPDX-License-Identifier: Apache-2.0
// The planner: enumerate → price → choose → prove. For every number of micro-batches it prices the ways to run ranges
// of blocks on submeshes (stage_ways.hpp), as far as the dynamic program that cuts blocks into stages (inter.hpp) has
// use for them (pipeline_search.hpp); plans compete by what a step takes under their schedule, as far as they fit
// (contest.hpp). Where nothing is left open but strategies under rules, propagation from pinned neighbours fills them
// in (stage_solver.hpp). Law: bound ≤ predicted, and no rank of an automatic plan's program holds more than it has.
// Source: Alpa (Zheng et al. 2022): an integer program within operators, a dynamic program between them.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/plan/plan.hpp>
#include <meshloom/plan/problem.hpp>
#include <meshloom/planner/known_stages.hpp>
#include <meshloom/planner/watch.hpp>

namespace meshloom {

/// The plan, or why there is none. `limits` are those of every intra-operator problem; with an `exact` solver in them
/// (planner/glpk.hpp) it closes what the library's own ladder leaves open. A search that `watch` ends answers with the
/// best plan that it has, whose bound is proven all the same, or says that it has none yet; a plan that is not
/// automatic takes no search, and nobody is asked. What `known` has of the stages is not found again, and what is found
/// is added to it: with one and the same, planning again takes no time where a plan that is known keeps to what is
/// asked and no mesh axis is named anew, and where much is known a small part of it under another limit on memory, on
/// other hosts or with one more pin.
result<plan> solve(const problem& posed, const intra_options& limits = {}, const planning_watch& watch = {},
                   known_stages* known = nullptr);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/solve.inl>
#endif
