// SPDX-License-Identifier: Apache-2.0
// A layer of your own: what one writes, and that it then trains under every plan, like the library's own layers.
#include "trial.hpp"

#include <doctest/doctest.h>

namespace ml = meshloom;

namespace mine {

// 1. Axes are types; a declaration is enough. Yours stand beside the standard ones of meshloom::axis.
struct width;
struct feature;
struct label;
using ml::axis::batch;

// 2. A layer is a type with a `name` that can be called with a scope and a tensor. It takes its parameters from the
//    scope, in named statements (their order is the model's), and returns a tensor or a pointwise expression. Shapes
//    are checked here, by the compiler; nothing is computed yet, and nothing is said about devices.
template <class In, class Width>
struct gated {
  static constexpr std::string_view name = "gated";
  double deviation = 0.5;

  auto operator()(auto& scope, const ml::pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto gate = scope.template parameter<In, Width>("gate", {ml::initial::normal, deviation});
    const auto up = scope.template parameter<In, Width>("up", {ml::initial::normal, deviation});
    const auto down = scope.template parameter<Width, In>("down", {ml::initial::normal, deviation});
    const auto open = sigmoid_of(ml::dot<In>(scope, x, gate));             // [batch, Width]
    return ml::dot<Width>(scope, open * ml::dot<In>(scope, x, up), down);  // [batch, In]
  }
};

struct soft_clip {
  static constexpr std::string_view name = "soft_clip";
  auto operator()(auto&, const ml::pointwise_value auto& x) const { return tanh_of(x); }
};

// 3. Layers compose with each other and with the library's. Where a chain begins with two of yours, say which | is
// meant.
using ml::operator|;
constexpr auto block = gated<feature, width>{} | soft_clip{};

// 4. The sizes of your axes stand with the others in the training.
auto classifier() {
  return ml::training{
      .model = ml::residual(ml::layer_norm<feature>{}, block) | ml::linear<feature, label>{.deviation = 0.5},
      .loss = ml::cross_entropy<label>{},
      .optimizer = ml::sgd{.rate = 0.5, .momentum = 0.5},
      .sizes = ml::sizes{ml::size<batch>{12}, ml::size<feature>{6}, ml::size<width>{7}, ml::size<label>{5}},
      .input = ml::tensor<batch, feature>{},
      .target = ml::integers<batch>{},
      .precision = double{}};
}

}  // namespace mine

namespace {

constexpr int classes = 5, steps = 12;

}  // namespace

TEST_CASE("a user's layer has its parameters under its name") {
  const ml::graph made = ml::trace(mine::classifier());
  CHECK(ml::check(made) == ml::vector<std::string>{});
  ml::vector<std::string> names;
  for (const ml::parameter& each : made.parameters) names.push_back(made.values[each.value].name);
  CHECK(names == ml::vector<std::string>{"residual.layer_norm.gain", "residual.layer_norm.bias", "residual.gated.gate",
                                         "residual.gated.up", "residual.gated.down", "linear.weight", "linear.bias"});
}

TEST_CASE("a user's layer learns, and learns the same under every plan") {
  // 5. A plan splits an axis, yours like any other, over as many ranks as one likes.
  const auto whole = trials::losses(mine::classifier(), {}, steps, classes);
  CHECK(whole.back() < 0.5 * whole.front());
  const ml::manual plans[] = {ml::data_parallel(2),
                              ml::data_parallel(4),
                              ml::zero(2, 3),
                              ml::split_all<mine::width, ml::mesh::tensor>(2),
                              ml::split_all<mine::width, ml::mesh::tensor>(4),  // 7 hidden units: 2 + 2 + 2 + 1
                              ml::split_all<mine::feature, ml::mesh::tensor>(3),
                              ml::data_parallel(2) & ml::split_all<mine::width, ml::mesh::tensor>(2),
                              ml::data_parallel(2) & ml::pipeline(2)};
  for (ml::manual how : plans) {
    for (const int micro_batches : {1, 3}) {
      how.micro_batches = micro_batches;
      const auto spread = trials::losses(mine::classifier(), how, steps, classes);
      for (std::size_t step = 0; step < whole.size(); ++step)
        CHECK(spread[step] == doctest::Approx(whole[step]).epsilon(1e-11));
    }
  }
}
