// SPDX-License-Identifier: Apache-2.0
// plan_texts write FOLDER: plans the models of the tests on some clusters, automatically and by every product of
// presets, and saves each plan. plan_texts compare FOLDER OTHER: loads the plans of both folders; every two must be
// equal.
#include "../plan/models.hpp"

#include <meshloom/plan/text.hpp>

#include <cstdio>
#include <filesystem>

namespace {

namespace ml = meshloom;

/// A plan to be made.
struct request {
  std::string name;  ///< of its file
  const ml::graph& graph;
  ml::cluster machine;
  ml::manual asked;
};

/// Hosts of two ranks that are far apart.
ml::cluster far_pairs(std::int32_t ranks) {
  ml::cluster machine = models::near_ranks(2);
  machine.hosts = ranks / 2;
  machine.between_hosts = {.latency = {50'000'000}, .bytes_per_second = 100'000'000};
  return machine;
}

ml::vector<request> all_requests() {
  ml::vector<request> made;
  const auto add = [&](const models::named_graph& of, const std::string& where, const ml::cluster& machine,
                       const std::string& preset) {
    const std::string name = of.name + "." + where + "." + std::to_string(machine.ranks()) + "." + preset;
    made.push_back({name, of.graph, machine, ml::parse_manual(preset, machine.ranks()).value()});
  };
  for (const models::named_graph& each : models::all()) {
    for (const std::int32_t ranks : {1, 2, 3}) {
      add(each, "local", ml::local(ranks), "auto");
      add(each, "near", models::near_ranks(ranks), "auto");
    }
    add(each, "pairs", far_pairs(2), "auto");
    for (const std::int32_t ranks : {2, 3, 6, 8}) {
      for (const std::string& preset : models::products(ranks)) add(each, "local", ml::local(ranks), preset);
    }
  }
  for (const std::size_t small : {2u, 3u}) {
    add(models::all()[small], "near", models::near_ranks(4), "auto");
    add(models::all()[small], "pairs", far_pairs(4), "auto");
  }
  return made;
}

int write(const std::string& folder) {
  int written = 0;
  for (const request& each : all_requests()) {
    const auto made = ml::solve(ml::formulate(each.graph, each.machine, each.asked));
    if (!made) continue;  // more stages than blocks
    ml::save_plan(folder + "/" + each.name, each.graph, made.value());
    ++written;
  }
  std::printf("%d plans\n", written);
  return written > 200 ? 0 : 1;
}

int compare(const std::string& folder, const std::string& other) {
  int equal = 0, different = 0;
  for (const request& each : all_requests()) {
    const std::string path = folder + "/" + each.name, other_path = other + "/" + each.name;
    if (!std::filesystem::exists(path) && !std::filesystem::exists(other_path)) continue;
    const auto here = ml::load_plan(path, each.graph, each.machine.ranks());
    const auto there = ml::load_plan(other_path, each.graph, each.machine.ranks());
    const bool same = here && there && here.value() == there.value();
    const std::string why = !here ? here.error() : !there ? there.error() : "another plan";
    if (!same) std::printf("%s: %s\n", each.name.c_str(), why.c_str());
    ++(same ? equal : different);
  }
  std::printf("%d plans are equal, %d are not\n", equal, different);
  return equal > 200 && different == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  const ml::vector<std::string> said(words + 1, words + count);
  if (said.size() == 2 && said[0] == "write") return write(said[1]);
  if (said.size() == 3 && said[0] == "compare") return compare(said[1], said[2]);
  std::puts("usage: plan_texts write FOLDER | plan_texts compare FOLDER OTHER");
  return 2;
}
