// SPDX-License-Identifier: Apache-2.0
// What a plan costs its stages: their operators, and the reshards between the forms of a value that they make and need.
// It walks through a stage as `lower` does, so it pays for a form once, makes it from the cheapest one there is, and
// finds in the backward what the forward has left.
// Law: the sum of what the program's operators, exchanges and collectives cost (tests/plan/stage_price.cpp). What only
// moves memory on a rank is not in it: loads, stores, slices, adding to an accumulator. Messages are priced apart.
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/plan/plan.hpp>

namespace meshloom {

struct stage_price {
  picoseconds forward, backward;  ///< of one micro-batch
  picoseconds update;             ///< of one step: what was summed over micro-batches is reduced, parameters updated
  bool operator==(const stage_price&) const = default;
};

/// The price of every stage of a plan that `check` accepts.
std::vector<stage_price> prices_of(const graph& whole, const plan& made, const cluster& machine);

/// From each stage to the next: the messages of one micro-batch's forward. Between hosts, the receivers of a host share
/// its link.
std::vector<picoseconds> transfers_of(const graph& whole, const plan& made, const cluster& machine);

/// What a step takes under the plan's schedule: what the simulator says of its program.
picoseconds predict(const graph& whole, const plan& made, const cluster& machine);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/stage_price.inl>
#endif
