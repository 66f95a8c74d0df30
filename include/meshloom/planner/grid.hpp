// SPDX-License-Identifier: Apache-2.0
// A grid of manual plans, of which the fastest that fits is wanted: presets in all their sizes, say.
// Law: the answer is that of solving every plan of the grid and lowering it to see what it holds. All are priced; as
// memory is dearer to find, it is asked for in the order of the prices, and only until a plan fits.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/plan/plan.hpp>
#include <meshloom/plan/problem.hpp>

namespace meshloom {

/// The fastest of the plans asked for that fits in the memory of the cluster's devices, of equals the first; its
/// runner-up is the next that differs in shape. If none can be had or none fits, what the leanest holds. A cluster of
/// several groups of hosts is refused: stages of these plans are equal.
result<plan> best_of(const graph& whole, const cluster& machine, const vector<manual>& grid);

/// What the fullest rank of a plan holds; where its parameters alone take more than `limit`, what they take.
bytes peak_of(const graph& whole, const plan& made, const cluster& machine, bytes limit);

namespace detail {

/// "keeps to the limit of …", for what holds more.
std::string too_much(bytes leanest, bytes limit);

}  // namespace detail

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/grid.inl>
#endif
