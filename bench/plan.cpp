// SPDX-License-Identifier: Apache-2.0
// Planning a named model for a cluster: how long it takes, what a step is predicted to take, and how good that is
// proven to be. bench_plan [--model gpt-small] [--layers N] [--precision f32|bf16|f16] [--cluster local:2] [--json]
#include "contraction_flops.hpp"
#include "models/named_model.hpp"
#include "options.hpp"

#include <fmt/core.h>

#include <chrono>

namespace ml = meshloom;

namespace {

struct options {
  std::string model = "gpt-small", cluster = "local:2";
  ml::dtype precision = ml::dtype::f32;
  std::int32_t layers = 0;  ///< in the place of the model's; 0: as many as it has
  bool json = false;
};

void measure(const options& chosen, const ml::graph& graph) {
  const auto machine = ml::find_cluster(chosen.cluster).value();
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = ml::solve(ml::formulate(graph, machine));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const std::string_view precision = name_of(chosen.precision);
  if (!answer) {
    if (!chosen.json)
      return fmt::print("{} in {} on {}: {} ({:.3g} s)\n", chosen.model, precision, chosen.cluster, answer.error(),
                        took.count());
    return fmt::print(
        "{{\"model\":\"{}\",\"precision\":\"{}\",\"cluster\":\"{}\",\"seconds\":{:.4g},\"fits\":false}}\n",
        chosen.model, precision, chosen.cluster, took.count());
  }
  const ml::plan& plan = answer.value();
  const auto program = ml::lower(graph, plan, machine);
  ml::bytes peak;
  for (const auto& stage : program.stages) peak = std::max(peak, stage.peak());
  const double step = ml::seconds(plan.predicted), bound = ml::seconds(plan.bound);
  const double rate = contraction_flops(graph) / step;
  if (chosen.json) {
    fmt::print(
        "{{\"model\":\"{}\",\"precision\":\"{}\",\"cluster\":\"{}\",\"seconds\":{:.4g},\"fits\":true,"
        "\"predicted_step_seconds\":{:.6g},\"bound_seconds\":{:.6g},\"gap\":{:.4g},\"pflops_per_second\":{:.6g},"
        "\"peak_bytes\":{},\"stages\":{},\"micro_batches\":{}}}\n",
        chosen.model, precision, chosen.cluster, took.count(), step, bound, (step - bound) / step, rate * 1e-15,
        peak.count, plan.stages.size(), plan.micro_batches);
  } else {
    fmt::print(
        "{} in {} on {}: planned in {:.3g} s; a step of {:.4g} s ({:.4g} PFLOP/s), at most {:.1f} % above the bound; "
        "{} stages, {} micro-batches, {:.2f} GB on the fullest rank\n",
        chosen.model, precision, chosen.cluster, took.count(), step, rate * 1e-15, 100 * (step - bound) / bound,
        plan.stages.size(), plan.micro_batches, static_cast<double>(peak.count) * 1e-9);
  }
}

}  // namespace

int main(int count, char** words) {
  try {
    options chosen;
    chosen.json = read_options(count, words, "bench/plan.cpp", [&](std::string_view name, std::string_view text) {
      if (name == "--model") return chosen.model = text, true;
      if (name == "--layers") return read_count(name, text, chosen.layers);
      if (name == "--precision") return read_precision(name, text, chosen.precision);
      if (name == "--cluster") return chosen.cluster = text, true;
      return false;
    });
    measure(chosen, find_model(chosen.model, chosen.precision, chosen.layers).graph);
  } catch (const std::exception& why) {
    fmt::print(stderr, "bench_plan: {}\n", why.what());
    return 2;
  }
}
