// SPDX-License-Identifier: Apache-2.0
// From a training to a program, as the command line wants it: which cluster, which plan, and what is said about it.
#pragma once

#include "options.hpp"

#include <meshloom/meshloom.hpp>
#if defined(EXAMPLE_WITH_CBLAS)
#include <meshloom/exec/cblas.hpp>
#endif
#if defined(EXAMPLE_WITH_ONEDNN)
#include <meshloom/exec/onednn.hpp>
#endif

#include <fmt/core.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace ml = meshloom;

#if defined(EXAMPLE_WITH_CBLAS)
using products = ml::cblas;
#else
using products = ml::plain;
#endif
#if defined(EXAMPLE_WITH_ONEDNN)
using arithmetic = ml::onednn_with<products>;
#else
using arithmetic = products;
#endif
using backend = ml::host<arithmetic>;

/// The cluster to plan for: a preset, a file, or this machine, measured.
inline ml::cluster choose_cluster(const run_options& options) {
  if (options.cluster.empty()) return ml::local(options.ranks);
  ml::cluster chosen;
  if (options.cluster == "here")
    chosen = ml::this_machine<arithmetic>(options.ranks);
  else if (std::filesystem::is_regular_file(options.cluster))
    chosen = ml::load_cluster(options.cluster).value();
  else
    chosen = ml::find_cluster(options.cluster).value();
  if (chosen.ranks() != options.ranks) {
    throw ml::error(fmt::format("cluster '{}' has {} ranks, not {}; say --ranks {}", options.cluster, chosen.ranks(),
                                options.ranks, chosen.ranks()));
  }
  return chosen;
}

/// What may be chosen: everything, or what a preset or a product of presets leaves open. A saved plan says it all.
inline ml::problem pose(const run_options& options, const ml::graph& graph, const ml::cluster& machine) {
  if (std::filesystem::is_regular_file(options.plan)) {
    if (options.recompute) {
      throw ml::error("option --recompute: the plan in '" + options.plan +
                      "' itself says which blocks recompute; edit it there");
    }
    return ml::formulate(graph, machine);
  }
  ml::manual constraints = ml::parse_manual(options.plan, options.ranks).value();
  constraints.micro_batches = options.micro_batches;
  if (options.recompute) constraints = constraints & ml::recompute();
  return ml::formulate(graph, machine, constraints);
}

/// The planner's choice, or the plan that was saved. With --explain, why there is none, and what would help.
inline ml::plan choose_plan(const run_options& options, const ml::problem& problem) {
  if (std::filesystem::is_regular_file(options.plan))
    return ml::load_plan(options.plan, problem.graph, options.ranks).value();
  const auto made = ml::solve(problem);
  if (!made && options.explain && !options.json) fmt::print("{}\n", ml::explain(*ml::why_infeasible(problem)));
  return made.value();
}

/// What a plan by hand is measured against. It has to be planned for, so it is found where a plan is to be explained.
inline std::optional<ml::picoseconds> find_free_bound(const run_options& options, const ml::problem& problem,
                                                      const ml::plan& plan) {
  if (!options.explain || (ml::is_free(problem) && plan.bound.count > 0)) return std::nullopt;
  const auto found = ml::free_bound(problem);
  if (found) return found.value();
  fmt::print("There is no bound of the free space: {}\n\n", found.error());
  return std::nullopt;
}

inline void print_plan(const run_options& options, const ml::problem& problem, const ml::plan& plan,
                       const ml::program& program, double seconds) {
  if (!options.json) return fmt::print("{}\n", ml::explain(problem, plan, find_free_bound(options, problem, plan)));
  std::string peaks;
  for (std::int32_t rank = 0; rank < program.ranks; ++rank) {
    peaks += fmt::format("{}{}", rank > 0 ? "," : "", program.stages[ml::stage_of_rank(program, rank)].peak().count);
  }
  const double predicted = ml::seconds(plan.predicted), bound = ml::seconds(plan.bound);
  const std::string proof =
      bound > 0 ? fmt::format("\"bound_seconds\":{:.6g},\"gap\":{:.4g},", bound, (predicted - bound) / predicted) : "";
  fmt::print("{{\"event\":\"plan\",\"predicted_step_seconds\":{:.6g},\"seconds\":{:.4g},{}\"peak_bytes\":[{}]}}\n",
             predicted, seconds, proof, peaks);
  std::fflush(stdout);
}

/// One line per step, or every tenth; `items` are what a batch has of `unit`.
inline void print_step(const run_options& options, std::int64_t step, const ml::step_result& made, std::int64_t items,
                       const char* unit) {
  if (options.json) {
    fmt::print("{{\"event\":\"step\",\"step\":{},\"loss\":{:.7g},\"seconds\":{:.6g}}}\n", step, made.loss,
               made.seconds);
  } else if (step < 10 || step % 10 == 0 || step + 1 == options.steps) {
    fmt::print("step {:5}/{}  loss {:.4f}  {:7.0f} {}/s  {:4.0f} s left\n", step + 1, options.steps, made.loss,
               static_cast<double>(items) / made.seconds, unit,
               made.seconds * static_cast<double>(options.steps - step - 1));
  }
  std::fflush(stdout);
}

inline void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.flush();
  if (!file) throw ml::error("cannot write '" + path + "'; give the path of a file in a folder that exists");
}

inline void simulate(const run_options& options, const ml::program& program, const ml::cluster& machine) {
  const auto predicted = ml::simulate(program, machine);
  if (!options.trace.empty()) write_file(options.trace, ml::chrome_trace(program, predicted.events));
  if (options.json)
    fmt::print("{{\"event\":\"simulated\",\"seconds\":{:.6g}}}\n", ml::seconds(predicted.step));
  else
    fmt::print("simulated: {:.3f} ms per step; nothing was trained\n", ml::seconds(predicted.step) * 1e3);
}

/// A training as it is planned and lowered.
struct planned {
  ml::cluster machine;
  ml::graph graph;
  ml::plan plan;
  ml::program program;
};

/// The straight path: traces, plans and lowers a training, and says how. Nothing if that was all that was asked for.
template <class Training>
std::optional<planned> plan_training(const run_options& options, const Training& task) {
  auto machine = choose_cluster(options);
  auto graph = ml::trace(task);                        // what is to be computed
  const auto problem = pose(options, graph, machine);  // what may be chosen
  const auto begin = std::chrono::steady_clock::now();
  auto plan = choose_plan(options, problem);  // how it is spread
  const std::chrono::duration<double> planning = std::chrono::steady_clock::now() - begin;
  auto program = ml::lower(graph, plan, machine);  // what every rank executes
  if (!options.save_plan.empty()) ml::save_plan(options.save_plan, graph, plan);
  print_plan(options, problem, plan, program, planning.count());
  if (options.explain) return std::nullopt;
  if (options.backend == "simulate") return simulate(options, program, machine), std::nullopt;
  return planned{std::move(machine), std::move(graph), std::move(plan), std::move(program)};
}

/// The program of another graph of the same model on a run's parameters, which stay where the plan put them.
template <class Training>
ml::host_run start_beside(const planned& with, const ml::graph& other, const Training& task, ml::host_run& run) {
  return ml::start(backend{}, ml::lower(other, ml::adapt(with.graph, with.plan, other), with.machine), task, run);
}

/// `main` of an example: reads its options, runs it, and says what went wrong.
template <class Options, class Run>
int run_example(const char* name, int count, char** words, const Run& run) {
  try {
    if (count == 2 && std::string_view(words[1]) == "--help") {
      fmt::print("usage: {} {}{}", name, Options::usage, run_usage);
      return 0;
    }
    Options options;
    command_line line(options);
    options.add_to(line);
    line.read(count, words);
    run(options);
  } catch (const std::exception& why) {
    fmt::print(stderr, "{}: {}\n", name, why.what());
    return 2;
  }
  return 0;
}
