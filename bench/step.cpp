// SPDX-License-Identifier: Apache-2.0
// The step time of a named model under a plan: median and least of the steps after the first, the arithmetic rate of
// its matrix products, and their share of the best product measured in the same run, on as many threads; and with
// --profile the N operators that rank 0 spends most time on, in the fastest step. bench_step
// [--model gpt-small] [--precision f32|bf16|f16] [--ranks 1] [--plan data] [--micro-batches 1] [--steps 20]
// [--profile N] [--json]
#include "contraction_flops.hpp"
#include "models/named_model.hpp"
#include "options.hpp"
#include "samples.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace ml = meshloom;

namespace {

struct options {
  std::string model = "gpt-small", plan = "data";
  ml::dtype precision = ml::dtype::f32;
  std::int32_t ranks = 1, micro_batches = 1;
  std::int64_t steps = 20;
  std::size_t profile = 0;  ///< the number of operators to print
  bool json = false;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// FLOP/s of 512 × 512 × 512 products on every thread at once: the best of many short bursts.
template <class Element>
double best_product_rate(std::int32_t threads) {
  constexpr std::int64_t n = 512;
  const auto session = ml::session_of<arithmetic>();
  ml::vector<double> best(static_cast<std::size_t>(threads));
  ml::vector<std::thread> workers;
  for (std::int32_t t = 0; t < threads; ++t) {
    workers.emplace_back([&best, t] {
      arithmetic how;
      const Element one(1.0f);
      ml::vector<Element> a(n * n, one), b(n * n, one), c(n * n);
      for (int burst = 0; burst < 60; ++burst) {
        const auto begin = std::chrono::steady_clock::now();
        how.gemm(n, n, n, a.data(), n, 1, b.data(), n, 1, false, c.data(), n, 1);
        auto& own = best[static_cast<std::size_t>(t)];
        own = std::max(own, 2.0 * n * n * n / seconds_since(begin));
      }
    });
  }
  for (std::thread& each : workers) each.join();
  double sum = 0;
  for (const double each : best) sum += each;
  return sum;
}

double best_product_rate(ml::dtype precision, std::int32_t threads) {
  if (precision == ml::dtype::bf16) return best_product_rate<ml::bf16>(threads);
  if (precision == ml::dtype::f16) return best_product_rate<ml::f16>(threads);
  return best_product_rate<float>(threads);
}

/// What rank 0 spends its time on in one step.
struct share_of_time {
  std::string name;  ///< of an operator, or the kind of work
  double seconds = 0;
  std::int64_t calls = 0;
};

/// The operator of an event, or the kind of work that it is.
std::string work_of(const ml::program& whole, const ml::event& what) {
  if (what.kind != ml::action::run) return "messages";
  const ml::stage_program& stage = whole.stages[ml::stage_of_rank(whole, what.rank)];
  const ml::instruction& one =
      stage.bodies[static_cast<std::size_t>(what.index)][static_cast<std::size_t>(what.instruction)];
  if (one.kind == ml::instruction::compute) return std::string(one.op->op.name);
  return std::string(ml::name_of(ml::work_of(one, static_cast<ml::pass>(what.index))));
}

/// The events of one step by kind of work, the most expensive first.
ml::vector<share_of_time> profile_of(const ml::program& whole, const ml::vector<ml::event>& events) {
  ml::vector<share_of_time> made;
  for (const ml::event& each : events) {
    if (each.rank != 0) continue;
    const std::string name = work_of(whole, each);
    auto at = std::find_if(made.begin(), made.end(), [&](const auto& one) { return one.name == name; });
    if (at == made.end()) at = made.insert(at, {name});
    at->seconds += ml::seconds(each.end - each.begin);
    ++at->calls;
  }
  std::sort(made.begin(), made.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return made;
}

struct measured {
  double median = 0, least = 0;
  ml::vector<share_of_time> profile;  ///< of the fastest step
};

measured run_steps(const options& chosen, const named_model& model, const ml::program& program) {
  const auto run = model.start(program);
  run->record(chosen.profile > 0);
  const samples data(model.graph);
  run->step({data.port(0), data.port(1)});  // the first step touches the arena
  ml::vector<std::pair<double, ml::vector<ml::event>>> steps;
  for (std::int64_t step = 0; step < chosen.steps; ++step) {
    const double seconds = run->step({data.port(0), data.port(1)}).seconds;
    steps.emplace_back(seconds, run->events());
  }
  std::sort(steps.begin(), steps.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const auto& [least, events] = steps.front();
  return {steps[steps.size() / 2].first, least, profile_of(program, events)};
}

void print(const options& chosen, const ml::vector<share_of_time>& profile) {
  for (std::size_t at = 0; at < std::min(chosen.profile, profile.size()); ++at) {
    const auto& [name, seconds, calls] = profile[at];
    if (chosen.json)
      fmt::print("{{\"model\":\"{}\",\"precision\":\"{}\",\"operator\":\"{}\",\"seconds\":{:.6g},\"calls\":{}}}\n",
                 chosen.model, name_of(chosen.precision), name, seconds, calls);
    else
      fmt::print("{:>10.2f} ms {:>6} calls  {}\n", seconds * 1e3, calls, name);
  }
}

void measure(const options& chosen, const named_model& model) {
  const auto machine = ml::local(chosen.ranks);
  auto constraints = ml::parse_manual(chosen.plan, chosen.ranks).value();
  constraints.micro_batches = chosen.micro_batches;
  const auto plan = ml::solve(ml::formulate(model.graph, machine, constraints)).value();
  const auto program = ml::lower(model.graph, plan, machine);
  const auto [median, least, profile] = run_steps(chosen, model, program);
  const double rate = contraction_flops(model.graph) / median;
  const auto threads = std::min(chosen.ranks, static_cast<std::int32_t>(std::thread::hardware_concurrency()));
  const double peak = best_product_rate(chosen.precision, threads);
  if (chosen.json) {
    fmt::print(
        "{{\"model\":\"{}\",\"precision\":\"{}\",\"ranks\":{},\"plan\":\"{}\",\"micro_batches\":{},\"seconds\":{:.6g},"
        "\"least_seconds\":{:.6g},\"flops_per_second\":{:.6g},\"share_of_gemm_peak\":{:.4g},"
        "\"predicted_seconds\":{:.6g}}}\n",
        chosen.model, name_of(chosen.precision), chosen.ranks, chosen.plan, chosen.micro_batches, median, least, rate,
        rate / peak, ml::seconds(ml::simulate(program, machine).step));
  } else {
    fmt::print(
        "{} in {} on {} ranks, plan {}, {} micro-batches: {:.1f} ms a step (least {:.1f}), {:.1f} GFLOP/s, {:.0f} % of "
        "the best matrix product ({:.1f})\n",
        chosen.model, name_of(chosen.precision), chosen.ranks, chosen.plan, chosen.micro_batches, median * 1e3,
        least * 1e3, rate * 1e-9, 100 * rate / peak, peak * 1e-9);
  }
  print(chosen, profile);
}

options options_of(int count, char** words) {
  options made;
  made.json = read_options(count, words, "bench/step.cpp", [&](std::string_view name, std::string_view text) {
    if (name == "--model") return made.model = text, true;
    if (name == "--precision") return read_precision(name, text, made.precision);
    if (name == "--plan") return made.plan = text, true;
    if (name == "--ranks") return read_count(name, text, made.ranks);
    if (name == "--micro-batches") return read_count(name, text, made.micro_batches);
    if (name == "--steps") return read_count(name, text, made.steps);
    if (name == "--profile") return read_count(name, text, made.profile);
    return false;
  });
  return made;
}

}  // namespace

int main(int count, char** words) {
  try {
    const options chosen = options_of(count, words);
    measure(chosen, find_model(chosen.model, chosen.precision));
  } catch (const std::exception& why) {
    fmt::print(stderr, "bench_step: {}\n", why.what());
    return 2;
  }
}
