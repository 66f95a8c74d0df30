// SPDX-License-Identifier: Apache-2.0
// The explanation of a plan: what it says is in the plan, what it counts is in the program.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/exec/simulate.hpp>
#include <meshloom/model/gpt.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/report/explain.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string_view>

namespace {

namespace ml = meshloom;
using ml::bytes;
using ml::instruction;

struct explained {
  ml::cluster machine;
  ml::graph graph;
  ml::plan made;
  ml::program whole;
};

explained explained_plan(const std::string& plan, std::int32_t ranks, std::int32_t micro_batches) {
  explained all{ml::local(ranks), ml::trace(ml::tied_gpt_training(ml::find_gpt("gpt-tiny"), ml::adamw{})), {}, {}};
  ml::manual asked = ml::parse_manual(plan, ranks).value();
  asked.micro_batches = micro_batches;
  all.made = ml::solve(ml::formulate(all.graph, all.machine, asked)).value();
  all.whole = ml::lower(all.graph, all.made, all.machine);
  return all;
}

std::string text_of(const explained& all) { return ml::explain(all.graph, all.made, all.whole, all.machine); }

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
         {"\nStages\n", "\nLayers\n", "\nParameters\n", "\nMemory of each rank\n", "\nTime of a simulated step\n"}) {
      CHECK(text.find(heading) != std::string::npos);
    }
    CHECK((text.find("\nTraffic") != std::string::npos) == (ranks > 1));
    const std::string times = ml::describe_time(all.made.predicted) + " planned, " +
                              ml::describe_time(ml::simulate(all.whole, all.machine).step) + " simulated";
    CHECK(text.find(times) != std::string::npos);
  }
}

TEST_CASE("stages say their ranks, mesh, blocks and slots") {
  const explained all = explained_plan("data=2,tensor=2,pipeline=2", 8, 2);
  const auto rows = ml::stage_table(all.graph, all.made, all.whole).rows;
  REQUIRE(rows.size() == 2);
  CHECK(rows[0] == std::vector<std::string>{"0", "0-3", "data=2 x tensor=2", "embedding, positions, blocks[0]", "2"});
  CHECK(rows[1] ==
        std::vector<std::string>{"1", "4-7", "data=2 x tensor=2", "blocks[1], layer_norm, unembedding, loss", "1"});
  const explained alone = explained_plan("data", 1, 1);
  CHECK(ml::stage_table(alone.graph, alone.made, alone.whole).rows[0] ==
        std::vector<std::string>{"0", "0", "single",
                                 "embedding, positions, blocks[0..1], layer_norm, unembedding, loss", "1"});
}

TEST_CASE("layers say how their operators are split, repeated ones once") {
  const explained all = explained_plan("data=2,tensor=2,pipeline=2", 8, 2);
  const auto rows = ml::layer_table(all.graph, all.made).rows;
  std::size_t layers = 0, operators = 0;
  for (const auto& row : rows) {
    if (row[0] == "2 x blocks") ++layers;
    if (!row[1].empty()) ++operators;
  }
  CHECK(layers == 1);
  CHECK(operators ==
        static_cast<std::size_t>(std::count_if(all.graph.nodes.begin(), all.graph.nodes.end(),
                                               [](const ml::node& at) { return at.when == ml::phase::forward; })));
  CHECK(rows[0] == std::vector<std::string>{"embedding", "lookup", "0", "split(batch@data) partial(sum@tensor)"});
  const std::vector<std::string> softmax{"", "residual.causal_attention.causal_softmax", "all",
                                         "split(batch@data, heads@tensor)"};
  CHECK(std::find(rows.begin(), rows.end(), softmax) != rows.end());
}

TEST_CASE("parameters say how they are stored, updated and summed") {
  const explained all = explained_plan("zero2", 2, 2);
  const auto rows = ml::parameter_table(all.graph, all.made).rows;
  CHECK(rows.size() == all.graph.parameters.size());
  CHECK(rows[0] == std::vector<std::string>{"embedding", "tokens", "all", "whole", "split(vocab@data)", "as updated"});
  const explained plain = explained_plan("data", 2, 2);
  CHECK(ml::parameter_table(plain.graph, plain.made).rows[0] ==
        std::vector<std::string>{"embedding", "tokens", "all", "whole", "as stored", "partial(sum@data)"});
}

TEST_CASE("traffic counts every collective and message of a step") {
  for (const auto& [plan, ranks] : plans) {
    for (const std::int32_t micro_batches : {1, 4}) {
      CAPTURE(plan);
      const explained all = explained_plan(plan, ranks, micro_batches);
      std::int64_t executed = 0;
      for (const ml::event& each : ml::simulate(all.whole, all.machine).events) {
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
      auto rows = ml::traffic_table(all.whole, all.machine).rows;
      for (const auto& row : rows) counted += times_in(row[5]);
      CHECK(counted == executed);
      std::sort(rows.begin(), rows.end());
      CHECK(std::adjacent_find(rows.begin(), rows.end()) == rows.end());
    }
  }
}

TEST_CASE("traffic says what moves, over what, at which price") {
  const explained all = explained_plan("tensor=2,pipeline=2", 4, 4);
  const auto rows = ml::traffic_table(all.whole, all.machine).rows;
  const ml::stage_program& stage = all.whole.stages[ml::stage_id{1}];
  const auto& body = stage.bodies[0];
  const auto exchange = std::find_if(body.begin(), body.end(), [](const instruction& at) {
    return at.kind == instruction::exchange && at.combine == ml::reduction::max;
  });
  REQUIRE(exchange != body.end());
  const bytes size{8 / 4 * 16 * 4};  // rows of a micro-batch, positions, bytes
  const ml::picoseconds time = ml::price(ml::collective::all_reduce, 2, size, all.machine.within_host);
  const std::vector<std::string> statistics{"all_reduce",
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

TEST_CASE("memory adds up to the arena") {
  for (const auto& [plan, ranks] : plans) {
    CAPTURE(plan);
    const explained all = explained_plan(plan, ranks, 2);
    const auto rows = ml::memory_table(all.graph, all.whole, all.machine).rows;
    REQUIRE(rows.size() == all.whole.stages.size());
    for (std::size_t s = 0; s < rows.size(); ++s) {
      const ml::stage_program& stage = all.whole.stages[static_cast<ml::stage_id>(s)];
      bytes parameters, state;
      for (const ml::placed_value& each : stage.placed_values) {
        const bool moment = each.name.find(".moment") != std::string::npos;
        (moment ? state : parameters) += stage.buffers[each.buffer].size;
      }
      CHECK(parameters.count > 0);
      const bytes gradients = stage.fixed - parameters - state;
      const std::vector<std::string> wanted{
          std::to_string(s),
          ml::describe_bytes(parameters),
          ml::describe_bytes(state),
          ml::describe_bytes(gradients),
          ml::describe_bytes(stage.kept),
          std::to_string(stage.slots),
          ml::describe_bytes(stage.transient),
          ml::describe_bytes(stage.fixed + stage.kept * stage.slots + stage.transient)};
      CHECK(std::vector<std::string>(rows[s].begin(), rows[s].end() - 1) == wanted);
    }
  }
}

TEST_CASE("time is that of the simulator") {
  const explained all = explained_plan("pipeline", 4, 4);
  const ml::simulation paper = ml::simulate(all.whole, all.machine);
  const auto rows = ml::time_table(all.whole, all.machine).rows;
  REQUIRE(rows.size() == 4);
  for (std::size_t s = 0; s < 4; ++s) {
    const std::string waits = ml::describe_time(paper.step - paper.busy_per_stage[s]) + " ";
    CHECK(rows[s][2] == "0 ps 0.0 %");
    CHECK(rows[s][3].starts_with(waits));
    CHECK(rows[s][4] == ml::describe_time(paper.step));
  }
}
