// SPDX-License-Identifier: Apache-2.0
// planner/stage_tables.hpp: a stage formed from tables that other stages have asked is the one formed from its own;
// tables say what their sources say; and those that are narrowed say no more than some stages choose.
#include <meshloom/cost/analytic.hpp>
#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/stage_choices.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

namespace ml = meshloom;

namespace {

ml::stage_plan on_mesh(const ml::mesh_shape& mesh) {
  ml::stage_plan made;
  for (const char* name : {"outer", "inner"}) {
    if (static_cast<int>(made.mesh_axes.size()) < mesh.rank) made.mesh_axes.push_back(name);
  }
  made.mesh = mesh;
  return made;
}

}  // namespace

TEST_CASE("stages of one mesh are formed alike from shared tables and from their own, whatever was formed before") {
  const ml::graph graph = models::gpt({.layers = 3});
  const ml::problem posed = ml::formulate(graph, models::near_ranks(4));
  const auto blocks = static_cast<std::int32_t>(ml::blocks_of(graph).size());
  ml::shared_stage_tables tables;
  int formed = 0;
  for (const std::int32_t micro_batches : {1, 2}) {
    for (const ml::mesh_shape& mesh : {ml::mesh_shape{1, {4}}, ml::mesh_shape{2, {2, 2}}}) {
      for (std::int32_t first = 0; first + 1 < blocks; first += 2) {
        for (const bool again : {true, false}) {
          ml::stage_plan stage = on_mesh(mesh);
          stage.first_block = first;
          stage.end_block = again ? blocks : blocks - 1;
          stage.recompute.assign(static_cast<std::size_t>(stage.end_block - first), again);
          const auto shared = tables.of(posed, stage, micro_batches);
          CHECK(shared == tables.of(posed, stage, micro_batches));
          CHECK(shared != tables.of(posed, stage, 3 - micro_batches));
          const ml::stage_choices with(posed, stage, micro_batches, 1, {}, shared);
          const ml::stage_choices alone(posed, stage, micro_batches, 1, {});
          REQUIRE(with.stuck().empty());
          CHECK(with.made() == alone.made());
          CHECK(with.left_out() == alone.left_out());
          ++formed;
        }
      }
    }
  }
  CHECK(formed >= 16);
}

TEST_CASE("what tables say of operators is what their strategies take, hold and make") {
  const ml::graph graph = models::gpt({.layers = 3});
  const ml::problem posed = ml::formulate(graph, models::near_ranks(4));
  const ml::stage_plan stage = on_mesh({2, {2, 2}});
  const ml::size_table sizes = ml::micro_batch_sizes(graph, 2);
  const ml::mesh_links links = ml::links_of(posed.cluster, stage.mesh, 0);
  ml::stage_tables tables(posed, stage, 2);
  int options = 0;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    const ml::node& at = graph.nodes[id];
    if (at.when == ml::phase::update) continue;
    const ml::operator_options& known = tables.of(id);
    CHECK(known.options == ml::allowed_strategies(posed, stage, id));
    for (std::size_t option = 0; option < known.options.size(); ++option, ++options) {
      const ml::strategy& how = known.options[option];
      CHECK(known.price[option] == ml::price(graph, sizes, id, stage.mesh, how, posed.cluster.device, links));
      for (std::size_t k = 0; k < at.operands.size(); ++k) {
        const ml::form_list& list = known.reads[k];
        const ml::forms& read = list.entries[static_cast<std::size_t>(list.which[option])];
        CHECK(read.first.layout == ml::operand_spec(at.op->op, at.op->choices, 2, how, static_cast<int>(k)));
        CHECK(!read.pair());
      }
    }
  }
  CHECK(options > 500);
}

TEST_CASE("tables narrowed to a stage have its options where it runs, and all others elsewhere") {
  const ml::graph graph = models::gpt({.layers = 3});
  const ml::problem posed = ml::formulate(graph, models::near_ranks(4));
  const auto blocks = static_cast<std::int32_t>(ml::blocks_of(graph).size());
  ml::stage_plan part = on_mesh({2, {2, 2}});
  part.first_block = 1;
  part.end_block = 3;
  part.recompute.assign(2, false);
  const auto all = std::make_shared<ml::stage_tables>(posed, part, 2);
  const ml::stage_choices free(posed, part, 2, 1, {}, all);
  const auto best = ml::solve_intra(free.made(), {});
  REQUIRE(best);
  const ml::stage_plan chosen = free.plan_of(best.value().options);
  const auto some = std::make_shared<ml::stage_tables>(all, ml::vector{chosen});
  CHECK(some->all() == all);
  int narrowed = 0;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    if (graph.nodes[id].when == ml::phase::update) continue;
    const auto is_home = [&](const ml::block& each) { return each.region == graph.nodes[id].region; };
    const auto all_blocks = ml::blocks_of(graph);
    const bool runs = std::any_of(all_blocks.begin() + 1, all_blocks.begin() + 3, is_home);
    CHECK(some->of(id).options == (runs ? ml::vector{chosen.strategies[id]} : all->of(id).options));
    narrowed += runs ? 1 : 0;
  }
  CHECK(narrowed > 20);
  const ml::stage_choices bound(posed, part, 2, 1, {}, some);
  const auto again = ml::solve_intra(bound.made(), {});
  REQUIRE(again);
  CHECK(again.value().cost == best.value().cost);
  CHECK(bound.plan_of(again.value().options) == chosen);
  ml::stage_plan whole = part;  // whose other blocks choose freely
  whole.first_block = 0;
  whole.end_block = blocks;
  whole.recompute.assign(static_cast<std::size_t>(blocks), false);
  const ml::stage_choices around(posed, whole, 2, 1, {}, some), anything(posed, whole, 2, 1, {}, all);
  const auto found = ml::solve_intra(around.made(), {}), optimum = ml::solve_intra(anything.made(), {});
  REQUIRE(bool(found && optimum));
  CHECK(found.value().cost >= optimum.value().bound);
  const auto same = anything.options_of(around.plan_of(found.value().options));
  REQUIRE(same);
  CHECK(ml::evaluate(anything.made(), *same).cost == found.value().cost);
}
