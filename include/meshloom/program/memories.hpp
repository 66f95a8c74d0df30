// SPDX-License-Identifier: Apache-2.0
// What the stages of a plan hold, for a planner that asks again and again: they are lowered without names, those that
// are alike once, and deep ones with few copies of their layers, which stand for the others as in plan/shortened.hpp.
// Law: the regions of `lower(graph, plan, cluster)`, to the byte. Where it is not sure that copies left out would lie
// where their like lie, a stage is lowered with all of them.
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/plan/plan.hpp>

namespace meshloom {

/// The regions of the arena of one stage.
struct stage_memory {
  bytes fixed;      ///< parameters, optimizer state, gradients summed over micro-batches, results
  bytes slot;       ///< more for every micro-batch in flight
  bytes transient;  ///< besides, while a micro-batch or the update runs
  bool operator==(const stage_memory&) const = default;
};

/// Of every stage of a plan that `check` accepts.
vector<stage_memory> memories_of(const graph& whole, const plan& made, const cluster& machine);

/// Of one stage; of the others only what they send and read matters.
stage_memory memory_of(const graph& whole, const plan& made, const cluster& machine, stage_id which);

/// Its `slot` alone, in less time.
bytes slot_of(const graph& whole, const plan& made, const cluster& machine, stage_id which);

/// What a rank of each stage allocates, with all micro-batches in flight.
vector<bytes> peaks_of(const graph& whole, const plan& made, const cluster& machine);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/memories.inl>
#endif
