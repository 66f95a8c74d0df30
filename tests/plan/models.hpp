// SPDX-License-Identifier: Apache-2.0
// Small models whose graphs and plans are tested, ranks that suit them, and the plans that presets and their products
// make of them.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/presets.hpp>
#include <meshloom/model/training.hpp>
#include <meshloom/planner/solve.hpp>

#include <string>

namespace models {

namespace ml = meshloom;
using namespace ml::axis;

struct shape {
  std::int32_t layers = 4;
  std::int64_t samples = 24;
  std::int64_t width = 12;
};

inline auto sizes_of(const shape& of) {
  return ml::sizes{ml::size<batch>{of.samples}, ml::size<seq>{6},  ml::size<embed>{of.width}, ml::size<heads>{4},
                   ml::size<head>{3},           ml::size<mlp>{16}, ml::size<vocab>{10}};
}

inline auto attention() {
  return ml::residual(ml::layer_norm<embed>{}, ml::causal_attention<seq, embed, heads, head>{});
}

inline auto perceptron() {
  return ml::residual(ml::layer_norm<embed>{}, ml::linear<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{});
}

template <class Model>
auto token_training(const Model& model, const shape& of = {}) {
  return ml::training{
      .model = model, .loss = ml::cross_entropy<vocab>{}, .optimizer = ml::adamw{}, .sizes = sizes_of(of)};
}

/// A GPT with a head of its own: layers + 5 blocks.
inline ml::graph gpt(const shape& of = {}) {
  return ml::trace(token_training(ml::embedding<vocab, embed>{} | ml::positions<seq, embed>{} |
                                      ml::repeat(of.layers, attention() | perceptron()) | ml::layer_norm<embed>{} |
                                      ml::linear<embed, vocab>{},
                                  of));
}

/// A GPT whose head is its embedding: the table "tokens" is read by the first stage and by the last.
inline ml::graph tied(const shape& of = {}) {
  return ml::trace(token_training(ml::embedding<vocab, embed>{.table = "tokens"} | ml::positions<seq, embed>{} |
                                      ml::repeat(of.layers, attention() | perceptron()) | ml::layer_norm<embed>{} |
                                      ml::unembedding<embed, vocab>{.table = "tokens"},
                                  of));
}

/// A residual perceptron on vectors, trained by SGD: layers + 3 blocks.
inline ml::graph vectors(const shape& of = {}) {
  const auto model = ml::layer_norm<embed>{} | ml::repeat(of.layers, perceptron()) | ml::linear<embed, vocab>{};
  return ml::trace(ml::training{.model = model,
                                .loss = ml::cross_entropy<vocab>{},
                                .optimizer = ml::sgd{},
                                .sizes = sizes_of(of),
                                .input = ml::tensor<batch, embed>{},
                                .target = ml::integers<batch>{}});
}

/// The same without the first norm: the first copy of the repeated layer reads the input itself.
inline ml::graph stack(const shape& of = {}) {
  return ml::trace(ml::training{.model = ml::repeat(of.layers, perceptron()) | ml::linear<embed, vocab>{},
                                .loss = ml::cross_entropy<vocab>{},
                                .optimizer = ml::sgd{},
                                .sizes = sizes_of(of),
                                .input = ml::tensor<batch, embed>{},
                                .target = ml::integers<batch>{}});
}

/// Blocks of which the last reads what came before the first.
struct bypass {
  static constexpr std::string_view name = "bypass";
  static constexpr bool opens_regions = true;
  auto operator()(auto& scope, const auto& x) const {
    const auto norm = [](const auto& of) {
      return [&of](auto& inside) { return ml::layer_norm<embed>{}(inside, of); };
    };
    const auto first = scope.region("first", norm(x));
    const auto second = scope.region("second", norm(first));
    return scope.region("join", [&](auto& inside) { return ml::evaluate(inside, x + second); });
  }
};

/// A model of five blocks and its loss, with messages that skip stages forward and back.
inline ml::graph bypassed() {
  return ml::trace(token_training(ml::embedding<vocab, embed>{} | bypass{} | ml::linear<embed, vocab>{}));
}

struct named_graph {
  std::string name;
  ml::graph graph;
};

inline const ml::vector<named_graph>& all() {
  static const ml::vector<named_graph> made{
      {"gpt", gpt()}, {"tied", tied()}, {"vectors", vectors()}, {"stack", stack()}};
  return made;
}

/// Every product of presets on `ranks` ranks: what splits the batch (data or ZeRO of each level), times what splits
/// something else, times a pipeline of each kind.
inline ml::vector<std::string> products(std::int32_t ranks,
                                        const ml::vector<std::string>& spreads = {"data", "zero1", "zero2", "zero3"},
                                        const ml::vector<std::string>& splits = {"tensor"}) {
  ml::vector<std::string> texts;
  const auto factor = [](const std::string& preset, std::int32_t n) { return preset + "=" + std::to_string(n); };
  const auto add = [&](std::int32_t data, std::int32_t inner, std::int32_t stages) {
    for (const std::string& spread : spreads) {
      for (const std::string& split : splits) {
        for (const std::string piped : {"pipeline", "gpipe"}) {
          const bool again = (data == 1 && spread != spreads[0]) || (inner == 1 && split != splits[0]) ||
                             (stages == 1 && piped != "pipeline");
          if (!again) texts.push_back(factor(spread, data) + "," + factor(split, inner) + "," + factor(piped, stages));
        }
      }
    }
  };
  for (std::int32_t data = 1; data <= ranks; ++data) {
    for (std::int32_t inner = 1; data * inner <= ranks; ++inner) {
      if (ranks % (data * inner) == 0) add(data, inner, ranks / (data * inner));
    }
  }
  return texts;
}

inline ml::problem posed(const ml::graph& whole, const std::string& preset, std::int32_t ranks,
                         std::int32_t micro_batches = 1) {
  ml::manual asked = ml::parse_manual(preset, ranks).value();
  asked.micro_batches = micro_batches;
  return ml::formulate(whole, ml::local(ranks), asked);
}

inline ml::plan planned(const ml::graph& whole, const std::string& preset, std::int32_t ranks,
                        std::int32_t micro_batches = 1) {
  return ml::solve(posed(whole, preset, ranks, micro_batches)).value();
}

inline ml::node_id node_named(const ml::graph& whole, const std::string& name) {
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    if (whole.nodes[static_cast<ml::node_id>(n)].name == name) return static_cast<ml::node_id>(n);
  }
  throw ml::error("models: no node is named " + name);
}

/// Ranks that compute slowly and talk fast, so that small models are worth splitting.
inline ml::cluster near_ranks(std::int32_t ranks) {
  ml::cluster machine = ml::local(ranks);
  machine.device.flops_per_second = 2e9;
  machine.device.launch = ml::picoseconds{100'000};
  machine.within_host.latency = ml::picoseconds{100'000};
  return machine;
}

/// The number of a parameter in `graph::parameters`.
inline std::size_t parameter_named(const ml::graph& whole, const std::string& name) {
  for (std::size_t p = 0; p < whole.parameters.size(); ++p) {
    if (whole.values[whole.parameters[p].value].name == name) return p;
  }
  throw ml::error("models: no parameter is named " + name);
}

/// True if one of the sentences is this one.
inline bool says(const ml::vector<std::string>& faults, const std::string& sentence) {
  for (const std::string& fault : faults) {
    if (fault == sentence) return true;
  }
  return false;
}

}  // namespace models
