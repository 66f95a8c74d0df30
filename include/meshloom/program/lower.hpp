// SPDX-License-Identifier: Apache-2.0
// From graph and plan to program: which forms of which values exist where, the collectives between them, messages
// between stages, offsets in the arena, and the schedule.
// Law: `check(program)` finds nothing; every reshard is the cheapest from a form there is, which is what
// plan/stage_price.hpp prices.
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/plan/crossing.hpp>
#include <meshloom/program/program.hpp>
#include <meshloom/schedule/rendezvous.hpp>

#include <span>

namespace meshloom {

/// Lowers a plan. `machine` prices reshards, to choose between sources of a value; a graph without backward (inference,
/// evaluation) is lowered under the plan of its training, see `adapt`. Throws meshloom::error if the plan does not
/// belong to the graph.
program lower(const graph& whole, const plan& made, const cluster& machine);

/// One stage of a plan, all but its schedule and slots; of the other stages only what they send and read matters.
stage_program lower_stage(const graph& whole, const plan& made, const cluster& machine, stage_id which);

namespace detail {

port port_of(const graph& whole, value_id id);
message route_of(const crossing& each);

/// The actions of every stage.
vector<vector<action>> orders_of(const plan& made, schedule_kind kind, std::span<const message> routes);

/// Slots for the micro-batches in flight and for messages that land before their forward. One that lands before its
/// backward finds the slot that its forward has taken.
std::int32_t slots_of(const plan& made, schedule_kind kind, int stage, std::span<const message> routes,
                      std::span<const action> order);

}  // namespace detail

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/lower.inl>
#endif
