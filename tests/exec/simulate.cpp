// SPDX-License-Identifier: Apache-2.0
// The simulator against the host: the same work in the same order on every rank; and its clock against the planner's.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/exec/host.hpp>
#include <meshloom/exec/simulate.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/sharding/reshard.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

namespace {

namespace ml = meshloom;
using ml::event;
using ml::picoseconds;

/// A classifier of vectors, deep enough for four stages; `width` says how much it computes.
auto training_of(std::int64_t width, std::int64_t rows) {
  using namespace ml::axis;
  const auto block =
      ml::residual(ml::layer_norm<embed>{}, ml::linear<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{});
  const auto model = ml::embedding<vocab, embed>{.table = "tokens"} | ml::repeat(5, block) | ml::layer_norm<embed>{} |
                     ml::unembedding<embed, vocab>{.table = "tokens"};
  return ml::training{.model = model,
                      .loss = ml::cross_entropy<vocab>{},
                      .optimizer = ml::sgd{},
                      .sizes = ml::sizes{ml::size<batch>{rows}, ml::size<seq>{4}, ml::size<embed>{width},
                                         ml::size<mlp>{4 * width}, ml::size<vocab>{24}}};
}

struct lowered {
  ml::plan made;
  ml::program whole;
};

lowered lower_plan(const ml::graph& graph, const ml::cluster& machine, const std::string& plan,
                   std::int32_t micro_batches) {
  ml::manual asked = ml::parse_manual(plan, machine.ranks()).value();
  asked.micro_batches = micro_batches;
  const ml::plan made = ml::solve(ml::formulate(graph, machine, asked)).value();
  return {made, ml::lower(graph, made, machine)};
}

bool same_times(const ml::simulation& a, const ml::simulation& b) {
  return a.step == b.step && a.busy_per_stage == b.busy_per_stage &&
         std::equal(
             a.events.begin(), a.events.end(), b.events.begin(), b.events.end(),
             [](const event& x, const event& y) { return same_work(x, y) && x.begin == y.begin && x.end == y.end; });
}

/// Events of a rank follow each other, from nothing to the end of the step; messages end for both their stages at once.
void check_clock(const ml::program& whole, const ml::simulation& made) {
  picoseconds last;
  for (std::size_t e = 0; e < made.events.size(); ++e) {
    const event& now = made.events[e];
    const bool begins = e == 0 || made.events[e - 1].rank != now.rank;
    CHECK(now.begin == (begins ? picoseconds{} : made.events[e - 1].end));
    CHECK(now.end >= now.begin);
    last = std::max(last, now.end);
    if (now.kind != ml::action::send) continue;
    const auto to = static_cast<ml::stage_id>(whole.transfers[static_cast<std::size_t>(now.index)].route.to_stage);
    const auto received = std::find_if(made.events.begin(), made.events.end(), [&](const event& other) {
      return other.rank == whole.stages[to].first_rank && other.kind == ml::action::receive &&
             other.index == now.index && other.micro_batch == now.micro_batch;
    });
    REQUIRE(received != made.events.end());
    CHECK(received->end == now.end);
  }
  CHECK(made.step == last);
}

}  // namespace

TEST_CASE("every rank does the same work in the same order as on the host") {
  const auto task = training_of(8, 12);
  const ml::graph graph = ml::trace(task);
  const ml::vector<std::int32_t> tokens(48, 3);
  for (const auto& [plan, ranks, micro_batches] : {std::tuple{"data", 1, 3},
                                                   {"data", 3, 2},
                                                   {"tensor", 2, 1},
                                                   {"zero3", 2, 3},
                                                   {"pipeline", 4, 6},
                                                   {"gpipe", 3, 4},
                                                   {"zero2=2,tensor=2,pipeline=2", 8, 3},
                                                   {"tensor=2,gpipe=2", 4, 4}}) {
    CAPTURE(plan);
    const ml::cluster machine = ml::local(ranks);
    const ml::program whole = lower_plan(graph, machine, plan, micro_batches).whole;
    auto run = ml::start(ml::host{}, whole, task);
    run.record(true);
    run.step({tokens, tokens});
    const auto real = run.events();
    const ml::simulation paper = ml::simulate(whole, machine);
    REQUIRE(real.size() == paper.events.size());
    CHECK(std::equal(real.begin(), real.end(), paper.events.begin(),
                     [](const event& a, const event& b) { return same_work(a, b); }));
    check_clock(whole, paper);
    CHECK(same_times(paper, ml::simulate(whole, machine)));
  }
}

TEST_CASE("another order is noticed") {
  const ml::cluster machine = ml::local(2);
  ml::program whole = lower_plan(ml::trace(training_of(8, 12)), machine, "pipeline", 4).whole;
  const ml::simulation before = ml::simulate(whole, machine);
  auto& schedule = whole.stages[ml::stage_id{0}].schedule;
  auto actions = ml::expand(schedule);
  const auto first = std::adjacent_find(actions.begin(), actions.end(), [](const ml::action& a, const ml::action& b) {
    return a.kind == ml::action::receive && b.kind == ml::action::run;
  });
  REQUIRE(first != actions.end());
  std::iter_swap(first, first + 1);
  schedule = {{1, actions}};
  CHECK_FALSE(same_times(before, ml::simulate(whole, machine)));
}

TEST_CASE("on one rank the operators take the time that was planned") {
  const ml::cluster machine = ml::local(1);
  for (const std::int32_t micro_batches : {1, 4}) {
    const auto [made, whole] = lower_plan(ml::trace(training_of(64, 32)), machine, "data", micro_batches);
    const ml::simulation paper = ml::simulate(whole, machine);
    picoseconds operators;
    for (const event& each : paper.events) {
      const auto& body = whole.stages[ml::stage_id{0}].bodies[static_cast<std::size_t>(each.index)];
      if (body[static_cast<std::size_t>(each.instruction)].kind == ml::instruction::compute) {
        operators += each.end - each.begin;
      }
    }
    CHECK(operators == made.predicted);
    CHECK(paper.step > made.predicted);
    CHECK(paper.busy_per_stage == ml::vector{paper.step});
  }
}

TEST_CASE("a reshard of one step takes the time that was planned") {
  const ml::cluster machine = ml::local(8);
  int compared = 0;
  for (const char* plan : {"data=2,tensor=4", "zero3=8", "zero2=2,tensor=2,pipeline=2"}) {
    const ml::program whole = lower_plan(ml::trace(training_of(24, 20)), machine, plan, 2).whole;
    for (const ml::stage_program& stage : whole.stages) {
      const ml::mesh_links links = ml::links_of(machine, stage.mesh, stage.first_rank);
      for (const auto& body : stage.bodies) {
        for (const ml::instruction& at : body) {
          if (at.kind != ml::instruction::redistribute || at.how == ml::collective::slice) continue;
          const ml::buffer& from = stage.buffers[at.operands[0]];
          const ml::buffer& to = stage.buffers[at.results[0]];
          const std::span extents(from.global.data(), static_cast<std::size_t>(from.rank));
          const auto path = ml::reshard(from.layout, to.layout, extents, {ml::size_of(from.type)}, stage.mesh, links);
          REQUIRE(path.possible);
          if (path.steps.size() != 1) continue;
          CHECK(ml::price(stage, at, machine.device, links) == path.time);
          ++compared;
        }
      }
    }
  }
  CHECK(compared > 100);
}

TEST_CASE("ranks make a compute-bound model faster, and no more than they are") {
  const ml::graph graph = ml::trace(training_of(512, 64));
  const picoseconds alone = ml::simulate(lower_plan(graph, ml::local(1), "data", 1).whole, ml::local(1)).step;
  picoseconds before = alone;
  for (const std::int32_t ranks : {2, 4, 8}) {
    ml::cluster machine = ml::local(ranks);
    machine.within_host.bytes_per_second = 300'000'000'000;
    const picoseconds together = ml::simulate(lower_plan(graph, machine, "data", 1).whole, machine).step;
    CHECK(together < before);
    CHECK(together * ranks > alone);
    before = together;
  }
}

TEST_CASE("a pipeline's stages wait; more micro-batches wait less") {
  const ml::graph graph = ml::trace(training_of(256, 960));
  const ml::cluster machine = ml::local(4);
  double before = 1;
  for (const std::int32_t micro_batches : {1, 2, 4, 8, 16}) {
    const ml::program whole = lower_plan(graph, machine, "pipeline", micro_batches).whole;
    const ml::simulation paper = ml::simulate(whole, machine);
    REQUIRE(paper.busy_per_stage.size() == 4);
    const picoseconds busy = std::accumulate(paper.busy_per_stage.begin(), paper.busy_per_stage.end(), picoseconds{});
    const double idle = 1 - ml::seconds(busy) / ml::seconds(4 * paper.step);
    CAPTURE(micro_batches);
    CHECK(idle > 0);
    CHECK(idle < before);
    before = idle;
  }
}

TEST_CASE("the link between hosts is shared by the receivers of a host") {
  ml::cluster machine = ml::p3_16xlarge(2);
  const ml::graph graph = ml::trace(training_of(32, 64));
  const ml::program whole = lower_plan(graph, machine, "data=8,pipeline=2", 1).whole;
  const auto crossing = std::find_if(whole.transfers.begin(), whole.transfers.end(),
                                     [](const ml::transfer& each) { return each.route.from == ml::pass::forward; });
  REQUIRE(crossing != whole.transfers.end());
  const std::int64_t shard = 64 / 8 * 4 * 32 * 4;  // rows, positions, width, bytes
  ml::link shared = machine.between_hosts;
  shared.bytes_per_second /= 8;
  CHECK(ml::price(whole, *crossing, machine) == ml::transfer_price({shard}, shared));
  machine.devices_per_host = 16;
  machine.hosts = 1;
  CHECK(ml::price(whole, *crossing, machine) == ml::transfer_price({shard}, machine.within_host));
}

TEST_CASE("what cannot be simulated is refused") {
  const ml::cluster machine = ml::local(2);
  ml::program whole = lower_plan(ml::trace(training_of(8, 12)), machine, "pipeline", 2).whole;
  CHECK_THROWS_WITH_AS(ml::simulate(whole, ml::local(1)), "simulate: the program runs on 2 ranks, the cluster has 1",
                       ml::error);
  whole.stages[ml::stage_id{1}].schedule.clear();
  CHECK_THROWS_WITH_AS(ml::simulate(whole, machine),
                       "simulate: the stages wait for each other; check(program) says where", ml::error);
}

TEST_CASE("stages of several groups of hosts take what their own devices take") {
  ml::cluster machine = ml::local(2);
  machine.others.push_back({machine.device, 1, 2, machine.within_host, machine.between_hosts});
  ml::host_group& second = machine.others[0];
  const ml::graph graph = ml::trace(training_of(64, 32));
  const auto [made, whole] = lower_plan(graph, machine, "data=2,pipeline=2", 4);
  const ml::simulation alike = ml::simulate(whole, machine);
  ml::cluster one = ml::local(2);
  one.hosts = 2;
  CHECK(same_times(alike, ml::simulate(whole, one)));
  CHECK(made.predicted == ml::predict(graph, made, one));
  second.device.flops_per_second /= 3;
  second.device.bytes_per_second /= 3;
  const ml::simulation slower = ml::simulate(whole, machine);
  CHECK(slower.busy_per_stage[0] == alike.busy_per_stage[0]);
  CHECK(slower.busy_per_stage[1] > alike.busy_per_stage[1]);
  CHECK(slower.step > alike.step);
  CHECK(ml::predict(graph, made, machine) > made.predicted);
  for (const ml::transfer& each : whole.transfers)
    CHECK(ml::price(whole, each, machine) == ml::price(whole, each, one));
  second.between_hosts.bytes_per_second /= 7;
  for (const ml::transfer& each : whole.transfers) CHECK(ml::price(whole, each, machine) > ml::price(whole, each, one));
}
