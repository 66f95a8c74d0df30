// SPDX-License-Identifier: Apache-2.0
// Laws of plan/recomputation.hpp, for any blocks that recompute: backward finds all it reads, nothing runs again that
// it could do without, and what is kept is what enters a block.
#include <meshloom/plan/crossing.hpp>
#include <meshloom/plan/recomputation.hpp>

#include "models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <set>

namespace ml = meshloom;

namespace {

bool is_of_forward(const ml::graph& graph, const ml::instance& what) {
  const ml::value& entry = graph.values[what.value];
  return entry.kind == ml::value_kind::activation && graph.nodes[entry.producer].when == ml::phase::forward;
}

/// What a node reads of what forward makes in the blocks of a stage.
ml::vector<ml::instance> reads(const ml::graph& graph, const ml::stage_plan& stage, ml::node_id id,
                               const ml::block& here) {
  ml::vector<ml::instance> found;
  for (const ml::value_id operand : graph.nodes[id].operands) {
    const ml::instance what = ml::resolve(graph, operand, here);
    if (!is_of_forward(graph, what)) continue;
    const std::int32_t maker = ml::block_number(graph, ml::maker_of(graph, what));
    if (maker >= stage.first_block && maker < stage.end_block) found.push_back(what);
  }
  return found;
}

/// A stage's walk through backward, one operator left out (or none): whether everything is there when it is read.
bool finds_all(const ml::graph& graph, const ml::stage_plan& stage, const ml::recomputation& recomputed,
               std::int32_t without_block = -1, ml::node_id without = ml::node_id::none) {
  const auto blocks = ml::blocks_of(graph);
  std::set<ml::instance> made;
  const auto is_there = [&](const ml::instance& what) { return !recomputed.drops(what) || made.count(what) == 1; };
  const auto finds = [&](ml::node_id id, const ml::block& here) {
    const auto wanted = reads(graph, stage, id, here);
    return std::all_of(wanted.begin(), wanted.end(), is_there);
  };
  for (std::int32_t b = stage.end_block - 1; b >= stage.first_block; --b) {
    const ml::block here = blocks[static_cast<std::size_t>(b)];
    for (const ml::node_id id : recomputed.again(b)) {
      if (b == without_block && id == without) continue;
      if (!finds(id, here)) return false;
      for (const ml::value_id result : graph.nodes[id].results) made.insert({result, here.copy});
    }
    for (const ml::node_id id : ml::nodes_of(graph, here.region, ml::phase::backward)) {
      if (!finds(id, here)) return false;
    }
  }
  return true;
}

/// What backward reads across blocks, operators that run again among it.
std::set<ml::instance> crossing(const ml::graph& graph, const ml::plan& made) {
  std::set<ml::instance> found;
  ml::for_each_node(graph, made, [&](ml::stage_id s, ml::node_id id, const ml::block& here, ml::pass when) {
    if (when != ml::pass::backward) return;
    for (const ml::instance& what : reads(graph, made.stages[s], id, here)) {
      if (ml::maker_of(graph, what) != here) found.insert(what);
    }
  });
  return found;
}

/// Calls `visit(graph, plan)` for models cut into stages, their blocks recomputing in many ways.
template <class Visit>
void for_each_plan(const Visit& visit) {
  std::mt19937_64 bits(5);
  ml::vector<models::named_graph> graphs = models::all();
  graphs.push_back({"bypassed", models::bypassed()});
  for (const auto& [name, graph] : graphs) {
    for (const std::int32_t stages : {1, 2, 3}) {
      CAPTURE(name);
      CAPTURE(stages);
      ml::plan made = models::planned(graph, "pipeline=" + std::to_string(stages), stages);
      for (int round = 0; round < 12; ++round) {
        for (ml::stage_plan& stage : made.stages) {
          for (std::size_t b = 0; b < stage.recompute.size(); ++b) stage.recompute[b] = round == 0 || bits() % 2 == 0;
        }
        visit(graph, made);
      }
    }
  }
}

}  // namespace

TEST_CASE("backward finds what it reads, and could do without nothing that runs again") {
  int again = 0, kept = 0;
  for_each_plan([&](const ml::graph& graph, const ml::plan& made) {
    for (const ml::stage_plan& stage : made.stages) {
      const ml::recomputation recomputed(graph, stage);
      CHECK(finds_all(graph, stage, recomputed));
      for (std::int32_t b = stage.first_block; b < stage.end_block; ++b) {
        const bool recomputes = stage.recompute[static_cast<std::size_t>(b - stage.first_block)];
        if (!recomputes) CHECK(recomputed.again(b).empty());
        if (!recomputes) ++kept;
        for (const ml::node_id id : recomputed.again(b)) {
          CHECK_FALSE(finds_all(graph, stage, recomputed, b, id));
          ++again;
        }
      }
    }
  });
  CHECK(again > 1000);
  CHECK(kept > 100);
}

TEST_CASE("what is kept of a block that recomputes is what backward reads of it in other blocks") {
  int dropped = 0, left = 0;
  for_each_plan([&](const ml::graph& graph, const ml::plan& made) {
    const auto read_elsewhere = crossing(graph, made);
    for (const ml::stage_plan& stage : made.stages) {
      const ml::recomputation recomputed(graph, stage);
      const auto blocks = ml::blocks_of(graph);
      for (std::size_t b = 0; b < blocks.size(); ++b) {
        const auto number = static_cast<std::int32_t>(b);
        const bool here = number >= stage.first_block && number < stage.end_block;
        const bool recomputes = here && stage.recompute[static_cast<std::size_t>(number - stage.first_block)];
        for (const ml::node_id id : ml::nodes_of(graph, blocks[b].region, ml::phase::forward)) {
          for (const ml::value_id result : graph.nodes[id].results) {
            const ml::instance what{result, blocks[b].copy};
            const bool drops = recomputed.drops(what);
            CHECK(drops == (recomputes && read_elsewhere.count(what) == 0));
            ++(drops ? dropped : left);
          }
        }
      }
    }
  });
  CHECK(dropped > 1000);
  CHECK(left > 1000);
}

TEST_CASE("what is summed over micro-batches is kept, if forward makes it") {
  ml::graph graph = models::all()[0].graph;
  ml::stage_plan stage = models::planned(graph, "pipeline=1", 1).stages[ml::stage_id{0}];
  stage.recompute.assign(stage.recompute.size(), true);
  const ml::value_id observed = graph.nodes[models::node_named(graph, "repeat.residual_2.linear.dot")].results[0];
  CHECK(ml::recomputation(graph, stage).drops({observed, 2}));
  graph.parameters[models::parameter_named(graph, "repeat.residual_2.linear.weight")].gradients = {observed};
  for (std::int32_t copy = 0; copy < 4; ++copy) CHECK_FALSE(ml::recomputation(graph, stage).drops({observed, copy}));
}

TEST_CASE("a stage that recomputes nothing drops nothing, nor do gradients, parameters and inputs") {
  const ml::graph& graph = models::all()[0].graph;
  ml::plan made = models::planned(graph, "pipeline=1", 1);
  ml::stage_plan& stage = made.stages[ml::stage_id{0}];
  for (const bool recomputes : {false, true}) {
    stage.recompute.assign(stage.recompute.size(), recomputes);
    const ml::recomputation recomputed(graph, stage);
    for (std::size_t v = 0; v < graph.values.size(); ++v) {
      const ml::instance what{static_cast<ml::value_id>(v), 0};
      if (!recomputes || !is_of_forward(graph, what)) CHECK_FALSE(recomputed.drops(what));
    }
  }
}
