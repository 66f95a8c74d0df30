// SPDX-License-Identifier: Apache-2.0
// Laws of model/expression.hpp: an expression becomes one operator where a tensor is needed, equal ones become the same
// one, its value is the formula's, and operands with fewer axes are broadcast by name.
#include "trial.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace trials;
using namespace meshloom::axis;

namespace {

constexpr sizes all_sizes{size<batch>{3}, size<seq>{4}, size<embed>{5}};

/// A model that is one function of x [batch, seq, embed] and three parameters.
template <class Function>
struct formula {
  static constexpr std::string_view name = "formula";
  Function function;

  auto operator()(auto& scope, const tensor<batch, seq, embed>& x) const {
    const auto full = scope.template parameter<batch, seq, embed>("full", {initial::normal, 1});
    const auto column = scope.template parameter<embed>("column", {initial::normal, 1});
    const auto turned = scope.template parameter<embed, batch>("turned", {initial::normal, 1});
    return function(x, full, column, turned);
  }
};

template <class Function>
auto model_of(const Function& function) {
  return training{.model = formula<Function>{function},
                  .loss = cross_entropy<embed>{},
                  .optimizer = sgd{},
                  .sizes = all_sizes,
                  .input = tensor<batch, seq, embed>{},
                  .target = integers<batch, seq>{},
                  .precision = double{}};
}

struct same_twice {
  static constexpr std::string_view name = "same_twice";

  auto operator()(auto& scope, const tensor<batch, seq, embed>& x) const {
    const auto once = evaluate(scope, x * x), again = evaluate(scope, x * x);
    return evaluate(scope, evaluate(scope, once) + again);
  }
};

template <class Function>
vector<std::string> operators_in(const Function& function) {
  vector<std::string> names;
  for (const node& each : trace_inference(model_of(function)).nodes) names.emplace_back(each.op->op.name);
  return names;
}

/// The largest distance between a model's output and `oracle(x, full, column, turned)` per element.
template <class Function, class Oracle>
double distance(const Function& function, const Oracle& oracle) {
  const auto task = model_of(function);
  constexpr std::int64_t rows = 3, places = 4, columns = 5;
  vector<double> x, full, column, turned;
  const auto draw = [](vector<double>& values, std::int64_t count, unsigned seed) {
    std::mt19937 dice(seed);
    std::normal_distribution<double> number(0, 1.5);
    for (std::int64_t i = 0; i < count; ++i) values.push_back(number(dice));
  };
  draw(x, rows * places * columns, 1);
  draw(full, rows * places * columns, 2);
  draw(column, columns, 3);
  draw(turned, columns * rows, 4);
  const auto made = output(task, x, [&](host_run& run) {
    for (const std::string& name : run.names())
      run.write(name, name == "formula.full" ? full : name == "formula.column" ? column : turned);
  });
  double apart = 0;
  for (std::size_t i = 0; i < made.size(); ++i) {
    const std::size_t e = i % columns, b = i / (places * columns);
    apart = std::max(apart, std::abs(made[i] - oracle(x[i], full[i], column[e], turned[e * rows + b])));
  }
  return made.empty() ? 1 : apart;
}

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

constexpr auto everything = [](const auto& x, const auto& full, const auto& column, const auto& turned) {
  return gelu_of(x + column) * sigmoid_of(full) - relu_of(turned) / exp_of(-tanh_of(x));
};

}  // namespace

TEST_CASE("an expression is one operator") {
  CHECK(operators_in(everything) == vector<std::string>{"pointwise"});
  CHECK(operators_in([](const auto& x, const auto& full, const auto&, const auto&) { return x + full + x; }).size() ==
        1);
}

TEST_CASE("a tensor is no operator, and equal expressions are one") {
  const auto task = training{.model = same_twice{},
                             .loss = cross_entropy<embed>{},
                             .optimizer = sgd{},
                             .sizes = all_sizes,
                             .input = tensor<batch, seq, embed>{},
                             .target = integers<batch, seq>{}};
  CHECK(trace_inference(task).nodes.size() == 2);
}

TEST_CASE("an expression's value is its formula's, element by element") {
  CHECK(distance(everything, [](double x, double full, double column, double turned) {
          const double y = x + column;
          const double gelu = 0.5 * y * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (y + 0.044715 * y * y * y)));
          return gelu * logistic(full) - std::max(turned, 0.0) / std::exp(-std::tanh(x));
        }) < 1e-13);
}

TEST_CASE("the operand that has all axes may stand anywhere") {
  const auto last = [](const auto& x, const auto&, const auto& column, const auto&) { return column - x; };
  CHECK(distance(last, [](double x, double, double column, double) { return column - x; }) < 1e-14);
  const auto nested = [](const auto& x, const auto& full, const auto& column, const auto& turned) {
    return (column * turned) * (-full) / (x + x);
  };
  CHECK(distance(nested, [](double x, double full, double column, double turned) {
          return -column * turned * full / (x + x);
        }) < 1e-11);
}

TEST_CASE("the distance notices a wrong formula") {
  CHECK(distance(everything, [](double x, double, double, double) { return x; }) > 0.1);
  const auto last = [](const auto& x, const auto&, const auto&, const auto& turned) { return x + turned; };
  CHECK(distance(last, [](double x, double, double column, double) { return x + column; }) > 0.1);
}
