// SPDX-License-Identifier: Apache-2.0
// Laws of model/layers.hpp and model/compose.hpp: layers make what their formulas say, chains are flat and become
// regions, names are paths in the model, and repeats are one body with a count.
#include "trial.hpp"
#include "unfused_attention.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace trials;
using namespace meshloom::axis;
using strings = vector<std::string>;

namespace {

constexpr sizes all_sizes{size<batch>{2}, size<seq>{5}, size<embed>{6}, size<heads>{2},
                          size<head>{3},  size<mlp>{7}, size<vocab>{11}};

template <class Class = vocab, class Model>
auto on_tokens(const Model& model) {
  return training{
      .model = model, .loss = cross_entropy<Class>{}, .optimizer = sgd{}, .sizes = all_sizes, .precision = double{}};
}

template <class Class = embed, class Model>
auto on_numbers(const Model& model) {
  return training{.model = model,
                  .loss = cross_entropy<Class>{},
                  .optimizer = sgd{},
                  .sizes = all_sizes,
                  .input = tensor<batch, seq, embed>{},
                  .precision = double{}};
}

const auto attend = residual(layer_norm<embed>{}, causal_attention<seq, embed, heads, head>{});
const auto think = residual(layer_norm<embed>{}, linear<embed, mlp>{}, meshloom::gelu{}, linear<mlp, embed>{});

template <class Training>
strings parameters_of(const Training& task) {
  const graph made = trace(task);
  CHECK(check(made) == strings{});
  strings names;
  for (const parameter& each : made.parameters) names.push_back(made.values[each.value].name);
  return names;
}

template <class Training>
strings regions_of(const Training& task) {
  strings names;
  for (const region& each : trace(task).regions) names.push_back(each.name + " " + std::to_string(each.count));
  return names;
}

template <class Training>
std::string error_of(const Training& task) {
  try {
    static_cast<void>(trace(task));
  } catch (const error& why) {
    return why.what();
  }
  return "";
}

vector<double> drawn(std::size_t count, unsigned seed) {
  std::mt19937 dice(seed);
  std::normal_distribution<double> number(0, 1);
  vector<double> values(count);
  for (double& each : values) each = number(dice);
  return values;
}

/// What a step of two such layers on sequences of a length takes in memory.
template <class Attention>
std::int64_t peak_of(const Attention& layer, std::int64_t length) {
  const auto task = training{.model = embedding<vocab, embed>{} | repeat(2, residual(layer)) | linear<embed, vocab>{},
                             .loss = cross_entropy<vocab>{},
                             .optimizer = sgd{},
                             .sizes = sizes{size<batch>{2}, size<seq>{length}, size<embed>{6}, size<heads>{2},
                                            size<head>{3}, size<vocab>{11}}};
  const graph whole = trace(task);
  const plan made = solve(formulate(whole, local(1), {})).value();
  return lower(whole, made, local(1)).stages[stage_id{0}].peak().count;
}

constexpr std::size_t rows = 2 * 5, width = 6;
constexpr auto as_started = [](host_run&) {};

double distance(const vector<double>& left, const vector<double>& right) {
  double apart = left.size() == right.size() ? 0 : 1;
  for (std::size_t i = 0; i < left.size() && apart < 1; ++i) apart = std::max(apart, std::abs(left[i] - right[i]));
  return apart;
}

}  // namespace

TEST_CASE("chains are flat, every link is a region, and names are paths") {
  const auto flat = embedding<vocab, embed>{} | think | linear<embed, vocab>{};
  const auto nested = embedding<vocab, embed>{} | (think | linear<embed, vocab>{});
  static_assert(std::is_same_v<decltype(flat), decltype(nested)>);
  CHECK(regions_of(on_tokens(flat)) == strings{"embedding 1", "residual 1", "linear 1", "loss 1"});
  CHECK(parameters_of(on_tokens(flat)) == strings{"embedding.table", "residual.layer_norm.gain",
                                                  "residual.layer_norm.bias", "residual.linear.weight",
                                                  "residual.linear.bias", "residual.linear_2.weight",
                                                  "residual.linear_2.bias", "linear.weight", "linear.bias"});
}

TEST_CASE("a layer can be given a name") {
  const auto model = embedding<vocab, embed>{} | named("body", repeat(2, named("attention", attend))) |
                     named("head", linear<embed, vocab>{});
  CHECK(regions_of(on_tokens(model)) == strings{"embedding 1", "body 2", "head 1", "loss 1"});
  const auto names = parameters_of(on_tokens(model));
  CHECK(std::find(names.begin(), names.end(), "head.weight") != names.end());
  CHECK(std::find(names.begin(), names.end(), "body.layer_norm.gain") != names.end());
}

TEST_CASE("a repeat is one body, whatever its count; inside a layer it is written out") {
  const auto of = [](int count) {
    return on_tokens(embedding<vocab, embed>{} | repeat(count, attend | think) | linear<embed, vocab>{});
  };
  const graph two = trace(of(2)), many = trace(of(96));
  CHECK(check(many) == strings{});
  CHECK(many.nodes.size() == two.nodes.size());
  CHECK(many.parameters.size() == two.parameters.size());
  CHECK(many.regions[region_id{1}].count == 96);

  const auto inner = parameters_of(on_tokens(embedding<vocab, embed>{} |
                                             residual(repeat(3, linear<embed, mlp>{} | linear<mlp, embed>{})) |
                                             linear<embed, vocab>{}));
  CHECK(inner.size() == 1 + 3 * 4 + 2);
  CHECK(error_of(of(0)) == "repeat: a layer cannot be repeated 0 times; give a count of 1 or more");
}

TEST_CASE("a table of the model is shared by name, and by nothing else") {
  const auto tied = embedding<vocab, embed>{.table = "tokens"} | think | unembedding<embed, vocab>{.table = "tokens"};
  const auto names = parameters_of(on_tokens(tied));
  CHECK(std::count(names.begin(), names.end(), "tokens") == 1);
  const auto own = embedding<vocab, embed>{} | think | unembedding<embed, vocab>{.table = "tokens"};
  CHECK(parameters_of(on_tokens(own)).size() == names.size() + 1);

  const auto other_shape =
      embedding<vocab, embed>{.table = "t"} | linear<embed, mlp>{} | unembedding<mlp, vocab>{.table = "t"};
  CHECK(error_of(on_tokens(other_shape)).find("the shared parameter 't' is used with two shapes") != std::string::npos);
  const auto in_copies = embedding<vocab, embed>{} |
                         repeat(2, unembedding<embed, mlp>{.table = "t"} | linear<mlp, embed>{}) |
                         linear<embed, vocab>{};
  CHECK(error_of(on_tokens(in_copies)).find("the shared parameter 't' is first used inside repeat") !=
        std::string::npos);
}

TEST_CASE("linear is x · weight + bias") {
  const auto x = drawn(rows * width, 1), weight = drawn(width * 7, 2), bias = drawn(7, 3);
  const auto y = output(on_numbers<mlp>(linear<embed, mlp>{}), x, [&](host_run& run) {
    run.write("linear.weight", weight);
    run.write("linear.bias", bias);
  });
  vector<double> expected;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t m = 0; m < 7; ++m) {
      double sum = bias[m];
      for (std::size_t e = 0; e < width; ++e) sum += x[r * width + e] * weight[e * 7 + m];
      expected.push_back(sum);
    }
  }
  CHECK(distance(y, expected) < 1e-13);
}

TEST_CASE("layer_norm leaves rows of mean 0 and variance 1, a residual adds its input") {
  const auto x = drawn(rows * width, 1);
  const auto y = output(on_numbers(layer_norm<embed>{.epsilon = 1e-12}), x, as_started);
  for (std::size_t r = 0; r < rows; ++r) {
    double sum = 0, squares = 0;
    for (std::size_t e = 0; e < width; ++e) sum += y[r * width + e], squares += y[r * width + e] * y[r * width + e];
    CHECK(std::abs(sum) < 1e-12);
    CHECK(std::abs(squares / width - 1) < 1e-9);
  }
  auto expected = y;
  for (std::size_t i = 0; i < x.size(); ++i) expected[i] += x[i];
  CHECK(distance(output(on_numbers(residual(layer_norm<embed>{.epsilon = 1e-12})), x, as_started), expected) < 1e-13);
}

TEST_CASE("embedding and positions choose and add rows") {
  const auto table = drawn(11 * width, 1), place = drawn(5 * width, 2);
  const vector<std::int32_t> tokens{3, 0, 10, 10, 7, 1, 2, 3, 4, 5};
  const auto y =
      output(on_tokens<embed>(embedding<vocab, embed>{} | positions<seq, embed>{}), tokens, [&](host_run& run) {
        run.write("embedding.table", table);
        run.write("positions.weight", place);
      });
  vector<double> expected;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t e = 0; e < width; ++e)
      expected.push_back(table[static_cast<std::size_t>(tokens[r]) * width + e] + place[r % 5 * width + e]);
  }
  CHECK(distance(y, expected) == 0);
}

TEST_CASE("attention makes, and learns, what its textbook does from the same parameters") {
  const auto check = [](const auto& layer, const auto& textbook) {
    host_run run = started(on_numbers(layer)), same = started(on_numbers(textbook));
    CHECK(run.names() == same.names());
    for (const std::string& name : run.names()) same.write(name, run.read(name));
    const batch_of_numbers batch(run.executed(), 5, 3);
    vector<double> learned, expected;
    for (int step = 0; step < 5; ++step) {
      learned.push_back(run.step({batch[0], batch[1]}).loss);
      expected.push_back(same.step({batch[0], batch[1]}).loss);
    }
    CHECK(learned.back() < learned.front() - 1e-3);
    CHECK(distance(learned, expected) < 1e-13);
    for (const std::string& name : run.names()) CHECK(distance(run.read(name), same.read(name)) < 1e-13);
  };
  check(meshloom::attention<seq, embed, heads, head>{.deviation = 0.7},
        unfused_attention<seq, embed, heads, head, false>{.deviation = 0.7});
  check(causal_attention<seq, embed, heads, head>{.deviation = 0.7},
        unfused_attention<seq, embed, heads, head, true>{.deviation = 0.7});
}

TEST_CASE("attention takes memory by the length of a sequence, its textbook by the square of it") {
  constexpr std::int64_t length = 512;
  const auto growth = [](const auto& layer, std::int64_t from) {
    return peak_of(layer, 2 * from) - peak_of(layer, from);
  };
  const causal_attention<seq, embed, heads, head> fused;
  CHECK(growth(fused, 2 * length) == 2 * growth(fused, length));
  const unfused_attention<seq, embed, heads, head, true> textbook;
  const std::int64_t shares = 2 * 2 * length * length * 4;  // of batch and heads, in one layer
  CHECK(growth(textbook, 2 * length) - 2 * growth(textbook, length) >= 6 * 2 * shares);  // kept in both
  MESSAGE("a step on ", 2 * length, " positions: ", peak_of(fused, 2 * length), " bytes, not ",
          peak_of(textbook, 2 * length));
}

TEST_CASE("attention takes its sequence wherever it lies") {
  constexpr auto by_seq = [](auto model) {  // the input is [seq, batch, embed]
    return training{.model = model,
                    .loss = cross_entropy<embed>{},
                    .optimizer = sgd{},
                    .sizes = all_sizes,
                    .input = tensor<seq, batch, embed>{},
                    .target = integers<batch, seq>{},
                    .precision = double{}};
  };
  const auto strong = causal_attention<seq, embed, heads, head>{.deviation = 0.7};
  const auto x = drawn(rows * width, 1);
  auto turned = x;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t e = 0; e < width; ++e) turned[(r % 5 * 2 + r / 5) * width + e] = x[r * width + e];
  }
  CHECK(distance(output(by_seq(strong), turned, as_started), output(on_numbers(strong), x, as_started)) < 1e-14);
}

TEST_CASE("attention does not see what comes later, and sees all else") {
  const auto strong = causal_attention<seq, embed, heads, head>{.deviation = 0.7};
  auto x = drawn(rows * width, 1);
  const auto before = output(on_numbers(strong), x, as_started);
  for (std::size_t changed = 0; changed < 5; ++changed) {
    auto other = x;
    other[changed * width] += 1;  // of the first sequence
    const auto after = output(on_numbers(strong), other, as_started);
    for (std::size_t r = 0; r < rows; ++r) {
      const bool sees = r < 5 && r >= changed;
      const auto begin = static_cast<std::ptrdiff_t>(r * width), end = begin + static_cast<std::ptrdiff_t>(width);
      CHECK(std::equal(before.begin() + begin, before.begin() + end, after.begin() + begin) == !sees);
    }
  }
}
