// SPDX-License-Identifier: Apache-2.0
// What a plan costs its stages: their operators, and the reshards between the forms of a value that they make and need.
// It walks through a stage as `lower` does, so it pays for a form once, makes it from the cheapest one there is, and
// finds in the backward what the forward has left; what a block recomputes is paid for again.
// Law: the sum of what the program's operators, exchanges and collectives cost (tests/plan/stage_price.cpp). What only
// moves memory on a rank is not in it: loads, stores, slices, adding to an accumulator. Messages are priced apart.
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/plan/known_paths.hpp>
#include <meshloom/plan/plan.hpp>

#include <span>

namespace meshloom {

struct stage_price {
  picoseconds forward, backward;  ///< of one micro-batch
  picoseconds update;             ///< of one step: what was summed over micro-batches is reduced, parameters updated
  bool operator==(const stage_price&) const = default;
};

/// The price of every stage of a plan that `check` accepts.
vector<stage_price> prices_of(const graph& whole, const plan& made, const cluster& machine);
/// The price of one of them.
stage_price price_of(const graph& whole, const plan& made, const cluster& machine, stage_id which);

/// What messages cost where they land, whatever stages they skip: at the last cut that they cross, or in the update.
struct transfer_prices {
  vector<transfer_times> cuts;  ///< between each stage and the next, for one micro-batch
  vector<picoseconds> updates;  ///< to each stage, once per step: gradients that others have summed
  bool operator==(const transfer_prices&) const = default;
};

/// The messages of a plan that `check` accepts, each by the larger shard of its ends, over their `message_link`.
transfer_prices transfers_of(const graph& whole, const plan& made, const cluster& machine);

/// What a step takes under the schedule that the program runs, where messages hold up only those who read them.
picoseconds predict(const graph& whole, const plan& made, const cluster& machine);

/// The same for one of many plans of the graph for the cluster: quicker, as reshards are known from one to the next.
picoseconds predict(const graph& whole, const plan& made, const cluster& machine, shared_paths& known);

/// The same under each of these schedules instead of the plan's: all pay the same stages and messages.
vector<picoseconds> predict(const graph& whole, const plan& made, const cluster& machine, shared_paths& known,
                            std::span<const schedule_kind> schedules);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/stage_price.inl>
#endif
