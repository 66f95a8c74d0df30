// SPDX-License-Identifier: Apache-2.0
// Whole models: the gradient of every parameter is what central differences of the loss say. With SGD of rate 1 and
// without momentum, a step subtracts exactly the gradient.
#include "trial.hpp"

#include <meshloom/model/convolution.hpp>
#include <meshloom/model/image.hpp>
#include <meshloom/model/moe.hpp>
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
constexpr sizes routed_sizes{size<batch>{2},  size<seq>{6},   size<embed>{4},     size<vocab>{classes},
                             size<expert>{3}, size<slots>{4}, size<expert_mlp>{5}};

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
    vector<vector<double>> gradients;
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
  double distance(vector<double>& values, const vector<double>& gradient) {
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
  vector<std::pair<std::string, vector<double>>> values_;
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

/// Routes its input, groups of 3 tokens for 2 slots of each expert, and lets the balance weigh what comes back.
template <int Choices>
struct balanced_experts {
  static constexpr std::string_view name = "balanced_experts";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto gate = scope.template parameter<embed, expert>("gate", {initial::normal, 0.5});
    const auto scale = scope.template parameter<expert, embed>("scale", {initial::normal, 0.5});
    const auto shares = softmax<expert>(scope, dot<embed>(scope, x, gate));
    const auto by = route_of<Choices, seq, expert>(scope, shares, 3, 2);
    const auto sent = dispatch_of<slots>(scope, by, x);
    return combine_of<slots>(scope, by, evaluate(scope, tanh_of(sent * scale))) * by.balance;
  }
};

/// On tokens, in double precision.
template <class Layer>
auto with_experts(const Layer& layer) {
  return training{.model = embedding<vocab, embed>{} | layer | linear<embed, vocab>{},
                  .loss = cross_entropy<vocab>{},
                  .optimizer = subtract_gradient,
                  .sizes = routed_sizes,
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

/// Half as many heads of keys and values as of queries, and no mask.
struct grouped_attention {
  static constexpr std::string_view name = "grouped_attention";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    constexpr initial start{initial::normal, 0.7};
    const auto query = scope.template parameter<embed, heads, mlp, head>("query", start);  // mlp heads share keys
    const auto key = scope.template parameter<embed, heads, head>("key", start);
    const auto mixing = scope.template parameter<embed, heads, head>("value", start);
    const auto q = dot<embed>(scope, x, query);
    const auto k = rename<seq, keys<seq>>(dot<embed>(scope, x, key));
    const auto v = rename<seq, keys<seq>>(dot<embed>(scope, x, mixing));
    return sum<heads, mlp>(scope, attention_of(scope, q, k, v, 0.6));
  }
};

auto grouped() {
  return training{.model = embedding<vocab, embed>{} | grouped_attention{} | linear_without_bias<head, vocab>{},
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

struct channel;
struct pooled_high;
struct pooled_wide;
struct last_high;
struct last_wide;
using feature = keys<channel>;

/// Convolution by one element, batch normalisation of both kinds, and pooling of both kinds.
struct image_layers {
  static constexpr std::string_view name = "image_layers";

  auto operator()(auto& scope, const tensor<batch, high, wide, channel>& x) const {
    const initial start{initial::normal, 0.5};
    const auto mixed = dot<channel>(scope, x, scope.template parameter<channel, feature>("mix", start));
    const auto normal = batch_norm_of(scope, mixed, scope.template parameter<feature>("gain", start),
                                      scope.template parameter<feature>("bias", start), 1e-2);
    const auto smaller = max_pool<pooled_high, pooled_wide>(scope, normal.value, {.taps = 3, .stride = 2, .padding = 1},
                                                            {.taps = 2, .dilation = 2});
    const auto mean = rename<channel, feature>(sum<batch, high, wide>(scope, x, 0.1));  // has no gradient
    const auto frozen = batch_norm_inference_of(scope, smaller, scope.template parameter<feature>("frozen_gain", start),
                                                scope.template parameter<feature>("frozen_bias", start), mean,
                                                evaluate(scope, exp_of(mean)), 1e-2);
    const auto last = average_pool<last_high, last_wide>(scope, frozen, {.taps = 2, .padding = 1},
                                                         {.taps = 3, .stride = 2, .padding = 1});
    return dot<feature>(scope, sum<last_high, last_wide>(scope, last),
                        scope.template parameter<feature, vocab>("head", start));
  }
};

/// Batch normalisation of two axes of features.
struct grouped_norm {
  static constexpr std::string_view name = "grouped_norm";

  auto operator()(auto& scope, const tensor<batch, embed>& x) const {
    const initial start{initial::normal, 0.5};
    const auto groups = dot<embed>(scope, x, scope.template parameter<embed, heads, head>("mix", start));
    const auto normal = batch_norm_of(scope, groups, scope.template parameter<heads, head>("gain", start),
                                      scope.template parameter<heads, head>("bias", start), 1e-2);
    return dot<heads, head>(scope, normal.value, scope.template parameter<heads, head, vocab>("head", start));
  }
};

auto images() {
  return training{.model = image_layers{},
                  .loss = cross_entropy<vocab>{},
                  .optimizer = subtract_gradient,
                  .sizes = sizes{size<batch>{3}, size<high>{7}, size<wide>{5}, size<channel>{3}, size<pooled_high>{4},
                                 size<pooled_wide>{3}, size<last_high>{5}, size<last_wide>{2}, size<vocab>{classes}},
                  .input = tensor<batch, high, wide, channel>{},
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

TEST_CASE("gradients of convolutions: dense, grouped and depthwise") {
  for (const int micro_batches : {1, 2}) {
    loss_of_parameters model(convolved_images(), {.micro_batches = micro_batches});
    CHECK(model.parameters() == 3 + 2);
    CHECK(model.fault() == "");
  }
}

TEST_CASE("gradients of attention whose heads of queries share keys, and of attention without a mask") {
  loss_of_parameters model(grouped());
  CHECK(model.parameters() == 5);
  CHECK(model.fault() == "");
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

TEST_CASE("gradients of routes, their weights and balance, and of experts, whole and in micro-batches") {
  using layer = moe<seq, embed, expert, slots, expert_mlp>;
  for (const int micro_batches : {1, 2}) {
    const manual how{.micro_batches = micro_batches};
    CHECK(loss_of_parameters(with_experts(balanced_experts<1>{}), how).fault() == "");
    CHECK(loss_of_parameters(with_experts(balanced_experts<2>{}), how).fault() == "");
    CHECK(loss_of_parameters(with_experts(layer{}), how).fault() == "");
    CHECK(loss_of_parameters(with_experts(layer{.choices = 1, .capacity_factor = 2, .group = 3}), how).fault() == "");
  }
}

TEST_CASE("gradients of batch norms and pooling") {
  loss_of_parameters model(images());
  CHECK(model.parameters() == 6);
  CHECK(model.fault() == "");
  loss_of_parameters grouped(training{.model = grouped_norm{},
                                      .loss = cross_entropy<vocab>{},
                                      .optimizer = subtract_gradient,
                                      .sizes = all_sizes,
                                      .input = tensor<batch, embed>{},
                                      .target = integers<batch>{},
                                      .precision = double{}});
  CHECK(grouped.parameters() == 4);
  CHECK(grouped.fault() == "");
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
