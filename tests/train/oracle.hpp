// SPDX-License-Identifier: Apache-2.0
// A model against torch: logits, gradients, losses and weights of a recorded run, on one rank and under sharded plans,
// in both precisions and with every arithmetic there is. A model says what was recorded, what its parameters are called
// on both sides, and how it is trained.
#pragma once

#include "runs.hpp"
#include "safetensors.hpp"

#ifdef TEST_WITH_CBLAS
#include <meshloom/exec/cblas.hpp>
#endif

#include <doctest/doctest.h>

#include <filesystem>

namespace oracle {

namespace ml = meshloom;

constexpr int steps = 8;

/// A tensor of torch and the parameters of ours that it holds, one after the other along its first axis. A linear
/// weight is (out, in) there and [in, out] here.
struct pairing {
  std::string torch;
  ml::vector<std::string> ours;
  bool transposed = false;
};

/// A recorded run.
struct recording {
  safetensors::file tensors;
  ml::vector<pairing> pairings;

  const safetensors::tensor& at(const std::string& name) const { return tensors.at(name); }
};

/// The tensors of a file of tests/data.
inline safetensors::file read_data(const std::string& name) {
  return safetensors::read((std::filesystem::path(__FILE__).parent_path() / "../data" / name).string());
}

inline void add_attention(ml::vector<pairing>& to, const std::string& theirs, const std::string& ours) {
  const std::string heads = ours + "causal_attention.";
  to.push_back({theirs + "ln1.weight", {ours + "layer_norm.gain"}});
  to.push_back({theirs + "ln1.bias", {ours + "layer_norm.bias"}});
  to.push_back(
      {theirs + "attn.qkv.weight", {heads + "query.weight", heads + "key.weight", heads + "value.weight"}, true});
  to.push_back({theirs + "attn.qkv.bias", {heads + "query.bias", heads + "key.bias", heads + "value.bias"}});
  to.push_back({theirs + "attn.proj.weight", {heads + "output.weight"}, true});
  to.push_back({theirs + "attn.proj.bias", {heads + "output.bias"}});
}

inline void add_mlp(ml::vector<pairing>& to, const std::string& theirs, const std::string& ours) {
  to.push_back({theirs + "ln2.weight", {ours + "layer_norm.gain"}});
  to.push_back({theirs + "ln2.bias", {ours + "layer_norm.bias"}});
  to.push_back({theirs + "mlp.fc1.weight", {ours + "linear.weight"}, true});
  to.push_back({theirs + "mlp.fc1.bias", {ours + "linear.bias"}});
  to.push_back({theirs + "mlp.fc2.weight", {ours + "linear_2.weight"}, true});
  to.push_back({theirs + "mlp.fc2.bias", {ours + "linear_2.bias"}});
}

/// What comes before and after the layers of a transformer.
inline void add_ends(ml::vector<pairing>& to) {
  to.push_back({"wte.weight", {"embedding.table"}});
  to.push_back({"wpe.weight", {"positions.weight"}});
  to.push_back({"lnf.weight", {"layer_norm.gain"}});
  to.push_back({"lnf.bias", {"layer_norm.bias"}});
  to.push_back({"lm_head.weight", {"linear.weight"}, true});
}

inline ml::vector<runs::sample> batches(const recording& of) {
  ml::vector<runs::sample> made;
  for (int at = 0; at < steps; ++at) {
    const std::string name = "batch." + std::to_string(at);
    const auto &x = of.at(name + ".x").values, &y = of.at(name + ".y").values;
    made.emplace_back();
    for (const double token : x) made.back().input.push_back(static_cast<std::int32_t>(token));
    for (const double token : y) made.back().target.push_back(static_cast<std::int32_t>(token));
  }
  return made;
}

/// Calls `visit(number of the parameter, index in it, index in torch's tensor)` for every element of a pair.
template <class Visit>
void for_each_element(const recording& of, const pairing& pair, const Visit& visit) {
  const auto& extents = of.at("w0." + pair.torch).shape;
  std::size_t columns = 1;
  for (std::size_t axis = 1; axis < extents.size(); ++axis) columns *= static_cast<std::size_t>(extents[axis]);
  const std::size_t rows = static_cast<std::size_t>(extents[0]) / pair.ours.size();
  for (std::size_t which = 0; which < pair.ours.size(); ++which) {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t column = 0; column < columns; ++column) {
        visit(which, pair.transposed ? column * rows + row : row * columns + column,
              (which * rows + row) * columns + column);
      }
    }
  }
}

/// Gives a run the weights that torch started with.
inline void load(ml::host_run& run, const recording& of) {
  for (const pairing& pair : of.pairings) {
    const auto& theirs = of.at("w0." + pair.torch).values;
    ml::vector<ml::vector<double>> ours(pair.ours.size(), ml::vector<double>(theirs.size() / pair.ours.size()));
    for_each_element(
        of, pair, [&](std::size_t which, std::size_t here, std::size_t there) { ours[which][here] = theirs[there]; });
    for (std::size_t which = 0; which < ours.size(); ++which) run.write(pair.ours[which], ours[which]);
  }
}

/// What a run keeps under the names of a pair with a suffix, in torch's layout.
inline ml::vector<double> as_torch(const ml::host_run& run, const recording& of, const pairing& pair,
                                   const std::string& suffix = "") {
  ml::vector<ml::vector<double>> ours;
  for (const std::string& name : pair.ours) ours.push_back(run.read(name + suffix));
  ml::vector<double> made(of.at("w0." + pair.torch).values.size());
  for_each_element(of, pair,
                   [&](std::size_t which, std::size_t here, std::size_t there) { made[there] = ours[which].at(here); });
  return made;
}

/// Softmax does not see what a bias adds to all keys alike: its gradient is rounding and nothing else. AdamW divides a
/// gradient by its own size, so that after a few steps this bias is noise in any program, torch's as well as ours.
inline ml::vector<double> without_key_bias(const pairing& pair, ml::vector<double> values) {
  const auto third = static_cast<std::ptrdiff_t>(values.size() / 3);
  if (pair.torch.ends_with("qkv.bias")) std::fill(values.begin() + third, values.begin() + 2 * third, 0);
  return values;
}

/// The largest distance of a kept tensor from the recorded one, over all tensors.
inline double furthest(const ml::host_run& run, const recording& of, const std::string& prefix,
                       const std::string& suffix = "") {
  double largest = 0;
  for (const pairing& pair : of.pairings) {
    ml::vector<double> ours = as_torch(run, of, pair, suffix), theirs = of.at(prefix + pair.torch).values;
    if (prefix == "wN.adamw.") {
      ours = without_key_bias(pair, ours);
      theirs = without_key_bias(pair, theirs);
    }
    largest = std::max(largest, runs::distance(ours, theirs));
  }
  return largest;
}

const ml::sgd sgd{.rate = 0.1, .momentum = 0.9, .decay = 1e-4};
const ml::adamw adamw{.rate = 1e-3, .decay = 0.01};
const ml::sgd still{.rate = 0};  ///< its velocity after one step is the gradient, to the last bit

/// Plans of every kind.
inline ml::vector<runs::request> usual_requests() {
  return {{"data=1", 1, 1},           {"data=1", 1, 2},
          {"data=2", 2, 2},           {"tensor=2", 2, 1},
          {"pipeline=2", 2, 4},       {"zero3=2", 2, 1},
          {"gpipe=4", 4, 2},          {"tensor=3", 3, 1},
          {"zero1=2,tensor=2", 4, 1}, {"zero2=2,pipeline=2", 4, 2},
          {"tensor=8", 8, 1},         {"data=2,tensor=2,pipeline=2", 8, 2}};
}

/// One model, arithmetic and precision against the record: as far apart as rounding explains, on any plan. A model has
/// `recorded()`, `requests()` and `training_of<Precision>(optimizer)`.
template <class Model, class Arithmetic, class Precision>
struct versus_torch {
  static ml::host_run started(const auto& task, const runs::request& asked) {
    return ml::start(ml::host<Arithmetic>{}, runs::program_of(ml::trace(task), asked), task);
  }

  static double logits(const runs::request& asked) {
    const auto task = Model::template training_of<Precision>(sgd);
    const ml::graph training = ml::trace(task), inference = ml::trace_inference(task);
    const ml::plan chosen = runs::plan_of(training, asked);
    auto run = ml::start(ml::host<Arithmetic>{}, ml::lower(training, chosen, ml::local(asked.ranks)), task);
    load(run, Model::recorded());
    auto reader =
        ml::start(ml::host<Arithmetic>{},
                  ml::lower(inference, ml::adapt(training, chosen, inference), ml::local(asked.ranks)), task, run);
    const ml::vector<double>& expected = Model::recorded().at("logits0").values;
    ml::vector<Precision> made(expected.size());
    reader.step({batches(Model::recorded())[0].input}, {made.data()});
    return runs::distance({made.begin(), made.end()}, expected);
  }

  static double gradients(const runs::request& asked) {
    auto run = started(Model::template training_of<Precision>(still), asked);
    load(run, Model::recorded());
    runs::step(run, batches(Model::recorded())[0]);
    return furthest(run, Model::recorded(), "g0.", ".velocity");
  }

  struct apart {
    double losses = 0, weights = 0;
  };

  template <class Optimizer>
  static apart training(const Optimizer& with, const std::string& name, const runs::request& asked) {
    auto run = started(Model::template training_of<Precision>(with), asked);
    load(run, Model::recorded());
    ml::vector<double> losses;
    for (const runs::sample& each : batches(Model::recorded())) losses.push_back(runs::step(run, each));
    const bool exact = std::is_same_v<Precision, double>;
    const auto& expected = Model::recorded().at("loss." + name + (exact ? ".f64" : "")).values;
    return {runs::deviation(losses, expected), furthest(run, Model::recorded(), "wN." + name + ".")};
  }
};

struct tolerance {
  double logits, gradients, losses, weights;
};

template <class Model, class Arithmetic, class Precision>
void check_all(const std::string& what, const tolerance& allowed) {
  using versus = versus_torch<Model, Arithmetic, Precision>;
  tolerance seen{};
  const ml::vector<runs::request> requests = Model::requests();
  for (const runs::request& asked : requests) {
    CAPTURE(name_of(asked));
    const double logits = versus::logits(asked), gradients = versus::gradients(asked);
    const auto by_sgd = versus::training(sgd, "sgd", asked), by_adamw = versus::training(adamw, "adamw", asked);
    CHECK(logits <= allowed.logits);
    CHECK(gradients <= allowed.gradients);
    CHECK(by_sgd.losses <= allowed.losses);
    CHECK(by_adamw.losses <= allowed.losses);
    CHECK(by_sgd.weights <= allowed.weights);
    CHECK(by_adamw.weights <= allowed.weights);
    seen = {std::max(seen.logits, logits), std::max(seen.gradients, gradients),
            std::max({seen.losses, by_sgd.losses, by_adamw.losses}),
            std::max({seen.weights, by_sgd.weights, by_adamw.weights})};
  }
  MESSAGE(what << ", " << requests.size() << " plans: at most " << seen.logits << " from torch in logits, "
               << seen.gradients << " in gradients, " << seen.losses << " in losses, " << seen.weights
               << " in weights after " << steps << " steps");
}

}  // namespace oracle
