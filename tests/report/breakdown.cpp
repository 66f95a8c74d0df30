// SPDX-License-Identifier: Apache-2.0
// Laws of report/breakdown.hpp: kinds of work and parts of memory are those of the program, counted anew from its
// instructions and buffers, and add up.
#include <meshloom/exec/simulate.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/report/breakdown.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

namespace ml = meshloom;
using ml::bytes;
using ml::instruction;
using ml::picoseconds;
using ml::work;

namespace {

constexpr std::array all_passes{ml::pass::forward, ml::pass::backward, ml::pass::reduce, ml::pass::update};

bool runs_in_forward(const ml::stage_program& stage, const instruction& at) {
  const auto& body = stage.bodies[static_cast<std::size_t>(ml::pass::forward)];
  return std::any_of(body.begin(), body.end(), [&](const instruction& each) {
    return each.kind == instruction::compute && each.number == at.number && each.op == at.op;
  });
}

work kind_of(const ml::stage_program& stage, const instruction& at, ml::pass now) {
  if (at.kind == instruction::exchange) return work::all_reduce;
  if (at.kind == instruction::compute) {
    if (now == ml::pass::update) return work::updates;
    if (now == ml::pass::backward && runs_in_forward(stage, at)) return work::recomputed;
    const bool products = at.op->op.name == "dot" || at.op->op.name.starts_with("attention");
    return products ? work::products : work::other_operators;
  }
  if (at.kind != instruction::redistribute) return work::copies;
  switch (at.how) {
    case ml::collective::all_reduce:
      return work::all_reduce;
    case ml::collective::all_gather:
      return work::all_gather;
    case ml::collective::reduce_scatter:
      return work::reduce_scatter;
    case ml::collective::all_to_all:
      return work::all_to_all;
    case ml::collective::broadcast:
      return work::broadcast;
    case ml::collective::halo:
      return work::halo;
    default:
      return work::copies;
  }
}

/// What a stage does in a step, instruction by instruction and message by message; the rest is waiting.
ml::work_times counted(const ml::program& whole, std::size_t s, const ml::cluster& machine, picoseconds step) {
  const ml::stage_program& stage = whole.stages[static_cast<ml::stage_id>(s)];
  const ml::mesh_links links = ml::links_of(machine, stage.mesh, stage.first_rank);
  ml::work_times times;
  picoseconds busy;
  for (const ml::pass now : all_passes) {
    const std::int32_t rounds = now < ml::pass::reduce ? whole.micro_batches : 1;
    for (const instruction& at : stage.bodies[static_cast<std::size_t>(now)]) {
      const picoseconds time = ml::price(stage, at, machine.device, links) * rounds;
      const picoseconds around = ml::rotation_price(stage, at, links) * rounds;
      times[kind_of(stage, at, now)] += time - around;
      times[work::rotation] += around;
      busy += time;
    }
  }
  for (const ml::transfer& each : whole.transfers) {
    const auto here = static_cast<std::int32_t>(s);
    if (each.route.from_stage != here && each.route.to_stage != here) continue;
    const std::int32_t rounds = each.route.from < ml::pass::reduce ? whole.micro_batches : 1;
    times[work::messages] += ml::price(whole, each, machine) * rounds;
  }
  times[work::waiting] = step - busy - times[work::messages];
  return times;
}

bytes size_in(const ml::stage_program& stage, ml::memory where) {
  bytes size;
  for (const ml::buffer& each : stage.buffers) size += each.where == where ? each.size : bytes{};
  return size;
}

/// Calls `visit(graph, plan, program, machine)` for products of presets.
template <class Visit>
void for_each_plan(const Visit& visit) {
  int plans = 0;
  for (const auto& [name, graph] : models::all()) {
    for (const std::int32_t ranks : {1, 4, 8}) {
      for (const std::string& preset : models::products(ranks)) {
        ml::problem posed = models::posed(graph, preset, ranks, 2);
        if (++plans % 4 == 0) posed.constraints = posed.constraints & ml::recompute();
        const auto made = ml::solve(posed);
        if (!made) continue;  // more stages than blocks
        CAPTURE(name);
        CAPTURE(preset);
        visit(graph, made.value(), ml::lower(graph, made.value(), posed.cluster), posed.cluster);
      }
    }
  }
}

}  // namespace

TEST_CASE("kinds of work are those of the program, and add up to the step") {
  std::array<int, ml::work_count> seen{};
  for_each_plan([&](const ml::graph& graph, const ml::plan&, const ml::program& whole, const ml::cluster& machine) {
    const ml::breakdown parts = ml::breakdown_of(graph, whole, machine);
    CHECK(parts.step == ml::simulate(whole, machine).step);
    REQUIRE(parts.stages.size() == whole.stages.size());
    for (std::size_t s = 0; s < whole.stages.size(); ++s) {
      const ml::work_times& times = parts.stages[static_cast<ml::stage_id>(s)].times;
      CHECK(times == counted(whole, s, machine, parts.step));
      CHECK(std::accumulate(times.of.begin(), times.of.end(), picoseconds{}) == parts.step);
      CHECK(*std::min_element(times.of.begin(), times.of.end()) >= picoseconds{});
      for (std::size_t kind = 0; kind < ml::work_count; ++kind) seen[kind] += times.of[kind].count > 0 ? 1 : 0;
    }
  });
  for (const work kind : {work::products, work::other_operators, work::recomputed, work::updates, work::all_reduce,
                          work::all_gather, work::reduce_scatter, work::copies, work::messages, work::waiting}) {
    CAPTURE(ml::name_of(kind));
    CHECK(seen[static_cast<std::size_t>(kind)] > 10);
  }
}

TEST_CASE("parts of memory are those of the arena, and add up to it") {
  for_each_plan([](const ml::graph& graph, const ml::plan&, const ml::program& whole, const ml::cluster& machine) {
    const ml::breakdown parts = ml::breakdown_of(graph, whole, machine);
    for (std::size_t s = 0; s < whole.stages.size(); ++s) {
      const ml::stage_program& stage = whole.stages[static_cast<ml::stage_id>(s)];
      const ml::stage_breakdown& each = parts.stages[static_cast<ml::stage_id>(s)];
      bytes parameters, state;
      for (const ml::placed_value& placed : stage.placed_values) {
        const auto is_it = [&](const ml::parameter& known) { return known.value == placed.what.value; };
        const bool trained = std::any_of(graph.parameters.begin(), graph.parameters.end(), is_it);
        (trained ? parameters : state) += stage.buffers[placed.buffer].size;
      }
      CHECK(each.ranks == stage.mesh.ranks());
      CHECK(each.parameters == parameters);
      CHECK(each.state == state);
      CHECK(each.sums == size_in(stage, ml::memory::fixed) - parameters - state);
      CHECK(each.kept == size_in(stage, ml::memory::kept));
      CHECK(each.transient == stage.transient);
      CHECK(each.peak() == stage.fixed + stage.kept * stage.slots + stage.transient);
    }
  });
}

TEST_CASE("the average rank spends its step as the ranks do") {
  ml::breakdown parts{.step = {100}, .stages = {}};
  ml::stage_breakdown one{.ranks = 1}, three{.ranks = 3};
  one.times[work::products] = {100};
  three.times[work::products] = {60};
  three.times[work::waiting] = {40};
  parts.stages.add(one);
  parts.stages.add(three);
  const ml::work_times mean = ml::mean_times(parts);
  CHECK(mean[work::products] == picoseconds{70});
  CHECK(mean[work::waiting] == picoseconds{30});
  CHECK(mean[work::updates] == picoseconds{});
}

TEST_CASE("tables say what is there, stage by stage") {
  ml::breakdown parts{.step = {4'000}, .stages = {}};
  for (const std::int64_t waits : {0, 1'000}) {
    ml::stage_breakdown next{.ranks = 2,
                             .parameters = {1024},
                             .state = {2048},
                             .sums = {512},
                             .kept = {256},
                             .transient = {128},
                             .slots = 3};
    next.times[work::products] = {4'000 - waits};
    next.times[work::waiting] = {waits};
    parts.stages.add(next);
  }
  using rows = ml::vector<ml::vector<std::string>>;
  const ml::text_table times = ml::work_table(parts);
  ml::vector<std::string> headings;
  for (const ml::text_column& column : times.columns) headings.push_back(column.heading);
  CHECK(headings == ml::vector<std::string>{"stage", "products", "waiting", "step"});
  CHECK(times.rows == rows{{"0", "4.0 ns", "0 ps", "4.0 ns"},
                           {"1", "3.0 ns", "1.0 ns", "4.0 ns"},
                           {"share", "87.5 %", "12.5 %", "100.0 %"}});
  const ml::vector<std::string> memory{"1.0 KiB", "2.0 KiB", "512 B", "256 B", "3", "128 B", "4.3 KiB", "50.0 %"};
  rows wanted;
  for (const std::string stage : {"0", "1"}) {
    wanted.push_back({stage});
    wanted.back().insert(wanted.back().end(), memory.begin(), memory.end());
  }
  CHECK(ml::memory_table(parts, {{8960}, {8960}}).rows == wanted);
}
