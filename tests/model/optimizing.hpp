// SPDX-License-Identifier: Apache-2.0
// What tests of optimizers train: a small model in double, what it keeps after each step, its gradients apart from the
// optimizer, and plans of every kind.
#pragma once

#include "trial.hpp"

#include <meshloom/exec/simulate.hpp>
#include <meshloom/model/gpt.hpp>
#include <meshloom/program/check.hpp>
#include <meshloom/report/evaluate.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace optimizing {

using namespace trials;

struct batch;
struct feature;
struct label;
inline constexpr int rows = 6, features = 5, classes = 3;

using numbers = std::map<std::string, meshloom::vector<double>>;

template <class Optimizer>
auto training_of(const Optimizer& rule) {
  const auto block = residual(layer_norm<feature>{}, linear<feature, keys<feature>>{.deviation = 0.5}, gelu{},
                              linear<keys<feature>, feature>{.deviation = 0.5});
  return training{.model = linear<feature, keys<feature>>{.deviation = 0.5} |
                           linear<keys<feature>, feature>{.deviation = 0.5} | repeat(3, block) |
                           linear<feature, label>{.deviation = 0.5},
                  .loss = cross_entropy<label>{},
                  .optimizer = rule,
                  .sizes = sizes{size<batch>{rows}, size<feature>{features}, size<label>{classes}},
                  .input = tensor<batch, feature>{},
                  .target = integers<batch>{},
                  .micro_batched = axes<batch>{},
                  .precision = double{}};
}

/// What a run keeps after each of some steps, all on one batch.
template <class Optimizer>
meshloom::vector<numbers> train(const Optimizer& rule, const manual& how, int steps) {
  host_run run = started(training_of(rule), how);
  const batch_of_numbers inputs(run.executed(), classes, 3);
  meshloom::vector<numbers> left;
  for (int step = 0; step <= steps; ++step) {
    numbers& kept = left.emplace_back();
    for (const std::string& name : run.names()) kept[name] = run.read(name);
    if (step < steps) run.step({inputs[0], inputs[1]});
  }
  return left;
}

/// The gradient of every parameter where `at` has it: SGD of rate 0 leaves it as the velocity.
inline numbers gradients(const numbers& at) {
  host_run run = started(training_of(sgd{.rate = 0}));
  const batch_of_numbers inputs(run.executed(), classes, 3);
  for (const std::string& name : run.names()) {
    if (at.contains(name) && !name.ends_with(".velocity")) run.write(name, at.at(name));
  }
  run.step({inputs[0], inputs[1]});
  numbers made;
  for (const std::string& name : run.names()) {
    if (name.ends_with(".velocity")) made[name.substr(0, name.size() - 9)] = run.read(name);
  }
  return made;
}

/// The largest difference of the parameters that both have.
inline double difference(const numbers& left, const numbers& right) {
  double most = 0;
  for (const auto& [name, values] : left) {
    const auto other = right.find(name);
    REQUIRE(other != right.end());
    for (std::size_t i = 0; i < values.size(); ++i) most = std::max(most, std::abs(values[i] - other->second[i]));
  }
  return most;
}

/// Every kind of plan: replicas, split features, stages, several micro-batches.
inline meshloom::vector<manual> plans() {
  meshloom::vector<manual> all{data_parallel(2),
                               data_parallel(3),
                               zero(1, 2),
                               zero(2, 2),
                               zero(3, 4),
                               pipeline(2),
                               split_all<feature, mesh::tensor>(2),
                               zero(2, 2) & pipeline(2),
                               zero(3, 2) & pipeline(3),
                               data_parallel(2) & split_all<feature, mesh::tensor>(3)};
  const std::size_t whole = all.size();
  for (std::size_t k = 0; k < whole; ++k) {
    all.push_back(all[k]);
    all.back().micro_batches = 2;
  }
  return all;
}

/// What is lowered under a plan is sound, and so is what the plan predicts of it.
template <class Training>
void check_soundness(const Training& task, const manual& how) {
  const auto expect_none = [](const meshloom::vector<std::string>& faults) {
    for (const std::string& each : faults) FAIL_CHECK(each);
  };
  const graph made = trace(task);
  expect_none(check(made));
  const cluster machine = local(how.ranks());
  const problem posed = formulate(made, machine, how);
  const plan found = solve(posed).value();
  const program lowered = lower(made, found, machine);
  expect_none(check(lowered));
  expect_none(evaluate(posed, found).violations);
  CHECK(simulate(lowered, machine).step > picoseconds{});
}

inline constexpr gpt_shape tiny_gpt{.vocab = 11, .seq = 4, .batch = 4, .embed = 6, .layers = 2, .heads = 2};

template <class Training>
auto in_double(const Training& task) {
  return training{.model = task.model,
                  .loss = task.loss,
                  .optimizer = task.optimizer,
                  .sizes = task.sizes,
                  .input = task.input,
                  .target = task.target,
                  .micro_batched = task.micro_batched,
                  .precision = double{}};
}

/// What a training keeps after some steps on one batch.
template <class Training>
numbers kept_by(const Training& task, const manual& how, int steps, int most) {
  host_run run = started(task, how);
  const batch_of_numbers inputs(run.executed(), most, 3);
  for (int step = 0; step < steps; ++step) run.step({inputs[0], inputs[1]});
  numbers kept;
  for (const std::string& name : run.names()) kept[name] = run.read(name);
  return kept;
}

/// An optimizer trains the small model and a tiny GPT, also one whose head is its embedding, alike under every plan;
/// and programs and predictions are sound.
template <class Optimizer>
void check_parity(const Optimizer& rule) {
  const auto whole = train(rule, {}, 4).back();
  for (const manual& how : plans()) {
    CHECK(difference(whole, train(rule, how, 4).back()) < 1e-11);
    check_soundness(training_of(rule), how);
  }
  const auto apart = in_double(gpt_training(tiny_gpt, rule));
  const auto tied = in_double(tied_gpt_training(tiny_gpt, rule));
  const auto apart_whole = kept_by(apart, {}, 4, tiny_gpt.vocab), tied_whole = kept_by(tied, {}, 4, tiny_gpt.vocab);
  for (const manual& how : {data_parallel(2), megatron(2), zero(1, 2), zero(2, 3), zero(3, 2), pipeline(2),
                            zero(2, 2) & megatron(2), zero(3, 2) & pipeline(2), megatron(2) & pipeline(2)}) {
    CHECK(difference(apart_whole, kept_by(apart, how, 4, tiny_gpt.vocab)) < 1e-10);
    CHECK(difference(tied_whole, kept_by(tied, how, 4, tiny_gpt.vocab)) < 1e-10);
    check_soundness(tied, how);
  }
}

}  // namespace optimizing
