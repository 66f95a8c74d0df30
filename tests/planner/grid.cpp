// SPDX-License-Identifier: Apache-2.0
// planner/grid.hpp: the best of a grid is that of solving and lowering all of it, in memory for all, some or none.
#include <meshloom/planner/contest.hpp>
#include <meshloom/planner/grid.hpp>

#include "../plan/measures.hpp"
#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace ml = meshloom;
using measures::peak_of;

namespace {

/// Products of presets in some numbers of micro-batches; some cannot be had, as they have more stages than blocks.
ml::vector<ml::manual> random_grid(std::mt19937& from, const ml::graph& whole, std::int32_t ranks) {
  const ml::vector<std::string> presets = models::products(ranks);
  ml::vector<ml::manual> grid(1 + from() % 12);
  for (ml::manual& asked : grid) {
    asked = ml::parse_manual(presets[from() % presets.size()], ranks).value();
    asked.micro_batches = 1 << from() % 3;
    if (from() % 3 == 0) asked = asked & ml::recompute();
    if (from() % 8 == 0) asked.stages = static_cast<std::int32_t>(ml::blocks_of(whole).size()) + 1;
  }
  return grid;
}

struct lowered {
  ml::plan made;
  ml::bytes peak;
};

ml::vector<lowered> lower_all(const ml::graph& whole, const ml::cluster& machine, const ml::vector<ml::manual>& grid) {
  ml::vector<lowered> found;
  for (const ml::manual& asked : grid) {
    const auto made = ml::solve(ml::formulate(whole, machine, asked));
    if (made) found.push_back({made.value(), peak_of(whole, made.value(), machine)});
  }
  return found;
}

/// True if there is an answer.
bool compare(const ml::graph& whole, const ml::cluster& machine, const ml::vector<ml::manual>& grid,
             const ml::vector<lowered>& all) {
  const lowered* best = nullptr;
  for (const lowered& each : all) {
    const bool fits = each.peak <= machine.device.memory;
    if (fits && (best == nullptr || each.made.predicted < best->made.predicted)) best = &each;
  }
  auto made = ml::best_of(whole, machine, grid);
  REQUIRE(static_cast<bool>(made) == (best != nullptr));
  if (best == nullptr) return false;
  ml::plan found = std::move(made).value();
  if (found.runner_up) {
    CHECK(found.runner_up->shape != ml::shape_of(found));
    CHECK(found.runner_up->predicted >= found.predicted);
  }
  found.runner_up.reset();
  CHECK(found == best->made);
  return true;
}

}  // namespace

TEST_CASE("the best of a grid is found, whatever fits") {
  std::mt19937 random(1);
  int answers = 0, refusals = 0;
  for (const auto& [name, whole] : models::all()) {
    for (int tried = 0; tried < 6; ++tried) {
      CAPTURE(name);
      const std::int32_t ranks = 1 << random() % 3;
      ml::cluster machine = random() % 2 == 0 ? ml::local(ranks) : models::near_ranks(ranks);
      const ml::vector<ml::manual> grid = random_grid(random, whole, ranks);
      const ml::vector<lowered> all = lower_all(whole, machine, grid);
      compare(whole, machine, grid, all);
      for (const lowered& limit : all) {
        machine.device.memory = limit.peak - ml::bytes{static_cast<std::int64_t>(random() % 2)};
        (compare(whole, machine, grid, all) ? answers : refusals) += 1;
      }
    }
  }
  CHECK(answers > 40);
  CHECK(refusals > 5);
}

TEST_CASE(
    "what a plan holds is exact as far as the limit, and beyond it no less than the limit, and no more than held") {
  std::mt19937 random(2);
  int beyond = 0;
  for (const auto& [name, whole] : models::all()) {
    const ml::cluster machine = ml::local(4);
    for (const lowered& each : lower_all(whole, machine, random_grid(random, whole, 4))) {
      CAPTURE(name);
      CHECK(ml::peak_of(whole, each.made, machine, each.peak) == each.peak);
      for (const std::int64_t part : {1, 30, 60, 90, 99}) {
        const ml::bytes limit{each.peak.count * part / 100};
        const ml::bytes held = ml::peak_of(whole, each.made, machine, limit);
        CHECK(held > limit);
        CHECK(held <= each.peak);
        beyond += held < each.peak ? 1 : 0;
      }
    }
  }
  CHECK(beyond > 10);
}

TEST_CASE("why there is none: nothing asked for, nothing that can be had, nothing that fits") {
  const ml::graph& whole = models::all()[2].graph;
  CHECK(ml::best_of(whole, ml::local(2), {}).error() == "there is no plan to choose from; ask for at least one");
  CHECK(ml::best_of(whole, ml::local(8), {ml::pipeline(8)}).error() ==
        "the plan has 8 stages, but the model can be cut into at most 7");
  ml::cluster machine = ml::local(2);
  machine.device.memory = ml::bytes{1000};
  const ml::vector<ml::manual> grid{ml::data_parallel(2), ml::pipeline(8), ml::zero(3, 2)};
  CHECK(ml::best_of(whole, machine, grid)
            .error()
            .find("none of 3 plans keeps to the limit of 1000 bytes per rank: the leanest holds at least ") == 0);
}
