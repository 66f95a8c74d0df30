// SPDX-License-Identifier: Apache-2.0
// What layers leave behind beside their result: scalars added to the loss, and running statistics.
#include "trial.hpp"

#include <meshloom/plan/adapt.hpp>

#include <doctest/doctest.h>

#include <cmath>

using namespace trials;
using meshloom::at;
using meshloom::axis::batch;
struct feature;
struct label;

namespace {

constexpr int rows = 12, features = 6, classes = 5, steps = 4;

/// x, whose mean square it adds to the loss.
struct held_small {
  static constexpr std::string_view name = "held_small";
  double weight = 0;

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    scope.add_loss(sum<batch, feature>(scope, x * x, weight / (rows * features)));
    return x;
  }
};

/// p ← p + rate·(g − p), where g is the sum over micro-batches of what was observed.
struct follow {
  using list = at<0>;
  static constexpr auto signature = describe("follow").operands<list, list>().results<list>().made;
  static constexpr std::array<std::int8_t, max_results> replaces{0};
  using gradient = operators<>;

  struct kernel {
    template <class Element>
    MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
      return with.result[0].extent[0] > 0 ? 1 : 0;
    }
    template <class Element, class Team>
    MESHLOOM_DEVICE static void run(Team team, std::int64_t, const call& with) {
      Element* const p = with.result[0].as<Element>();
      const Element* const g = with.operand[1].as<const Element>();
      const Element rate = static_cast<Element>(with.attribute[0]);
      team.for_each(with.result[0].extent[0], [=](std::int64_t i) { p[i] += rate * (g[i] - p[i]); });
    }
  };
};

/// x, of which it keeps a running mean per feature; evaluation adds the mean instead of keeping it.
struct followed {
  static constexpr std::string_view name = "followed";

  auto operator()(auto& scope, const pointwise_value auto& value) const {
    const auto x = evaluate(scope, value);
    const auto mean = scope.template parameter<feature>("mean", {initial::constant, 0.5});
    scope.template observe<follow>(mean, sum<batch>(scope, x, 1.0 / rows), {0.25});
    return scope.trains() ? evaluate(scope, x + x) : evaluate(scope, x + mean);
  }
};

template <class Model>
auto training_of(const Model& model) {
  return training{.model = model,
                  .loss = cross_entropy<label>{},
                  .optimizer = sgd{.rate = 0.1},
                  .sizes = sizes{size<batch>{rows}, size<feature>{features}, size<label>{classes}},
                  .input = tensor<batch, feature>{},
                  .target = integers<batch>{},
                  .precision = double{}};
}

auto with_losses(double weight) {
  const auto block = residual(linear<feature, keys<feature>>{.deviation = 0.5},
                              linear<keys<feature>, feature>{.deviation = 0.5}, held_small{.weight = weight});
  return training_of(held_small{.weight = weight} | repeat(3, block) | linear<feature, label>{.deviation = 0.5});
}

auto with_statistics() { return training_of(followed{} | linear<feature, label>{.deviation = 0.5}); }

/// Every kind of plan: replicas, split features, stages, several micro-batches.
meshloom::vector<manual> plans() {
  meshloom::vector<manual> all{data_parallel(2),
                               data_parallel(3),
                               zero(2, 2),
                               zero(3, 4),
                               pipeline(2),
                               pipeline(3),
                               split_all<feature, mesh::tensor>(2),
                               split_all<feature, mesh::tensor>(4),
                               zero(2, 2) & pipeline(2),
                               data_parallel(2) & split_all<feature, mesh::tensor>(3)};
  const std::size_t whole = all.size();
  for (std::size_t k = 0; k < whole; ++k) {
    all.push_back(all[k]);
    all.back().micro_batches = 2;
  }
  return all;
}

bool same(const meshloom::vector<double>& left, const meshloom::vector<double>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](double a, double b) { return std::abs(a - b) < 1e-11 * std::abs(a); });
}

}  // namespace

TEST_CASE("layers add to the loss, once per copy and on whatever stage they are") {
  const auto alone = losses(with_losses(0), {}, steps, classes);
  const auto whole = losses(with_losses(0.5), {}, steps, classes);
  CHECK(whole.front() > alone.front());
  CHECK(whole.front() - alone.front() == doctest::Approx(losses(with_losses(1), {}, 1, classes)[0] - whole.front()));
  CHECK(whole.back() - alone.back() != doctest::Approx(whole.front() - alone.front()));  // it is trained as well
  CHECK(results_of(trace(with_losses(1))).size() == 1 + 1 + 3);
  for (const manual& how : plans()) CHECK(same(whole, losses(with_losses(0.5), how, steps, classes)));
}

TEST_CASE("evaluation and inference have the losses of layers in nothing") {
  CHECK(trace_evaluation(with_losses(1)).results.size() == 1);
  CHECK(trace_inference(with_losses(1)).results.size() == 1);
}

TEST_CASE("a result of every copy is a scalar") {
  graph whole = trace(with_losses(1));
  REQUIRE(check(whole).empty());
  const value_id scalar = whole.results.back();
  for (std::size_t v = 0; v < whole.values.size(); ++v) {
    const value& entry = whole.values[value_id(v)];
    const bool fits = entry.kind == value_kind::activation && entry.region == whole.values[scalar].region;
    if (fits && entry.axes.size() == 2) whole.results.back() = value_id(v);
  }
  REQUIRE(whole.results.back() != scalar);
  CHECK(check(whole).size() == 1);
}

TEST_CASE("a running statistic takes in what the step observed, and evaluation reads it") {
  const auto task = with_statistics();
  const auto mean_after = [&](const manual& how) {
    host_run run = started(task, how);
    const batch_of_numbers batch(run.executed(), classes, 3);
    for (int step = 0; step < steps; ++step) run.step({batch[0], batch[1]});
    return run.read("followed.mean");
  };
  host_run run = started(task);
  const batch_of_numbers batch(run.executed(), classes, 3);
  meshloom::vector<double> expected(features, 0.5);
  for (int step = 0; step < steps; ++step) {
    for (std::size_t f = 0; f < features; ++f) {
      double sum = 0;
      for (std::size_t row = 0; row < rows; ++row) sum += batch.numbers(0)[row * features + f];
      expected[f] += 0.25 * (sum / rows - expected[f]);
    }
  }
  CHECK(same(mean_after({}), expected));
  for (const manual& how : plans()) CHECK(same(mean_after(how), expected));
}

TEST_CASE("a running statistic is planned, lowered and read in evaluation like any parameter") {
  const auto task = with_statistics();
  const graph whole = trace(task), held_out = trace_evaluation(task);
  const cluster machine = local(2);
  const plan made = solve(formulate(whole, machine)).value();
  CHECK(check(whole, made).empty());
  host_run run = start(host{}, lower(whole, made, machine), task, 7);
  host_run judge = start(host{}, lower(held_out, adapt(whole, made, held_out), machine), task, run);
  const batch_of_numbers batch(run.executed(), classes, 3);
  const double before = judge.step({batch[0], batch[1]}).loss;
  run.write("followed.mean", meshloom::vector<double>(features, 3.0));
  CHECK(judge.step({batch[0], batch[1]}).loss != before);
}

TEST_CASE("a running statistic is observed once") {
  graph_builder into;
  into.open_region("all", 1, false);
  const axis_id width = into.axis("width", 3);
  const value_id kept = into.add_parameter("kept", {width}, {}, false);
  into.observe(kept, kept, record_of<follow>, {});
  CHECK_THROWS_WITH_AS(into.observe(kept, kept, record_of<follow>, {}),
                       "trace: the running statistic 'all.kept' is observed twice; give every layer that observes one "
                       "of its own",
                       error);
}
