// SPDX-License-Identifier: Apache-2.0
// Models of one large layer, grouped into layers: where a pipeline is best, or the only plan that fits, the planner
// finds it, and is never worse off for it.
#include <meshloom/graph/grouping.hpp>
#include <meshloom/plan/text.hpp>

#include "automatic.hpp"

namespace {

namespace ml = meshloom;
using namespace ml::axis;

ml::graph in_one_layer(std::int32_t copies) {
  const models::shape of{.layers = copies, .samples = 16, .width = 24};
  const auto model =
      ml::embedding<vocab, embed>{} | ml::repeat(copies, models::perceptron()) | ml::linear<embed, vocab>{};
  return ml::trace(models::token_training(ml::named("model", model), of));
}

/// Hosts of one slow rank on a slow network.
ml::cluster far_ranks(std::int32_t ranks) {
  ml::cluster machine = models::near_ranks(1);
  machine.hosts = ranks;
  machine.between_hosts = {.latency = {50'000'000}, .bytes_per_second = 20'000'000};
  return machine;
}

}  // namespace

TEST_CASE("a model of one layer has its pipeline where that is best, once it is grouped") {
  const ml::graph whole = in_one_layer(6);
  for (const std::int32_t ranks : {2, 4}) {
    CAPTURE(ranks);
    const ml::graph grouped = ml::group_operators(whole, ml::grouping_for(ranks));
    const ml::plan before = automatic::solved(whole, far_ranks(ranks));
    const ml::plan after = automatic::solved(grouped, far_ranks(ranks));
    MESSAGE(ranks << " ranks: " << ml::seconds(before.predicted) << " s in one layer, " << ml::seconds(after.predicted)
                  << " s in groups, in " << after.stages.size() << " stages");
    CHECK(after.predicted < before.predicted);
    CHECK(after.stages.size() > static_cast<std::size_t>(ranks) / 2);
  }
}

TEST_CASE("where a pipeline is no good, groups do no harm") {
  const ml::graph whole = in_one_layer(2);
  const ml::graph grouped = ml::group_operators(whole, {.layers = 8});
  const ml::plan before = automatic::solved(whole, models::near_ranks(2));
  const ml::plan after = automatic::solved(grouped, models::near_ranks(2));
  CHECK(after.predicted.count <= before.predicted.count);
}

TEST_CASE("groups recompute where memory is short, and a plan for them is a plan for them alone") {
  const ml::graph whole = in_one_layer(6), grouped = ml::group_operators(whole, {.layers = 12});
  ml::cluster machine = ml::local(1);
  const ml::plan roomy = automatic::solved(grouped, machine, ml::automatic() & ml::manual{.micro_batches = 1});
  const std::int64_t keeping = measures::peak_of(grouped, roomy, machine).count;
  const auto fewest = [&](const ml::graph& of) {  // bytes of a rank for which there is a plan, in 64ths
    std::int64_t part = 64;
    for (; part > 1; --part) {
      machine.device.memory = {keeping * (part - 1) / 64};
      if (!ml::solve(ml::formulate(of, machine, ml::automatic() & ml::manual{.micro_batches = 1}))) break;
    }
    return part;
  };
  const std::int64_t in_groups = fewest(grouped), in_one = fewest(whole);
  MESSAGE("fits in " << in_groups << " of 64 parts in groups, in " << in_one << " in one layer");
  CHECK(in_groups < in_one);
  machine.device.memory = {keeping * in_groups / 64};
  const ml::plan made = automatic::solved(grouped, machine, ml::automatic() & ml::manual{.micro_batches = 1});
  CHECK(ml::recomputes(made.stages[ml::stage_id{0}]));
  const std::string text = ml::to_text(grouped, made);
  const auto read = ml::from_text(text, ml::group_operators(in_one_layer(6), {.layers = 12}), 1);
  REQUIRE_MESSAGE(read, read.error());
  CHECK(ml::to_text(grouped, read.value()) == text);
  CHECK(!ml::from_text(text, whole, 1));
  CHECK(!ml::from_text(text, ml::group_operators(whole, {.layers = 11}), 1));
}

TEST_CASE("copies and groups recompute side by side where memory is short") {
  const auto front = models::perceptron() | models::perceptron() | models::perceptron() | models::perceptron();
  const auto model = ml::embedding<vocab, embed>{} | ml::named("front", front) |
                     ml::repeat(4, models::attention() | models::perceptron()) | ml::linear<embed, vocab>{};
  const ml::graph whole = ml::group_operators(ml::trace(models::token_training(model)), {.layers = 30});
  REQUIRE(whole.regions.size() > 4);
  ml::cluster machine = ml::local(2);
  const std::int64_t roomy = measures::peak_of(whole, automatic::solved(whole, machine), machine).count;
  int solved = 0;
  for (const std::int64_t part : {15, 14, 13, 12, 11, 10}) {
    machine.device.memory = {roomy * part / 16};
    if (!ml::solve(ml::formulate(whole, machine))) break;
    automatic::solved(whole, machine);
    ++solved;
  }
  CHECK(solved > 0);
}
