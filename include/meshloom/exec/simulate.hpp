// SPDX-License-Identifier: Apache-2.0
// The simulator: executes a program on paper. A clock per stage advances by the cost model; a message begins when both
// its stages have come to it, so waits show where they would arise. Ranks of a stage do alike, at the pace of the
// largest shard. Law: every rank does the same work in the same order as on the host; the same input gives the same
// times.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/cluster.hpp>
#include <meshloom/cost/analytic.hpp>
#include <meshloom/exec/event.hpp>

namespace meshloom {

struct simulation {
  vector<event> events;                ///< of one step, rank by rank, each in its order
  picoseconds step;                    ///< until the last stage is done
  vector<picoseconds> busy_per_stage;  ///< in bodies; the rest of a step is messages and waiting
};

/// One instruction: an operator by its roofline (its parts share the work), a collective by its α–β price along its
/// mesh axis, anything else by the memory it moves. `links` are those of the stage's mesh.
picoseconds price(const stage_program& stage, const instruction& what, const device& on, const mesh_links& links);

/// What of the price of an operator goes to blocks that go around, from rank to rank.
picoseconds rotation_price(const stage_program& stage, const instruction& what, const mesh_links& links);

/// The buffer that a collective is about, as its price counts it: whole along its mesh axis, not a rank's part of it;
/// of a halo, what the rank that lacks most receives.
bytes bytes_of_collective(const stage_program& stage, const instruction& what);

/// What one rank sends or receives of a message, at most: the larger shard of its two ends.
bytes bytes_of_message(const program& whole, const transfer& moved);

/// One message: its larger shard over the link between the hosts of its stages, which the receivers of a host share.
picoseconds price(const program& whole, const transfer& moved, const cluster& machine);

/// Throws meshloom::error if the stages wait for each other for ever, or the cluster has fewer ranks than the program.
simulation simulate(const program& whole, const cluster& machine);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/exec/simulate.inl>
#endif
