// SPDX-License-Identifier: Apache-2.0
// The analytic cost model: roofline for operators, α–β for collectives and transfers. Prices are picoseconds.
// Law: nothing of weight is free; a price never falls when a shard grows, unless ranks lack less of their windows.
// Source: Williams et al. 2009 (roofline).
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/graph/graph.hpp>
#include <meshloom/sharding/collective.hpp>

namespace meshloom {

/// What a device does per second of an operator's arithmetic in a type.
double rate_of(const record& op, dtype type, const device& on);

/// The time of one node on the rank with the largest shard. An operator with statistics runs in parts, one kernel
/// each, with their exchanges between them; one that reads windows fetches its halos first; one whose blocks go around
/// runs a kernel per round, each waiting for its block. (A mask leaves ranks unequal work in a round; what `split` of
/// the queries pays for, on the whole, is what the rounds pay for.)
picoseconds price(const graph& whole, const size_table& sizes, node_id id, const mesh_shape& mesh, const strategy& how,
                  const device& on, const mesh_links& links);

/// One message between two ranks: the link's latency, and the time in which it carries `largest` bytes, the largest
/// shard that any rank sends or receives.
picoseconds transfer_price(bytes largest, const link& over);

/// A scalar that all ranks of a cluster add up.
picoseconds total_price(const cluster& machine, dtype type);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/cost/analytic.inl>
#endif
