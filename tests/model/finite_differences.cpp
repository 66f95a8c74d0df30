// SPDX-License-Identifier: Apache-2.0
// Whole models: the gradient of every parameter is what central differences of the loss say. With SGD of rate 1 and
// without momentum, a step subtracts exactly the gradient.
#include "trial.hpp"

#include <meshloom/model/transformer.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <memory>

using namespace trials;
using namespace meshloom::axis;

namespace {

constexpr meshloom::sgd subtract_gradient{.rate = 1};
constexpr int classes = 5;
constexpr sizes all_sizes{size<batch>{2}, size<seq>{3}, size<embed>{4},      size<heads>{2},
                          size<head>{3},  size<mlp>{5}, size<vocab>{classes}};

/// A run whose parameters can be set, so that the loss is a function of them: of the first step of a run, whose dropout
/// drops the same elements every time.
class loss_of_parameters {
 public:
  template <class Training>
  explicit loss_of_parameters(const Training& task, const manual& how = {})
      : start_([made = program_of(trace(task), how), task] {
          return std::unique_ptr<host_run>(new host_run(start(host{}, made, task, 7)));
        }),
        run_(start_()),
        batch_(run_->executed(), classes, 11) {
    std::mt19937 dice(5);
    std::normal_distribution<double> number(0, 0.7);
    for (const std::string& name : run_->names()) {
      if (name.ends_with(".velocity")) continue;
      auto values = run_->read(name);
      for (double& each : values) each += number(dice);  // no bias at 0, no gain at 1
      values_.push_back({name, values});
    }
  }

  double loss() {
    run_ = start_();
    for (const auto& [name, values] : values_) run_->write(name, values);
    return run_->step({batch_[0], batch_[1]}).loss;
  }

  /// The name of every parameter whose gradient is not what differences say, and by how much.
  std::string fault() {
    std::vector<std::vector<double>> gradients;
    loss();
    for (const auto& [name, before] : values_) {
      auto& gradient = gradients.emplace_back(before);
      const auto after = run_->read(name);
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

  std::function<std::unique_ptr<host_run>()> start_;
  std::unique_ptr<host_run> run_;
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

/// x, whose mean square it adds to the loss.
struct held_small {
  static constexpr std::string_view name = "held_small";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    scope.add_loss(sum<batch, embed>(scope, x * x, 0.125));
    return x;
  }
};

auto with_added_losses() {
  return training{.model = linear<embed, mlp>{} | linear<mlp, embed>{} | held_small{} |
                           repeat(2, residual(linear<embed, mlp>{}, linear<mlp, embed>{}, held_small{})) |
                           linear<embed, vocab>{},
                  .loss = cross_entropy<vocab>{},
                  .optimizer = subtract_gradient,
                  .sizes = all_sizes,
                  .input = tensor<batch, embed>{},
                  .target = integers<batch>{},
                  .precision = double{}};
}

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

/// Causal attention whose queries and keys have rotary positions; keys are values as well.
struct rotary_attention {
  static constexpr std::string_view name = "rotary_attention";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const initial usual{initial::normal, 0.5};
    const auto to_query = scope.template parameter<embed, heads, head>("query", usual);
    const auto to_key = scope.template parameter<embed, heads, head>("key", usual);
    const auto back = scope.template parameter<heads, head, embed>("output", usual);
    const auto q = rotary<seq, head>(scope, dot<embed>(scope, x, to_query), 100);
    const auto k = rename<seq, keys<seq>>(rotary<seq, head>(scope, dot<embed>(scope, x, to_key), 100));
    const auto weights = softmax<keys<seq>, true>(scope, dot_to<axes<batch, heads, seq, keys<seq>>>(scope, q, k), 0.6);
    return dot<heads, head>(scope, dot_to<axes<batch, seq, heads, head>>(scope, weights, k), back);
  }
};

auto llama() {
  const auto attend = residual(rms_norm<embed>{}, rotary_attention{}, dropout{.rate = 0.3});
  const auto think = residual(rms_norm<embed>{}, swiglu<embed, mlp>{}, dropout{.rate = 0.2});
  return training{.model = embedding<vocab, embed>{} | dropout{.rate = 0.1} | repeat(2, attend | think) |
                           geglu<embed, mlp>{} | rms_norm<embed>{} | linear_without_bias<embed, vocab>{},
                  .loss = cross_entropy<vocab>{.smoothing = 0.1, .z_loss = 0.05},
                  .optimizer = subtract_gradient,
                  .sizes = sizes{size<batch>{2}, size<seq>{3}, size<embed>{4}, size<heads>{2}, size<head>{4},
                                 size<mlp>{5}, size<vocab>{classes}},
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

TEST_CASE("gradients of a softmax, a sum and an embedding of its own") {
  loss_of_parameters model(pooled());
  CHECK(model.parameters() == 3);
  CHECK(model.fault() == "");
}

TEST_CASE("gradients of losses that layers add, whole and in micro-batches") {
  for (const int micro_batches : {1, 2}) {
    loss_of_parameters model(with_added_losses(), {.micro_batches = micro_batches});
    CHECK(model.parameters() == 2 * 2 + 2 * 4 + 2);
    CHECK(model.fault() == "");
  }
}

TEST_CASE("gradients of RMS norms, gated layers, rotary positions, dropout, smoothed labels and z-loss") {
  for (const int micro_batches : {1, 2}) {
    loss_of_parameters model(llama(), {.micro_batches = micro_batches});
    CHECK(model.parameters() == 1 + 2 * (1 + 3 + 1 + 3) + 3 + 1 + 1);
    CHECK(model.fault() == "");
  }
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
