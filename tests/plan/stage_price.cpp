// SPDX-License-Identifier: Apache-2.0
// Laws of plan/stage_price.hpp: a plan's price is that of the program which is lowered from it, instruction by
// instruction, and says what ZeRO, messages and summed results cost.
#include <meshloom/exec/simulate.hpp>
#include <meshloom/plan/shortened.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/sharding/reshard.hpp>

#include "models.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <random>

namespace ml = meshloom;
using namespace ml::axis;
using ml::picoseconds;

namespace {

/// What the simulator says of one stage, leaving out what only moves memory on a rank: that is in no stage_price.
struct simulated {
  ml::stage_price price;
  std::int64_t roundings = 0;  ///< parts of operators, each of which is rounded up on its own
};

simulated simulated_price(const ml::stage_program& stage, const ml::cluster& machine) {
  const ml::mesh_links links = ml::links_of(machine, stage.mesh, stage.first_rank);
  simulated made;
  for (std::size_t body = 0; body < stage.bodies.size(); ++body) {
    const auto now = static_cast<ml::pass>(body);
    picoseconds& paid = now == ml::pass::forward    ? made.price.forward
                        : now == ml::pass::backward ? made.price.backward
                                                    : made.price.update;
    for (const ml::instruction& each : stage.bodies[body]) {
      const bool sliced = each.kind == ml::instruction::redistribute && each.how == ml::collective::slice;
      const bool moves = each.kind == ml::instruction::load || each.kind == ml::instruction::store ||
                         each.kind == ml::instruction::accumulate;
      if (sliced || moves) continue;
      paid += ml::price(stage, each, machine.device, links);
      if (each.kind == ml::instruction::compute && each.part >= 0) ++made.roundings;
    }
  }
  return made;
}

/// Compares the stages of a plan with those of its program; returns how many there are.
int compare(const ml::graph& graph, const ml::plan& made, const ml::cluster& machine) {
  const auto prices = ml::prices_of(graph, made, machine);
  const ml::program whole = ml::lower(graph, made, machine);
  REQUIRE(prices.size() == whole.stages.size());
  for (std::size_t s = 0; s < prices.size(); ++s) {
    CAPTURE(s);
    const auto [paper, roundings] = simulated_price(whole.stages[static_cast<ml::stage_id>(s)], machine);
    CHECK(std::abs((paper.forward - prices[s].forward).count) <= roundings);
    CHECK(std::abs((paper.backward - prices[s].backward).count) <= roundings);
    CHECK(std::abs((paper.update - prices[s].update).count) <= roundings);
  }
  return static_cast<int>(prices.size());
}

/// Where messages cost something: at how many cuts, in how many updates; and how many of them skip stages.
struct landings {
  int forward = 0, backward = 0, update = 0, skipping = 0;

  /// Compares what a plan says of its messages with those of its program.
  void add(const ml::graph& graph, const ml::plan& made, const ml::cluster& machine) {
    const ml::program whole = ml::lower(graph, made, machine);
    ml::transfer_prices paper{ml::vector<ml::transfer_times>(made.stages.size() - 1),
                              ml::vector<picoseconds>(made.stages.size())};
    for (const ml::transfer& each : whole.transfers) {
      const auto to = static_cast<std::size_t>(each.route.to_stage);
      const picoseconds time = ml::price(whole, each, machine);
      if (each.route.to == ml::pass::forward) paper.cuts[to - 1].forward += time;
      if (each.route.to == ml::pass::backward) paper.cuts[to].backward += time;
      if (each.route.to == ml::pass::update) paper.updates[to] += time;
      skipping += std::abs(each.route.to_stage - each.route.from_stage) > 1 ? 1 : 0;
    }
    CHECK(ml::transfers_of(graph, made, machine) == paper);
    for (const ml::transfer_times& each : paper.cuts) {
      forward += each.forward > picoseconds{} ? 1 : 0;
      backward += each.backward > picoseconds{} ? 1 : 0;
    }
    for (const picoseconds each : paper.updates) update += each > picoseconds{} ? 1 : 0;
  }
};

}  // namespace

TEST_CASE("a stage costs what its program costs, for every product of presets, whatever it recomputes") {
  int compared = 0;
  std::size_t turn = 0;
  for (const auto& [name, graph] : models::all()) {
    for (const std::int32_t ranks : {1, 2, 4, 8}) {
      for (const std::string& preset : models::products(ranks)) {
        CAPTURE(name);
        CAPTURE(preset);
        const ml::problem posed = models::posed(graph, preset, ranks, 2);
        const auto made = ml::solve(posed);
        if (!made) continue;  // more stages than blocks
        compared += compare(graph, made.value(), posed.cluster);
        ml::plan again = made.value();
        for (ml::stage_plan& stage : again.stages) {
          for (std::size_t b = 0; b < stage.recompute.size(); ++b) stage.recompute[b] = (b + ++turn) % 3 != 0;
        }
        compared += compare(graph, again, posed.cluster);
      }
    }
  }
  CHECK(compared > 600);
}

TEST_CASE("so does every plan without a fault, and on hosts that are far apart") {
  std::mt19937_64 bits(17);
  const ml::graph& graph = models::all()[1].graph;
  const ml::cluster machine = ml::p3_16xlarge(2);
  int compared = 0;
  for (const std::string preset : {"data=4,tensor=2,pipeline=2", "zero2=16", "zero3=2,tensor=4,gpipe=2"}) {
    CAPTURE(preset);
    ml::manual asked = ml::parse_manual(preset, 16).value();
    asked.micro_batches = 3;
    const ml::plan sound = ml::solve(ml::formulate(graph, machine, asked)).value();
    compared += compare(graph, sound, machine);
    for (int round = 0; round < 60; ++round) {
      ml::plan made = sound;
      ml::stage_plan& stage = made.stages[static_cast<ml::stage_id>(bits() % made.stages.size())];
      for (int changes = 0; changes < 3; ++changes) {
        const auto id = static_cast<ml::node_id>(bits() % graph.nodes.size());
        if (!ml::runs(graph, stage, id)) continue;
        stage.strategies[id].row[bits() % static_cast<std::size_t>(stage.mesh.rank)] =
            static_cast<std::uint8_t>(bits() % static_cast<std::size_t>(graph.nodes[id].op->choices.count));
      }
      for (std::size_t b = 0; b < stage.recompute.size(); ++b) stage.recompute[b] = bits() % 2 == 0;
      if (ml::check(graph, made).empty()) compared += compare(graph, made, machine);
    }
  }
  CHECK(compared > 60);
}

TEST_CASE("so do deep plans, whatever runs of copies recompute") {
  std::mt19937_64 bits(23);
  int compared = 0, shorter = 0;
  for (const ml::graph& graph : {models::gpt({.layers = 40}), models::tied({.layers = 40}),
                                 models::vectors({.layers = 40}), models::stack({.layers = 40})}) {
    for (const std::string preset : {"data=2,tensor=2,pipeline=1", "zero3=2,pipeline=2", "tensor=2,gpipe=2"}) {
      CAPTURE(preset);
      const ml::problem posed = models::posed(graph, preset, 4, 2);
      ml::plan made = ml::solve(posed).value();
      for (int round = 0; round < 6; ++round) {
        for (ml::stage_plan& stage : made.stages) {
          bool again = round % 2 != 0;
          for (std::size_t b = 0; b < stage.recompute.size(); ++b) {
            if (round > 1 && bits() % 12 == 0) again = !again;
            stage.recompute[b] = again;
          }
        }
        compared += compare(graph, made, posed.cluster);
        shorter += ml::shortened(graph, made) ? 1 : 0;
      }
    }
  }
  CHECK(compared == 4 * (1 + 2 + 2) * 6);
  CHECK(shorter > 24);
}

TEST_CASE("what is known of reshards from one plan to the next changes no prediction") {
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    ml::shared_paths known(graph);
    for (int round = 0; round < 2; ++round) {
      for (const std::string& preset : models::products(4)) {
        CAPTURE(preset);
        for (const std::int32_t micro_batches : {1, 2, 4}) {
          const ml::problem posed = models::posed(graph, preset, 4, micro_batches);
          const auto made = ml::solve(posed);
          if (!made) continue;
          CHECK(ml::predict(graph, made.value(), posed.cluster, known) ==
                ml::predict(graph, made.value(), posed.cluster));
        }
      }
    }
  }
}

TEST_CASE("messages cost what they cost in the program, each where it lands") {
  landings all;
  const ml::cluster machine = ml::p3_16xlarge(2);
  for (const auto& [name, graph] : models::all()) {
    for (const std::string preset : {"data=4,pipeline=4", "tensor=4,gpipe=4", "zero1=4,tensor=2,pipeline=2"}) {
      CAPTURE(name);
      CAPTURE(preset);
      all.add(graph, ml::solve(ml::formulate(graph, machine, ml::parse_manual(preset, 16).value())).value(), machine);
    }
  }
  CHECK(all.forward == static_cast<int>(models::all().size()) * (3 + 3 + 1));
  CHECK(all.backward == all.forward);
  CHECK(all.update == 3 * 2);    // the table that two stages read
  CHECK(all.skipping == 2 * 2);  // its sums, where there are stages between
}

TEST_CASE("so do messages between meshes that are not alike, and those that skip stages") {
  const ml::graph& gpt = models::all()[0].graph;
  ml::plan uneven = models::planned(gpt, "data=2,pipeline=2", 4, 2);
  uneven.stages[ml::stage_id{1}] = models::planned(gpt, "pipeline=2", 2, 2).stages[ml::stage_id{1}];
  uneven.stages[ml::stage_id{1}].first_rank = 2;
  uneven.ranks = 3;
  landings all;
  all.add(gpt, uneven, ml::local(3));
  CHECK(all.forward == 1);
  CHECK(all.backward == 1);

  const ml::graph skipped = models::bypassed();
  all = {};
  all.add(skipped, models::planned(skipped, "pipeline=5", 5, 2), ml::local(5));
  CHECK(all.skipping == 2);  // what is bypassed, and its gradient
}

TEST_CASE("a graph without a backward is predicted to run forward only, whatever the plan says") {
  const ml::cluster machine = ml::local(4);
  const auto task = models::token_training(ml::embedding<vocab, embed>{} | ml::repeat(4, models::perceptron()) |
                                           ml::linear<embed, vocab>{});
  for (const ml::graph& graph : {ml::trace_inference(task), ml::trace_evaluation(task)}) {
    ml::plan made = models::planned(graph, "pipeline=4", 4, 4);
    ml::vector<ml::stage_times> times;
    picoseconds update;
    for (const ml::stage_price& each : ml::prices_of(graph, made, machine)) {
      CHECK(each.backward == picoseconds{});
      times.push_back({each.forward, each.backward});
      update = std::max(update, each.update);
    }
    const auto cuts = ml::transfers_of(graph, made, machine).cuts;
    const picoseconds right = ml::makespan(ml::schedule_kind::forward_only, times, cuts, 4) + update;
    CHECK(right < ml::makespan(ml::schedule_kind::one_f_one_b, times, cuts, 4) + update);
    for (const auto kind :
         {ml::schedule_kind::forward_only, ml::schedule_kind::gpipe, ml::schedule_kind::one_f_one_b}) {
      made.schedule = kind;
      CHECK(ml::predict(graph, made, machine) == right);
    }
  }
}

TEST_CASE("ZeRO: gradients are scattered per micro-batch from level 2 on, parameters gathered per use at level 3") {
  const ml::graph& graph = models::all()[2].graph;
  const ml::cluster machine = ml::local(4);
  const ml::mesh_shape mesh{1, {4}};
  const ml::mesh_links links = ml::links_of(machine, mesh, 0);
  const auto price = [&](const std::string& preset) {
    return ml::prices_of(graph, models::planned(graph, preset, 4, 3), machine).front();
  };
  const ml::plan split = models::planned(graph, "zero1", 4, 3);
  picoseconds reduced, gathered;  // all parameters, whole; scattering costs what gathering does
  for (std::size_t p = 0; p < graph.parameters.size(); ++p) {
    const ml::value& entry = graph.values[graph.parameters[p].value];
    const auto extents = ml::extents_of(graph.sizes, entry.axes);
    const ml::spec& state = split.stages[ml::stage_id{0}].parameters[p].state;
    const std::int64_t copies = graph.regions[entry.region].count;
    const ml::bytes size{ml::largest_shard({}, mesh, extents) * 4};
    reduced += copies * ml::price(ml::collective::all_reduce, 4, size, machine.within_host);
    gathered += copies * ml::reshard(state, {}, extents, {4}, mesh, links).time;
  }
  const ml::stage_price data = price("data"), one = price("zero1"), two = price("zero2"), three = price("zero3");
  const picoseconds loss = ml::price(ml::collective::all_reduce, 4, {4}, machine.within_host);
  const picoseconds updates = three.update - loss;  // what operators take, on a part of the parameters
  CHECK(updates > picoseconds{});
  CHECK(data.update > updates + reduced + loss);  // on all of them
  CHECK(one.update == updates + 2 * gathered + loss);
  CHECK(two.update == updates + gathered + loss);
  CHECK(one.forward == data.forward);
  CHECK(two.forward == data.forward);
  CHECK(three.forward == data.forward + gathered);
  CHECK(one.backward == data.backward);
  CHECK(two.backward == data.backward + gathered);
  CHECK(three.backward > two.backward);
}
