// SPDX-License-Identifier: Apache-2.0
// The step time of a named model under a plan: median and least of the steps after the first, the arithmetic rate of
// its matrix products, and their share of the best product measured in the same run, on as many threads. bench_step
// [--model gpt-small] [--ranks 1] [--plan data] [--micro-batches 1] [--steps 20] [--json]
#include "arithmetic.hpp"
#include "contraction_flops.hpp"
#include "named_model.hpp"
#include "options.hpp"
#include "token_samples.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace ml = meshloom;

namespace {

struct options {
  std::string model = "gpt-small", plan = "data";
  std::int32_t ranks = 1, micro_batches = 1;
  std::int64_t steps = 20;
  bool json = false;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// FLOP/s of 512 × 512 × 512 products on every thread at once: the best of many short bursts.
double best_product_rate(std::int32_t threads) {
  constexpr std::int64_t n = 512;
  const auto session = ml::session_of<arithmetic>();
  std::vector<double> best(static_cast<std::size_t>(threads));
  std::vector<std::thread> workers;
  for (std::int32_t t = 0; t < threads; ++t) {
    workers.emplace_back([&best, t] {
      arithmetic how;
      std::vector<float> a(n * n, 1), b(n * n, 1), c(n * n);
      for (int burst = 0; burst < 60; ++burst) {
        const auto begin = std::chrono::steady_clock::now();
        how.gemm<float>(n, n, n, a.data(), n, 1, b.data(), n, 1, false, c.data(), n, 1);
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

void measure(const options& chosen, const ml::gpt_shape& shape, const auto& task) {
  const auto machine = ml::local(chosen.ranks);
  const auto graph = ml::trace(task);
  auto constraints = ml::parse_manual(chosen.plan, chosen.ranks).value();
  constraints.micro_batches = chosen.micro_batches;
  const auto plan = ml::solve(ml::formulate(graph, machine, constraints)).value();
  const auto program = ml::lower(graph, plan, machine);
  auto run = ml::start(ml::host<arithmetic>{}, program, task, 1);

  const token_samples data(shape);
  run.step({data.input, data.target});  // the first step touches the arena
  std::vector<double> times;
  for (std::int64_t step = 0; step < chosen.steps; ++step) times.push_back(run.step({data.input, data.target}).seconds);
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2], least = times.front();
  const double rate = contraction_flops(graph) / median;
  const double peak =
      best_product_rate(std::min(chosen.ranks, static_cast<std::int32_t>(std::thread::hardware_concurrency())));
  if (chosen.json) {
    fmt::print(
        "{{\"model\":\"{}\",\"ranks\":{},\"plan\":\"{}\",\"micro_batches\":{},\"seconds\":{:.6g},\"least_seconds\":{:."
        "6g},\"flops_per_second\":{:.6g},"
        "\"share_of_gemm_peak\":{:.4g},\"predicted_seconds\":{:.6g}}}\n",
        chosen.model, chosen.ranks, chosen.plan, chosen.micro_batches, median, least, rate, rate / peak,
        ml::seconds(ml::simulate(program, machine).step));
  } else {
    fmt::print(
        "{} on {} ranks, plan {}, {} micro-batches: {:.1f} ms a step (least {:.1f}), {:.1f} GFLOP/s, {:.0f} % of the "
        "best matrix product ({:.1f})\n",
        chosen.model, chosen.ranks, chosen.plan, chosen.micro_batches, median * 1e3, least * 1e3, rate * 1e-9,
        100 * rate / peak, peak * 1e-9);
  }
}

options options_of(int count, char** words) {
  options made;
  made.json = read_options(count, words, "bench/step.cpp", [&](std::string_view name, std::string_view text) {
    if (name == "--model") return made.model = text, true;
    if (name == "--plan") return made.plan = text, true;
    if (name == "--ranks") return read_count(name, text, made.ranks);
    if (name == "--micro-batches") return read_count(name, text, made.micro_batches);
    if (name == "--steps") return read_count(name, text, made.steps);
    return false;
  });
  return made;
}

}  // namespace

int main(int count, char** words) {
  try {
    const options chosen = options_of(count, words);
    with_named_model(chosen.model, [&](const ml::gpt_shape& shape, const auto& task) { measure(chosen, shape, task); });
  } catch (const std::exception& why) {
    fmt::print(stderr, "bench_step: {}\n", why.what());
    return 2;
  }
}
