// SPDX-License-Identifier: Apache-2.0
// What a plan makes each stage run, and the values that cross from one stage to another: activations forward, gradients
// backward, and the gradients of parameters that several stages read. A message carries no pending sum: the sender
// reduces first.
// Law: a value crosses to a stage once, however many of its operators read it.
#pragma once

#include <meshloom/plan/recomputation.hpp>

namespace meshloom {

/// The pass in which the nodes of a phase run.
constexpr pass pass_of(phase when) {
  return when == phase::forward ? pass::forward : when == phase::backward ? pass::backward : pass::update;
}

/// Calls `visit(stage, node, block, pass)` for every node of every stage, in the order in which a stage runs them; a
/// block that recomputes runs forward nodes again in backward.
template <class Visit>
void for_each_node(const graph& whole, const plan& made, const Visit& visit) {
  const auto blocks = blocks_of(whole);
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const auto stage = static_cast<stage_id>(s);
    const std::int32_t first = made.stages[stage].first_block, end = made.stages[stage].end_block;
    const recomputation recomputed(whole, made.stages[stage]);
    for (std::int32_t b = first; b < end; ++b) {
      const block here = blocks[static_cast<std::size_t>(b)];
      for (const node_id id : nodes_of(whole, here.region, phase::forward)) visit(stage, id, here, pass::forward);
    }
    for (std::int32_t b = end - 1; b >= first; --b) {
      const block here = blocks[static_cast<std::size_t>(b)];
      for (const node_id id : recomputed.again(b)) visit(stage, id, here, pass::backward);
      for (const node_id id : nodes_of(whole, here.region, phase::backward)) visit(stage, id, here, pass::backward);
    }
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      const node& at = whole.nodes[id];
      if (at.when != phase::update) continue;
      for (std::int32_t copy = 0; copy < whole.regions[at.region].count; ++copy) {
        const block here{at.region, copy};
        if (updates_in(whole, made.stages[stage], at, here)) visit(stage, id, here, pass::update);
      }
    }
  }
}

/// A value made in one stage and read in another.
struct crossing {
  instance what;
  stage_id from, to;
  pass from_pass, to_pass;
  spec wanted;  ///< by the first reader, pending sums done
};

/// Every crossing of a plan, in an order that depends on graph and plan only.
std::vector<crossing> find_crossings(const graph& whole, const plan& made);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/crossing.inl>
#endif
