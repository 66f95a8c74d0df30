// SPDX-License-Identifier: Apache-2.0
// Dropout does not know plans: a transformer that drops trains alike under every plan and number of micro-batches, to
// rounding, because the same elements are dropped everywhere, in forward and backward.
#include "runs.hpp"

#include <meshloom/model/transformer.hpp>

#include <doctest/doctest.h>

#include <set>

namespace {

namespace ml = meshloom;
using namespace ml::axis;

constexpr ml::gpt_shape shape{
    .name = "dropout", .vocab = 50, .seq = 16, .batch = 12, .embed = 32, .layers = 4, .heads = 4};
constexpr unsigned steps = 4;

/// GPT with RMS norms and gated hidden layers; after the embedding and in every block something is dropped.
auto training_of(double rate) {
  const auto attend =
      ml::residual(ml::rms_norm<embed>{}, ml::causal_attention<seq, embed, heads, head>{}, ml::dropout{.rate = rate});
  const auto think = ml::residual(ml::rms_norm<embed>{}, ml::swiglu<embed, mlp>{}, ml::dropout{.rate = rate});
  return ml::training{.model = ml::embedding<vocab, embed>{} | ml::positions<seq, embed>{} | ml::dropout{.rate = rate} |
                               ml::repeat(shape.layers, attend | think) | ml::rms_norm<embed>{} |
                               ml::linear_without_bias<embed, vocab>{},
                      .loss = ml::cross_entropy<vocab>{.smoothing = 0.1, .z_loss = 1e-3},
                      .optimizer = ml::sgd{.rate = 0.1, .momentum = 0.9},
                      .sizes = ml::gpt_sizes(shape),
                      .precision = double{}};
}

ml::vector<double> losses_of(const ml::program& made, double rate = 0.2, std::uint64_t seed = 3) {
  auto run = ml::start(ml::host{}, made, training_of(rate), seed);
  return runs::train(run, runs::draw_all(shape, steps)).losses;
}

double apart(const ml::vector<double>& left, const ml::vector<double>& right) {
  double most = left.size() == right.size() ? 0 : 1;
  for (std::size_t i = 0; i < left.size() && i < right.size(); ++i) most = std::max(most, std::abs(left[i] - right[i]));
  return most;
}

/// What each dropout of some bodies draws from: its stream, and the copy of its layer.
std::multiset<std::pair<double, std::uint64_t>> streams_of(const ml::program& made, std::size_t body) {
  std::multiset<std::pair<double, std::uint64_t>> found;
  for (const ml::stage_program& stage : made.stages) {
    for (const ml::instruction& each : stage.bodies[body]) {
      if (each.kind != ml::instruction::compute || each.op->op.name != "dropout") continue;
      found.insert({each.attributes[1], each.number % (1 << ml::copy_bits)});
    }
  }
  return found;
}

}  // namespace

TEST_CASE("a model that drops trains alike under every plan and number of micro-batches") {
  const ml::graph whole = ml::trace(training_of(0.2));
  const auto expected = losses_of(runs::program_of(whole, {"data=1", 1, 1}));
  for (const runs::request& asked : {runs::request{"data=1", 1, 2},
                                     {"data=1", 1, 4},
                                     {"data=2", 2, 1},
                                     {"data=3", 3, 2},
                                     {"tensor=2", 2, 4},
                                     {"tensor=3", 3, 1},
                                     {"pipeline=2", 2, 4},
                                     {"zero3=2,tensor=2", 4, 2},
                                     {"data=2,tensor=2,pipeline=2", 8, 2}}) {
    CAPTURE(runs::name_of(asked));
    CHECK(apart(losses_of(runs::program_of(whole, asked)), expected) < 1e-11);
  }
}

TEST_CASE("forward and backward draw from the same streams, each layer and copy from its own") {
  const ml::program made = runs::program_of(ml::trace(training_of(0.2)), {"data=1", 1, 1});
  const auto forward = streams_of(made, 0), backward = streams_of(made, 1);
  CHECK(forward.size() == 1 + 2 * 4);
  CHECK(std::set(forward.begin(), forward.end()).size() == forward.size());
  CHECK(forward == backward);
}

TEST_CASE("what is dropped depends on the seed of the run and on the step, and a rate of 0 drops nothing") {
  const ml::program made = runs::program_of(ml::trace(training_of(0.2)), {"data=1", 1, 1});
  auto one = ml::start(ml::host{}, made, training_of(0.2), 3), other = ml::start(ml::host{}, made, training_of(0.2), 4);
  for (const std::string& name : one.names()) other.write(name, one.read(name));
  const auto sample = runs::draw(shape, 0);
  CHECK(std::abs(runs::step(one, sample) - runs::step(other, sample)) > 1e-4);

  auto again = ml::start(ml::host{}, made, training_of(0.2), 3);
  const auto start = again.names();
  ml::vector<ml::vector<double>> values;
  for (const std::string& name : start) values.push_back(again.read(name));
  const double first = runs::step(again, sample);
  for (std::size_t k = 0; k < start.size(); ++k) again.write(start[k], values[k]);
  CHECK(std::abs(runs::step(again, sample) - first) > 1e-4);

  const ml::program nothing = runs::program_of(ml::trace(training_of(0)), {"data=1", 1, 1});
  CHECK(streams_of(nothing, 0).empty());
}

TEST_CASE("a backward that drops other elements than its forward is found") {
  const ml::graph whole = ml::trace(training_of(0.2));
  const ml::program sound = runs::program_of(whole, {"data=1", 1, 1});
  const auto expected = losses_of(sound);
  ml::program broken = sound;
  for (ml::instruction& each : broken.stages[ml::stage_id{0}].bodies[1]) {
    if (each.kind == ml::instruction::compute && each.op->op.name == "dropout") ++each.number;
  }
  CHECK(losses_of(sound) == expected);
  CHECK(apart(losses_of(broken), expected) > 1e-6);
}
