// SPDX-License-Identifier: Apache-2.0
// Law of program/memories.hpp: what is said of a plan's stages is what their program holds, to the byte, for shallow
// models and deep ones, whatever is split, recomputed and clipped, and however the stages are cut.
#include <meshloom/model/moe.hpp>
#include <meshloom/model/wide_resnet.hpp>
#include <meshloom/plan/adapt.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/program/memories.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <random>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

/// Compares the stages of a plan with those of its program; returns how many there are.
int compare(const ml::graph& graph, const ml::plan& made, const ml::cluster& machine) {
  const auto held = ml::memories_of(graph, made, machine);
  const auto peaks = ml::peaks_of(graph, made, machine);
  const ml::program whole = ml::lower(graph, made, machine);
  REQUIRE(held.size() == whole.stages.size());
  REQUIRE(peaks.size() == whole.stages.size());
  for (std::size_t s = 0; s < held.size(); ++s) {
    CAPTURE(s);
    const ml::stage_program& stage = whole.stages[ml::stage_id(s)];
    CHECK(held[s].fixed == stage.fixed);
    CHECK(held[s].slot == stage.kept);
    CHECK(held[s].transient == stage.transient);
    CHECK(peaks[s] == stage.peak());
    CHECK(ml::memory_of(graph, made, machine, ml::stage_id(s)) == held[s]);
    CHECK(ml::slot_of(graph, made, machine, ml::stage_id(s)) == held[s].slot);
  }
  return static_cast<int>(held.size());
}

/// Layers that clip their gradients by the norm of all.
template <class Optimizer>
ml::graph clipped(const Optimizer& optimizer, std::int32_t layers) {
  const auto model = ml::layer_norm<embed>{} | ml::repeat(layers, models::perceptron()) | ml::linear<embed, vocab>{};
  return ml::trace(ml::training{.model = model,
                                .loss = ml::cross_entropy<vocab>{},
                                .optimizer = optimizer,
                                .sizes = models::sizes_of({}),
                                .input = ml::tensor<batch, embed>{},
                                .target = ml::integers<batch>{}});
}

/// A layer of which every other copy makes again what it makes.
struct squash {
  static constexpr std::string_view name = "squash";
  auto operator()(auto& scope, const auto& x) const { return ml::softmax<embed>(scope, x); }
};

ml::vector<models::named_graph> graphs_of(std::int32_t layers) {
  const auto turns = ml::embedding<vocab, embed>{} | ml::repeat(layers, squash{}) | ml::linear<embed, vocab>{};
  return {{"gpt", models::gpt({.layers = layers})},
          {"tied", models::tied({.layers = layers})},
          {"vectors", models::vectors({.layers = layers})},
          {"stack", models::stack({.layers = layers})},
          {"by turns", ml::trace(models::token_training(turns))},
          {"sgd, clipped", clipped(ml::sgd{.clip = 1}, layers)},
          {"adamw, clipped", clipped(ml::adamw{.clip = 1}, layers)},
          {"adafactor", clipped(ml::adafactor{}, layers)}};
}

/// None, all, every other one, the first few, all but those, or any.
void recompute_some(ml::plan& made, std::mt19937& from) {
  const auto how = from() % 6;
  const std::size_t few = from() % 9;
  for (ml::stage_plan& stage : made.stages) {
    for (std::size_t b = 0; b < stage.recompute.size(); ++b)
      stage.recompute[b] = how == 1 || (how == 2 && b % 2 == 0) || (how == 3 && b < few) || (how == 4 && b >= few) ||
                           (how == 5 && from() % 2 == 0);
  }
}

/// Strategies that are no preset's.
void spread_otherwise(const ml::graph& graph, ml::plan& made, std::mt19937& from) {
  ml::stage_plan& stage = made.stages[ml::stage_id(from() % made.stages.size())];
  const auto id = ml::node_id(from() % graph.nodes.size());
  if (stage.mesh.rank == 0 || !ml::runs(graph, stage, id)) return;
  stage.strategies[id].row[from() % static_cast<std::size_t>(stage.mesh.rank)] =
      static_cast<std::uint8_t>(from() % static_cast<std::size_t>(graph.nodes[id].op->choices.count));
}

/// Moves the cut behind a stage by a few blocks.
void cut_elsewhere(const ml::graph& graph, ml::plan& made, std::mt19937& from) {
  if (made.stages.size() < 2) return;
  const auto s = from() % (made.stages.size() - 1);
  ml::stage_plan &before = made.stages[ml::stage_id(s)], &after = made.stages[ml::stage_id(s + 1)];
  const std::int32_t blocks = after.end_block - before.first_block;
  before.end_block = after.first_block =
      before.first_block + 1 + static_cast<std::int32_t>(from() % static_cast<std::size_t>(blocks - 1));
  for (ml::stage_plan* each : {&before, &after}) {
    each->recompute.resize(static_cast<std::size_t>(each->end_block - each->first_block));
    for (std::size_t p = 0; p < graph.parameters.size(); ++p) {
      each->parameters[p].used = ml::reads(graph, *each, graph.parameters[p]);
      each->parameters[p].accumulated.resize(graph.parameters[p].gradients.size());
    }
  }
}

/// Plans like the one that a preset makes; returns how many stages were compared.
int compare_some(const ml::graph& graph, const std::string& preset, const ml::cluster& machine, std::int32_t parts,
                 int rounds, std::mt19937& from) {
  ml::manual asked = ml::parse_manual(preset, machine.ranks()).value();
  asked.micro_batches = parts;
  const auto sound = ml::solve(ml::formulate(graph, machine, asked));
  if (!sound) return 0;  // more stages than blocks
  int compared = compare(graph, sound.value(), machine);
  for (int round = 0; round < rounds; ++round) {
    ml::plan made = sound.value();
    if (from() % 2 == 0) cut_elsewhere(graph, made, from);
    recompute_some(made, from);
    for (auto changes = from() % 4; changes > 0; --changes) {
      const ml::plan before = made;
      spread_otherwise(graph, made, from);
      if (!ml::check(graph, made).empty()) made = before;
    }
    if (ml::check(graph, made).empty()) compared += compare(graph, made, machine);
  }
  return compared;
}

int compare_depths(const ml::vector<std::int32_t>& depths, int rounds, std::mt19937& from) {
  int compared = 0;
  for (const std::int32_t layers : depths) {
    CAPTURE(layers);
    for (const auto& [name, graph] : graphs_of(layers)) {
      CAPTURE(name);
      for (const std::int32_t ranks : {1, 2, 4}) {
        for (const std::string& preset : models::products(ranks)) {
          CAPTURE(preset);
          compared += compare_some(graph, preset, models::near_ranks(ranks), 3, rounds, from);
        }
      }
    }
  }
  return compared;
}

}  // namespace

TEST_CASE("a stage holds what its program holds, however many copies of a layer it has") {
  std::mt19937 from(1);
  CHECK(compare_depths({1, 6, 11, 24}, 1, from) > 1000);
}

TEST_CASE("so do stages of experts and of layers that shrink images, and those on hosts that are far apart") {
  std::mt19937 from(2);
  const ml::graph experts = ml::trace(ml::moe_training(ml::find_moe("moe-tiny"), ml::adamw{}));
  const ml::graph images = ml::trace(ml::wide_resnet_training(ml::wrn_tiny, ml::adamw{}));
  int compared = 0;
  for (const std::string preset : {"data=2,pipeline=2", "zero3=2,gpipe=2", "expert=4", "expert=2,pipeline=2"})
    compared += compare_some(experts, preset, ml::local(4), 1, 6, from);
  for (const std::string preset : {"data=2,pipeline=2", "space=2,gpipe=2", "zero2=2,space=2", "tensor=2,pipeline=2"})
    compared += compare_some(images, preset, ml::local(4), 1, 6, from);
  const ml::graph deep = models::tied({.layers = 40});
  for (const std::string preset : {"data=4,tensor=2,pipeline=2", "zero2=16", "zero3=2,tensor=2,gpipe=4"})
    compared += compare_some(deep, preset, ml::p3_16xlarge(2), 3, 6, from);
  CHECK(compared > 80);
}

TEST_CASE("so does a graph without a backward, and one whose messages skip stages") {
  std::mt19937 from(3);
  int compared = 0;
  for (const std::int32_t layers : {3, 30}) {
    const auto task = models::token_training(ml::embedding<vocab, embed>{} | ml::repeat(layers, models::perceptron()) |
                                             ml::linear<embed, vocab>{});
    const ml::graph graph = ml::trace(task), forward = ml::trace_inference(task);
    for (const std::string preset : {"data=2,pipeline=2", "tensor=4", "zero3=2,pipeline=2"}) {
      ml::plan made = models::planned(graph, preset, 4, 3);
      recompute_some(made, from);
      compared += compare(forward, ml::adapt(graph, made, forward), ml::local(4));
    }
  }
  for (const std::string preset : {"pipeline=4", "gpipe=3", "pipeline=5"}) {
    const std::int32_t ranks = preset.back() - '0';
    compared += compare_some(models::bypassed(), preset, ml::local(ranks), 6, 10, from);
  }
  CHECK(compared > 60);
}

TEST_SUITE("all") {
  TEST_CASE("a stage holds what its program holds, in all depths") {
    std::mt19937 from(4);
    CHECK(compare_depths({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 32, 47}, 8, from) > 10'000);
  }
}
