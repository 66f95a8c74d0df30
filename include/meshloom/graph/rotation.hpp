// SPDX-License-Identifier: Apache-2.0
// Blocks that go around: where a strategy rotates, every rank of one mesh axis begins with its own block of a
// travelling tensor, and passes what it holds to the next rank after every round, until it has met all. A block of an
// operand visits p − 1 ranks; one of a result, to which every rank adds, comes home in p steps.
// Law: in every round the blocks of all ranks are the whole tensor. Source: Liu, Zaharia and Abbeel 2023.
#pragma once

#include <meshloom/base/units.hpp>
#include <meshloom/graph/graph.hpp>

namespace meshloom {

/// The places that a rank needs for visiting blocks of one tensor, besides its own: while one is passed on, the next
/// arrives. A result's own place takes turns with one other.
constexpr int visiting_places(bool is_result, std::int32_t ranks) { return is_result || ranks == 2 ? 1 : 2; }

/// How often a rank passes on a block of one tensor.
constexpr std::int32_t passes_of(bool is_result, std::int32_t ranks) { return is_result ? ranks : ranks - 1; }

/// Bytes of the places for visiting blocks while a node runs.
bytes bytes_of_visitors(const graph& whole, const size_table& sizes, node_id id, const mesh_shape& mesh,
                        const strategy& how);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/rotation.inl>
#endif
