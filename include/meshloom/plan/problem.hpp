// SPDX-License-Identifier: Apache-2.0
// A problem: what may be chosen, and at what price. It owns copies of everything a plan depends on, so that nothing
// hidden (no global, no environment) can change an answer.
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/graph/graph.hpp>
#include <meshloom/plan/manual.hpp>

namespace meshloom {

struct problem {
  meshloom::graph graph;
  meshloom::cluster cluster;
  manual constraints;
};

/// Puts a graph, a cluster and the constraints of a plan together: none, and everything is chosen. If no mesh is given,
/// an automatic plan gets the mesh axes that pins name, up to `outer` and `inner` in all.
problem formulate(const graph& whole, const cluster& machine, const manual& constraints = automatic());

/// Whether a rule makes them recompute, for the blocks from `first_block` up to, but not with, `end_block`.
vector<bool> recomputed_by_rule(const problem& posed, std::int32_t first_block, std::int32_t end_block);

/// One sentence per fault, each with its cure: ranks that do not match, mesh axes of two sizes, unknown axes or paths,
/// micro-batches that do not divide the batch, a batch smaller than the ranks that split it, more stages than blocks,
/// two schedules, layers to recompute that there are not, stages of a plan by hand that straddle groups of hosts.
vector<std::string> check(const problem& posed);

namespace detail {

/// The mesh axes of an automatic plan that names none.
vector<mesh_axis_size> free_mesh(const graph& whole, const manual& constraints);

}  // namespace detail

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/problem.inl>
#endif
