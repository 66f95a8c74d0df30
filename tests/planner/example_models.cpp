// SPDX-License-Identifier: Apache-2.0
// planner/solve.hpp on mixtures of experts, LLaMAs and Wide-ResNets: automatic plans are sound, bounded from below, and
// no slower than any product of the presets that suit the model.
#include <meshloom/model/llama.hpp>
#include <meshloom/model/moe.hpp>
#include <meshloom/model/wide_resnet.hpp>

#include "automatic.hpp"

namespace {

namespace ml = meshloom;

struct example {
  std::string name;
  ml::graph graph;
  ml::vector<std::string> spreads{"data", "zero1", "zero2", "zero3"}, splits{"tensor"};
};

const ml::adamw adamw{.rate = 1e-3};

const ml::vector<example>& little_examples() {
  static const ml::llama_shape llama{
      .vocab = 64, .seq = 16, .batch = 4, .embed = 32, .layers = 2, .heads = 4, .key_heads = 2, .mlp = 88};
  static const ml::vector<example> made{{"experts",
                                         ml::trace(ml::moe_training(ml::find_moe("moe-tiny"), adamw)),
                                         {"data", "zero1", "zero2", "zero3", "expert"}},
                                        {"LLaMA", ml::trace(ml::llama_training(llama, adamw))},
                                        {"Wide-ResNet",
                                         ml::trace(ml::wide_resnet_training(ml::wrn_tiny, adamw)),
                                         {"data", "zero1", "zero2", "zero3"},
                                         {"tensor", "space"}}};
  return made;
}

/// The named models that benches use.
const ml::vector<example>& small_examples() {
  static const ml::llama_shape llama{
      .vocab = 2048, .seq = 128, .batch = 8, .embed = 256, .layers = 4, .heads = 8, .key_heads = 4, .mlp = 688};
  static const ml::vector<example> made{{"experts",
                                         ml::trace(ml::moe_training(ml::find_moe("moe-small"), adamw)),
                                         {"data", "zero1", "zero2", "zero3", "expert"}},
                                        {"LLaMA", ml::trace(ml::llama_training(llama, adamw))},
                                        {"Wide-ResNet",
                                         ml::trace(ml::wide_resnet_training(ml::wrn_small, adamw)),
                                         {"data", "zero1", "zero2", "zero3"},
                                         {"tensor", "space"}}};
  return made;
}

void compare(const ml::vector<example>& examples, const ml::vector<ml::cluster>& machines) {
  for (const auto& [name, graph, spreads, splits] : examples) {
    for (const ml::cluster& machine : machines) {
      const std::string where = name + " on " + std::to_string(machine.ranks()) + " of " + machine.device.name;
      CAPTURE(where);
      automatic::compare_with(models::products(machine.ranks(), spreads, splits), graph, machine);
    }
  }
}

}  // namespace

TEST_CASE("automatic plans of the example models are sound, and no product of presets is faster") {
  compare(little_examples(), {ml::local(2)});
}

TEST_CASE("asked for the stages and micro-batches of a preset, auto is no slower than it") {
  const ml::graph& llama = small_examples()[1].graph;
  const ml::cluster machine = ml::p3_16xlarge(1);
  ml::manual open = ml::automatic();
  open.stages = 4;
  open.micro_batches = 2;
  const ml::plan made = automatic::solved(llama, machine, open);
  for (const std::string preset :
       {"data=2,pipeline=4", "zero1=2,gpipe=4", "zero3=2,pipeline=4", "tensor=2,pipeline=4"}) {
    CAPTURE(preset);
    ml::manual asked = ml::parse_manual(preset, machine.ranks()).value();
    asked.micro_batches = open.micro_batches;
    CHECK(made.predicted <= ml::solve(ml::formulate(llama, machine, asked)).value().predicted);
  }
}

TEST_SUITE("all") {
  TEST_CASE("automatic plans of little example models on more ranks are sound, and no product of presets is faster") {
    compare(little_examples(), {ml::local(4), models::near_ranks(3), ml::p3_16xlarge(1)});
  }

  TEST_CASE("automatic plans of larger example models are sound, and no product of presets is faster") {
    compare(small_examples(), {ml::local(2), ml::local(4), ml::p3_16xlarge(1)});
  }
}
