// SPDX-License-Identifier: Apache-2.0
// planner/metropolis.hpp: what follows from strategies of forward operators is a sound plan; walks are repeatable, no
// worse than their starts, and come near the optimum where that can be enumerated.
#include <meshloom/model/moe.hpp>
#include <meshloom/model/wide_resnet.hpp>
#include <meshloom/planner/metropolis.hpp>
#include <meshloom/sharding/meshes.hpp>

#include "../plan/measures.hpp"
#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <random>

namespace ml = meshloom;
using namespace ml::axis;
using measures::peak_of;
using walked = ml::table<ml::node_id, ml::strategy>;

namespace {

/// Two products, trained: five forward operators.
const ml::graph& products() {
  static const ml::graph made = ml::trace(
      ml::training{.model = ml::linear_without_bias<embed, mlp>{} | ml::gelu{} | ml::linear_without_bias<mlp, vocab>{},
                   .loss = ml::cross_entropy<vocab>{},
                   .optimizer = ml::sgd{},
                   .sizes = ml::sizes{ml::size<batch>{8}, ml::size<embed>{64}, ml::size<mlp>{256}, ml::size<vocab>{64}},
                   .input = ml::tensor<batch, embed>{},
                   .target = ml::integers<batch>{}});
  return made;
}

bool is_forward(const ml::graph& whole, ml::node_id id) { return whole.nodes[id].when == ml::phase::forward; }

walked random_strategies(const ml::graph& whole, const ml::mesh_shape& mesh, std::mt19937& from) {
  walked made(whole.nodes.size());
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    if (!is_forward(whole, id)) continue;
    const auto options = ml::walked_strategies(whole, mesh, id);
    made[id] = options[from() % options.size()];
  }
  return made;
}

/// Calls `visit` with every combination of strategies of the forward operators.
template <class Visit>
void for_each_combination(const ml::graph& whole, const ml::mesh_shape& mesh, const Visit& visit) {
  ml::vector<ml::vector<ml::strategy>> options(whole.nodes.size());
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    options[n] = is_forward(whole, id) ? ml::walked_strategies(whole, mesh, id) : ml::vector<ml::strategy>{{}};
  }
  ml::vector<std::size_t> at(whole.nodes.size());
  for (bool more = true; more;) {
    walked made(whole.nodes.size());
    for (std::size_t n = 0; n < at.size(); ++n) made[static_cast<ml::node_id>(n)] = options[n][at[n]];
    visit(made);
    std::size_t n = 0;
    while (n < at.size() && ++at[n] == options[n].size()) at[n++] = 0;
    more = n < at.size();
  }
}

/// The fastest plan of one stage that fits, of all that follow from strategies.
ml::picoseconds optimum(const ml::graph& whole, const ml::cluster& machine) {
  std::optional<ml::picoseconds> best;
  for (const ml::mesh_shape& mesh : ml::logical_meshes(machine.ranks())) {
    for (const std::int32_t parts : {1, 2, 4, 8}) {
      for_each_combination(whole, mesh, [&](const walked& forward) {
        const ml::plan made = ml::follow(whole, machine, mesh, parts, forward);
        if (best && made.predicted >= *best) return;
        if (peak_of(whole, made, machine) <= machine.device.memory) best = made.predicted;
      });
    }
  }
  return best.value();
}

ml::cluster with_memory(ml::cluster machine, std::int64_t bytes) {
  machine.device.memory = {bytes};
  return machine;
}

}  // namespace

TEST_CASE("whatever strategies forward operators have, a sound plan follows") {
  std::mt19937 random(1);
  ml::vector<models::named_graph> tried = models::all();
  tried.push_back({"experts", ml::trace(ml::moe_training(ml::find_moe("moe-tiny"), ml::adamw{}))});
  tried.push_back({"images", ml::trace(ml::wide_resnet_training(ml::wrn_tiny, ml::adamw{}))});
  for (const auto& [name, whole] : tried) {
    for (const ml::mesh_shape& mesh : {ml::mesh_shape{}, {1, {3}}, {2, {2, 2}}, {3, {2, 2, 2}}}) {
      const ml::cluster machine = ml::local(mesh.ranks());
      for (int again = 0; again < 6; ++again) {
        CAPTURE(name);
        CAPTURE(mesh.rank);
        const walked forward = random_strategies(whole, mesh, random);
        const ml::plan made = ml::follow(whole, machine, mesh, 1 << again % 3, forward);
        const auto faults = ml::check(whole, made);
        CHECK_MESSAGE(faults.empty(), faults.front());
        CHECK(peak_of(whole, made, machine) > ml::bytes{});
        for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
          const auto id = static_cast<ml::node_id>(n);
          if (is_forward(whole, id)) CHECK(made.stages.begin()->strategies[id] == forward[id]);
        }
      }
    }
  }
}

TEST_CASE("where forward operators split the batch, so do their gradients; a split weight is kept so") {
  const ml::graph& whole = models::all()[0].graph;
  walked forward(whole.nodes.size());
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    const ml::node& at = whole.nodes[id];
    for (const ml::strategy& how : ml::walked_strategies(whole, {1, {2}}, id)) {
      const ml::choice& row = at.op->choices.rows[how.row[0]];
      const bool splits = row.kind == ml::choice::split && row.rotated < 0 &&
                          at.indices[static_cast<std::size_t>(row.index)] == whole.micro_batched;
      if (splits) forward[id] = how;
    }
  }
  const ml::plan made = ml::follow(whole, ml::local(2), {1, {2}}, 1, forward);
  CHECK(measures::share_that_splits(whole, *made.stages.begin(), "batch") == 1);
  for (const ml::parameter_plan& each : made.stages.begin()->parameters) CHECK(each.stored.is_whole());

  const std::string path = "repeat.residual_2.linear";
  const ml::node_id product = models::node_named(whole, path + ".dot");
  for (const ml::strategy& how : ml::walked_strategies(whole, {1, {2}}, product)) {
    forward[product] = how;
    const ml::plan moved = ml::follow(whole, ml::local(2), {1, {2}}, 1, forward);
    const ml::stage_plan& stage = *moved.stages.begin();
    const ml::parameter_plan& kept = stage.parameters[models::parameter_named(whole, path + ".weight")];
    CHECK(kept.stored == ml::operand_spec_in(whole, stage, product, 1));
    CHECK(kept.state == kept.stored);
  }
}

TEST_CASE("the same seed walks the same way, another one may not") {
  const ml::graph& whole = models::all()[0].graph;
  const ml::cluster machine = models::near_ranks(4);
  const ml::plan made = ml::walk_strategies(whole, machine, {.steps = 200, .seed = 7}).value();
  CHECK(ml::walk_strategies(whole, machine, {.steps = 200, .seed = 7}).value() == made);
  int others = 0;
  for (std::uint64_t seed = 0; seed < 5; ++seed)
    others += ml::walk_strategies(whole, machine, {.steps = 200, .seed = seed}).value() == made ? 0 : 1;
  CHECK(others > 0);
}

TEST_CASE("a walk starts from data parallelism, and comes near what strategies that are solved for take") {
  for (const auto& [name, whole] : models::all()) {
    CAPTURE(name);
    const ml::cluster machine = ml::local(2);
    const ml::plan start = ml::walk_strategies(whole, machine, {.steps = 0}).value();
    const ml::plan data = ml::solve(ml::formulate(whole, machine, ml::data_parallel(2))).value();
    CHECK(ml::seconds(start.predicted) <= 1.05 * ml::seconds(data.predicted));
    const ml::plan made = ml::walk_strategies(whole, machine, {.steps = 1000}).value();
    CHECK(made.predicted < start.predicted);
    const ml::plan solved = ml::solve(ml::formulate(whole, machine, ml::automatic() & ml::pipeline(1))).value();
    CHECK(made.predicted >= solved.bound);
    CHECK(ml::seconds(made.predicted) <= 1.1 * ml::seconds(solved.predicted));
  }
}

TEST_CASE("a walk is not worse than its start") {
  for (const ml::cluster& machine : {ml::local(4), models::near_ranks(3)}) {
    const ml::plan start = ml::walk_strategies(models::all()[2].graph, machine, {.steps = 0}).value();
    for (const std::int64_t steps : {3, 30, 100}) {
      for (const std::int64_t halvings : {1, 10, 1000}) {  // however willing to climb
        const ml::walk_limits limits{.steps = steps, .halvings = halvings};
        CHECK(ml::walk_strategies(models::all()[2].graph, machine, limits).value().predicted <= start.predicted);
      }
    }
  }
}

TEST_CASE("a long walk comes within 2 % of the optimum, with ample memory and with little") {
  for (const ml::cluster& machine : {ml::local(2), models::near_ranks(2)}) {
    const ml::plan start = ml::walk_strategies(products(), machine, {.steps = 0}).value();
    const std::int64_t held = peak_of(products(), start, machine).count;
    for (const std::int64_t percent : {1000, 80, 60}) {
      CAPTURE(percent);
      const ml::cluster tight = with_memory(machine, held * percent / 100);
      const ml::picoseconds best = optimum(products(), tight);
      const auto made = ml::walk_strategies(products(), tight, {.steps = 4000});
      REQUIRE_MESSAGE(made, made.error());
      CHECK(made.value().predicted >= best);
      CHECK(ml::seconds(made.value().predicted) <= 1.02 * ml::seconds(best));
    }
  }
}

TEST_CASE("why there is none: no walk met a plan that fits, or walking is not possible") {
  const auto made = ml::walk_strategies(products(), with_memory(ml::local(2), 1000), {.steps = 20});
  REQUIRE(!made);
  CHECK(made.error().find("no plan on any walk keeps to the limit of 1000 bytes per rank: the leanest") == 0);
  CHECK(ml::walk_strategies(products(), ml::local(2), {.halvings = 0}).error() ==
        "walk: halvings is 0; give 1 or more");
  ml::graph constrained = products();
  constrained.pins = {{constrained.nodes[ml::node_id{0}].results[0], "data", 0, false}};
  CHECK(ml::walk_strategies(constrained, ml::local(2)).error() ==
        "walk: the model constrains linear.dot, which a random walk does not keep to; take that out, or solve for "
        "strategies");
}
