// SPDX-License-Identifier: Apache-2.0
// From graph and plan to program: which forms of which values exist where, the collectives between them, messages
// between stages, offsets in the arena, and the schedule.
// Law: `check(program)` finds nothing; every reshard is the cheapest from a form there is, which is what
// plan/stage_price.hpp prices.
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/program/program.hpp>

namespace meshloom {

/// Lowers a plan. `machine` prices reshards, to choose between sources of a value; a graph without backward (inference,
/// evaluation) is lowered under the plan of its training, see `adapt`. Throws meshloom::error if the plan does not
/// belong to the graph.
program lower(const graph& whole, const plan& made, const cluster& machine);

/// One stage of a plan, all but its schedule and slots; of the other stages only what they send and read matters.
stage_program lower_stage(const graph& whole, const plan& made, const cluster& machine, stage_id which);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/lower.inl>
#endif
