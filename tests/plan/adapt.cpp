// SPDX-License-Identifier: Apache-2.0
// Laws of plan/adapt.hpp: the adapted plan is one for the other graph, and every parameter lies where the training has
// it.
#include <meshloom/plan/adapt.hpp>

#include "models.hpp"

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

auto training_of(std::int64_t samples) {
  return models::token_training(ml::embedding<vocab, embed>{.table = "tokens"} | ml::positions<seq, embed>{} |
                                    ml::repeat(3, models::attention() | models::perceptron()) |
                                    ml::layer_norm<embed>{} | ml::unembedding<embed, vocab>{.table = "tokens"},
                                {.samples = samples});
}

void check_adapted(const ml::graph& training, const ml::plan& made, const ml::graph& other) {
  const ml::plan adapted = ml::adapt(training, made, other);
  const auto faults = ml::check(other, adapted);
  CHECK_MESSAGE(faults.empty(), faults.front());
  CHECK(adapted.schedule == ml::schedule_kind::forward_only);
  CHECK(adapted.predicted == ml::picoseconds{});
  CHECK(adapted.bound == ml::picoseconds{});
  CHECK_FALSE(adapted.runner_up);
  CHECK(adapted.ranks == made.ranks);
  REQUIRE(adapted.stages.size() == made.stages.size());
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const ml::stage_plan& before = made.stages[static_cast<ml::stage_id>(s)];
    const ml::stage_plan& after = adapted.stages[static_cast<ml::stage_id>(s)];
    CHECK(after.first_rank == before.first_rank);
    CHECK(after.mesh == before.mesh);
    for (std::size_t p = 0; p < other.parameters.size(); ++p) {
      const std::string& name = other.values[other.parameters[p].value].name;
      const ml::parameter_plan& kept = before.parameters[models::parameter_named(training, name)];
      CHECK(after.parameters[p].used == kept.used);
      CHECK(after.parameters[p].stored == kept.stored);
    }
    for (std::size_t n = 0; n < other.nodes.size(); ++n) {
      const auto id = static_cast<ml::node_id>(n);
      CHECK(after.strategies[id] == before.strategies[models::node_named(training, other.nodes[id].name)]);
    }
  }
}

}  // namespace

TEST_CASE("a training's plan serves its evaluation and inference, at any batch size") {
  const ml::graph training = ml::trace(training_of(24));
  for (const std::int32_t ranks : {1, 2, 4, 8}) {
    for (const std::string& preset : models::products(ranks)) {
      CAPTURE(preset);
      const auto made = ml::solve(models::posed(training, preset, ranks, 4));
      if (!made) continue;  // more stages than blocks
      ml::plan proven = made.value();
      REQUIRE(proven.predicted > ml::picoseconds{});
      proven.bound = proven.predicted;
      proven.runner_up = {"another", proven.predicted};
      check_adapted(training, proven, ml::trace_evaluation(training_of(24)));
      check_adapted(training, proven, ml::trace_inference(training_of(24)));
      check_adapted(training, proven, ml::trace_inference(training_of(8)));
    }
  }
}

TEST_CASE("micro-batches are kept where they divide the other batch") {
  const ml::graph training = ml::trace(training_of(24));
  const ml::plan made = models::planned(training, "data", 2, 4);
  CHECK(ml::adapt(training, made, ml::trace_inference(training_of(8))).micro_batches == 4);
  CHECK(ml::adapt(training, made, ml::trace_inference(training_of(6))).micro_batches == 1);
}
