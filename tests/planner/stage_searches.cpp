// SPDX-License-Identifier: Apache-2.0
// planner/stage_searches.hpp: kinds of groups, and what the planner makes of clusters of several: sound plans within
// each group's memory, the fast group with more to do, and what cannot be planned refused. (That no plan is faster is
// in tests/planner/joint.cpp.)
#include <meshloom/planner/baselines.hpp>
#include <meshloom/planner/grid.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/planner/stage_searches.hpp>
#include <meshloom/program/memories.hpp>
#include <meshloom/report/evaluate.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace ml = meshloom;
using ml::bytes;

namespace {

ml::host_group group_from(const ml::cluster& machine) {
  return {machine.device, machine.hosts, machine.devices_per_host, machine.within_host, machine.between_hosts};
}

/// Hosts of near ranks, and behind them others of so many ranks that compute so many times as fast.
ml::cluster two_groups(std::int32_t ranks, std::int32_t others, double times) {
  ml::cluster machine = models::near_ranks(ranks);
  ml::host_group next = group_from(models::near_ranks(others));
  next.device.flops_per_second *= times;
  next.device.bytes_per_second = static_cast<std::int64_t>(static_cast<double>(next.device.bytes_per_second) * times);
  machine.others.push_back(next);
  return machine;
}

const ml::graph& vectors() { return models::all()[2].graph; }

/// A plan that `evaluate` has nothing against: it predicts what its program takes, and keeps to each group's memory.
ml::plan sound_plan(const ml::problem& posed) {
  const auto made = ml::solve(posed);
  REQUIRE_MESSAGE(made, made.error());
  const ml::verdict judged = ml::evaluate(posed, made.value());
  CHECK_MESSAGE(judged.violations.empty(), judged.violations.front());
  CHECK(made.value().bound <= made.value().predicted);
  CHECK(made.value().bound.count > 0);
  for (const ml::stage_plan& stage : made.value().stages)
    CHECK(ml::in_one_group(posed.cluster, stage.first_rank, stage.first_rank + stage.mesh.ranks()));
  return made.value();
}

/// The blocks that stages on a group run.
std::int32_t blocks_on(const ml::plan& made, const ml::cluster& machine, std::int32_t group) {
  std::int32_t blocks = 0;
  for (const ml::stage_plan& stage : made.stages) {
    if (ml::group_of(machine, stage.first_rank).number == group) blocks += stage.end_block - stage.first_block;
  }
  return blocks;
}

/// Of two kinds of GPUs, of which one has hosts of another size.
void check_gpus(const ml::graph& graph) {
  ml::cluster machine = ml::p3_16xlarge(2);
  machine.devices_per_host = 2;
  machine.others = {group_from(ml::dgx_a100(1))};
  machine.others[0].devices_per_host = 3;
  const ml::plan made = sound_plan(ml::formulate(graph, machine));
  CHECK(made.ranks == 7);
  const ml::plan four = sound_plan(ml::formulate(graph, machine, ml::automatic() & ml::pipeline(4)));
  CHECK(four.stages.size() == 4);
  CHECK(four.predicted >= made.bound);
}

}  // namespace

TEST_CASE("groups that differ in nothing but their hosts are of one kind, seen from the largest") {
  ml::cluster machine = ml::p3_16xlarge(2);
  CHECK(ml::kinds_of(machine) == ml::vector<std::int32_t>{0});
  machine.others = {group_from(ml::dgx_a100(1)), group_from(ml::p3_16xlarge(3)), group_from(ml::dgx_a100(1)),
                    group_from(ml::p3_16xlarge(1))};
  machine.others.push_back(machine.others.back());
  machine.others.back().within_host.latency.count += 1;
  CHECK(ml::kinds_of(machine) == ml::vector<std::int32_t>{0, 1, 0, 1, 0, 2});
  const ml::problem posed = ml::formulate(vectors(), machine);
  CHECK(ml::seen_from(posed, 0).cluster == ml::turned_to(machine, 2));
  CHECK(ml::seen_from(posed, 1).cluster == ml::turned_to(machine, 1));
  CHECK(ml::seen_from(posed, 2).cluster == ml::turned_to(machine, 5));
}

TEST_CASE("every kind has the candidates of its own search, and what is done to them is done there") {
  const ml::problem posed = ml::formulate(vectors(), two_groups(2, 1, 3));
  ml::stage_searches all(posed, 2, {});
  all.reach(posed.cluster.ranks());
  for (std::int32_t kind = 0; kind < 2; ++kind) {
    const ml::problem seen = ml::seen_from(posed, kind);
    ml::stage_search one(seen, 2, {});
    one.reach(posed.cluster.ranks());
    for (bool open = true; open;) {
      ml::vector<std::int32_t> here, there;
      std::size_t next = 0;
      for (std::size_t c = 0; c < all.candidates().size(); ++c) {
        const auto number = static_cast<std::int32_t>(c);
        ml::stage_candidate each = all.candidates()[c];
        if (each.kind != kind) continue;
        each.kind = 0;
        REQUIRE(next < one.candidates().size());
        CHECK(each == one.candidates()[next]);
        CHECK(all.origins_of({number}).front() ==
              std::pair(kind, one.origins_of({static_cast<std::int32_t>(next)}).front()));
        CHECK(all.is_open(number) == one.is_open(static_cast<std::int32_t>(next)));
        CHECK(all.ways_like(number).size() == one.ways_like(static_cast<std::int32_t>(next)).size());
        if (all.is_open(number) && here.size() < 6) {
          here.push_back(number);
          there.push_back(static_cast<std::int32_t>(next));
        }
        ++next;
      }
      CHECK(next == one.candidates().size());
      open = !here.empty();
      all.refine(here);
      one.refine(there);
    }
    CHECK(all.stuck().empty());
  }
  CHECK(all.work() > 0);
}

TEST_CASE("plans for groups of hosts are sound, and the fast group runs more blocks") {
  for (const auto& [ranks, others] : {std::pair(1, 1), {2, 1}, {2, 2}}) {
    CAPTURE(ranks);
    CAPTURE(others);
    for (const double times : {8.0, 0.125}) {
      const ml::cluster machine = two_groups(ranks, others, times);
      const ml::plan made = sound_plan(ml::formulate(vectors(), machine));
      const std::int32_t slow = blocks_on(made, machine, times > 1 ? 0 : 1);
      CHECK(slow < blocks_on(made, machine, times > 1 ? 1 : 0));
      CHECK(slow > 0);
    }
  }
}

TEST_CASE("a group with little memory gets less to hold") {
  ml::cluster machine = two_groups(1, 1, 1);
  const ml::graph graph = models::gpt({.layers = 4});
  const ml::plan ample = sound_plan(ml::formulate(graph, machine));
  const auto peaks = ml::peaks_of(graph, ample, machine);
  REQUIRE(peaks.size() == 2);
  for (const bool first : {true, false}) {
    ml::cluster tight = machine;
    const bytes less{peaks[first ? 0 : 1].count * 3 / 4};
    (first ? tight.device : tight.others[0].device).memory = less;
    const ml::problem posed = ml::formulate(graph, tight);
    const ml::plan made = sound_plan(posed);
    CHECK(ml::peaks_of(graph, made, tight)[first ? 0 : 1] <= less);
    CHECK(made.predicted >= ample.bound);
    (first ? tight.device : tight.others[0].device).memory = {16};
    const auto none = ml::solve(ml::formulate(graph, tight));
    REQUIRE(!none);
    CHECK(none.error().find("no plan keeps to the limit") == 0);
  }
}

TEST_CASE("what cannot stand on groups of hosts is refused with a cure") {
  const ml::cluster machine = two_groups(2, 2, 2);
  const auto why = [&](const ml::manual& asked) { return ml::solve(ml::formulate(vectors(), machine, asked)).error(); };
  CHECK(
      why(ml::automatic() & ml::pipeline(1)) ==
      "the model's 7 blocks cannot be run as 1 stage on 1 host of 2 devices and 1 host of 2 devices: a stage takes an "
      "even part of a host, or whole hosts of one group, here 1 or 2 devices there, and 1 or 2 devices, and every "
      "device is in one stage; leave the number of stages open");
  CHECK(
      why(ml::data_parallel(4)) ==
      "a stage on ranks 0 to 3 straddles groups of hosts, of which one ends with rank 1; take stages of so many ranks "
      "that each stands on one group, or an automatic plan");
  const ml::problem by_hand = ml::formulate(vectors(), machine, ml::data_parallel(2) & ml::pipeline(2));
  const auto made = ml::solve(by_hand);
  REQUIRE_MESSAGE(made, made.error());
  CHECK(ml::evaluate(by_hand, made.value()).violations.empty());
  CHECK(
      ml::best_of(vectors(), machine, {ml::data_parallel(2) & ml::pipeline(2)}).error() ==
      "plans of a grid have equal stages, and local has 2 groups of hosts; leave the plan to the planner (automatic), "
      "or give one group");
  for (const ml::baseline each : ml::all_baselines) {
    const std::string name(ml::name_of(each));
    CAPTURE(name);
    const auto found = ml::solve(vectors(), machine, each, {.walk = {.steps = 4}});
    const bool stages = each == ml::baseline::inter_only || each == ml::baseline::pipeline_data;
    CHECK(static_cast<bool>(found) == stages);
    if (!found) CHECK(found.error().find("; ") != std::string::npos);
  }
  ml::cluster many = ml::local(1);
  many.others.assign(8, group_from(ml::local(1)));
  CHECK(ml::solve(ml::formulate(vectors(), many)).error().ends_with("plan for fewer groups of hosts"));
}

TEST_CASE("plans for two kinds of GPUs are sound") { check_gpus(models::gpt({.layers = 1, .samples = 4})); }

TEST_SUITE("all") {
  TEST_CASE("so are those of deeper models, and of one whose table is read on both kinds") {
    check_gpus(models::gpt({.layers = 2}));
    check_gpus(models::tied({.layers = 2}));
  }
}
