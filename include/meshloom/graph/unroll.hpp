// SPDX-License-Identifier: Apache-2.0
// The copies of a graph: blocks are the places where a pipeline may be cut, one per copy of each region, in order; an
// instance is a value of one copy, with carries followed to whoever really made it.
#pragma once

#include <meshloom/graph/graph.hpp>

#include <compare>

namespace meshloom {

/// One copy of one region.
struct block {
  region_id region = region_id::none;
  std::int32_t copy = 0;
  constexpr auto operator<=>(const block&) const = default;
};

/// A value of one copy.
struct instance {
  value_id value = value_id::none;
  std::int32_t copy = 0;
  constexpr auto operator<=>(const instance&) const = default;
};

/// All blocks of a graph in forward order.
vector<block> blocks_of(const graph& whole);

/// What a node of block `reader` reads when it names `id`: carries are followed. Copies count from 0.
instance resolve(const graph& whole, value_id id, const block& reader);

/// What leaves a step. A result of a repeated region leaves it once per copy.
vector<instance> results_of(const graph& whole);

/// The block whose node makes this instance. Only for activations.
block maker_of(const graph& whole, const instance& what);

/// The nodes of one region and phase, in order.
vector<node_id> nodes_of(const graph& whole, region_id area, phase when);

/// "repeat[3]" or "embedding".
std::string name_of(const graph& whole, const block& which);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/unroll.inl>
#endif
