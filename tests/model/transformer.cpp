// SPDX-License-Identifier: Apache-2.0
// Laws of model/transformer.hpp: layers make what their formulas say, gates fuse, and what only trains does nothing in
// evaluation.
#include "trial.hpp"

#include <meshloom/model/transformer.hpp>

#include <doctest/doctest.h>

#include <cmath>

using namespace trials;
using namespace meshloom::axis;

namespace {

constexpr std::size_t rows = 2 * 5, width = 6, hidden = 7;
constexpr sizes all_sizes{size<batch>{2}, size<seq>{5},      size<embed>{width}, size<heads>{2},
                          size<head>{3},  size<mlp>{hidden}, size<vocab>{11}};

template <class Class = embed, class Model>
auto on_numbers(const Model& model, const cross_entropy<Class>& loss = {}) {
  return training{.model = model,
                  .loss = loss,
                  .optimizer = sgd{},
                  .sizes = all_sizes,
                  .input = tensor<batch, seq, embed>{},
                  .precision = double{}};
}

vector<double> drawn(std::size_t count, unsigned seed) {
  std::mt19937 dice(seed);
  std::normal_distribution<double> number(0, 1);
  vector<double> values(count);
  for (double& each : values) each = number(dice);
  return values;
}

double distance(const vector<double>& left, const vector<double>& right) {
  double apart = left.size() == right.size() ? 0 : 1;
  for (std::size_t i = 0; i < left.size() && apart < 1; ++i) apart = std::max(apart, std::abs(left[i] - right[i]));
  return apart;
}

/// The number of operators of one name.
int count_of(const graph& made, std::string_view named) {
  int found = 0;
  for (const node& each : made.nodes) found += each.op->op.name == named;
  return found;
}

template <class Task>
std::string error_of(const Task& task) {
  try {
    static_cast<void>(trace(task));
  } catch (const error& why) {
    return why.what();
  }
  return "";
}

/// (curve(x · gate) ∗ (x · up)) · down, row by row.
template <class Curve>
vector<double> gated(const vector<double>& x, const vector<double>& gate, const vector<double>& up,
                     const vector<double>& down, Curve curve) {
  vector<double> y(x.size());
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t h = 0; h < hidden; ++h) {
      double opened = 0, raised = 0;
      for (std::size_t i = 0; i < width; ++i) opened += x[row * width + i] * gate[i * hidden + h];
      for (std::size_t i = 0; i < width; ++i) raised += x[row * width + i] * up[i * hidden + h];
      for (std::size_t i = 0; i < width; ++i) y[row * width + i] += curve(opened) * raised * down[h * width + i];
    }
  }
  return y;
}

template <class Layer, class Curve>
void check_gated(const Layer& layer, const std::string& name, Curve curve) {
  const auto x = drawn(rows * width, 1), gate = drawn(width * hidden, 2), up = drawn(width * hidden, 3),
             down = drawn(hidden * width, 4);
  const auto y = output(on_numbers(layer), x, [&](host_run& run) {
    CHECK(run.names() == vector<std::string>{name + ".gate.weight", name + ".up.weight", name + ".down.weight"});
    run.write(name + ".gate.weight", gate);
    run.write(name + ".up.weight", up);
    run.write(name + ".down.weight", down);
  });
  CHECK(distance(y, gated(x, gate, up, down, curve)) < 1e-12);
  CHECK(count_of(trace_inference(on_numbers(layer)), "pointwise") == 1);
  CHECK(count_of(trace_inference(on_numbers(layer)), "dot") == 3);
}

struct turned {
  static constexpr std::string_view name = "turned";
  auto operator()(auto& scope, const pointwise_value auto& x) const { return rotary<seq, embed>(scope, x, 50); }
};

template <class Axis>
struct turned_last {
  static constexpr std::string_view name = "turned_last";
  auto operator()(auto& scope, const pointwise_value auto& x) const { return rotary<seq, Axis>(scope, x); }
};

}  // namespace

TEST_CASE("gated layers are what Shazeer wrote, and gate and product are one operator") {
  check_gated(swiglu<embed, mlp>{}, "swiglu", [](double v) { return v / (1 + std::exp(-v)); });
  check_gated(geglu<embed, mlp>{}, "geglu", [](double v) {
    return 0.5 * v * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (v + 0.044715 * v * v * v)));
  });
}

TEST_CASE("an RMS norm leaves rows of mean square one, times the gain") {
  const auto x = drawn(rows * width, 1), gain = drawn(width, 2);
  const auto y =
      output(on_numbers(rms_norm<embed>{.epsilon = 0.01}), x, [&](host_run& run) { run.write("rms_norm.gain", gain); });
  vector<double> expected(x);
  for (std::size_t row = 0; row < rows; ++row) {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += x[row * width + i] * x[row * width + i];
    for (std::size_t i = 0; i < width; ++i) expected[row * width + i] *= gain[i] / std::sqrt(squares / width + 0.01);
  }
  CHECK(distance(y, expected) < 1e-12);
}

TEST_CASE("rotary positions turn pairs by the position along the named axis") {
  const auto x = drawn(rows * width, 1);
  const auto y = output(on_numbers(turned{}), x, [](host_run&) {});
  vector<double> expected(x.size());
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < width / 2; ++i) {
      const double angle = static_cast<double>(row % 5) * std::pow(50, -2.0 * static_cast<double>(i) / width);
      const double left = x[row * width + i], right = x[row * width + width / 2 + i];
      expected[row * width + i] = left * std::cos(angle) - right * std::sin(angle);
      expected[row * width + width / 2 + i] = left * std::sin(angle) + right * std::cos(angle);
    }
  }
  CHECK(distance(y, expected) < 1e-12);
  CHECK(error_of(on_numbers(linear<embed, mlp>{} | turned_last<mlp>{} | linear<mlp, embed>{})) ==
        "rotary: mlp has 7 elements, which cannot be paired; give it an even size");
}

TEST_CASE("dropout drops in training alone, and every layer and copy has a stream of its own") {
  const auto block = residual(linear<embed, mlp>{}, dropout{}, linear<mlp, embed>{}, dropout{.rate = 0.5});
  const auto task = on_numbers(positions<seq, embed>{} | dropout{} | repeat(3, block));
  CHECK(count_of(trace_evaluation(task), "dropout") == 0);
  CHECK(count_of(trace_inference(task), "dropout") == 0);
  const graph made = trace(task);
  vector<double> forward, backward;
  for (const node& each : made.nodes) {
    if (each.op->op.name != "dropout") continue;
    (each.when == phase::forward ? forward : backward).push_back(each.attributes[1]);
    CHECK(each.attributes[2] == 0);
  }
  CHECK(forward == vector<double>{0, 1, 2});
  CHECK(backward == vector<double>{2, 1, 0});
  CHECK(count_of(trace(on_numbers(positions<seq, embed>{} | dropout{.rate = 0})), "dropout") == 0);
  for (const double rate : {-0.1, 1.0, std::nan("")})
    CHECK(error_of(on_numbers(positions<seq, embed>{} | dropout{.rate = rate})).starts_with("dropout: a rate of "));
}

TEST_CASE("losses smooth labels and punish large logits in training; held-out losses are cross-entropy") {
  const auto task = on_numbers<mlp>(linear<embed, mlp>{}, {.smoothing = 0.2, .z_loss = 0.1});
  const auto plain = on_numbers<mlp>(linear<embed, mlp>{});
  const auto weight = drawn(width * hidden, 5);
  const auto step = [&](const graph& made, const auto& with) {
    host_run run = started(with, made, {});
    const batch_of_numbers batch_given(run.executed(), hidden, 3);
    run.write("linear.weight", weight);
    return run.step({batch_given[0], batch_given[1]}).loss;
  };
  const double evaluated = step(trace_evaluation(task), task);
  CHECK(evaluated == step(trace_evaluation(plain), plain));
  CHECK(evaluated == step(trace(plain), plain));

  host_run run = started(plain, {});
  const batch_of_numbers batch_given(run.executed(), hidden, 3);
  double expected = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    vector<double> logits(hidden);
    for (std::size_t i = 0; i < width * hidden; ++i)
      logits[i % hidden] += batch_given.numbers(0)[row * width + i / hidden] * weight[i];
    double sum = 0, all = 0;
    for (const double each : logits) sum += std::exp(each), all += each;
    const double logsum = std::log(sum), chosen = logits[static_cast<std::size_t>(batch_given.integers(1)[row])];
    expected += (logsum - 0.8 * chosen - 0.2 * all / hidden + 0.1 * logsum * logsum) / rows;
  }
  CHECK(std::abs(step(trace(task), task) - expected) < 1e-12);
}
