// SPDX-License-Identifier: Apache-2.0
// The automatic plan of a named model beside all products of presets in every number of micro-batches, as predicted; of
// some of them, evenly spread from the fastest to the slowest, with --steps also as they run on this machine: medians
// of rounds in which the plans take turns. bench_plans [--model gpt-small] [--precision f32|bf16|f16]
// [--cluster local:2|here|p3.16xlarge:8] [--ranks 2] [--plans 10] [--steps 0] [--json]
#include "models/named_model.hpp"
#include "options.hpp"
#include "samples.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace ml = meshloom;

namespace {

struct options {
  std::string model = "gpt-small", cluster = "local:2";
  ml::dtype precision = ml::dtype::f32;
  std::int32_t ranks = 2;  ///< of `here`
  std::size_t plans = 10;
  std::int64_t steps = 0;  ///< in each of five rounds
  bool json = false;
};

struct entry {
  std::string name;
  ml::plan plan;
  ml::vector<double> seconds = {};  ///< measured
};

bool has_axis(const ml::graph& graph, std::string_view name) {
  return find_axis(graph.sizes, name) != ml::axis_id::none;
}

/// "data=2,tensor=4,pipeline=1": every way to factor the ranks, under every preset that the model has axes for.
ml::vector<std::string> products(const ml::graph& graph, std::int32_t ranks) {
  ml::vector<std::string> names, batched{"data", "zero1", "zero2", "zero3"};
  if (has_axis(graph, "expert")) batched.emplace_back("expert");
  const bool spatial = has_axis(graph, "high");
  for (std::int32_t data = 1; data <= ranks; ++data) {
    for (std::int32_t tensor = 1; data * tensor <= ranks; ++tensor) {
      for (std::int32_t space = 1; data * tensor * space <= (spatial ? ranks : data * tensor); ++space) {
        if (ranks % (data * tensor * space) != 0) continue;
        const std::int32_t stages = ranks / (data * tensor * space);
        const std::string cut = spatial ? fmt::format(",space={}", space) : "";
        for (const std::string& each : batched) {
          for (const std::string piped : {"pipeline", "gpipe"}) {
            if ((data == 1 && each != "data") || (stages == 1 && piped != "pipeline")) continue;
            names.push_back(fmt::format("{}={},tensor={}{},{}={}", each, data, tensor, cut, piped, stages));
          }
        }
      }
    }
  }
  return names;
}

/// All presets that are possible, fastest first.
ml::vector<entry> presets(const ml::graph& graph, const ml::cluster& machine) {
  ml::vector<entry> found;
  const std::int64_t batch = graph.sizes[graph.micro_batched].extent;
  for (const std::string& name : products(graph, machine.ranks())) {
    for (std::int32_t parts = 1; parts <= batch; ++parts) {
      if (batch % parts != 0) continue;
      ml::manual asked = ml::parse_manual(name, machine.ranks()).value();
      asked.micro_batches = parts;
      auto made = ml::solve(ml::formulate(graph, machine, asked));
      if (made) found.push_back({fmt::format("{},micro_batches={}", name, parts), std::move(made.value())});
    }
  }
  std::sort(found.begin(), found.end(), [](const entry& a, const entry& b) {
    return std::pair(a.plan.predicted, a.name) < std::pair(b.plan.predicted, b.name);
  });
  return found;
}

bool fits(const ml::graph& graph, const ml::plan& plan, const ml::cluster& machine) {
  const ml::program program = ml::lower(graph, plan, machine);
  return std::all_of(program.stages.begin(), program.stages.end(),
                     [&](const auto& stage) { return stage.peak() <= machine.device.memory; });
}

/// The automatic plan, and of the presets the fastest, the slowest, and as many between.
ml::vector<entry> spread(const entry& automatic, const ml::vector<entry>& others, std::size_t count) {
  ml::vector<entry> chosen{automatic};
  for (std::size_t n = 0; n + 1 < count && !others.empty(); ++n) {
    const std::size_t at = count > 2 ? n * (others.size() - 1) / (count - 2) : 0;
    if (chosen.back().name != others[at].name) chosen.push_back(others[at]);
  }
  return chosen;
}

void measure(ml::vector<entry>& entries, const named_model& model, const ml::cluster& machine, std::int64_t steps) {
  constexpr int rounds = 5;
  const samples data(model.graph);
  for (int round = 0; round < rounds; ++round) {
    for (entry& each : entries) {
      const auto run = model.start(ml::lower(model.graph, each.plan, machine));
      run->step({data.port(0), data.port(1)});  // the first step touches the arena
      for (std::int64_t step = 0; step < steps; ++step)
        each.seconds.push_back(run->step({data.port(0), data.port(1)}).seconds);
    }
  }
  for (entry& each : entries) std::sort(each.seconds.begin(), each.seconds.end());
}

void print(const options& chosen, const entry& each) {
  const double predicted = ml::seconds(each.plan.predicted);
  const double measured = each.seconds.empty() ? 0 : each.seconds[each.seconds.size() / 2];
  if (chosen.json) {
    fmt::print("{{\"model\":\"{}\",\"precision\":\"{}\",\"plan\":\"{}\",\"predicted_seconds\":{:.6g}", chosen.model,
               name_of(chosen.precision), each.name, predicted);
    if (measured > 0) fmt::print(",\"seconds\":{:.6g},\"least_seconds\":{:.6g}", measured, each.seconds.front());
    fmt::print("}}\n");
  } else if (measured > 0) {
    fmt::print("{:>10.2f} ms predicted {:>10.2f} ms measured ({:.2f} x)  {}\n", predicted * 1e3, measured * 1e3,
               measured / predicted, each.name);
  } else {
    fmt::print("{:>12.2f} ms predicted  {}\n", predicted * 1e3, each.name);
  }
}

void compare(const options& chosen, const named_model& model) {
  const ml::cluster machine =
      chosen.cluster == "here" ? ml::this_machine<arithmetic>(chosen.ranks) : ml::find_cluster(chosen.cluster).value();
  const ml::graph& graph = model.graph;
  const entry automatic{"auto", ml::solve(ml::formulate(graph, machine)).value()};
  const ml::vector<entry> others = presets(graph, machine);
  const auto fitting =
      std::find_if(others.begin(), others.end(), [&](const entry& each) { return fits(graph, each.plan, machine); });
  const bool none = fitting == others.end();
  const double best = none ? 0 : ml::seconds(fitting->plan.predicted), ours = ml::seconds(automatic.plan.predicted);
  const std::string name = none ? "" : fitting->name;
  if (chosen.json) {
    fmt::print(
        "{{\"model\":\"{}\",\"precision\":\"{}\",\"cluster\":\"{}\",\"presets\":{},\"faster_but_too_big\":{},"
        "\"best_preset\":\"{}\",\"best_preset_seconds\":{:.6g},\"auto_seconds\":{:.6g}}}\n",
        chosen.model, name_of(chosen.precision), chosen.cluster, others.size(), fitting - others.begin(), name, best,
        ours);
  } else {
    fmt::print("{} in {} on {}: auto {:.6g} s; of {} presets {} do not fit before {}: {:.6g} s\n", chosen.model,
               name_of(chosen.precision), chosen.cluster, ours, others.size(), fitting - others.begin(),
               none ? "none does" : name, best);
  }
  if (chosen.plans < 2) return;
  ml::vector<entry> entries = spread(automatic, {fitting, others.end()}, chosen.plans);
  if (chosen.steps > 0) measure(entries, model, machine, chosen.steps);
  for (const entry& each : entries) print(chosen, each);
}

options options_of(int count, char** words) {
  options made;
  made.json = read_options(count, words, "bench/plans.cpp", [&](std::string_view name, std::string_view text) {
    if (name == "--model") return made.model = text, true;
    if (name == "--precision") return read_precision(name, text, made.precision);
    if (name == "--cluster") return made.cluster = text, true;
    if (name == "--ranks") return read_count(name, text, made.ranks);
    if (name == "--plans") return read_count(name, text, made.plans);
    if (name == "--steps") return read_count(name, text, made.steps);
    return false;
  });
  return made;
}

}  // namespace

int main(int count, char** words) {
  try {
    const options chosen = options_of(count, words);
    compare(chosen, find_model(chosen.model, chosen.precision));
  } catch (const std::exception& why) {
    fmt::print(stderr, "bench_plans: {}\n", why.what());
    return 2;
  }
}
