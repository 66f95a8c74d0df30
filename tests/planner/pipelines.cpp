// SPDX-License-Identifier: Apache-2.0
// planner/pipelines.hpp: the walk visits what the referee calls a plan with a bound below the time, once each.
#include <meshloom/planner/pipelines.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <set>

namespace ml = meshloom;
using ml::picoseconds;

namespace {

using pipeline = ml::vector<std::int32_t>;

ml::inter_problem random_problem(std::mt19937& random) {
  const auto draw = [&](std::int32_t least, std::int32_t most) {
    return std::uniform_int_distribution<std::int32_t>(least, most)(random);
  };
  ml::inter_problem made{
      .blocks = draw(1, 4), .hosts = draw(1, 2), .devices_per_host = draw(1, 3), .micro_batches = draw(1, 4)};
  made.cut_within.assign(static_cast<std::size_t>(made.blocks), {});
  made.cut_between = made.cut_within;
  const auto add_stages = [&](std::int32_t kind, std::int32_t hosts, std::int32_t devices) {
    for (std::int32_t first = 0; first < made.blocks; ++first) {
      for (std::int32_t end = first + 1; end <= made.blocks; ++end) {
        for (std::int32_t ranks = 1; ranks <= hosts * devices; ++ranks) {
          if (ranks > devices && ranks % devices != 0) continue;
          for (std::int32_t ways = draw(0, 2); ways > 0; --ways) {
            made.candidates.push_back({first, end, ranks, {draw(0, 20)}, {draw(0, 20)}, {draw(0, 20)}, {draw(0, 5)}});
            if (draw(0, 3) == 0) made.candidates.back().shifts = draw(0, made.blocks - end);
            made.candidates.back().kind = kind;
          }
        }
      }
    }
  };
  add_stages(0, made.hosts, made.devices_per_host);
  for (std::int32_t kind = 1, more = draw(0, 2); kind <= more; ++kind) {  // groups of hosts
    made.others.push_back({draw(1, 2), draw(1, 2), kind, made.cut_within, made.cut_between, {}});
    add_stages(kind, made.others.back().hosts, made.others.back().devices_per_host);
  }
  if (draw(0, 3) == 0) {
    made.stops = {0};
    for (std::int32_t block = 1; block < made.blocks; ++block) {
      if (draw(0, 1) == 0) made.stops.push_back(block);
    }
  }
  return made;
}

/// Every sequence of candidates that the referee calls a plan, with its bound.
void enumerate(const ml::inter_problem& posed, pipeline& chosen, std::int32_t block,
               ml::vector<std::pair<pipeline, picoseconds>>& found) {
  if (block == posed.blocks) {
    if (const auto price = ml::evaluate(posed, chosen)) found.push_back({chosen, price.value().bound});
    return;
  }
  for (std::size_t c = 0; c < posed.candidates.size(); ++c) {
    const ml::stage_candidate& each = posed.candidates[c];
    if (block < each.first_block || block > each.first_block + each.shifts) continue;
    chosen.push_back(static_cast<std::int32_t>(c));
    enumerate(posed, chosen, block + each.end_block - each.first_block, found);
    chosen.pop_back();
  }
}

std::set<pipeline> visited(const ml::inter_problem& posed, picoseconds worth) {
  std::set<pipeline> found;
  const auto time = [&] { return worth; };
  CHECK(ml::for_each_pipeline(posed, 1'000'000, time, [&](const pipeline& each) { CHECK(found.insert(each).second); }));
  return found;
}

}  // namespace

TEST_CASE("every plan below the time is visited once, and no other") {
  std::mt19937 random(7);
  std::size_t all = 0, below = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const ml::inter_problem posed = random_problem(random);
    ml::vector<std::pair<pipeline, picoseconds>> plans;
    pipeline chosen;
    enumerate(posed, chosen, 0, plans);
    for (const picoseconds worth : {picoseconds{std::numeric_limits<std::int64_t>::max()}, picoseconds{40}}) {
      std::set<pipeline> expected;
      for (const auto& [each, bound] : plans) {
        if (bound < worth) expected.insert(each);
      }
      CHECK(visited(posed, worth) == expected);
      (worth.count == 40 ? below : all) += expected.size();
    }
  }
  CHECK(below > 100);
  CHECK(all > 2 * below);
}

TEST_CASE("a stage that holds too much by itself is in none, and what falls meanwhile is heeded") {
  std::mt19937 random(8);
  for (int trial = 0; trial < 100; ++trial) {
    ml::inter_problem posed = random_problem(random);
    const auto limit_of = [](std::int32_t kind) { return ml::bytes{15 - 3 * kind}; };
    posed.limit = limit_of(0);
    for (ml::inter_group& each : posed.others) each.limit = limit_of(each.kind);
    for (const pipeline& each : visited(posed, picoseconds{std::numeric_limits<std::int64_t>::max()})) {
      for (const std::int32_t number : each) {
        const ml::stage_candidate& stage = posed.candidates[static_cast<std::size_t>(number)];
        CHECK(stage.held + stage.slot <= limit_of(stage.kind));
      }
    }
    int visits = 0;
    const auto worth = [&] { return picoseconds{visits > 0 ? 0 : std::numeric_limits<std::int64_t>::max()}; };
    ml::for_each_pipeline(posed, 1'000'000, worth, [&](const pipeline&) { ++visits; });
    CHECK(visits <= 1);
  }
}

TEST_CASE("it gives up after so many moves") {
  ml::inter_problem posed{.blocks = 8, .hosts = 1, .devices_per_host = 8, .micro_batches = 1};
  posed.cut_within.assign(8, {});
  posed.cut_between = posed.cut_within;
  for (std::int32_t first = 0; first < 8; ++first) {
    for (std::int32_t ways = 0; ways < 8; ++ways) posed.candidates.push_back({first, first + 1, 1, {1}, {}, {}, {}});
  }
  int visits = 0;
  const auto worth = [] { return picoseconds{100}; };
  CHECK(!ml::for_each_pipeline(posed, 1000, worth, [&](const pipeline&) { ++visits; }));
  CHECK(visits > 0);
  CHECK(visits < 1000);
}
