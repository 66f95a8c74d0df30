// SPDX-License-Identifier: Apache-2.0
// Runs to compare: the plans that a number of ranks allows, the program of a graph under one of them, and what some
// steps of it leave behind.
#pragma once

#include "sanitized.hpp"

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/presets.hpp>
#include <meshloom/exec/host.hpp>
#include <meshloom/model/gpt.hpp>
#include <meshloom/plan/adapt.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/lower.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>

namespace runs {

namespace ml = meshloom;

/// A plan as it is asked for: "zero2=2,tensor=2", its ranks and its micro-batches, and whether layers recompute.
struct request {
  std::string text;
  int ranks = 1;
  int micro_batches = 1;
  bool recomputes = false;
};

inline std::string name_of(const request& asked) {
  return asked.text + " on " + std::to_string(asked.ranks) + " ranks, " + std::to_string(asked.micro_batches) +
         " micro-batches" + (asked.recomputes ? ", recomputing" : "");
}

/// The presets that suit a model: those that split its batch, and those that split something else, which go together
/// with any of the first and with a pipeline.
struct presets {
  ml::vector<std::string> spreads{"data", "zero1", "zero2", "zero3"};
  ml::vector<std::string> splits{"tensor"};
};

namespace detail {

/// "zero2=2,tensor=2", and where both mesh axes are there also "tensor=2,zero2=2": the last axis is the fastest.
inline void add_products(ml::vector<std::string>& texts, const presets& of, int data, int inner, int pipeline) {
  const auto used = [](const ml::vector<std::string>& words, int size) {
    return ml::vector<std::string>(words.begin(), size == 1 ? words.begin() + 1 : words.end());
  };
  for (const std::string& split : used(of.splits, inner)) {
    for (const std::string& spread : used(of.spreads, data)) {
      for (const std::string& line : used({"pipeline", "gpipe"}, pipeline)) {
        std::string text = pipeline > 1 ? "," + line + "=" + std::to_string(pipeline) : "";
        const std::string first = spread + "=" + std::to_string(data), second = split + "=" + std::to_string(inner);
        if (data > 1 && inner > 1) texts.push_back(second + "," + first + text);
        if (inner > 1) text = "," + second + text;
        if (data > 1) text = "," + first + text;
        texts.push_back(text.substr(1));
      }
    }
  }
}

}  // namespace detail

/// Every preset on `ranks` ranks, and every product of them.
inline ml::vector<std::string> plans_of(int ranks, const presets& of = {}) {
  if (ranks == 1)
    return {"data=1", "zero1=1", "zero2=1", "zero3=1", "tensor=1", "pipeline=1", "gpipe=1", "zero3=1,tensor=1"};
  ml::vector<std::string> texts;
  for (int data = ranks; data >= 1; --data) {
    if (ranks % data != 0) continue;
    for (int inner = ranks / data; inner >= 1; --inner) {
      if (ranks / data % inner == 0) detail::add_products(texts, of, data, inner, ranks / data / inner);
    }
  }
  return texts;
}

constexpr int micro_batch_counts[] = {1, 2, 4};

/// Calls `visit(plan, ranks)` for every plan on 1, 2, 3, 4 and 8 ranks; under a sanitizer for every seventh.
template <class Visit>
void for_each_plan(const Visit& visit, const presets& of = {}) {
  int turn = 0;
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::string& text : plans_of(ranks, of)) {
      if (!sanitized || turn++ % 7 == 0) visit(text, ranks);
    }
  }
}

inline ml::problem problem_of(const ml::graph& whole, const request& asked) {
  ml::manual constraints = ml::parse_manual(asked.text, asked.ranks).value();
  constraints.micro_batches = asked.micro_batches;
  if (asked.recomputes) constraints = constraints & ml::recompute();
  return ml::formulate(whole, ml::local(asked.ranks), constraints);
}

inline ml::plan plan_of(const ml::graph& whole, const request& asked) {
  return ml::solve(problem_of(whole, asked)).value();
}

inline ml::program program_of(const ml::graph& whole, const request& asked) {
  return ml::lower(whole, plan_of(whole, asked), ml::local(asked.ranks));
}

/// What a step is given: dense, of the whole batch.
template <class Element>
struct sample_of {
  ml::vector<Element> input;
  ml::vector<std::int32_t> target;
};
using sample = sample_of<std::int32_t>;  ///< tokens and the tokens after them

/// The sample of step `step`: random tokens, each followed by one that depends on it.
template <class Shape>
sample draw(const Shape& of, unsigned step) {
  std::mt19937 dice(step + 1);
  std::uniform_int_distribution<std::int32_t> tokens(0, static_cast<std::int32_t>(of.vocab) - 1);
  sample made;
  for (std::int64_t at = 0; at < of.batch * of.seq; ++at) {
    made.input.push_back(tokens(dice));
    made.target.push_back((made.input.back() * 3 + 1) % static_cast<std::int32_t>(of.vocab));
  }
  return made;
}

/// The samples of the first `steps` steps.
template <class Shape>
ml::vector<sample> draw_all(const Shape& of, unsigned steps) {
  ml::vector<sample> made;
  for (unsigned at = 0; at < steps; ++at) made.push_back(draw(of, at));
  return made;
}

template <class Element>
double step(ml::host_run& run, const sample_of<Element>& with) {
  return run.step({with.input, with.target}).loss;
}

/// Parameters and optimizer states, whole, by name.
using numbers = std::map<std::string, ml::vector<double>>;

/// What a run leaves behind.
struct outcome {
  ml::vector<double> losses;
  numbers kept;
};

/// Makes weights five times as large as a GPT starts with: small weights attend to all tokens alike, and no loss would
/// tell a wrong gradient of queries and keys from a right one.
inline void sharpen(ml::host_run& run) {
  for (const std::string& name : run.names()) {
    const auto ends = [&](const char* word) { return name.ends_with(word); };
    if (!ends("weight") && !ends("table") && !ends("tokens") && !ends("moe.in") && !ends("moe.out")) continue;
    ml::vector<double> values = run.read(name);
    for (double& each : values) each *= 5;
    run.write(name, values);
  }
}

/// Sharpens a run, unless told not to, trains it with every sample in turn, and reads everything it keeps.
template <class Element>
outcome train(ml::host_run& run, const ml::vector<sample_of<Element>>& samples, bool sharpens = true) {
  if (sharpens) sharpen(run);
  outcome left;
  for (const sample_of<Element>& each : samples) left.losses.push_back(step(run, each));
  for (const std::string& name : run.names()) left.kept[name] = run.read(name);
  return left;
}

/// The largest relative difference of two series.
inline double deviation(const ml::vector<double>& series, const ml::vector<double>& expected) {
  double largest = series.size() == expected.size() ? 0 : INFINITY;
  for (std::size_t at = 0; at < series.size() && at < expected.size(); ++at) {
    const bool same = series[at] == expected[at];  // losses may be 0
    const double apart = same ? 0 : std::abs(series[at] - expected[at]) / std::abs(expected[at]);
    largest = apart >= 0 ? std::max(largest, apart) : INFINITY;  // a NaN is as far as can be
  }
  return largest;
}

/// ‖values − expected‖ / ‖expected‖.
inline double distance(const ml::vector<double>& values, const ml::vector<double>& expected) {
  double apart = 0, norm = 0;
  for (std::size_t at = 0; at < expected.size() && at < values.size(); ++at) {
    apart += (values[at] - expected[at]) * (values[at] - expected[at]);
    norm += expected[at] * expected[at];
  }
  const double relative = std::sqrt(apart / norm);
  return values.size() == expected.size() && relative >= 0 ? relative : INFINITY;
}

}  // namespace runs
