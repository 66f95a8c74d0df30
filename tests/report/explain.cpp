// SPDX-License-Identifier: Apache-2.0
// The explanation of a plan: what it says is in the plan, what it counts is in the program.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/exec/simulate.hpp>
#include <meshloom/model/gpt.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/planner/free_bound.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/report/explain.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string_view>

namespace {

namespace ml = meshloom;
using ml::bytes;
using ml::instruction;

struct explained {
  ml::problem posed;
  ml::plan made;
  ml::program whole;
};

explained explained_plan(const std::string& plan, std::int32_t ranks, std::int32_t micro_batches) {
  ml::manual asked = ml::parse_manual(plan, ranks).value();
  asked.micro_batches = micro_batches;
  ml::graph graph = ml::trace(ml::tied_gpt_training(ml::find_gpt("gpt-tiny"), ml::adamw{}));
  explained all{ml::formulate(std::move(graph), ml::local(ranks), asked), {}, {}};
  all.made = ml::solve(all.posed).value();
  all.whole = ml::lower(all.posed.graph, all.made, all.posed.cluster);
  return all;
}

std::string text_of(const explained& all) { return ml::explain(all.posed, all.made); }

const std::pair<const char*, int> plans[] = {{"data", 1},
                                             {"data", 4},
                                             {"tensor", 4},
                                             {"zero3", 2},
                                             {"pipeline", 4},
                                             {"gpipe", 3},
                                             {"zero1=2,tensor=2,pipeline=2", 8}};

/// "4 x 2" is 8, "3" is 3.
std::int64_t times_in(const std::string& cell) {
  const auto by = cell.find(" x ");
  return std::stoll(cell) * (by == std::string::npos ? 1 : std::stoll(cell.substr(by + 3)));
}

bool collects(const instruction& at) {
  return at.kind == instruction::exchange || (at.kind == instruction::redistribute && at.how != ml::collective::slice);
}

}  // namespace

TEST_CASE("the whole text is narrow enough and has every part") {
  for (const auto& [plan, ranks] : plans) {
    CAPTURE(plan);
    const explained all = explained_plan(plan, ranks, 2);
    const std::string text = text_of(all);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      REQUIRE(end != std::string::npos);
      CHECK(end - at <= ml::text_width);
      CHECK((end == at || text[end - 1] != ' '));
      at = end + 1;
    }
    for (const char* heading :
         {"\nA step\n", "\nStages\n", "\nLayers\n", "\nParameters\n",
          "\nMemory of each rank, of the 4.0 GiB of its device\n", "\nTime of a simulated step, by kind of work\n"}) {
      CHECK(text.find(heading) != std::string::npos);
    }
    CHECK((text.find("\nTraffic") != std::string::npos) == (ranks > 1));
    CHECK(text.find("Violations") == std::string::npos);
  }
}

TEST_CASE("a step says what is predicted, simulated and proven, and what came second") {
  explained all = explained_plan("data", 4, 2);
  const ml::breakdown parts{.step = {1'100}, .stages = {}};
  all.made.predicted = {1'000};
  using rows = ml::vector<ml::vector<std::string>>;
  const rows times{{"predicted", "1.0 ns", "operators, collectives and messages"},
                   {"simulated", "1.1 ns", "with copies, and messages that hold up both ends"}};
  CHECK(ml::step_table(all.made, parts).rows == times);
  all.made.bound = {900};
  all.made.runner_up = {"2 stages of 2 ranks,\n8 micro-batches", {1'250}};
  rows more = times;
  more.push_back({"bound", "900 ps", "no plan of the searched space takes less: a gap of 10.0 %"});
  more.push_back({"runner-up", "1.2 ns", "2 stages of 2 ranks,\\0a8 micro-batches: 25.0 % more"});
  CHECK(ml::step_table(all.made, parts).rows == more);
  more.insert(more.begin() + 3, {"free bound", "800 ps",
                                 "this plan is 25.0 % above the bound of the free space, in which nothing is said"});
  CHECK(ml::step_table(all.made, parts, ml::picoseconds{800}).rows == more);
  more[3] = {"free bound", "1.2 ns", "this plan is 20.0 % below the bound of the free space, so not of that space"};
  CHECK(ml::step_table(all.made, parts, ml::picoseconds{1'250}).rows == more);
}

TEST_CASE("a bound is followed by the space that it speaks of") {
  const std::string searched = "\nThe space that was searched, of which the bound speaks\n",
                    free = "\nThe free space: ";
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  const explained hand = explained_plan("data", 2, 2);
  CHECK(!has(text_of(hand), searched));
  CHECK(!has(text_of(hand), free));
  const ml::picoseconds bound = ml::free_bound(hand.posed).value();
  const std::string measured = ml::explain(hand.posed, hand.made, bound);
  CHECK(has(measured, free));
  CHECK(has(measured, "\n  free bound "));
  ml::problem any = ml::formulate(hand.posed.graph, hand.posed.cluster);
  const ml::plan made = ml::solve(any).value();
  CHECK(made.bound == bound);
  CHECK(has(ml::explain(any, made), searched));
  CHECK(!has(ml::explain(any, made, bound), free));
  any.constraints.micro_batches = made.micro_batches;
  CHECK(has(ml::explain(any, made, bound), searched));
  CHECK(has(ml::explain(any, made, bound), free));
}

TEST_CASE("a plan that predicts nothing is measured by what its program takes") {
  explained hand = explained_plan("data", 2, 2);
  const std::string text = ml::explain(hand.posed, hand.made, ml::picoseconds{1'000'000});
  hand.made.predicted = {};
  CHECK(ml::explain(hand.posed, hand.made, ml::picoseconds{1'000'000}) == text);
}

TEST_CASE("a plan that is wrong is said to be first, and is not explained if it cannot be lowered") {
  explained all = explained_plan("data=2,pipeline=2", 4, 2);
  all.made.bound = all.made.predicted + ml::picoseconds{1};
  const std::string text = text_of(all);
  CHECK(text.starts_with("Violations\n"));
  CHECK(text.find("the plan says that none takes less than") != std::string::npos);
  CHECK(text.find("\nStages\n") != std::string::npos);
  all.made.stages[ml::stage_id{1}].first_rank = 0;
  CHECK(text_of(all) ==
        "Violations\n  what is wrong; the cure\n"
        "  ranks 0 to 1: in stages 0 and 1; a device can be in one only, so move the others\n"
        "  ranks 2 to 3: in no stage; give every device to one, or solve again for fewer\n");
}

TEST_CASE("stages say their ranks, mesh, blocks and slots") {
  const explained all = explained_plan("data=2,tensor=2,pipeline=2", 8, 2);
  const auto rows = ml::stage_table(all.posed.graph, all.made, all.whole).rows;
  REQUIRE(rows.size() == 2);
  CHECK(rows[0] == ml::vector<std::string>{"0", "0-3", "data=2 x tensor=2", "embedding, positions, blocks[0]", "2"});
  CHECK(rows[1] ==
        ml::vector<std::string>{"1", "4-7", "data=2 x tensor=2", "blocks[1], layer_norm, unembedding, loss", "1"});
  const explained alone = explained_plan("data", 1, 1);
  CHECK(ml::stage_table(alone.posed.graph, alone.made, alone.whole).rows[0] ==
        ml::vector<std::string>{"0", "0", "single", "embedding, positions, blocks[0..1], layer_norm, unembedding, loss",
                                "1"});
}

TEST_CASE("stages say which blocks recompute, where any does") {
  explained all = explained_plan("data=2,pipeline=2", 4, 2);
  const auto table = [&] { return ml::stage_table(all.posed.graph, all.made, all.whole); };
  CHECK(table().columns.size() == 5);
  ml::stage_plan &first = all.made.stages[ml::stage_id{0}], &second = all.made.stages[ml::stage_id{1}];
  second.recompute.assign(4, true);
  CHECK(table().columns.back().heading == "recompute");
  CHECK(table().rows[0].back() == "none");
  CHECK(table().rows[1].back() == "all");
  first.recompute = {false, true, true};
  second.recompute = {true, false, true, true};
  CHECK(table().rows[0].back() == "positions, blocks[0]");
  CHECK(table().rows[1].back() == "blocks[1], unembedding, loss");
}

TEST_CASE("layers say how their operators are split, repeated ones once") {
  const explained all = explained_plan("data=2,tensor=2,pipeline=2", 8, 2);
  const auto rows = ml::layer_table(all.posed.graph, all.made).rows;
  std::size_t layers = 0, operators = 0;
  for (const auto& row : rows) {
    if (row[0] == "2 x blocks") ++layers;
    if (!row[1].empty()) ++operators;
  }
  CHECK(layers == 1);
  CHECK(operators ==
        static_cast<std::size_t>(std::count_if(all.posed.graph.nodes.begin(), all.posed.graph.nodes.end(),
                                               [](const ml::node& at) { return at.when == ml::phase::forward; })));
  CHECK(rows[0] == ml::vector<std::string>{"embedding", "lookup", "0", "split(batch@data) partial(sum@tensor)"});
  const ml::vector<std::string> attention{"", "residual.causal_attention.attention", "all",
                                          "split(batch@data, heads@tensor)"};
  CHECK(std::find(rows.begin(), rows.end(), attention) != rows.end());
}

TEST_CASE("parameters say how they are stored, updated and summed") {
  const explained all = explained_plan("zero2", 2, 2);
  const auto rows = ml::parameter_table(all.posed.graph, all.made).rows;
  CHECK(rows.size() == all.posed.graph.parameters.size());
  CHECK(rows[0] == ml::vector<std::string>{"embedding", "tokens", "all", "whole", "split(vocab@data)", "as updated"});
  const explained plain = explained_plan("data", 2, 2);
  CHECK(ml::parameter_table(plain.posed.graph, plain.made).rows[0] ==
        ml::vector<std::string>{"embedding", "tokens", "all", "whole", "as stored", "partial(sum@data)"});
}

TEST_CASE("traffic counts every collective and message of a step") {
  for (const auto& [plan, ranks] : plans) {
    for (const std::int32_t micro_batches : {1, 4}) {
      CAPTURE(plan);
      const explained all = explained_plan(plan, ranks, micro_batches);
      std::int64_t executed = 0;
      for (const ml::event& each : ml::simulate(all.whole, all.posed.cluster).events) {
        const ml::stage_program& stage = all.whole.stages[ml::stage_of_rank(all.whole, each.rank)];
        if (each.rank != stage.first_rank || each.kind == ml::action::receive) continue;
        executed +=
            each.kind == ml::action::send ||
                    collects(
                        stage.bodies[static_cast<std::size_t>(each.index)][static_cast<std::size_t>(each.instruction)])
                ? 1
                : 0;
      }
      std::int64_t counted = 0;
      auto rows = ml::traffic_table(all.whole, all.posed.cluster).rows;
      for (const auto& row : rows) counted += times_in(row[5]);
      CHECK(counted == executed);
      std::sort(rows.begin(), rows.end());
      CHECK(std::adjacent_find(rows.begin(), rows.end()) == rows.end());
    }
  }
}

TEST_CASE("traffic says what moves, over what, at which price") {
  const explained all = explained_plan("tensor=2,pipeline=2", 4, 4);
  const auto rows = ml::traffic_table(all.whole, all.posed.cluster).rows;
  const ml::stage_program& stage = all.whole.stages[ml::stage_id{1}];
  const auto& body = stage.bodies[0];
  const auto exchange = std::find_if(body.begin(), body.end(), [](const instruction& at) {
    return at.kind == instruction::exchange && at.combine == ml::reduction::max;
  });
  REQUIRE(exchange != body.end());
  const bytes size{8 / 4 * 16 * 4};  // rows of a micro-batch, positions, bytes
  const ml::picoseconds time = ml::price(ml::collective::all_reduce, 2, size, all.posed.cluster.within_host);
  const ml::vector<std::string> statistics{"all_reduce",
                                           "tensor",
                                           "loss.cross_entropy (statistics)",
                                           ml::describe_bytes(size),
                                           ml::describe_time(time),
                                           "1 x 4",
                                           ml::describe_time(time * 4)};
  CHECK(std::find(rows.begin(), rows.end(), statistics) != rows.end());
  const auto sent = [&](std::string_view over) {
    return std::count_if(rows.begin(), rows.end(), [&](const auto& row) { return row[0] == "send" && row[1] == over; });
  };
  CHECK(sent("0 to 1") == 2);  // activations, and the table's gradient
  CHECK(sent("1 to 0") == 2);
}

TEST_CASE("groups of hosts are said one by one, and each stage's memory is that of its own") {
  ml::cluster machine = ml::local(2);
  machine.others.push_back({machine.device, 3, 1, machine.within_host, machine.between_hosts});
  machine.others[0].device.name = "fast";
  machine.others[0].device.memory.count *= 2;
  using rows = ml::vector<ml::vector<std::string>>;
  CHECK(ml::group_table(machine).rows ==
        rows{{"1", "0 to 1", "1 x 2", "cpu core", "4.0 GiB"}, {"2", "2 to 4", "3 x 1", "fast", "8.0 GiB"}});
  const ml::problem posed = ml::formulate(models::vectors({.layers = 2}), machine);
  const std::string text = ml::explain(posed, ml::solve(posed).value());
  CHECK(text.find("Groups of hosts; a stage stands on one\n") != std::string::npos);
  CHECK(text.find("Memory of each rank, of that of its device\n") != std::string::npos);
  CHECK(text.find("Violations") == std::string::npos);
  machine.others[0].device.memory = machine.device.memory;
  const ml::problem alike = ml::formulate(models::vectors({.layers = 2}), machine);
  CHECK(ml::explain(alike, ml::solve(alike).value()).find("of the 4.0 GiB of its device\n") != std::string::npos);
}
