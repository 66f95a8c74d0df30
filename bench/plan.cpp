// SPDX-License-Identifier: Apache-2.0
// Planning a named model for a cluster: how long it takes, what a step is predicted to take, and how good that is
// proven to be. bench_plan [--model gpt-small] [--layers N] [--precision f32|bf16|f16] [--cluster local:2]
// [--devices N] [--seconds S] [--compare] [--replan memory|hosts|pin] [--family gpt|moe|wide-resnet] [--json]
// near_seconds: after so long a plan was known that takes at most a hundredth more than the one found in the end; the
// rest went into looking for better ones and into proof. --seconds: our search ends after that, with the step that it
// is in, and with the plan and the bound that it has. --layers: as many in the place of the model's. --cluster: a
// preset or a file (cluster/text.hpp), which may have groups of hosts. --devices: each host has so many, fewer than the
// cluster's.
// --compare: also what baselines find, each in the space that planner/baselines.hpp says. --replan: how long it takes
// to plan again, with what is known, for a tenth less and more memory, for half as many hosts and twice as many as
// that, or with a pin that the plan keeps to and one that it does not; beside it, in --json as cold_seconds, without.
// --family: the PFLOP/s of all of them for Alpa's models on 1 to 64 GPUs of p3.16xlarge (Zheng et al. 2022,
// section 8.1; GPT and experts in 16 bits there, Wide-ResNet in f32).
#include "contraction_flops.hpp"
#include "models/named_model.hpp"
#include "options.hpp"

#include <meshloom/plan/cluster_file.hpp>
#include <meshloom/planner/baselines.hpp>
#include <meshloom/planner/contest.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>

namespace ml = meshloom;

namespace {

struct options {
  std::string model = "gpt-small", cluster = "local:2", replan, family;
  std::int32_t devices = 0;  ///< of a host; 0: as many as the cluster's have
  ml::dtype precision = ml::dtype::f32;
  std::int32_t layers = 0;  ///< in the place of the model's; 0: as many as it has
  double seconds = 0;       ///< after which our search ends; 0: it takes as long as it takes
  bool compare = false, json = false;
};

/// What is planned for: a model in a precision, on a cluster.
struct pairing {
  std::string model, precision, cluster;
  ml::graph graph;
  ml::cluster machine;
  double seconds = 0;  ///< that ours may take; 0: any
};

struct answer {
  std::string method;
  ml::result<ml::plan> made;
  double seconds;           ///< of planning
  double near_seconds = 0;  ///< until a plan was known that is nearly as good; 0: not known

  double step() const { return ml::seconds(made.value().predicted); }
  double bound() const { return ml::seconds(made.value().bound); }
  double petaflops(const ml::graph& graph) const { return contraction_flops(graph) / step() * 1e-15; }
};

using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point begin) {
  return std::chrono::duration<double>(clock_type::now() - begin).count();
}

template <class Plan>
answer timed(std::string_view method, const Plan& plan) {
  const auto begin = clock_type::now();
  auto made = plan();
  return {std::string(method), std::move(made), seconds_since(begin)};
}

answer ours(const pairing& of) {
  const auto begin = clock_type::now();
  ml::vector<std::pair<double, double>> found;  // when, and what a step takes
  const auto look = [&](const ml::planning_progress& now) {
    const double best = now.best ? ml::seconds(*now.best) : 0;
    if (now.best && (found.empty() || best < found.back().second)) found.emplace_back(seconds_since(begin), best);
    return true;
  };
  answer got = timed("ours", [&] {
    return ml::solve(ml::formulate(of.graph, of.machine), {}, {.proceed = look, .seconds = of.seconds});
  });
  if (!got.made) return got;
  const auto near =
      std::find_if(found.begin(), found.end(), [&](const auto& each) { return each.second <= got.step() * 1.01; });
  got.near_seconds = near == found.end() ? got.seconds : near->first;
  return got;
}

answer baseline_answer(const pairing& of, ml::baseline which) {
  return timed(name_of(which), [&] { return ml::solve(of.graph, of.machine, which); });
}

ml::bytes peak_of(const pairing& of, const ml::plan& made) {
  ml::bytes peak;
  for (const auto& stage : ml::lower(of.graph, made, of.machine).stages) peak = std::max(peak, stage.peak());
  return peak;
}

void print_json(const pairing& of, const answer& got) {
  fmt::print(
      "{{\"model\":\"{}\",\"precision\":\"{}\",\"cluster\":\"{}\",\"ranks\":{},\"method\":\"{}\",\"seconds\":{:.4g},"
      "\"fits\":{}",
      of.model, of.precision, of.cluster, of.machine.ranks(), got.method, got.seconds, static_cast<bool>(got.made));
  if (got.made) {
    const ml::plan& plan = got.made.value();
    fmt::print(
        ",\"predicted_step_seconds\":{:.6g},\"pflops_per_second\":{:.6g},\"peak_bytes\":{},\"stages\":{},"
        "\"micro_batches\":{}",
        got.step(), got.petaflops(of.graph), peak_of(of, plan).count, plan.stages.size(), plan.micro_batches);
    if (got.near_seconds > 0) fmt::print(",\"near_seconds\":{:.4g}", got.near_seconds);
    if (got.bound() > 0)  // a bound was proven
      fmt::print(",\"bound_seconds\":{:.6g},\"gap\":{:.4g}", got.bound(), (got.step() - got.bound()) / got.step());
  }
  fmt::print("}}\n");
  std::fflush(stdout);
}

void print_alone(const pairing& of, const answer& got) {
  if (!got.made) {
    return fmt::print("{} in {} on {}: {} ({:.3g} s)\n", of.model, of.precision, of.cluster, got.made.error(),
                      got.seconds);
  }
  const ml::plan& plan = got.made.value();
  fmt::print(
      "{} in {} on {}: planned in {:.3g} s, nearly so after {:.3g} s; a step of {:.4g} s ({:.4g} PFLOP/s), at most "
      "{:.1f} % above the bound; {} stages, {} micro-batches, {:.2f} GB on the fullest rank\n",
      of.model, of.precision, of.cluster, got.seconds, got.near_seconds, got.step(), got.petaflops(of.graph),
      100 * (got.step() - got.bound()) / got.bound(), plan.stages.size(), plan.micro_batches,
      static_cast<double>(peak_of(of, plan).count) * 1e-9);
}

void print_row(const pairing& of, const answer& got) {
  if (got.made) {
    fmt::print("{:<11} {:>10.4g} s {:>9.4g} PFLOP/s {:>8.3g} s planning  {}\n", got.method, got.step(),
               got.petaflops(of.graph), got.seconds, ml::shape_of(got.made.value()));
  } else {
    fmt::print("{:<11} {:>8.3g} s planning  {}\n", got.method, got.seconds, got.made.error());
  }
  std::fflush(stdout);
}

/// Every method, ours last.
template <class Print>
void compare(const pairing& of, const Print& print) {
  for (const ml::baseline each : ml::all_baselines) print(of, baseline_answer(of, each));
  print(of, ours(of));
}

ml::cluster cluster_named(const std::string& said) {
  return (std::filesystem::is_regular_file(said) ? ml::load_cluster(said) : ml::find_cluster(said)).value();
}

/// One change of a problem, planned with what is known of the problem before and without.
struct change {
  std::string name;
  ml::problem before, after;
};

ml::problem with_memory(ml::problem posed, std::int64_t percent) {
  posed.cluster.device.memory.count = posed.cluster.device.memory.count / 100 * percent;
  return posed;
}

ml::problem with_hosts(ml::problem posed, std::int32_t hosts) {
  posed.cluster.hosts = hosts;
  return posed;
}

/// Pins the first operator with several ways to split its result over mesh axis outer, as the plan does or not.
ml::problem with_pin(ml::problem posed, const ml::plan& made, bool kept) {
  ml::known_stages known;
  known.remember(posed, {}, made);
  for (const ml::node& at : posed.graph.nodes) {
    if (at.when != ml::phase::forward) continue;
    ml::vector<std::string> axes{""};
    for (const ml::axis_id axis : posed.graph.values[at.results.front()].axes)
      axes.push_back(posed.graph.sizes[axis].name);
    for (const std::string& axis : axes) {
      posed.constraints.pins = {{at.name, "outer", axis}};
      if (check(posed).empty() && known.plans_for(posed).empty() != kept) return posed;
    }
  }
  throw ml::error("option --replan: no operator can be pinned so; give another model or cluster");
}

ml::vector<change> changes_of(const pairing& of, const std::string& what) {
  const ml::problem posed = ml::formulate(of.graph, of.machine);
  if (what == "memory")
    return {{"memory-10%", posed, with_memory(posed, 90)}, {"memory+10%", posed, with_memory(posed, 110)}};
  if (what == "hosts" && of.machine.hosts > 1) {
    const ml::problem fewer = with_hosts(posed, of.machine.hosts / 2);
    return {{"half-the-hosts", posed, fewer}, {"twice-the-hosts", fewer, posed}};
  }
  if (what != "pin")
    throw ml::error("option --replan: '" + what + "' is not possible; give memory, hosts where there are some, or pin");
  const ml::plan made = ml::solve(posed).value();
  return {{"kept-pin", posed, with_pin(posed, made, true)}, {"broken-pin", posed, with_pin(posed, made, false)}};
}

void print_change(const pairing& of, const std::string& name, const answer& cold, const answer& again, bool json) {
  const double ratio = again.seconds / cold.seconds;
  if (!json)
    fmt::print("{}: {:.3g} s after {:.3g} s from nothing ({:.1f} %)", name, again.seconds, cold.seconds, 100 * ratio);
  else
    fmt::print(
        "{{\"model\":\"{}\",\"precision\":\"{}\",\"cluster\":\"{}\",\"replan\":\"{}\",\"cold_seconds\":{:.4g},"
        "\"seconds\":{:.4g},\"ratio\":{:.4g}",
        of.model, of.precision, of.cluster, name, cold.seconds, again.seconds, ratio);
  const char* const text =
      json ? ",\"cold_step_seconds\":{:.6g},\"predicted_step_seconds\":{:.6g},"
             "\"cold_bound_seconds\":{:.6g},\"bound_seconds\":{:.6g}"
           : "; a step of {1:.4g} s, from nothing {0:.4g} s; bound {3:.4g} s, from nothing {2:.4g} s";
  if (cold.made && again.made)
    fmt::print(fmt::runtime(text), cold.step(), again.step(), cold.bound(), again.bound());
  else if (!json)
    fmt::print("; {}", (cold.made ? again : cold).made.error());
  fmt::print("{}\n", json ? "}" : "");
  std::fflush(stdout);
}

void replan(const pairing& of, const options& chosen) {
  for (const change& each : changes_of(of, chosen.replan)) {
    ml::known_stages known;
    static_cast<void>(ml::solve(each.before, {}, {}, &known));
    const answer again = timed("ours", [&] { return ml::solve(each.after, {}, {}, &known); });
    const answer cold = timed("ours", [&] { return ml::solve(each.after); });
    print_change(of, each.name, cold, again, chosen.json);
  }
}

void measure(const options& chosen) {
  pairing of{chosen.model,
             std::string(name_of(chosen.precision)),
             chosen.cluster,
             find_model(chosen.model, chosen.precision, chosen.layers).graph,
             cluster_named(chosen.cluster),
             chosen.seconds};
  if (chosen.devices > 0 && !of.machine.others.empty())
    throw ml::error("option --devices: " + chosen.cluster +
                    " has several groups of hosts; say in it how many there are");
  if (chosen.devices > of.machine.devices_per_host)
    throw ml::error("option --devices: a host of " + chosen.cluster + " has no more than " +
                    std::to_string(of.machine.devices_per_host) + " devices; give fewer");
  if (chosen.devices > 0) of.machine.devices_per_host = chosen.devices;
  if (!chosen.replan.empty() && chosen.seconds > 0)
    throw ml::error("option --seconds: planning again is measured to its end; leave it out");
  if (!chosen.replan.empty()) return replan(of, chosen);
  if (chosen.compare) return compare(of, chosen.json ? print_json : print_row);
  (chosen.json ? print_json : print_alone)(of, ours(of));
}

bool read_seconds(std::string_view name, std::string_view text, double& into) {
  const auto end = text.data() + text.size();
  if (std::from_chars(text.data(), end, into).ptr != end || !(into > 0)) {
    throw ml::error("option " + std::string(name) + ": '" + std::string(text) +
                    "' is not possible; give a number of seconds above 0");
  }
  return true;
}

struct family {
  std::string_view name;
  std::string_view models[7];  ///< on 1, 2, 4, … GPUs
};

constexpr family families[] = {
    {"gpt", {"gpt-350m", "gpt-760m", "gpt-1.3b", "gpt-2.6b", "gpt-6.7b", "gpt-15b", "gpt-39b"}},
    {"moe", {"moe-380m", "moe-690m", "moe-1.3b", "moe-2.4b", "moe-10b", "moe-27b", "moe-70b"}},
    {"wide-resnet",
     {"wide-resnet-250m", "wide-resnet-500m", "wide-resnet-1b", "wide-resnet-2b", "wide-resnet-4b", "wide-resnet-6.8b",
      "wide-resnet-13b"}},
};

void measure_family(const options& chosen) {
  const auto* const found = std::find_if(std::begin(families), std::end(families),
                                         [&](const family& each) { return each.name == chosen.family; });
  if (found == std::end(families))
    throw ml::error("option --family: '" + chosen.family + "' is not possible; give gpt, moe or wide-resnet");
  if (!chosen.json) {
    fmt::print("predicted PFLOP/s, {}\nGPUs {:<16}", name_of(chosen.precision), "model");
    for (const ml::baseline each : ml::all_baselines) fmt::print(" {:>10}", name_of(each));
    fmt::print(" {:>10}\n", "ours");
  }
  for (std::int32_t gpus = 1; const std::string_view model : found->models) {
    ml::cluster machine = ml::p3_16xlarge(std::max(gpus / 8, 1));
    machine.devices_per_host = std::min(gpus, 8);
    const pairing of{std::string(model),
                     std::string(name_of(chosen.precision)),
                     "p3.16xlarge",
                     find_model(std::string(model), chosen.precision).graph,
                     machine,
                     chosen.seconds};
    if (!chosen.json) fmt::print("{:>4} {:<16}", gpus, model);
    compare(of, [&](const pairing& with, const answer& got) {
      if (chosen.json) return print_json(with, got);
      fmt::print(" {:>10}", got.made ? fmt::format("{:.4f}", got.petaflops(with.graph)) : "-");
      std::fflush(stdout);
    });
    if (!chosen.json) fmt::print("\n");
    gpus *= 2;
  }
}

}  // namespace

int main(int count, char** words) {
  try {
    options chosen;
    chosen.compare = take_flag(count, words, "--compare");
    chosen.json = read_options(count, words, "bench/plan.cpp", [&](std::string_view name, std::string_view text) {
      if (name == "--model") return chosen.model = text, true;
      if (name == "--layers") return read_count(name, text, chosen.layers);
      if (name == "--precision") return read_precision(name, text, chosen.precision);
      if (name == "--cluster") return chosen.cluster = text, true;
      if (name == "--devices") return read_count(name, text, chosen.devices);
      if (name == "--seconds") return read_seconds(name, text, chosen.seconds);
      if (name == "--replan") return chosen.replan = text, true;
      if (name == "--family") return chosen.family = text, true;
      return false;
    });
    chosen.family.empty() ? measure(chosen) : measure_family(chosen);
  } catch (const std::exception& why) {
    fmt::print(stderr, "bench_plan: {}\n", why.what());
    return 2;
  }
}
