// SPDX-License-Identifier: Apache-2.0
// A model under a manual plan, with one batch: what the tests of models run.
#pragma once

#include <meshloom/cluster/presets.hpp>
#include <meshloom/exec/host.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/lower.hpp>

#include <random>

namespace trials {

using namespace meshloom;

/// What is fed to a program: per input, numbers around 0 or integers from 0 to `classes` − 1.
class batch_of_numbers {
 public:
  batch_of_numbers(const program& made, int classes, unsigned seed) {
    std::mt19937 dice(seed);
    for (const port& each : made.inputs) {
      std::int64_t count = 1;
      for (const std::int64_t extent : each.extents) count *= extent;
      auto& [numbers, integers] = inputs_.emplace_back();
      std::uniform_real_distribution<double> number(-1, 1);
      std::uniform_int_distribution<std::int32_t> integer(0, classes - 1);
      for (std::int64_t i = 0; i < count; ++i) {
        if (each.type == dtype::i32)
          integers.push_back(integer(dice));
        else
          numbers.push_back(number(dice));
      }
    }
  }

  port_data operator[](std::size_t which) const {
    const auto& [numbers, integers] = inputs_[which];
    if (!integers.empty()) return {integers.data(), std::ssize(integers), dtype::i32};
    return {numbers.data(), std::ssize(numbers), dtype::f64};
  }

  const vector<double>& numbers(std::size_t which) const { return inputs_[which].numbers; }
  const vector<std::int32_t>& integers(std::size_t which) const { return inputs_[which].integers; }

 private:
  struct input {
    vector<double> numbers;
    vector<std::int32_t> integers;
  };
  vector<input> inputs_;
};

/// The program of a graph under a manual plan.
inline program program_of(const graph& whole, const manual& how) {
  const cluster machine = local(how.ranks());
  const plan made = solve(formulate(whole, machine, how)).value();
  return lower(whole, made, machine);
}

/// Starts a graph of `task` under a manual plan; its precision must be double.
template <class Training>
host_run started(const Training& task, const graph& whole, const manual& how) {
  return start(host{}, program_of(whole, how), task, 7);
}

template <class Training>
host_run started(const Training& task, const manual& how = {}) {
  return started(task, trace(task), how);
}

/// What the model of `task` makes of its input: starts it, lets `change` write parameters, and runs it once.
template <class Training, class Change>
vector<double> output(const Training& task, port_data input, Change change) {
  host_run run = started(task, trace_inference(task), {});
  change(run);
  std::int64_t count = 1;
  for (const std::int64_t extent : run.executed().results[0].extents) count *= extent;
  vector<double> made(static_cast<std::size_t>(count));
  run.step({input}, {made.data()});
  return made;
}

/// The losses of `steps` steps on one batch.
template <class Training>
vector<double> losses(const Training& task, const manual& how, int steps, int classes) {
  host_run run = started(task, how);
  const batch_of_numbers batch(run.executed(), classes, 3);
  vector<double> all;
  for (int step = 0; step < steps; ++step) all.push_back(run.step({batch[0], batch[1]}).loss);
  return all;
}

}  // namespace trials
