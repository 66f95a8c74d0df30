// SPDX-License-Identifier: Apache-2.0
// Trainings under plans beside the training on one rank: same micro-batches, same losses, step by step, and the same
// answers of the trained model. Each plan must also satisfy the referees, use all its ranks, allocate what it predicts,
// and leave the same bits on every rank that keeps the same part of a number.
#pragma once

#include "runs.hpp"

#include <meshloom/program/check.hpp>
#include <meshloom/report/evaluate.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <map>

namespace runs {

/// What a program shows about how it divides the work.
struct division {
  int ranks = 0;        ///< that run something in forward and backward, and update what they keep
  bool by_all = true;   ///< no mesh axis of 2 or more only repeats the work of its first rank
  bool uneven = false;  ///< ranks have shards of different sizes
  bool empty = false;   ///< a rank has no part of something
};

inline bool divided(const ml::stage_program& stage, int axis) {
  for (const ml::instruction& each : stage.bodies[0]) {
    for (const ml::buffer_id result : each.results) {
      const bool computed = each.kind == ml::instruction::compute;
      if (computed && stage.buffers[result].layout.on(axis).kind != ml::placement::whole) return true;
    }
  }
  return false;
}

inline division division_of(const ml::program& made) {
  division found;
  for (const ml::stage_program& stage : made.stages) {
    const bool updates = !stage.bodies[3].empty() || stage.placed_values.empty();  // the loss alone keeps nothing
    const bool runs = !stage.bodies[0].empty() && !stage.bodies[1].empty() && updates;
    if (runs) found.ranks += stage.mesh.ranks();
    for (int axis = 0; axis < stage.mesh.rank; ++axis) {
      if (stage.mesh.size[static_cast<std::size_t>(axis)] > 1 && !divided(stage, axis)) found.by_all = false;
    }
    for (const ml::buffer& each : stage.buffers) {
      const std::int64_t first = ml::shard_view(stage, each, 0).count();
      for (std::int32_t member = 0; member < stage.mesh.ranks(); ++member) {
        const std::int64_t count = ml::shard_view(stage, each, member).count();
        found.uneven = found.uneven || count != first;
        found.empty = found.empty || count == 0;
      }
    }
  }
  return found;
}

/// Two ranks that keep the same part of a number.
inline bool same_part(const ml::view& one, const ml::view& other) {
  return one.data != nullptr && other.data != nullptr && std::equal(one.origin, one.origin + one.rank, other.origin) &&
         std::equal(one.extent, one.extent + one.rank, other.extent);
}

/// How often two ranks keep the same part of a number, and how often its bits differ.
struct copies {
  int count = 0, different = 0;
};

inline copies copies_of(const ml::host_run& run, const std::string& name) {
  copies found;
  for (int one = 0; one < run.executed().ranks; ++one) {
    for (int other = one + 1; other < run.executed().ranks; ++other) {
      const ml::view first = run.shard(name, one), second = run.shard(name, other);
      if (!same_part(first, second)) continue;
      ++found.count;
      const auto size = static_cast<std::size_t>(first.count() * ml::size_of(first.type));
      if (std::memcmp(first.data, second.data, size) != 0) ++found.different;
    }
  }
  return found;
}

/// The largest difference of two numbers kept under one name.
inline double difference(const numbers& kept, const numbers& expected) {
  double largest = 0;
  for (const auto& [name, values] : expected) {
    for (std::size_t at = 0; at < values.size(); ++at) {
      const double apart = std::abs(kept.at(name).at(at) - values[at]);
      largest = apart >= 0 ? std::max(largest, apart) : INFINITY;
    }
  }
  return largest;
}

/// What every rank of a program is predicted to allocate.
inline ml::vector<std::int64_t> peaks_of(const ml::program& made) {
  ml::vector<std::int64_t> peaks;
  for (const ml::stage_program& stage : made.stages)
    peaks.insert(peaks.end(), static_cast<std::size_t>(stage.mesh.ranks()), stage.peak().count);
  return peaks;
}

/// What the graphs of evaluation and inference say of a sample.
struct answer {
  double loss = 0;
  ml::vector<double> output;
};

/// One training under many plans, beside the same on one rank; or beside one in another precision.
template <class Task, class Element = std::int32_t, class Reference = Task>
class comparison {
 public:
  comparison(const Task& task, ml::vector<sample_of<Element>> samples) : comparison(task, std::move(samples), task) {}
  comparison(const Task& task, ml::vector<sample_of<Element>> samples, const Reference& reference)
      : task_(task), reference_(reference), graph_(ml::trace(task)), samples_(std::move(samples)) {}

  /// Trains under a plan, which must use all ranks; its losses, and what the trained model says of a sample, must be
  /// those of one rank within `tolerance`, relative.
  void check(const request& asked, double tolerance) {
    CAPTURE(name_of(asked));
    const ml::problem posed = problem_of(graph_, asked);
    const auto made = ml::solve(posed);
    REQUIRE_MESSAGE(made, made.error());
    const division how = division_of(ml::lower(graph_, made.value(), posed.cluster));
    CHECK(how.ranks == asked.ranks);
    CHECK(how.by_all);
    compare(name_of(asked), posed, made.value(), tolerance);
  }

  /// The same under the plan of any problem of this training; returns the plan.
  ml::plan check(const std::string& name, const ml::manual& asked, const ml::cluster& machine, double tolerance) {
    CAPTURE(name);
    const ml::problem posed = ml::formulate(graph_, machine, asked);
    const auto made = ml::solve(posed);
    REQUIRE_MESSAGE(made, made.error());
    compare(name, posed, made.value(), tolerance);
    return made.value();
  }

  void report(const std::string& what) const {
    describe(what);
    CHECK(uneven);
    CHECK((empty || sanitized));
  }

  void describe(const std::string& what) const {
    MESSAGE(what << ": " << count << " runs, largest relative difference of a loss " << largest << " (" << furthest
                 << "), largest difference of a number kept " << largest_kept);
  }

  const ml::graph& graph() const { return graph_; }

  double outputs = 10;  ///< how many times as far as losses the outputs of the trained model may be
  bool sharpens = true;
  int count = 0;
  double largest = 0;
  double largest_kept = 0;
  std::string furthest;
  bool uneven = false, empty = false;

 private:
  struct whole_outcome {
    outcome trained;
    answer answered;
  };

  void compare(const std::string& name, const ml::problem& posed, const ml::plan& made, double tolerance) {
    const auto violations = ml::evaluate(posed, made).violations;
    CHECK_MESSAGE(violations.empty(), violations.front());
    const int parts = made.micro_batches;
    if (alone_.count(parts) == 0) {
      const ml::graph whole = ml::trace(reference_);
      alone_[parts] = train(reference_, whole, plan_of(whole, {"data=1", 1, parts}), ml::local(1));
    }
    const whole_outcome& expected = alone_[parts];
    const whole_outcome left = train(task_, graph_, made, posed.cluster);
    const double apart = deviation(left.trained.losses, expected.trained.losses);
    CHECK(apart <= tolerance);
    CHECK(deviation({left.answered.loss}, {expected.answered.loss}) <= tolerance);
    CHECK(distance(left.answered.output, expected.answered.output) <= outputs * tolerance);
    ++count;
    if (apart >= largest) furthest = name;
    largest = std::max(largest, apart);
    largest_kept = std::max(largest_kept, difference(left.trained.kept, expected.trained.kept));
  }

  template <class Training>
  whole_outcome train(const Training& task, const ml::graph& whole, const ml::plan& plan, const ml::cluster& machine) {
    ml::program made = ml::lower(whole, plan, machine);
    const division how = division_of(made);
    uneven = uneven || how.uneven;
    empty = empty || how.empty;
    auto run = ml::start(ml::host{}, std::move(made), task, 7);
    CHECK(run.arena_bytes() == peaks_of(run.executed()));
    outcome left = runs::train(run, samples_, sharpens);
    CHECK(left.losses.back() < left.losses.front());
    for (const std::string& name : run.names()) CHECK(copies_of(run, name).different == 0);
    return {std::move(left), answer_of(task, whole, run, plan, machine)};
  }

  /// The program of another graph of the model, under the plan of the training.
  static ml::program adapted(const ml::graph& whole, const ml::plan& plan, const ml::graph& other,
                             const ml::cluster& machine) {
    ml::program made = ml::lower(other, ml::adapt(whole, plan, other), machine);
    const auto faults = ml::check(made);
    CHECK_MESSAGE(faults.empty(), faults.front());
    return made;
  }

  template <class Training>
  answer answer_of(const Training& task, const ml::graph& whole, ml::host_run& trained, const ml::plan& plan,
                   const ml::cluster& machine) const {
    const auto& [input, target] = samples_.front();
    const ml::graph evaluation = ml::trace_evaluation(task), inference = ml::trace_inference(task);
    auto judge = ml::start(ml::host{}, adapted(whole, plan, evaluation, machine), task, trained);
    auto model = ml::start(ml::host{}, adapted(whole, plan, inference, machine), task, trained);
    CHECK(model.arena_bytes() == peaks_of(model.executed()));
    std::int64_t elements = 1;
    const ml::value& result = inference.values[inference.results.front()];
    for (const std::int64_t extent : ml::extents_of(inference.sizes, result.axes)) elements *= extent;
    ml::vector<ml::computed<std::remove_cvref_t<decltype(task.precision)>>> output(static_cast<std::size_t>(elements));
    model.step({input}, {output.data()});
    return {judge.step({input, target}).loss, {output.begin(), output.end()}};
  }

  Task task_;
  Reference reference_;
  ml::graph graph_;
  ml::vector<sample_of<Element>> samples_;
  std::map<int, whole_outcome> alone_;
};

}  // namespace runs
