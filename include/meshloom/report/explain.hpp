// SPDX-License-Identifier: Apache-2.0
// What a plan means, to be read before a run: its stages, how every layer and parameter is split, each collective and
// message with its price, the memory of a rank, and where the time of a step goes.
// Law: numbers are those of the program: memory adds up to what is allocated, collectives to what is executed.
#pragma once

#include <meshloom/plan/problem.hpp>
#include <meshloom/program/program.hpp>
#include <meshloom/report/breakdown.hpp>

#include <optional>
#include <string>

namespace meshloom {

/// All tables below and those of the breakdown, under a heading each; no line is wider than `text_width`. What
/// `evaluate` finds wrong comes first, and alone if the plan cannot be lowered. A bound is followed by the space that
/// it speaks of (report/space.hpp). How far a plan by hand is from what the planner could do at best is said if the
/// bound of the free space is given: `free_bound(posed)` (planner/free_bound.hpp) finds it, but plans for that.
std::string explain(const problem& posed, const plan& made, std::optional<picoseconds> free_bound = {});

/// The step as predicted and as simulated, the bounds and the runner-up, if there are any.
text_table step_table(const plan& made, const breakdown& parts, std::optional<picoseconds> free_bound = {});

/// One row per group of hosts, in the order of ranks.
text_table group_table(const cluster& machine);

/// One row per stage: ranks, mesh, blocks, slots; and which blocks recompute, where there are any.
text_table stage_table(const graph& whole, const plan& made, const program& lowered);

/// One row per forward operator and the specs of its results. A repeated layer is said once; an operator again only for
/// stages that split it in another way.
text_table layer_table(const graph& whole, const plan& made);

/// How parameters are kept: stored, updated, and their gradients summed.
text_table parameter_table(const graph& whole, const plan& made);

/// One row per collective or message that differs in kind, mesh axis, value, bytes, price or in how often it runs.
/// Copies of a layer are counted together. Times: "n x micro-batches", or "n" once per step; the last column is their
/// product.
text_table traffic_table(const program& lowered, const cluster& machine);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/explain.inl>
#endif
