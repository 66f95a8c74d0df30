// SPDX-License-Identifier: Apache-2.0
// planner/stage_choices.hpp: the plan of every assignment can be lowered; that of the best one costs what the
// assignment says, and no combination of strategies, storages and accumulators costs less.
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/stage_choices.hpp>
#include <meshloom/program/check.hpp>
#include <meshloom/program/lower.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <random>
#include <tuple>

namespace ml = meshloom;
using namespace ml::axis;
using ml::picoseconds;

namespace {

using options = ml::vector<std::int32_t>;

ml::problem posed_on(const ml::graph& graph, ml::vector<ml::mesh_axis_size> mesh, std::int32_t ranks) {
  ml::manual asked = ml::automatic();
  asked.mesh = std::move(mesh);
  return ml::formulate(graph, models::near_ranks(ranks), asked);
}

/// Blocks [first, end) on `mesh`, from `first_rank` on.
ml::stage_plan stage_on(const ml::mesh_shape& mesh, std::int32_t first, std::int32_t end, std::int32_t first_rank = 0) {
  ml::stage_plan stage;
  for (const char* name : {"outer", "inner"}) {
    if (static_cast<int>(stage.mesh_axes.size()) < mesh.rank) stage.mesh_axes.push_back(name);
  }
  stage.first_rank = first_rank;
  stage.mesh = mesh;
  stage.first_block = first;
  stage.end_block = end;
  stage.recompute.assign(static_cast<std::size_t>(end - first), false);
  return stage;
}

std::int32_t blocks_in(const ml::graph& graph) { return static_cast<std::int32_t>(ml::blocks_of(graph).size()); }

ml::plan plan_with(const ml::graph& graph, const ml::vector<ml::stage_plan>& stages, std::int32_t micro_batches) {
  ml::plan made{.model = ml::hash_of(graph),
                .sizes = graph.sizes,
                .ranks = 0,
                .micro_batches = micro_batches,
                .stages = {},
                .predicted = {},
                .bound = {}};
  for (const ml::stage_plan& stage : stages) {
    made.ranks += stage.mesh.ranks();
    made.stages.add(stage);
  }
  return made;
}

/// What a step of a stage takes.
picoseconds step_of(const ml::stage_price& price, std::int32_t micro_batches) {
  return micro_batches * (price.forward + price.backward) + price.update;
}

/// The best assignment once random prices, up to `most`, are added to every option: another legal one each time.
options shaken(ml::intra_problem posed, picoseconds most, std::uint32_t seed) {
  std::mt19937_64 random(seed);
  for (ml::intra_choice& each : posed.choices) {
    for (picoseconds& cost : each.cost)
      cost += picoseconds{static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(most.count + 1))};
  }
  ml::intra_options quick;
  quick.rounds = 40;
  quick.neighbourhoods = 0;
  quick.nodes = 5;
  return ml::solve_intra(posed, quick).value().options;
}

/// The best assignment of a stage, then some that are legal.
ml::vector<options> some_assignments(const ml::stage_choices& choices, std::uint32_t count) {
  const ml::intra_answer best = ml::solve_intra(choices.made()).value();
  CHECK(best.closed());
  ml::vector<options> found{best.options};
  for (std::uint32_t seed = 1; seed <= count; ++seed)
    found.push_back(shaken(choices.made(), {best.cost.count / 40 << (seed % 4 * 2)}, seed));
  return found;
}

/// Checks that a plan can be lowered to a program without a fault, and returns it.
ml::program sound_program(const ml::graph& graph, const ml::plan& made, const ml::cluster& machine) {
  const auto faults = ml::check(graph, made);
  REQUIRE_MESSAGE(faults.empty(), faults.front());
  const ml::program program = ml::lower(graph, made, machine);
  const auto wrong = ml::check(program);
  CHECK_MESSAGE(wrong.empty(), wrong.front());
  return program;
}

std::int64_t buffers_in(const ml::stage_program& stage, ml::memory where) {
  return std::count_if(stage.buffers.begin(), stage.buffers.end(),
                       [&](const auto& each) { return each.where == where; });
}

double ratio(picoseconds a, picoseconds b) { return static_cast<double>(a.count) / static_cast<double>(b.count); }

/// `lower` makes the forms of a value in the order in which they are read. Where another order would be cheaper, or the
/// next stage wants another form than the one that is made, a plan costs a little more than its assignment says.
constexpr double least_share = 0.85;

/// Compares the best assignment of a stage that stands alone and some others with their plans; returns how many cost
/// less than they say.
int compare(const ml::graph& graph, const ml::stage_plan& alone, std::int32_t parts, std::uint32_t others) {
  const ml::problem posed = posed_on(graph, {{"outer", 0}, {"inner", 0}}, alone.mesh.ranks());
  const ml::stage_choices choices(posed, alone, parts, 1, {});
  REQUIRE(choices.stuck().empty());
  CHECK(ml::check(choices.made()).empty());
  int cheaper = 0;
  const auto assignments = some_assignments(choices, others);
  for (std::size_t which = 0; which < assignments.size(); ++which) {
    CAPTURE(which);
    const ml::intra_price says = ml::evaluate(choices.made(), assignments[which]);
    REQUIRE(says.allowed);
    const ml::plan made = plan_with(graph, {choices.plan_of(assignments[which])}, parts);
    CHECK(made.stages[ml::stage_id{0}].recompute == alone.recompute);
    const ml::program program = sound_program(graph, made, posed.cluster);
    const picoseconds step = step_of(ml::prices_of(graph, made, posed.cluster).front(), parts);
    if (which == 0) CHECK(step == says.cost);
    CHECK(ratio(says.cost, step) > least_share);
    cheaper += step < says.cost ? 1 : 0;

    const ml::stage_cost cost = choices.cost_of(assignments[which]);
    CHECK(parts * cost.time + cost.once == says.cost);
    CHECK(cost.fixed + cost.slot + cost.transient == says.peak);
    const ml::stage_program& stage = program.stages[ml::stage_id{0}];
    CHECK(cost.fixed <= stage.fixed);
    CHECK(stage.fixed.count < cost.fixed.count + ml::arena_alignment * buffers_in(stage, ml::memory::fixed));
    if (which > 0) continue;  // which forms are kept for backward is for `lower` to say
    CHECK(cost.slot.count <= stage.kept.count * 105 / 100);
    CHECK(stage.kept.count <= cost.slot.count + ml::arena_alignment * buffers_in(stage, ml::memory::kept));
  }
  return cheaper;
}

int compare(const ml::graph& graph, const ml::mesh_shape& mesh, std::int32_t parts, std::uint32_t others) {
  return compare(graph, stage_on(mesh, 0, blocks_in(graph)), parts, others);
}

/// A stage of all blocks, of which those recompute whose number `which` accepts.
template <class Which>
ml::stage_plan recomputing(const ml::graph& graph, const ml::mesh_shape& mesh, const Which& which) {
  ml::stage_plan stage = stage_on(mesh, 0, blocks_in(graph));
  for (std::size_t b = 0; b < stage.recompute.size(); ++b) stage.recompute[b] = which(b);
  return stage;
}

/// A model of one product, and its loss.
ml::graph one_product(std::int64_t samples, std::int64_t in, std::int64_t out) {
  return ml::trace(ml::training{.model = ml::linear_without_bias<embed, vocab>{},
                                .loss = ml::cross_entropy<vocab>{},
                                .optimizer = ml::adamw{},
                                .sizes = ml::sizes{ml::size<batch>{samples}, ml::size<embed>{in}, ml::size<vocab>{out}},
                                .input = ml::tensor<batch, embed>{},
                                .target = ml::integers<batch>{}});
}

/// The least price of all plans without a fault: every combination of strategies, storage and accumulator.
picoseconds least_of_all(const ml::problem& posed, ml::plan made, int& legal) {
  const ml::graph& graph = posed.graph;
  ml::stage_plan& stage = made.stages[ml::stage_id{0}];
  REQUIRE(graph.parameters.size() == 1);
  const auto specs = ml::all_specs(2, stage.mesh, true);
  std::size_t combinations = 1;
  for (const ml::node& at : graph.nodes) {
    if (at.when != ml::phase::update) combinations *= static_cast<std::size_t>(at.op->choices.count);
  }
  picoseconds least{std::numeric_limits<std::int64_t>::max()};
  for (std::size_t number = 0; number < combinations * specs.size() * specs.size() * specs.size(); ++number) {
    std::size_t rest = number;
    const auto next = [&](std::size_t count) {
      const std::size_t which = rest % count;
      rest /= count;
      return which;
    };
    stage.parameters[0].stored = specs[next(specs.size())];
    stage.parameters[0].state = specs[next(specs.size())];
    stage.parameters[0].accumulated = {specs[next(specs.size())]};
    if (stage.parameters[0].stored.has_partial() || stage.parameters[0].state.has_partial()) continue;
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      const auto id = static_cast<ml::node_id>(n);
      const ml::node& at = graph.nodes[id];
      if (at.when == ml::phase::update)
        stage.strategies[id] = ml::update_strategy(at, stage.mesh, stage.parameters[0].state);
      else
        stage.strategies[id].row[0] = static_cast<std::uint8_t>(next(static_cast<std::size_t>(at.op->choices.count)));
    }
    if (!ml::check(graph, made).empty()) continue;
    least = std::min(least, step_of(ml::prices_of(graph, made, posed.cluster).front(), made.micro_batches));
    ++legal;
  }
  return least;
}

void compare_with_all(std::int64_t samples, std::int64_t in, std::int64_t out, std::int32_t parts) {
  const ml::graph graph = one_product(samples, in, out);
  const ml::problem posed = posed_on(graph, {{"outer", 0}}, 2);
  const ml::stage_choices choices(posed, stage_on({1, {2}}, 0, blocks_in(graph)), parts, 1, {});
  const ml::intra_answer best = ml::solve_intra(choices.made()).value();
  int legal = 0;
  const ml::plan made = plan_with(graph, {choices.plan_of(best.options)}, parts);
  const picoseconds least = least_of_all(posed, made, legal);
  CHECK(legal > 10'000);
  CHECK(best.cost == least);
  CHECK(best.bound == least);
}

}  // namespace

TEST_CASE("the best assignment costs what its plan costs, others about that, and every plan can be lowered") {
  int cheaper = 0;
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    for (const ml::mesh_shape& mesh : {ml::mesh_shape{}, ml::mesh_shape{1, {2}}, ml::mesh_shape{1, {3}}})
      cheaper += compare(graph, mesh, name == "tied" ? 4 : 2, 3);
  }
  cheaper += compare(models::all()[2].graph, {2, {2, 2}}, 2, 3);
  CHECK(cheaper > 10);
}

TEST_CASE("the same where blocks recompute: all, those of a repeated layer, or any") {
  std::mt19937 random(3);
  int cheaper = 0;
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    const auto blocks = ml::blocks_of(graph);
    const auto any = [&](std::size_t) { return random() % 2 == 0; };
    for (const ml::mesh_shape& mesh : {ml::mesh_shape{}, ml::mesh_shape{1, {2}}, ml::mesh_shape{1, {3}}}) {
      CAPTURE(mesh.ranks());
      for (const int round : {0, 1, 2, 3}) {
        CAPTURE(round);
        const auto which = [&](std::size_t b) {
          return round == 0 || (round == 1 ? graph.regions[blocks[b].region].repeated : any(b));
        };
        cheaper += compare(graph, recomputing(graph, mesh, which), name == "tied" ? 4 : 2, 1);
      }
    }
  }
  cheaper += compare(models::all()[2].graph,
                     recomputing(models::all()[2].graph, {2, {2, 2}}, [](std::size_t) { return true; }), 2, 3);
  CHECK(cheaper > 10);
}

/// What a micro-batch carries from copy to copy of the repeated layer.
std::int64_t carried_size(const ml::graph& graph, std::int32_t parts) {
  const auto repeated =
      std::find_if(graph.regions.begin(), graph.regions.end(), [](const ml::region& each) { return each.repeated; });
  const ml::value& carried = graph.values[repeated->forward.outer_out];
  std::int64_t size = ml::size_of(carried.type);
  for (const std::int64_t extent : ml::extents_of(ml::micro_batch_sizes(graph, parts), carried.axes)) size *= extent;
  return size;
}

TEST_CASE("the assignment of a plan is the cheapest of those that stand for it") {
  int cheaper = 0;
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    const ml::problem posed = posed_on(graph, {{"outer", 0}}, 2);
    for (const bool again : {false, true}) {
      const auto stage = recomputing(graph, {1, {2}}, [&](std::size_t) { return again; });
      const ml::stage_choices choices(posed, stage, 2, 1, {});
      const auto assignments = some_assignments(choices, 6);
      for (const options& each : assignments) {
        const auto found = choices.options_of(choices.plan_of(each));
        REQUIRE(found);
        CHECK(choices.plan_of(*found) == choices.plan_of(each));
        const picoseconds says = ml::evaluate(choices.made(), *found).cost,
                          said = ml::evaluate(choices.made(), each).cost;
        CHECK(says <= said);
        if (&each == &assignments.front()) CHECK(says == said);
        cheaper += says < said ? 1 : 0;
      }
      ml::stage_plan other = choices.plan_of(assignments.front());
      other.parameters[0].stored = ml::spec{}.with(0, {ml::placement::partial_sum, 0});
      CHECK(!choices.options_of(other));
    }
  }
  CHECK(cheaper > 0);
}

TEST_CASE("from no copy to all copies that recompute, what a stage costs is a line") {
  int carried = 0;
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    const std::int32_t parts = 2, copies = 4;
    const auto blocks = ml::blocks_of(graph);
    const ml::problem posed = posed_on(graph, {{"outer", 0}}, 2);
    const auto stage_with = [&](std::int32_t again, bool last) {  // the last copies recompute, or the first ones
      return recomputing(graph, {1, {2}}, [&](std::size_t b) {
        const std::int32_t copy = blocks[b].copy;
        return graph.regions[blocks[b].region].repeated && (last ? copy >= copies - again : copy < again);
      });
    };
    const ml::stage_choices none(posed, stage_with(0, true), parts, 1, {});
    const ml::stage_choices all(posed, stage_with(copies, true), parts, 1, {});
    for (const options& each : some_assignments(all, 4)) CHECK(none.options_of(all.plan_of(each)));
    const auto assignments = some_assignments(none, 6);
    for (const options& each : assignments) {
      ml::stage_plan stage = none.plan_of(each);
      const auto there = all.options_of(stage);
      if (!there) continue;  // one reader more wants one form more
      ++carried;
      const ml::stage_cost keeping = none.cost_of(none.options_of(stage).value()), leaving = all.cost_of(*there);
      for (const std::int32_t again : {0, 1, 2, 3, 4}) {
        for (const bool last : {false, true}) {
          const ml::stage_cost between = ml::cost_between(keeping, leaving, again, copies);
          const ml::stage_choices own(posed, stage_with(again, last), parts, 1, {});
          const ml::stage_cost exact = own.cost_of(own.options_of(stage).value());
          CHECK(std::tuple(exact.time, exact.once, exact.fixed, exact.transient) ==
                std::tuple(between.time, between.once, between.fixed, between.transient));
          CHECK(std::abs((exact.slot - between.slot).count) <= carried_size(graph, parts));
          stage.recompute = stage_with(again, last).recompute;
          const picoseconds says = parts * between.time + between.once;
          const picoseconds step =
              step_of(ml::prices_of(graph, plan_with(graph, {stage}, parts), posed.cluster).front(), parts);
          CHECK(ratio(says, step) > least_share);
          if (&each == &assignments.front()) CHECK(says == step);
        }
      }
    }
  }
  CHECK(carried > 12);
}

TEST_CASE("no combination of strategies, storages and accumulators costs less") {
  compare_with_all(8, 6, 4, 2);
  compare_with_all(2, 4, 64, 1);
}

TEST_CASE("the plan of every stage of a pipeline can be lowered, and costs about what its assignment says") {
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    const std::int32_t cut = blocks_in(graph) / 2, end = blocks_in(graph), parts = 4;
    for (const auto& [first_ranks, second_ranks] : {std::pair{2, 2}, {1, 2}, {2, 1}}) {
      const auto mesh = [](std::int32_t ranks) { return ranks == 1 ? ml::mesh_shape{} : ml::mesh_shape{1, {ranks}}; };
      const ml::problem posed = posed_on(graph, {{"outer", 0}}, first_ranks + second_ranks);
      const ml::stage_choices first(posed, stage_on(mesh(first_ranks), 0, cut), parts, 2, {});
      const ml::stage_choices second(posed, stage_on(mesh(second_ranks), cut, end, first_ranks), parts, 1, {});
      const auto firsts = some_assignments(first, 4), seconds = some_assignments(second, 4);
      for (std::size_t which = 0; which < firsts.size(); ++which) {
        const ml::plan made = plan_with(graph, {first.plan_of(firsts[which]), second.plan_of(seconds[which])}, parts);
        sound_program(graph, made, posed.cluster);
        const auto prices = ml::prices_of(graph, made, posed.cluster);
        const picoseconds says[] = {ml::evaluate(first.made(), firsts[which]).cost,
                                    ml::evaluate(second.made(), seconds[which]).cost};
        for (const std::size_t s : {0u, 1u}) CHECK(ratio(says[s], step_of(prices[s], parts)) > least_share);
      }
    }
  }
}

TEST_CASE("more slots keep more activations, and nothing else changes") {
  const ml::graph& graph = models::all()[0].graph;
  const ml::problem posed = posed_on(graph, {{"outer", 0}}, 2);
  const ml::stage_plan stage = stage_on({1, {2}}, 0, blocks_in(graph));
  const ml::stage_choices one(posed, stage, 4, 1, {}), three(posed, stage, 4, 3, {});
  for (const options& each : some_assignments(one, 3)) {
    const ml::stage_cost cost = one.cost_of(each);
    CHECK(three.cost_of(each) == cost);
    CHECK(ml::evaluate(three.made(), each).peak == cost.fixed + 3 * cost.slot + cost.transient);
    CHECK(three.plan_of(each) == one.plan_of(each));
  }
}

TEST_CASE("a limit is kept to, by paying for it") {
  const ml::graph& graph = models::all()[2].graph;
  const ml::problem posed = posed_on(graph, {{"outer", 0}}, 2);
  const ml::stage_plan stage = stage_on({1, {2}}, 0, blocks_in(graph));
  const ml::stage_choices free(posed, stage, 2, 1, {});
  const ml::intra_answer best = ml::solve_intra(free.made()).value();
  const ml::bytes peak = ml::evaluate(free.made(), best.options).peak;
  const ml::bytes limit{peak.count * 8 / 10};
  const ml::stage_choices tight(posed, stage, 2, 1, limit);
  const ml::intra_answer lean = ml::solve_intra(tight.made()).value();
  CHECK(ml::evaluate(free.made(), lean.options).peak <= limit);
  CHECK(lean.cost > best.cost);
  CHECK(!ml::solve_intra(ml::stage_choices(posed, stage, 2, 1, ml::bytes{peak.count / 10}).made()));
}

TEST_CASE("from ZeRO level 2 on no gradient is left pending where its state is split") {
  const ml::graph& graph = models::all()[0].graph;
  const auto pending = [&](std::int32_t level) {  // over the mesh axis that ZeRO rules
    ml::problem posed = posed_on(graph, {{"outer", 0}, {"inner", 0}}, 4);
    posed.constraints.zero = {{"outer", level}};
    const ml::stage_choices choices(posed, stage_on({2, {2, 2}}, 0, blocks_in(graph)), 2, 1, {});
    int found = 0;
    for (const options& each : some_assignments(choices, 6)) {
      const ml::stage_plan stage = choices.plan_of(each);
      sound_program(graph, plan_with(graph, {stage}, 2), posed.cluster);
      for (const ml::parameter_plan& kept : stage.parameters) {
        CHECK(kept.state.on(0).kind == ml::placement::split);
        for (const ml::spec& sum : kept.accumulated) found += sum.on(0).kind == ml::placement::partial_sum ? 1 : 0;
      }
    }
    return found;
  };
  CHECK(pending(1) > 0);
  CHECK(pending(2) == 0);
  CHECK(pending(3) == 0);
}

TEST_CASE("bytes are paid for at one time, half of those that pass, rounded down by each choice") {
  const ml::graph& graph = models::all()[0].graph;
  const ml::problem posed = posed_on(graph, {{"outer", 0}}, 2);
  const ml::stage_plan stage = stage_on({1, {2}}, 0, blocks_in(graph));
  const ml::stage_choices one(posed, stage, 2, 1, {}), three(posed, stage, 2, 3, {});
  const auto count = static_cast<std::int64_t>(three.made().choices.size());
  for (const options& each : some_assignments(one, 8)) {
    const ml::intra_price says = ml::evaluate(three.made(), each);
    const std::int64_t paid_for = says.peak.count - three.cost_of(each).transient.count / 2;
    for (const ml::byte_price& price : {ml::byte_price{{0}, {1}}, {{7}, {1}}, {{5}, {3}}, {{1000}, {999'983}}}) {
      const std::int64_t exact = paid_for * price.cost.count / price.per.count;
      const std::int64_t rounding = count * (price.cost.count / price.per.count + 1);  // of halves, and of prices
      const ml::intra_price paid = ml::evaluate(one.paying(price, 3, says.when), each);
      CHECK(paid.cost == ml::evaluate(three.paying(price, 1, says.when), each).cost);
      CHECK(paid.cost.count <= says.cost.count + exact + rounding);
      CHECK(paid.cost.count + rounding >= says.cost.count + exact);
      CHECK(paid.peak == ml::evaluate(one.made(), each).peak);
    }
    const ml::byte_price dear{{1'000'000}, {1}};
    for (const std::int32_t when : {0, three.made().end / 2, three.made().end - 1})
      CHECK(ml::evaluate(three.paying(dear, 1, when), each).cost <= says.cost + dear.cost * says.peak.count);
  }
}

TEST_CASE("of what is paid once per step a share is left, rounded down by each choice and coupling") {
  const ml::graph& graph = models::all()[0].graph;
  const ml::problem posed = posed_on(graph, {{"outer", 0}}, 2);
  const ml::stage_choices choices(posed, stage_on({1, {2}}, 0, blocks_in(graph)), 4, 1, {});
  const auto count = static_cast<std::int64_t>(choices.made().choices.size() + choices.made().couplings.size());
  for (const options& each : some_assignments(choices, 8)) {
    const ml::stage_cost cost = choices.cost_of(each);
    REQUIRE(cost.once.count > count);
    for (const ml::price_share& of : {ml::price_share{1, 1}, {2, 3}, {1, 1000}, {0, 1}}) {
      const std::int64_t exact = (4 * cost.time).count + cost.once.count * of.part / of.whole;
      const picoseconds says = ml::evaluate(choices.discounting(of), each).cost;
      CHECK(says.count <= exact);
      CHECK(says.count + count >= exact);
    }
  }
}

TEST_CASE("messages between hosts take as much longer than their least as stages say that want them all over") {
  constexpr std::int32_t parts = 4;
  int longer = 0, exact = 0, all = 0;
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    const std::int32_t cut = blocks_in(graph) / 2;
    ml::problem posed = posed_on(graph, {{"outer", 0}}, 4);
    posed.cluster.hosts = posed.cluster.devices_per_host = 2;
    const ml::stage_choices first(posed, stage_on({1, {2}}, 0, cut), parts, 2, {});
    const ml::stage_choices second(posed, stage_on({1, {2}}, cut, blocks_in(graph), 2), parts, 1, {});
    ml::vector<picoseconds> rest;  // of what messages take, their extra apart
    const auto seconds = some_assignments(second, 6);
    for (const options& sends : some_assignments(first, 6)) {
      for (const options& receives : seconds) {
        const ml::plan made = plan_with(graph, {first.plan_of(sends), second.plan_of(receives)}, parts);
        const ml::transfer_times paid = ml::transfers_of(graph, made, posed.cluster).cuts.front();
        const picoseconds extra = first.cost_of(sends).extra + second.cost_of(receives).extra;
        longer += extra.count > 0 ? 1 : 0;
        rest.push_back(paid.forward + paid.backward - extra);
        CHECK(ml::evaluate(second.receiving(), receives).cost ==
              ml::evaluate(second.made(), receives).cost + parts * second.cost_of(receives).extra);
      }
    }
    // Of two forms that are wanted the larger may be sent.
    const picoseconds least = *std::min_element(rest.begin(), rest.end());
    exact += static_cast<int>(std::count(rest.begin(), rest.end(), least));
    all += static_cast<int>(rest.size());
    CHECK(least.count > 0);
  }
  CHECK(longer > 0);
  CHECK(exact > all / 3);
}

TEST_CASE("a price at which most options are hopeless leaves a problem without a fault, and the lean ones in it") {
  const ml::graph& graph = models::all()[2].graph;
  const ml::problem posed = posed_on(graph, {{"outer", 0}}, 2);
  const ml::stage_choices choices(posed, stage_on({1, {2}}, 0, blocks_in(graph)), 2, 1, {});
  const ml::intra_problem paid = choices.paying({{std::int64_t{1} << 44}, {1}}, 1, 0);
  CHECK(ml::check(paid).empty());
  const auto forbids = [](const ml::intra_problem& in) {
    std::ptrdiff_t count = 0;
    for (const ml::intra_choice& each : in.choices)
      count += std::count(each.cost.begin(), each.cost.end(), ml::forbidden);
    return count;
  };
  CHECK(forbids(paid) > forbids(choices.made()));
  const ml::intra_answer best = ml::solve_intra(choices.made()).value();
  CHECK(ml::evaluate(choices.made(), ml::solve_intra(paid).value().options).peak <
        ml::evaluate(choices.made(), best.options).peak);
}

TEST_CASE("an operator that no strategy is allowed for is named") {
  const ml::graph& graph = models::all()[0].graph;
  ml::problem posed = posed_on(graph, {{"outer", 0}}, 2);
  posed.constraints.pins = {{"positions.pointwise", "outer", "mlp"}};  // not an axis of the result
  const ml::stage_choices choices(posed, stage_on({1, {2}}, 0, blocks_in(graph)), 1, 1, {});
  CHECK(choices.stuck() == "positions.pointwise");
  CHECK(ml::stage_choices(posed, stage_on({1, {2}}, 2, blocks_in(graph)), 1, 1, {}).stuck().empty());
}

TEST_SUITE("all") {
  TEST_CASE("the best assignment costs what its plan costs, on every mesh, for many others") {
    for (const auto& [name, graph] : models::all()) {
      CAPTURE(name);
      for (const ml::mesh_shape& mesh :
           {ml::mesh_shape{1, {2}}, ml::mesh_shape{1, {3}}, ml::mesh_shape{1, {4}}, ml::mesh_shape{2, {2, 2}}}) {
        for (const std::int32_t parts : {1, 2, 4}) CHECK(compare(graph, mesh, parts, 20) > 10);
      }
    }
  }

  TEST_CASE("no combination of strategies, storages and accumulators costs less, for many shapes") {
    for (const std::int64_t samples : {2, 16, 64}) {
      for (const std::int64_t in : {2, 30}) {
        for (const std::int64_t out : {3, 40}) {
          for (const std::int32_t parts : {1, 2}) compare_with_all(samples, in, out, parts);
        }
      }
    }
  }
}
