// SPDX-License-Identifier: Apache-2.0
// Whole models: the gradient of every parameter is what central differences of the loss say. With SGD of rate 1 and
// without momentum, a step subtracts exactly the gradient.
#include "trial.hpp"

#include <meshloom/model/convolution.hpp>

#include <doctest/doctest.h>

#include <cmath>

using namespace trials;
using namespace meshloom::axis;

namespace {

constexpr meshloom::sgd subtract_gradient{.rate = 1};
constexpr int classes = 5;
constexpr sizes all_sizes{size<batch>{2}, size<seq>{3}, size<embed>{4},      size<heads>{2},
                          size<head>{3},  size<mlp>{5}, size<vocab>{classes}};

/// A run whose parameters can be set, so that the loss is a function of them.
class loss_of_parameters {
 public:
  template <class Training>
  explicit loss_of_parameters(const Training& task, const manual& how = {})
      : run_(started(task, how)), batch_(run_.executed(), classes, 11) {
    std::mt19937 dice(5);
    std::normal_distribution<double> number(0, 0.7);
    for (const std::string& name : run_.names()) {
      if (name.ends_with(".velocity")) continue;
      auto values = run_.read(name);
      for (double& each : values) each += number(dice);  // no bias at 0, no gain at 1
      values_.push_back({name, values});
    }
  }

  double loss() {
    for (const auto& [name, values] : values_) run_.write(name, values);
    return run_.step({batch_[0], batch_[1]}).loss;
  }

  /// The name of every parameter whose gradient is not what differences say, and by how much.
  std::string fault() {
    std::vector<std::vector<double>> gradients;
    loss();
    for (const auto& [name, before] : values_) {
      auto& gradient = gradients.emplace_back(before);
      const auto after = run_.read(name);
      for (std::size_t i = 0; i < after.size(); ++i) gradient[i] -= after[i];
    }
    std::string text;
    for (std::size_t p = 0; p < values_.size(); ++p) {
      const double apart = distance(values_[p].second, gradients[p]);
      if (!(apart < 1e-6)) text += values_[p].first + " is off by " + std::to_string(apart) + "; ";
    }
    return text;
  }

  std::size_t parameters() const { return values_.size(); }

 private:
  /// Between a gradient and central differences, relative to the latter or, where the loss hardly changes, to 1e-4.
  double distance(std::vector<double>& values, const std::vector<double>& gradient) {
    double apart = 0, norm = 1e-8;
    for (std::size_t i = 0; i < values.size(); ++i) {
      constexpr double step = 1e-5;
      const double here = values[i];
      values[i] = here + step;
      const double above = loss();
      values[i] = here - step;
      const double below = loss();
      values[i] = here;
      const double slope = (above - below) / (2 * step);
      apart += (slope - gradient[i]) * (slope - gradient[i]);
      norm += slope * slope;
    }
    return std::sqrt(apart / norm);
  }

  host_run run_;
  batch_of_numbers batch_;
  std::vector<std::pair<std::string, std::vector<double>>> values_;
};

/// Every function of a pointwise expression, with operands of fewer axes and one that is read several times.
struct every_function {
  static constexpr std::string_view name = "every_function";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto slope = scope.template parameter<mlp>("slope", {initial::constant, 1});
    const auto shift = scope.template parameter<mlp>("shift", {initial::constant, 0});
    const auto curved = evaluate(scope, tanh_of(x * slope) - sigmoid_of(x + shift) / (exp_of(-x) + exp_of(slope)));
    return gelu_of(curved) + relu_of(x - shift) * curved;
  }
};

/// Weighs the positions of a sequence by a softmax that sees all of it, adds their plain sum, and forgets the
/// positions.
struct pooling {
  static constexpr std::string_view name = "pooling";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto question = scope.template parameter<embed>("question", {initial::normal, 0.5});
    const auto weights = softmax<seq>(scope, dot<embed>(scope, x, question), 0.8);
    return dot_to<axes<batch, embed>>(scope, weights, x) + sum<seq>(scope, x, 0.25);
  }
};

auto hidden_layers() {
  return training{.model = linear<embed, mlp>{} | every_function{} | layer_norm<mlp>{} | linear<mlp, embed>{} |
                           meshloom::gelu{} | linear<embed, vocab>{},
                  .loss = cross_entropy<vocab>{},
                  .optimizer = subtract_gradient,
                  .sizes = all_sizes,
                  .input = tensor<batch, embed>{},
                  .target = integers<batch>{},
                  .precision = double{}};
}

auto transformer() {
  const auto attend = residual(layer_norm<embed>{}, causal_attention<seq, embed, heads, head>{});
  const auto think = residual(layer_norm<embed>{}, linear<embed, mlp>{}, meshloom::gelu{}, linear<mlp, embed>{});
  return training{.model = embedding<vocab, embed>{.table = "tokens"} | positions<seq, embed>{} |
                           repeat(2, attend | think) | layer_norm<embed>{} |
                           unembedding<embed, vocab>{.table = "tokens"},
                  .loss = cross_entropy<vocab>{},
                  .optimizer = subtract_gradient,
                  .sizes = all_sizes,
                  .precision = double{}};
}

auto pooled() {
  return training{.model = embedding<vocab, embed>{} | pooling{} | linear_without_bias<embed, vocab>{},
                  .loss = cross_entropy<vocab>{},
                  .optimizer = subtract_gradient,
                  .sizes = all_sizes,
                  .target = integers<batch>{},
                  .precision = double{}};
}

namespace image {
struct high;
struct wide;
struct lower;
struct narrower;
struct three;
struct across;
struct two;
struct color;
struct group;
struct inside;
struct outside;
}  // namespace image

/// An image convolved densely with strides, by groups, depthwise with dilation, and summed up.
struct convolutions {
  static constexpr std::string_view name = "convolutions";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    using namespace image;
    const initial start{initial::normal, 0.5};
    const auto grouped = scope.template parameter<three, two, group, color, inside>("grouped", start);
    const auto depthwise = scope.template parameter<two, three, inside>("depthwise", start);
    const auto dense = scope.template parameter<three, across, inside, outside>("dense", start);
    const stencil same{.taps = 3, .padding = 1}, even{.taps = 2, .padding = 1, .dilation = 2};
    const auto first = convolve<high, wide>(scope, value, grouped, same, even);
    const auto second = sum<group>(scope, tanh_of(first));
    const auto third = convolve<high, wide>(scope, second, depthwise, even, same) + second;
    const stencil down{.taps = 3, .stride = 2, .padding = 1}, inner{.taps = 3, .stride = 2};
    return sum<lower, narrower>(scope, convolve<lower, narrower>(scope, tanh_of(third), dense, down, inner));
  }
};

auto convolved_images() {
  using namespace image;
  return training{.model = convolutions{} | linear<outside, vocab>{},
                  .loss = cross_entropy<vocab>{},
                  .optimizer = subtract_gradient,
                  .sizes = sizes{size<batch>{2}, size<high>{5}, size<wide>{6}, size<lower>{3}, size<narrower>{2},
                                 size<three>{3}, size<across>{3}, size<two>{2}, size<color>{2}, size<group>{2},
                                 size<inside>{3}, size<outside>{4}, size<vocab>{classes}},
                  .input = tensor<batch, high, wide, group, color>{},
                  .target = integers<batch>{},
                  .precision = double{}};
}

/// x + x, with the gradient of x.
struct crooked {
  using list = meshloom::at<0, 1>;
  using sum = op::pointwise<op::add<op::operand<0>, op::operand<0>>, list, list>;
  static constexpr auto signature = sum::signature;
  using gradient = operators<>;
  using kernel = kernel_of<sum>;
  static void differentiate(differentiation& d) { d.contribute(0, d.gradient(0)); }
};

struct crooked_layer {
  static constexpr std::string_view name = "crooked";

  template <class... Axis>
  auto operator()(auto& scope, const tensor<Axis...>& x) const {
    return tensor<Axis...>{scope.template emit<crooked>(axes<Axis...>{}, {}, x)[0]};
  }
};

}  // namespace

TEST_CASE("gradients of hidden layers and of every pointwise function") {
  loss_of_parameters model(hidden_layers());
  CHECK(model.parameters() == 10);
  CHECK(model.fault() == "");
}

TEST_CASE("gradients of a transformer with repeated layers and a tied head, whole and in micro-batches") {
  for (const int micro_batches : {1, 2}) {
    loss_of_parameters model(transformer(), {.micro_batches = micro_batches});
    CHECK(model.parameters() == 2 + 2 * 16 + 2);
    CHECK(model.fault() == "");
  }
}

TEST_CASE("gradients of convolutions: dense, grouped and depthwise") {
  for (const int micro_batches : {1, 2}) {
    loss_of_parameters model(convolved_images(), {.micro_batches = micro_batches});
    CHECK(model.parameters() == 3 + 2);
    CHECK(model.fault() == "");
  }
}

TEST_CASE("gradients of a softmax, a sum and an embedding of its own") {
  loss_of_parameters model(pooled());
  CHECK(model.parameters() == 3);
  CHECK(model.fault() == "");
}

TEST_CASE("a wrong gradient is noticed") {
  const auto task = training{.model = linear<embed, mlp>{} | crooked_layer{} | linear<mlp, vocab>{},
                             .loss = cross_entropy<vocab>{},
                             .optimizer = subtract_gradient,
                             .sizes = all_sizes,
                             .input = tensor<batch, embed>{},
                             .target = integers<batch>{},
                             .precision = double{}};
  const std::string fault = loss_of_parameters(task).fault();
  CHECK(fault == "linear.weight is off by 0.500000; linear.bias is off by 0.500000; ");
}
