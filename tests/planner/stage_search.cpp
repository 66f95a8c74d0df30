// SPDX-License-Identifier: Apache-2.0
// planner/stage_search.hpp: every range of blocks has a candidate on every mesh, priced as if it had been solved alone;
// what is left out costs more than it is worth.
#include <meshloom/planner/stage_search.hpp>
#include <meshloom/sharding/meshes.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>

namespace ml = meshloom;
using namespace ml::axis;
using ml::picoseconds;

namespace {

constexpr picoseconds everything{std::numeric_limits<std::int64_t>::max()};

/// Everything about a candidate but its memory.
using priced = std::tuple<std::int32_t, std::int32_t, std::int32_t, picoseconds>;

priced price_of(const ml::stage_candidate& each, std::int32_t micro_batches) {
  return {each.first_block, each.end_block, each.ranks, micro_batches * each.time + each.once};
}

/// Checks that every candidate costs what its own problem costs; returns how many there are.
int check_alone(const ml::problem& posed, std::int32_t micro_batches) {
  ml::stage_search search(posed, micro_batches, {});
  search.run_whole();
  search.run_parts(everything);
  CHECK(search.stuck().empty());
  const auto candidates = search.candidates(false), bounds = search.candidates(true);
  REQUIRE(candidates.size() == bounds.size());
  for (std::size_t k = 0; k < candidates.size(); ++k) {
    const ml::stage_candidate& each = candidates[k];
    CAPTURE(each.first_block);
    CAPTURE(each.end_block);
    CAPTURE(each.ranks);
    const ml::stage_plan stage = search.plan_of(k, 0);
    CHECK(stage.first_block == each.first_block);
    CHECK(stage.end_block == each.end_block);
    CHECK(stage.mesh.ranks() == each.ranks);
    const ml::stage_choices choices(posed, stage, micro_batches, 1, {});
    const ml::intra_answer alone = ml::solve_intra(choices.made()).value();
    const ml::stage_cost cost = choices.cost_of(alone.options);
    CHECK(micro_batches * each.time + each.once == alone.cost);
    CHECK(each.held == cost.fixed + cost.transient);
    CHECK(each.slot == cost.slot);
    CHECK(choices.plan_of(alone.options) == stage);
    CHECK(bounds[k].time == picoseconds{});
    CHECK(bounds[k].once == alone.bound);
  }
  return static_cast<int>(candidates.size());
}

/// What ranges of blocks have candidates, by ranks.
std::set<std::tuple<std::int32_t, std::int32_t, std::int32_t>> ranges_of(const ml::problem& posed) {
  ml::stage_search search(posed, 1, {});
  search.run_whole();
  search.run_parts(everything);
  std::set<std::tuple<std::int32_t, std::int32_t, std::int32_t>> found;
  for (const ml::stage_candidate& each : search.candidates(false))
    found.insert({each.first_block, each.end_block, each.ranks});
  return found;
}

}  // namespace

TEST_CASE("the price of every candidate is that of its own problem, for any number of copies") {
  const ml::graph graph = models::vectors({.layers = 6});
  CHECK(check_alone(ml::formulate(graph, models::near_ranks(4)), 1) == 90);
  CHECK(check_alone(ml::formulate(graph, models::near_ranks(4)), 4) == 90);
  CHECK(check_alone(ml::formulate(graph, ml::local(4)), 2) == 90);
}

TEST_CASE("a model that begins with its repeated layer is priced copy by copy") {
  const auto layer = ml::linear<embed, mlp>{} | ml::gelu{} | ml::linear<mlp, embed>{};
  const ml::graph graph = ml::trace(
      ml::training{.model = ml::repeat(5, layer) | ml::linear<embed, vocab>{},
                   .loss = ml::cross_entropy<vocab>{},
                   .optimizer = ml::sgd{},
                   .sizes = ml::sizes{ml::size<batch>{2}, ml::size<embed>{64}, ml::size<mlp>{64}, ml::size<vocab>{10}},
                   .input = ml::tensor<batch, embed>{},
                   .target = ml::integers<batch>{}});
  CHECK(check_alone(ml::formulate(graph, models::near_ranks(4)), 2) == 56);
}

TEST_CASE("every range has a candidate on every submesh, all blocks on all ranks alone") {
  const ml::graph graph = models::vectors();
  for (const ml::cluster& machine : {ml::local(1), ml::local(2), ml::local(6), ml::p3_16xlarge(1)}) {
    const auto blocks = static_cast<std::int32_t>(ml::blocks_of(graph).size());
    std::set<std::tuple<std::int32_t, std::int32_t, std::int32_t>> expected;
    for (const ml::submesh& each : ml::submeshes_of(machine)) {
      for (std::int32_t first = 0; first < blocks; ++first) {
        for (std::int32_t end = first + 1; end <= blocks; ++end) {
          if ((end - first == blocks) == (each.ranks() == machine.ranks())) expected.insert({first, end, each.ranks()});
        }
      }
    }
    ml::manual asked = ml::automatic();
    asked.mesh = {{"outer", 0}};
    CHECK(ranges_of(ml::formulate(graph, machine, asked)) == expected);
  }
}

TEST_CASE("constraints leave the ranges that keep to them") {
  const ml::graph graph = models::vectors();  // 7 blocks
  const auto ranges = [&](const ml::manual& asked, std::int32_t ranks) {
    ml::manual one_axis = ml::automatic() & asked;
    if (one_axis.mesh.empty()) one_axis.mesh = {{"outer", 0}};
    return ranges_of(ml::formulate(graph, ml::local(ranks), one_axis));
  };
  using expected = std::set<std::tuple<std::int32_t, std::int32_t, std::int32_t>>;
  CHECK(ranges(ml::pipeline(1), 2) == expected{{0, 7, 2}});
  CHECK(ranges(ml::stage(3), 2) == expected{{0, 3, 1}, {3, 7, 1}});
  CHECK(ranges(ml::stage(3) & ml::stage(4), 3) == expected{{0, 3, 1}, {3, 4, 1}, {4, 7, 1}});
  CHECK(ranges(ml::data_parallel(2), 2) == expected{{0, 7, 2}});  // a stage of one rank has no axis of two
  CHECK(ranges(ml::pipeline(2), 2).count({0, 7, 2}) == 0);
}

TEST_CASE("what is left out is not worth its price") {
  const ml::graph graph = models::vectors({.layers = 6});
  const ml::problem posed = ml::formulate(graph, models::near_ranks(4));
  const std::int32_t micro_batches = 2;
  ml::stage_search all(posed, micro_batches, {});
  all.run_parts(everything);
  std::vector<priced> prices;
  for (const ml::stage_candidate& each : all.candidates(false)) prices.push_back(price_of(each, micro_batches));
  std::sort(prices.begin(), prices.end());
  std::vector<std::int64_t> sorted;
  for (const priced& each : prices) sorted.push_back(std::get<3>(each).count);
  std::sort(sorted.begin(), sorted.end());
  std::size_t left_out = 0;
  for (const std::size_t share : {0, 1, 2, 3}) {
    const picoseconds worth{sorted[(sorted.size() - 1) * share / 4]};
    ml::stage_search some(posed, micro_batches, {});
    some.run_parts(worth);
    std::vector<priced> kept, missing;
    for (const ml::stage_candidate& each : some.candidates(false)) kept.push_back(price_of(each, micro_batches));
    std::sort(kept.begin(), kept.end());
    CHECK(std::includes(prices.begin(), prices.end(), kept.begin(), kept.end()));
    std::set_difference(prices.begin(), prices.end(), kept.begin(), kept.end(), std::back_inserter(missing));
    for (const priced& each : missing) CHECK(std::get<3>(each) > worth);
    left_out += missing.size();
  }
  CHECK(left_out > 10);
}

TEST_CASE("where the best way to run a range does not fit, leaner ones are there too") {
  const ml::graph graph = models::vectors();
  ml::problem posed = ml::formulate(graph, models::near_ranks(2));
  ml::stage_search ample(posed, 2, {});
  ample.run_whole();
  REQUIRE(ample.candidates(false).size() == 1);
  const ml::stage_candidate best = ample.candidates(false).front();
  posed.cluster.device.memory = ml::bytes{(best.held + best.slot).count * 8 / 10};
  ml::stage_search tight(posed, 2, {});
  tight.run_whole();
  const auto candidates = tight.candidates(false);
  REQUIRE(candidates.size() == 2);
  CHECK(candidates[0] == best);
  CHECK(candidates[1].held + candidates[1].slot <= posed.cluster.device.memory);
  CHECK(2 * candidates[1].time + candidates[1].once > 2 * best.time + best.once);
  CHECK(tight.plan_of(1, 0) != tight.plan_of(0, 0));
}

TEST_CASE("an operator that no strategy is allowed for is named") {
  ml::manual asked = ml::automatic();
  asked.mesh = {{"outer", 0}};
  asked.pins = {{"positions.pointwise", "outer", "mlp"}};  // not an axis of the result
  const ml::problem posed = ml::formulate(models::all()[0].graph, ml::local(2), asked);
  ml::stage_search search(posed, 1, {});
  search.run_whole();
  CHECK(search.stuck() == "positions.pointwise");
  CHECK(search.candidates(false).empty());
}

TEST_SUITE("all") {
  TEST_CASE("the price of every candidate is that of its own problem: attention, and two mesh axes") {
    CHECK(check_alone(ml::formulate(models::gpt({.layers = 6}), models::near_ranks(4)), 2) == 132);
    CHECK(check_alone(ml::formulate(models::tied({.layers = 6}), ml::local(3)), 4) == 66);
    CHECK(check_alone(ml::formulate(models::vectors({.layers = 6}), models::near_ranks(8)), 2) == 179);
  }
}
