// SPDX-License-Identifier: Apache-2.0
// What a plan means, to be read before a run: its stages, how every layer and parameter is split, each collective and
// message with its price, the memory of a rank, and where the time of a step goes.
// Law: numbers are those of the program: memory adds up to what is allocated, collectives to what is executed.
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/graph/graph.hpp>
#include <meshloom/plan/plan.hpp>
#include <meshloom/program/program.hpp>
#include <meshloom/report/text_table.hpp>

#include <string>

namespace meshloom {

/// All tables below, under a heading each; no line is wider than `text_width`. `lowered` is the program of `made`.
std::string explain(const graph& whole, const plan& made, const program& lowered, const cluster& machine);

/// One row per stage: ranks, mesh, blocks, slots.
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

/// One row per stage: the arena of each of its ranks.
text_table memory_table(const graph& whole, const program& lowered, const cluster& machine);

/// One row per stage: the share of a simulated step in which it computes, exchanges and waits.
text_table time_table(const program& lowered, const cluster& machine);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/explain.inl>
#endif
