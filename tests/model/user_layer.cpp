// SPDX-License-Identifier: Apache-2.0
// A layer of your own: what one writes, and that it then trains under every plan, like the library's own layers.
#include "trial.hpp"

#include <doctest/doctest.h>

using namespace trials;

namespace {

// 1. Axes are types; a declaration is enough. Yours stand beside the standard ones of meshloom::axis.
struct width;
struct feature;
using meshloom::axis::batch;

// 2. A layer is a type with a `name` that can be called with a scope and a tensor. It takes its parameters from the
//    scope, in named statements (their order is the model's), and returns a tensor or a pointwise expression. Shapes
//    are checked here, by the compiler; nothing is computed yet, and nothing is said about devices.
template <class In, class Width>
struct gated {
  static constexpr std::string_view name = "gated";
  double deviation = 0.5;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto gate = scope.template parameter<In, Width>("gate", {initial::normal, deviation});
    const auto up = scope.template parameter<In, Width>("up", {initial::normal, deviation});
    const auto down = scope.template parameter<Width, In>("down", {initial::normal, deviation});
    const auto open = sigmoid_of(dot<In>(scope, x, gate));     // [batch, Width]
    return dot<Width>(scope, open * dot<In>(scope, x, up), down);  // [batch, In]
  }
};

// 3. It composes with every other layer, and the sizes of its axes stand with the others in the training.
auto classifier() {
  return training{.model = residual(layer_norm<feature>{}, gated<feature, width>{}) | linear<feature, meshloom::axis::vocab>{.deviation = 0.5},
                  .loss = cross_entropy<meshloom::axis::vocab>{},
                  .optimizer = sgd{.rate = 0.5, .momentum = 0.5},
                  .sizes = sizes{size<batch>{12}, size<feature>{6}, size<width>{7}, size<meshloom::axis::vocab>{5}},
                  .input = tensor<batch, feature>{},
                  .target = integers<batch>{},
                  .precision = double{}};
}

constexpr int classes = 5, steps = 12;

}  // namespace

TEST_CASE("a user's layer has its parameters under its name") {
  const graph made = trace(classifier());
  CHECK(check(made) == std::vector<std::string>{});
  std::vector<std::string> names;
  for (const parameter& each : made.parameters) names.push_back(made.values[each.value].name);
  CHECK(names == std::vector<std::string>{"residual.layer_norm.gain", "residual.layer_norm.bias", "residual.gated.gate", "residual.gated.up",
                                          "residual.gated.down", "linear.weight", "linear.bias"});
}

TEST_CASE("a user's layer learns, and learns the same under every plan") {
  // 4. A plan splits an axis, yours like any other, over as many ranks as one likes.
  const auto whole = losses(classifier(), {}, steps, classes);
  CHECK(whole.back() < 0.5 * whole.front());
  const manual plans[] = {data_parallel(2),
                          data_parallel(4),
                          zero(2, 3),
                          split_all<width, mesh::tensor>(2),
                          split_all<width, mesh::tensor>(4),  // 7 hidden units: 2 + 2 + 2 + 1
                          split_all<feature, mesh::tensor>(3),
                          data_parallel(2) & split_all<width, mesh::tensor>(2),
                          data_parallel(2) & pipeline(2)};
  for (manual how : plans) {
    for (const int micro_batches : {1, 3}) {
      how.micro_batches = micro_batches;
      const auto spread = losses(classifier(), how, steps, classes);
      for (std::size_t step = 0; step < whole.size(); ++step) CHECK(spread[step] == doctest::Approx(whole[step]).epsilon(1e-11));
    }
  }
}
