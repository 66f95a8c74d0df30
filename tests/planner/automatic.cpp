// SPDX-License-Identifier: Apache-2.0
// planner/solve.hpp on automatic plans: sound, no slower than any preset, bounded from below, the same every time; what
// is said is kept to, what is not said follows the cluster.
#include "automatic.hpp"

#include "../plan/measures.hpp"

#include <algorithm>

namespace ml = meshloom;
using namespace ml::axis;
using automatic::compare_with_presets;
using automatic::solved;
using measures::peak_of;
using measures::share_that_splits;
using ml::picoseconds;

namespace {

constexpr ml::placement split(int axis) { return {ml::placement::split, static_cast<std::int8_t>(axis)}; }

struct perceptron_shape {
  std::int64_t samples, narrow, wide;
};

/// Three perceptrons in a row.
ml::graph perceptrons(const perceptron_shape& of) {
  const auto layer = ml::residual(ml::linear<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{});
  return ml::trace(ml::training{.model = ml::repeat(3, layer) | ml::linear<embed, vocab>{},
                                .loss = ml::cross_entropy<vocab>{},
                                .optimizer = ml::sgd{},
                                .sizes = ml::sizes{ml::size<batch>{of.samples}, ml::size<embed>{of.narrow},
                                                   ml::size<mlp>{of.wide}, ml::size<vocab>{16}},
                                .input = ml::tensor<batch, embed>{},
                                .target = ml::integers<batch>{}});
}

const ml::graph& small_gpt() {
  static const ml::graph made = models::gpt({.layers = 2});
  return made;
}
const ml::graph& vectors() { return models::all()[2].graph; }

/// Lowers the memory of a cluster step by step until nothing fits. Plans keep to it, and come to cost more.
void tighten(const ml::graph& graph, ml::cluster machine, std::int64_t percent) {
  const ml::bytes ample = peak_of(graph, solved(graph, machine), machine);
  ml::bytes limit = ample, last = ample;
  picoseconds before;
  for (int steps = 0;; ++steps) {
    machine.device.memory = limit;
    const auto made = ml::solve(ml::formulate(graph, machine));
    if (!made) {
      CHECK(steps > 2);
      CHECK(last.count * 3 < ample.count * 2);
      CHECK(made.error().find("no plan keeps to the limit of " + std::to_string(limit.count) + " bytes") == 0);
      return;
    }
    const auto faults = ml::check(graph, made.value());
    CHECK_MESSAGE(faults.empty(), faults.front());
    CHECK(made.value().predicted >= before);
    before = made.value().predicted;
    last = peak_of(graph, made.value(), machine);
    CHECK(last <= limit);
    limit.count = limit.count * percent / 100;
  }
}

}  // namespace

TEST_CASE("an automatic plan is sound, and no product of presets is faster") {
  for (const std::int32_t ranks : {1, 2, 3, 4}) {
    CAPTURE(ranks);
    compare_with_presets(vectors(), ml::local(ranks));
    compare_with_presets(vectors(), models::near_ranks(ranks));
    if (ranks == 4) continue;
    compare_with_presets(small_gpt(), ml::local(ranks));
    compare_with_presets(small_gpt(), models::near_ranks(ranks));
  }
}

TEST_CASE("the same problem has the same plan") {
  for (const ml::cluster& machine : {ml::local(3), models::near_ranks(4)})
    CHECK(solved(vectors(), machine) == solved(models::vectors(), machine));
}

TEST_CASE("auto is the word for it, and what is asked for if nothing is said") {
  const ml::manual word = ml::parse_manual("auto", 2).value();
  const ml::plan made = solved(vectors(), models::near_ranks(2));
  CHECK(solved(vectors(), models::near_ranks(2), word) == made);
  CHECK(ml::solve(ml::formulate(vectors(), models::near_ranks(2))).value() == made);
}

TEST_CASE("a pinned result is obeyed by every stage that makes it") {
  const std::string path = "repeat.residual_2.linear.dot";  // [batch, seq, mlp]
  const ml::node_id pinned = models::node_named(small_gpt(), path);
  const auto check_pin = [&](const ml::manual& asked, std::int32_t ranks) {
    CAPTURE(ranks);
    int obeyed = 0;
    for (const ml::stage_plan& stage : solved(small_gpt(), models::near_ranks(ranks), asked).stages) {
      if (!ml::runs(small_gpt(), stage, pinned)) continue;
      const auto named = std::find(stage.mesh_axes.begin(), stage.mesh_axes.end(), "tensor");
      REQUIRE(named != stage.mesh_axes.end());
      const auto axis = static_cast<int>(named - stage.mesh_axes.begin());
      CHECK(ml::result_spec_in(small_gpt(), stage, pinned, 0).on(axis) == split(1));
      ++obeyed;
    }
    CHECK(obeyed > 0);
  };
  const ml::manual pin = ml::automatic() & ml::pin_result<seq, ml::mesh::tensor>(path);
  for (const std::int32_t ranks : {2, 3, 4}) check_pin(pin, ranks);
  check_pin(pin & ml::manual{.mesh = {{"tensor", 0}}, .stages = 1}, 2);
  check_pin(pin & ml::manual{.mesh = {{"tensor", 2}}}, 2);
  check_pin(pin & ml::manual{.mesh = {{"tensor", 2}, {"data", 0}}}, 4);
}

TEST_CASE("a cut that is named is made, and as many stages as are said") {
  for (const ml::cluster& machine : {ml::local(2), models::near_ranks(2), models::near_ranks(4)}) {
    const ml::plan cut = solved(vectors(), machine, ml::automatic() & ml::stage(3));
    REQUIRE(cut.stages.size() == 2);
    CHECK(cut.stages[ml::stage_id{1}].first_block == 3);
    CHECK(solved(vectors(), machine, ml::automatic() & ml::pipeline(1)).stages.size() == 1);
    CHECK(solved(vectors(), machine, ml::automatic() & ml::pipeline(2)).stages.size() == 2);
  }
  const ml::plan three = solved(vectors(), ml::local(4), ml::automatic() & ml::stage(3) & ml::stage(4));
  REQUIRE(three.stages.size() == 3);
  CHECK(three.stages[ml::stage_id{1}].first_block == 3);
  CHECK(three.stages[ml::stage_id{2}].first_block == 4);
}

TEST_CASE("micro-batches and the schedule are kept to") {
  for (const ml::schedule_kind kind : {ml::schedule_kind::gpipe, ml::schedule_kind::one_f_one_b}) {
    ml::manual asked = ml::automatic() & ml::pipeline(2, kind);
    asked.micro_batches = 8;
    const ml::plan made = solved(vectors(), ml::local(2), asked);
    CHECK(made.schedule == kind);
    CHECK(made.micro_batches == 8);
  }
}

TEST_CASE("a rule on a mesh axis of any size splits what has the axis") {
  ml::manual asked = ml::automatic() & ml::data_parallel(0);
  REQUIRE(asked.mesh.size() == 1);
  for (const std::int32_t stages : {1, 2}) {
    asked.stages = stages;
    for (const ml::stage_plan& stage : solved(vectors(), models::near_ranks(4), asked).stages) {
      CHECK(stage.mesh_axes == ml::vector<std::string>{"data"});
      CHECK(stage.mesh.size[0] == 4 / stages);
      CHECK(share_that_splits(vectors(), stage, "batch") == 1);
      for (const ml::parameter_plan& each : stage.parameters) CHECK(each.stored.is_whole());
    }
  }
}

TEST_CASE("blocks recompute as rules say, and no product of presets under the same rules is faster") {
  for (const ml::manual& rule : {ml::recompute(), ml::recompute("repeat", 1, 3) & ml::recompute("loss")}) {
    for (const std::int32_t ranks : {1, 2, 4}) {
      const ml::cluster machine = models::near_ranks(ranks);
      const ml::problem posed = ml::formulate(vectors(), machine, ml::automatic() & rule);
      for (const ml::stage_plan& stage : solved(vectors(), machine, posed.constraints).stages)
        CHECK(stage.recompute == ml::recomputed_by_rule(posed, stage.first_block, stage.end_block));
      automatic::compare_with(models::products(ranks), vectors(), machine, rule);
    }
  }
}

TEST_CASE("where memory is scarce a plan recomputes, as much as it must") {
  ml::cluster machine = ml::local(1);
  const ml::manual alone = ml::automatic() & ml::manual{.micro_batches = 1};
  const auto peak = [&](const ml::plan& made) {
    return ml::lower(small_gpt(), made, machine).stages[ml::stage_id{0}].peak();
  };
  const ml::plan ample = solved(small_gpt(), machine, alone);
  CHECK(!ml::recomputes(ample.stages[ml::stage_id{0}]));
  const ml::plan lean = solved(small_gpt(), machine, alone & ml::recompute());
  REQUIRE(peak(lean) < peak(ample));
  picoseconds last = ample.predicted;
  for (const std::int64_t share : {90, 50, 0}) {
    machine.device.memory.count = peak(lean).count + (peak(ample) - peak(lean)).count * share / 100;
    const ml::plan made = solved(small_gpt(), machine, alone);
    CHECK(ml::recomputes(made.stages[ml::stage_id{0}]));
    CHECK(made.predicted >= last);
    CHECK(made.predicted <= lean.predicted);
    CHECK(made.bound <= made.predicted);
    last = made.predicted;
  }
  machine.device.memory.count = peak(lean).count / 2;
  CHECK(!ml::solve(ml::formulate(small_gpt(), machine, alone)));
}

TEST_CASE("ZeRO is kept to, the rest is free") {
  const ml::manual asked = ml::automatic() & ml::zero(3, 2) & ml::manual{.mesh = {{"inner", 0}}};
  for (const ml::stage_plan& stage : solved(vectors(), models::near_ranks(4), asked).stages) {
    REQUIRE(!stage.mesh_axes.empty());
    CHECK(stage.mesh_axes[0] == "data");
    for (const ml::parameter_plan& each : stage.parameters) {
      if (each.used) CHECK(each.stored.on(0).kind == ml::placement::split);
    }
  }
}

TEST_CASE("pins that nothing meets, and what cannot be, are named") {
  ml::manual asked = ml::automatic();
  asked.mesh = {{"tensor", 2}};
  asked.pins = {{"repeat.residual_2.linear.dot", "tensor", "vocab"}};
  CHECK(ml::solve(ml::formulate(small_gpt(), ml::local(2), asked)).error() ==
        "operator repeat.residual_2.linear.dot has no strategy that meets its pins; remove one, or pin an axis it can "
        "split");
  CHECK(!ml::solve(ml::formulate(vectors(), ml::local(2), ml::automatic() & ml::pipeline(8))));
  CHECK(!ml::solve(ml::formulate(vectors(), ml::local(2), ml::automatic() & ml::pipeline(3))));
}

TEST_CASE("a big batch on slow ranks with fast links is split") {
  ml::cluster machine = ml::local(4);
  machine.device.flops_per_second = 1e9;
  machine.within_host = {.latency = picoseconds{100'000}, .bytes_per_second = 100'000'000'000};
  const ml::graph graph = perceptrons({4096, 16, 32});
  const ml::plan made = solved(graph, machine);
  REQUIRE(made.stages.size() == 1);
  CHECK(share_that_splits(graph, made.stages[ml::stage_id{0}], "batch") > 0.9);
}

TEST_CASE("big weights under a tiny batch are split") {
  ml::cluster machine = ml::local(4);
  machine.within_host = {.latency = picoseconds{100'000}, .bytes_per_second = 100'000'000'000};
  const ml::graph graph = perceptrons({2, 256, 1024});
  const ml::plan made = solved(graph, machine);
  REQUIRE(made.stages.size() == 1);
  const ml::stage_plan& stage = made.stages[ml::stage_id{0}];
  CHECK(share_that_splits(graph, stage, "mlp") > 0.9);
  CHECK(share_that_splits(graph, stage, "batch") < 0.1);
  for (const std::string name : {"repeat.linear.weight", "repeat.linear_2.weight"}) {
    const ml::parameter_plan& weight = stage.parameters[models::parameter_named(graph, name)];
    CHECK(!weight.stored.is_whole());
    CHECK(weight.state == weight.stored);
  }
}

TEST_CASE("hosts of one rank that are far apart are stages") {
  ml::cluster machine = ml::local(1);
  machine.hosts = 3;
  machine.between_hosts = {.latency = picoseconds{50'000'000}, .bytes_per_second = 100'000'000};
  const ml::graph graph = perceptrons({4096, 64, 256});
  const ml::plan made = solved(graph, machine);
  CHECK(made.stages.size() == 3);
  CHECK(made.micro_batches > 1);
}

TEST_CASE("with less memory plans hold less and cost more, until a sentence says that nothing fits") {
  tighten(vectors(), ml::local(1), 80);
  tighten(small_gpt(), models::near_ranks(1), 80);
  tighten(vectors(), models::near_ranks(2), 85);
}

TEST_SUITE("all") {
  TEST_CASE("no product of presets is faster, for every model") {
    for (const auto& [name, graph] : models::all()) {
      for (const std::int32_t ranks : {2, 3, 4}) {
        CAPTURE(name);
        compare_with_presets(graph, ml::local(ranks));
        compare_with_presets(graph, models::near_ranks(ranks));
      }
    }
  }

  TEST_CASE("with less memory plans hold less and cost more, on more ranks") {
    tighten(vectors(), ml::local(2), 85);
    tighten(vectors(), models::near_ranks(4), 80);
    tighten(small_gpt(), models::near_ranks(2), 80);
  }
}
