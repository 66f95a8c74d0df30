// SPDX-License-Identifier: Apache-2.0
// What a plan makes each stage run, and the values that cross from one stage to another: activations forward, gradients
// backward, and the gradients of parameters that several stages read. A message carries no pending sum: the sender
// reduces first.
// Law: a value crosses to a stage once, however many of its operators read it.
#pragma once

#include <meshloom/plan/recomputation.hpp>

#include <algorithm>

namespace meshloom {

/// The pass in which the nodes of a phase run.
constexpr pass pass_of(phase when) {
  return when == phase::forward ? pass::forward : when == phase::backward ? pass::backward : pass::update;
}

/// The nodes of a graph, sorted by where and when they run.
struct sorted_nodes {
  explicit sorted_nodes(const graph& whole);

  struct update {
    node_id id;
    std::size_t parameter;  ///< that it belongs to
  };
  vector<block> blocks;                  ///< all of them
  table<region_id, std::int32_t> first;  ///< the number of each region's first block
  table<region_id, vector<node_id>> forward, backward;
  vector<update> updates;
};

/// Calls `visit(node, block, pass)` for every node of a stage, in the order in which it runs them, and in front of a
/// block's backward for the nodes that `again(number of the block)` lists.
template <class Again, class Visit>
void for_each_node_of(const graph& whole, const stage_plan& stage, const sorted_nodes& nodes, const Again& again,
                      const Visit& visit) {
  const std::int32_t first = stage.first_block, end = stage.end_block;
  for (std::int32_t b = first; b < end; ++b) {
    const block here = nodes.blocks[static_cast<std::size_t>(b)];
    for (const node_id id : nodes.forward[here.region]) visit(id, here, pass::forward);
  }
  for (std::int32_t b = end - 1; b >= first; --b) {
    const block here = nodes.blocks[static_cast<std::size_t>(b)];
    for (const node_id id : again(b)) visit(id, here, pass::backward);
    for (const node_id id : nodes.backward[here.region]) visit(id, here, pass::backward);
  }
  for (const auto& [id, parameter] : nodes.updates) {
    if (!stage.parameters[parameter].used) continue;
    const region_id home = whole.nodes[id].region;
    const bool repeated = whole.regions[home].repeated;
    const std::int32_t before = nodes.first[home], count = whole.regions[home].count;
    for (std::int32_t copy = repeated ? std::max(first - before, 0) : 0; copy < count; ++copy) {
      if (repeated && before + copy >= end) break;
      visit(id, block{home, copy}, pass::update);
    }
  }
}

/// The same with the forward nodes that blocks run again as they recompute.
template <class Visit>
void for_each_node_of(const graph& whole, const stage_plan& stage, const sorted_nodes& nodes, const Visit& visit) {
  const recomputation recomputed(whole, stage);
  for_each_node_of(
      whole, stage, nodes, [&](std::int32_t number) { return recomputed.again(number); }, visit);
}

/// Calls `visit(stage, node, block, pass)` for every node of every stage.
template <class Visit>
void for_each_node(const graph& whole, const plan& made, const sorted_nodes& nodes, const Visit& visit) {
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    for_each_node_of(whole, made.stages[stage_id(s)], nodes,
                     [&](node_id id, const block& here, pass when) { visit(stage_id(s), id, here, when); });
  }
}

template <class Visit>
void for_each_node(const graph& whole, const plan& made, const Visit& visit) {
  for_each_node(whole, made, sorted_nodes(whole), visit);
}

/// A value made in one stage and read in another.
struct crossing {
  instance what;
  stage_id from, to;
  pass from_pass, to_pass;
  spec wanted;  ///< by the first reader, pending sums done
};

/// Every crossing of a plan, in an order that depends on graph and plan only.
vector<crossing> find_crossings(const graph& whole, const plan& made);
vector<crossing> find_crossings(const graph& whole, const plan& made, const sorted_nodes& nodes);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/crossing.inl>
#endif
