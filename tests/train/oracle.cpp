// SPDX-License-Identifier: Apache-2.0
// A GPT against torch: logits, gradients, losses and weights of a recorded run, on one rank and under sharded plans, in
// both precisions and with every arithmetic there is. The record: tests/data/gpt_tiny.safetensors.
#include "runs.hpp"
#include "safetensors.hpp"

#ifdef TEST_WITH_CBLAS
#include <meshloom/exec/cblas.hpp>
#endif
#ifdef TEST_WITH_ONEDNN
#include <meshloom/exec/onednn.hpp>
#endif

#include <doctest/doctest.h>

#include <filesystem>

namespace {

namespace ml = meshloom;

constexpr int steps = 8;
const ml::gpt_shape shape = ml::find_gpt("gpt-tiny");

const safetensors::file& record() {
  static const auto file =
      safetensors::read((std::filesystem::path(__FILE__).parent_path() / "../data/gpt_tiny.safetensors").string());
  return file;
}

std::vector<runs::sample> batches() {
  std::vector<runs::sample> made;
  for (int at = 0; at < steps; ++at) {
    const std::string name = "batch." + std::to_string(at);
    const auto &x = record().at(name + ".x").values, &y = record().at(name + ".y").values;
    made.emplace_back();
    for (const double token : x) made.back().input.push_back(static_cast<std::int32_t>(token));
    for (const double token : y) made.back().target.push_back(static_cast<std::int32_t>(token));
  }
  return made;
}

/// A tensor of torch and the parameters of ours that it holds, one after the other along its first axis. A linear
/// weight is (out, in) there and [in, out] here.
struct pairing {
  std::string torch;
  std::vector<std::string> ours;
  bool transposed = false;
};

std::vector<pairing> pairings() {
  std::vector<pairing> made{{"wte.weight", {"embedding.table"}}, {"wpe.weight", {"positions.weight"}}};
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string theirs = "h." + std::to_string(layer) + ".";
    const std::string attend = "blocks[" + std::to_string(layer) + "].residual.",
                      think = "blocks[" + std::to_string(layer) + "].residual_2.";
    const std::string heads = attend + "causal_attention.";
    made.push_back({theirs + "ln1.weight", {attend + "layer_norm.gain"}});
    made.push_back({theirs + "ln1.bias", {attend + "layer_norm.bias"}});
    made.push_back(
        {theirs + "attn.qkv.weight", {heads + "query.weight", heads + "key.weight", heads + "value.weight"}, true});
    made.push_back({theirs + "attn.qkv.bias", {heads + "query.bias", heads + "key.bias", heads + "value.bias"}});
    made.push_back({theirs + "attn.proj.weight", {heads + "output.weight"}, true});
    made.push_back({theirs + "attn.proj.bias", {heads + "output.bias"}});
    made.push_back({theirs + "ln2.weight", {think + "layer_norm.gain"}});
    made.push_back({theirs + "ln2.bias", {think + "layer_norm.bias"}});
    made.push_back({theirs + "mlp.fc1.weight", {think + "linear.weight"}, true});
    made.push_back({theirs + "mlp.fc1.bias", {think + "linear.bias"}});
    made.push_back({theirs + "mlp.fc2.weight", {think + "linear_2.weight"}, true});
    made.push_back({theirs + "mlp.fc2.bias", {think + "linear_2.bias"}});
  }
  made.push_back({"lnf.weight", {"layer_norm.gain"}});
  made.push_back({"lnf.bias", {"layer_norm.bias"}});
  made.push_back({"lm_head.weight", {"linear.weight"}, true});
  return made;
}

/// Calls `visit(number of the parameter, index in it, index in torch's tensor)` for every element of a pair.
template <class Visit>
void for_each_element(const pairing& pair, const Visit& visit) {
  const auto& extents = record().at("w0." + pair.torch).shape;
  const auto columns = static_cast<std::size_t>(extents.size() == 2 ? extents[1] : 1);
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
void load(ml::host_run& run) {
  for (const pairing& pair : pairings()) {
    const auto& theirs = record().at("w0." + pair.torch).values;
    std::vector<std::vector<double>> ours(pair.ours.size(), std::vector<double>(theirs.size() / pair.ours.size()));
    for_each_element(
        pair, [&](std::size_t which, std::size_t here, std::size_t there) { ours[which][here] = theirs[there]; });
    for (std::size_t which = 0; which < ours.size(); ++which) run.write(pair.ours[which], ours[which]);
  }
}

/// What a run keeps under the names of a pair with a suffix, in torch's layout.
std::vector<double> as_torch(const ml::host_run& run, const pairing& pair, const std::string& suffix = "") {
  std::vector<std::vector<double>> ours;
  for (const std::string& name : pair.ours) ours.push_back(run.read(name + suffix));
  std::vector<double> made(record().at("w0." + pair.torch).values.size());
  for_each_element(pair,
                   [&](std::size_t which, std::size_t here, std::size_t there) { made[there] = ours[which].at(here); });
  return made;
}

/// Softmax does not see what a bias adds to all keys alike: its gradient is rounding and nothing else. AdamW divides a
/// gradient by its own size, so that after a few steps this bias is noise in any program, torch's as well as ours.
std::vector<double> without_key_bias(const pairing& pair, std::vector<double> values) {
  const auto third = static_cast<std::ptrdiff_t>(values.size() / 3);
  if (pair.torch.ends_with("qkv.bias")) std::fill(values.begin() + third, values.begin() + 2 * third, 0);
  return values;
}

/// The largest distance of a kept tensor from the recorded one, over all tensors.
double furthest(const ml::host_run& run, const std::string& prefix, const std::string& suffix = "") {
  double largest = 0;
  for (const pairing& pair : pairings()) {
    std::vector<double> ours = as_torch(run, pair, suffix), theirs = record().at(prefix + pair.torch).values;
    if (prefix == "wN.adamw.") {
      ours = without_key_bias(pair, ours);
      theirs = without_key_bias(pair, theirs);
    }
    const double apart = runs::distance(ours, theirs);
    largest = std::max(largest, apart);
  }
  return largest;
}

const ml::sgd sgd{.rate = 0.1, .momentum = 0.9, .decay = 1e-4};
const ml::adamw adamw{.rate = 1e-3, .decay = 0.01};
const ml::sgd still{.rate = 0};  ///< its velocity after one step is the gradient, to the last bit

template <class Precision, class Optimizer>
auto training_of(const Optimizer& with) {
  return ml::training{.model = ml::gpt(shape.layers),
                      .loss = ml::cross_entropy<ml::axis::vocab>{},
                      .optimizer = with,
                      .sizes = ml::gpt_sizes(shape),
                      .precision = Precision{}};
}

const std::vector<runs::request>& requests() {
  static const std::vector<runs::request> all{{"data=1", 1, 1},           {"data=1", 1, 2},
                                              {"data=2", 2, 2},           {"tensor=2", 2, 1},
                                              {"pipeline=2", 2, 4},       {"zero3=2", 2, 1},
                                              {"gpipe=4", 4, 2},          {"tensor=3", 3, 1},
                                              {"zero1=2,tensor=2", 4, 1}, {"zero2=2,pipeline=2", 4, 2},
                                              {"tensor=8", 8, 1},         {"data=2,tensor=2,pipeline=2", 8, 2}};
  return all;
}

/// One arithmetic in one precision against the record: as far apart as rounding explains, on any plan.
template <class Arithmetic, class Precision>
struct versus_torch {
  static ml::host_run loaded(const auto& task, const runs::request& asked) {
    return ml::start(ml::host<Arithmetic>{}, runs::program_of(ml::trace(task), asked), task);
  }

  static double logits(const runs::request& asked) {
    const auto task = training_of<Precision>(sgd);
    const ml::graph training = ml::trace(task), inference = ml::trace_inference(task);
    const ml::plan chosen = runs::plan_of(training, asked);
    auto run = ml::start(ml::host<Arithmetic>{}, ml::lower(training, chosen, ml::local(asked.ranks)), task);
    load(run);
    auto reader =
        ml::start(ml::host<Arithmetic>{},
                  ml::lower(inference, ml::adapt(training, chosen, inference), ml::local(asked.ranks)), task, run);
    std::vector<Precision> made(static_cast<std::size_t>(shape.batch * shape.seq * shape.vocab));
    reader.step({batches()[0].input}, {made.data()});
    return runs::distance({made.begin(), made.end()}, record().at("logits0").values);
  }

  static double gradients(const runs::request& asked) {
    const auto task = training_of<Precision>(still);
    auto run = loaded(task, asked);
    load(run);
    runs::step(run, batches()[0]);
    return furthest(run, "g0.", ".velocity");
  }

  struct apart {
    double losses = 0, weights = 0;
  };

  template <class Optimizer>
  static apart training(const Optimizer& with, const std::string& name, const runs::request& asked) {
    const auto task = training_of<Precision>(with);
    auto run = loaded(task, asked);
    load(run);
    std::vector<double> losses;
    for (const runs::sample& each : batches()) losses.push_back(runs::step(run, each));
    const bool exact = std::is_same_v<Precision, double>;
    return {runs::deviation(losses, record().at("loss." + name + (exact ? ".f64" : "")).values),
            furthest(run, "wN." + name + ".")};
  }
};

struct tolerance {
  double logits, gradients, losses, weights;
};

template <class Arithmetic, class Precision>
void check_all(const std::string& what, const tolerance& allowed) {
  using versus = versus_torch<Arithmetic, Precision>;
  tolerance seen{};
  for (const runs::request& asked : requests()) {
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
  MESSAGE(what << ", " << requests().size() << " plans: at most " << seen.logits << " from torch in logits, "
               << seen.gradients << " in gradients, " << seen.losses << " in losses, " << seen.weights
               << " in weights after " << steps << " steps");
}

}  // namespace

TEST_CASE("our own arithmetic in f32 trains as torch does in f32") {
  check_all<ml::plain, float>("plain, f32", {1e-5, 1e-5, 1e-5, 5e-5});
}

TEST_CASE("our own arithmetic in f64 trains as torch does in f64") {
  check_all<ml::plain, double>("plain, f64", {1e-5, 1e-5, 1e-11, 1e-5});
}

#ifdef TEST_WITH_CBLAS
TEST_CASE("a vendor's arithmetic in f32 trains as torch does in f32") {
  check_all<ml::cblas, float>("cblas, f32", {1e-5, 1e-5, 1e-5, 5e-5});
}
#endif

#ifdef TEST_WITH_ONEDNN
TEST_CASE("oneDNN in f32 trains as torch does in f32") {
  check_all<ml::onednn, float>("onednn, f32", {1e-5, 1e-5, 1e-5, 5e-5});
}
#endif

TEST_CASE("one parameter in the place of another is found") {
  const auto task = training_of<float>(still);
  auto run = ml::start(ml::host{}, runs::program_of(ml::trace(task), {"data=1", 1, 1}), task);
  load(run);
  const std::string heads = "blocks[1].residual.causal_attention.";
  const auto query = run.read(heads + "query.weight");
  run.write(heads + "query.weight", run.read(heads + "key.weight"));
  run.write(heads + "key.weight", query);
  const double loss = runs::step(run, batches()[0]);
  CHECK(runs::deviation({loss}, {record().at("loss.sgd").values[0]}) > 1e-5);
  CHECK(furthest(run, "g0.", ".velocity") > 1e-3);
}

TEST_CASE("a record that is not there is refused") {
  CHECK_THROWS_WITH_AS(safetensors::read("nowhere.safetensors"),
                       "safetensors: nowhere.safetensors cannot be read or has no header", ml::error);
}
