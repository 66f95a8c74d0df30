// SPDX-License-Identifier: Apache-2.0
// plan/plan.hpp: `check` accepts what `solve` makes and finds every planted fault; what a stage runs and reads.
#include <meshloom/plan/plan.hpp>
#include <meshloom/program/lower.hpp>

#include "models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <set>

namespace ml = meshloom;

namespace {

constexpr ml::placement sum{ml::placement::partial_sum, -1};
constexpr ml::placement split(int axis) { return {ml::placement::split, static_cast<std::int8_t>(axis)}; }

const ml::graph& model() { return models::all()[1].graph; }

/// A plan of two stages on meshes of 2 x 2, with one thing changed.
ml::vector<std::string> faults_with(const std::function<void(ml::plan&)>& change) {
  static const ml::plan sound = models::planned(model(), "data=2,tensor=2,pipeline=2", 8, 4);
  ml::plan made = sound;
  change(made);
  return ml::check(model(), made);
}

ml::vector<std::string> faults_with_stage(const std::function<void(ml::stage_plan&)>& change) {
  return faults_with([&](ml::plan& made) { change(made.stages[ml::stage_id{0}]); });
}

ml::vector<std::string> faults_with_positions(const std::function<void(ml::parameter_plan&)>& change) {
  const std::size_t p = models::parameter_named(model(), "positions.weight");
  return faults_with_stage([&](ml::stage_plan& stage) { change(stage.parameters[p]); });
}

using sentences = ml::vector<std::string>;

}  // namespace

TEST_CASE("a plan as it was solved has no fault") {
  CHECK(faults_with([](ml::plan&) {}).empty());
}

TEST_CASE("a plan for something else is found") {
  CHECK(faults_with([](ml::plan& made) { ++made.model; }) == sentences{"the plan belongs to another model"});
  CHECK(faults_with([](ml::plan& made) { made.sizes[ml::axis_id{0}].extent = 48; }) ==
        sentences{"the plan belongs to other sizes"});
  CHECK(faults_with([](ml::plan& made) { made.sizes[ml::axis_id{0}].name = "rows"; }) ==
        sentences{"the plan belongs to other sizes"});
  CHECK(faults_with([](ml::plan& made) { made.micro_batches = 5; }) ==
        sentences{"5 micro-batches do not divide a batch of 24"});
  CHECK(faults_with([](ml::plan& made) { made.micro_batches = 0; }) ==
        sentences{"0 micro-batches do not divide a batch of 24"});
}

TEST_CASE("times before the start are found") {
  CHECK(faults_with([](ml::plan& made) { made.predicted = {-1}; }) == sentences{"a time of the plan is negative"});
  CHECK(faults_with([](ml::plan& made) { made.bound = {-1}; }) == sentences{"a time of the plan is negative"});
  CHECK(faults_with([](ml::plan& made) {
          made.runner_up = {"", {-1}};
        }) == sentences{"a time of the plan is negative"});
  CHECK(faults_with([](ml::plan& made) { made.runner_up = {"any\ntext", {0}}; }).empty());
}

TEST_CASE("a mesh that is none is found") {
  CHECK(faults_with_stage([](auto& stage) { stage.mesh.rank = 4; }) ==
        sentences{"a stage: its mesh has 4 axes; a mesh has 0 to 3"});
  CHECK(faults_with_stage([](auto& stage) { stage.mesh.rank = -1; }) ==
        sentences{"a stage: its mesh has -1 axes; a mesh has 0 to 3"});
  CHECK(faults_with_stage([](auto& stage) { stage.mesh_axes.pop_back(); }) ==
        sentences{"a stage: its mesh axes are not named once each"});
  CHECK(faults_with_stage([](auto& stage) { stage.mesh_axes[0] = ""; }) ==
        sentences{"a stage: a mesh axis has no name"});
  CHECK(faults_with_stage([](auto& stage) { stage.mesh_axes[0] = "tensor"; }) ==
        sentences{"a stage: two mesh axes are named tensor"});
  CHECK(faults_with_stage([](auto& stage) { stage.mesh.size[1] = 0; }) ==
        sentences{"a stage: mesh axis tensor has size 0; give it 1 or more"});
  CHECK(faults_with_stage([](auto& stage) {
          stage.mesh.size = {1 << 30, 1 << 30, 0};
        }) == sentences{"a stage: its mesh has more ranks than the plan, which has 8"});
}

TEST_CASE("ranks that do not tile the cluster are found") {
  CHECK(faults_with_stage([](auto& stage) { stage.mesh.size[0] = 1; }) == sentences{"rank 2 is in no stage"});
  CHECK(faults_with_stage([](auto& stage) { stage.first_rank = 4; }) ==
        sentences{"rank 0 is in no stage", "rank 4 is in two stages"});
  CHECK(faults_with_stage([](auto& stage) { stage.first_rank = -1; }) == sentences{"a stage uses ranks -1 to 2 of 8"});
  CHECK(faults_with_stage([](auto& stage) { stage.first_rank = INT32_MAX; }) ==
        sentences{"rank 0 is in no stage", "a stage uses ranks 2147483647 to 2147483650 of 8"});
  CHECK(faults_with([](ml::plan& made) { made.ranks = 9; }) == sentences{"rank 8 is in no stage"});
  CHECK(faults_with([](ml::plan& made) { made.ranks = 7; }) == sentences{"a stage uses ranks 4 to 7 of 7"});
}

TEST_CASE("blocks that are not cut into stages are found") {
  const std::string gap = "stages do not follow each other block by block";
  CHECK(faults_with_stage([](auto& stage) { ++stage.first_block; }) == sentences{gap});
  CHECK(faults_with_stage([](auto& stage) {
          --stage.end_block;
          stage.recompute.pop_back();
        }) == sentences{gap});
  CHECK(faults_with_stage([](auto& stage) {
          stage.end_block = 0;
          stage.recompute.clear();
        }) == sentences{gap});
  CHECK(faults_with([&](ml::plan& made) { std::swap(made.stages[ml::stage_id{0}], made.stages[ml::stage_id{1}]); }) ==
        sentences{gap});
  CHECK(faults_with_stage([](auto& stage) { stage.recompute.push_back(true); }) ==
        sentences{"a stage: recompute is not said once per block"});
  CHECK(faults_with([](ml::plan& made) {
          --made.stages[ml::stage_id{1}].end_block;
          made.stages[ml::stage_id{1}].recompute.pop_back();
        }) == sentences{"stages do not cover the model's blocks"});
  CHECK(faults_with([](ml::plan& made) { made.stages = {}; }) ==
        sentences{"rank 0 is in no stage", "stages do not cover the model's blocks"});
}

TEST_CASE("parameters that are not kept as they must be are found") {
  const std::string name = "parameter positions.weight: ";
  CHECK(faults_with_stage([](auto& stage) { stage.parameters.pop_back(); }) ==
        sentences{"a stage: parameters are not said once each"});
  CHECK(faults_with_positions([](auto& kept) { kept = {}; }) ==
        sentences{name + "a stage reads it but does not keep it"});
  const std::size_t head = models::parameter_named(model(), "layer_norm.gain");
  CHECK(faults_with_stage([&](auto& stage) {
          stage.parameters[head] = {true, {}, {}, {ml::spec{}}};
        }) == sentences{"parameter layer_norm.gain: a stage keeps it but does not read it"});

  const std::string no_sharding = name + "stored or updated in a layout that is no sharding of it";
  for (const ml::spec& misfit : {ml::spec{}.with(0, sum), ml::spec{}.with(1, split(2)), ml::spec{}.with(2, split(0)),
                                 ml::spec{}.with(1, split(0)).with(1, split(1))}) {
    CHECK(faults_with_positions([&](auto& kept) { kept.stored = misfit; }) == sentences{no_sharding});
    CHECK(faults_with_positions([&](auto& kept) { kept.state = misfit; }) == sentences{no_sharding});
  }
  const std::string bad_sum = name + "accumulated in a layout that does not fit the mesh";
  const ml::spec both = ml::spec{}.with(0, sum).with(0, {ml::placement::partial_max, -1});
  for (const ml::spec& misfit :
       {ml::spec{}.with(2, sum), ml::spec{}.with(1, split(-1)), ml::spec{}.with(1, sum).with(1, split(1)), both}) {
    CHECK(faults_with_positions([&](auto& kept) { kept.accumulated[0] = misfit; }) == sentences{bad_sum});
  }
  CHECK(faults_with_positions([](auto& kept) { kept.accumulated.clear(); }) ==
        sentences{name + "a gradient has no accumulator"});
}

TEST_CASE("strategies that are in no table are found") {
  const ml::node_id id = models::node_named(model(), "positions.pointwise");
  const std::string name = "operator positions.pointwise: ";
  const auto faults = [&](const ml::strategy& how) {
    return faults_with_stage([&](auto& stage) { stage.strategies[id] = how; });
  };
  const auto count = static_cast<std::uint8_t>(model().nodes[id].op->choices.count);
  CHECK(faults({{1, 2, 0}, 0}).empty());
  CHECK(faults({{count, 0, 0}, 0}) == sentences{name + "its strategy is not in its table"});
  CHECK(faults({{0, 255, 0}, 0}) == sentences{name + "its strategy is not in its table"});
  CHECK(faults({{0, 0, 1}, 0}) == sentences{name + "its strategy is not in its table"});  // the mesh has two axes
  CHECK(faults({{1, 1, 0}, 2}).empty());                                                  // tensor cuts before data
  CHECK(faults({{1, 1, 0}, 3}) == sentences{name + "its order of cuts is not in its table"});  // so does order 2
  CHECK(faults({{1, 2, 0}, 2}) == sentences{name + "its order of cuts is not in its table"});  // nothing to order
  CHECK(faults({{0, 0, 0}, 6}) == sentences{name + "its order of cuts is not in its table"});
  CHECK(faults_with_stage([](auto& stage) { stage.strategies.add({}); }) ==
        sentences{"a stage: strategies are not said once per operator"});
}

TEST_CASE("check accepts exactly the strategies that the table enumerates") {
  ml::graph whole = models::vectors({.layers = 1});
  ml::plan made = models::planned(whole, "data=1", 1);
  ml::stage_plan& stage = made.stages[ml::stage_id{0}];
  const ml::node_id id = models::node_named(whole, "loss.sum");
  const ml::choice_table& table = whole.nodes[id].op->choices;
  stage.mesh = {3, {1, 1, 1}};
  stage.mesh_axes = {"a", "b", "c"};
  std::set<std::pair<decltype(ml::strategy::row), int>> enumerated, accepted;
  ml::for_each_strategy(table, 3, [&](const ml::strategy& how) { enumerated.insert({how.row, how.order}); });
  const int count = table.count + 1;
  for (int code = 0; code < count * count * count * 7; ++code) {
    const int rows = code / 7;
    const ml::strategy how{{static_cast<std::uint8_t>(rows % count), static_cast<std::uint8_t>(rows / count % count),
                            static_cast<std::uint8_t>(rows / count / count)},
                           static_cast<std::uint8_t>(code % 7)};
    stage.strategies[id] = how;
    const auto faults = ml::check(whole, made);  // it may well take sums as pending that are not
    const bool in_table = std::none_of(faults.begin(), faults.end(), [](const std::string& fault) {
      return fault.find("is not in its table") != std::string::npos;
    });
    if (in_table) accepted.insert({how.row, how.order});
  }
  CHECK(accepted == enumerated);
}

TEST_CASE("sums that are taken as pending but are not are found") {
  const auto take = [](ml::stage_plan& stage, const std::string& name, std::size_t axis, unsigned operands) {
    const ml::node_id id = models::node_named(model(), name);
    const ml::choice_table& table = model().nodes[id].op->choices;
    std::uint8_t row = 0;
    while (table.rows[row].kind != ml::choice::linear || table.rows[row].operands != operands) ++row;
    stage.strategies[id].row[axis] = row;
  };
  const auto faults_of_taking = [&](const std::string& name, std::size_t axis, unsigned operands) {
    return faults_with_stage([&](ml::stage_plan& stage) { take(stage, name, axis, operands); });
  };
  const auto sentence = [](const std::string& name, const std::string& operand, const std::string& axis) {
    return "operator " + name + ": takes " + operand + " as a pending sum over mesh axis " + axis +
           ", which nothing in its stage leaves so; change its strategy, or that of the operator that makes the "
           "operand";
  };
  // Made by an operator that leaves no sum over data; a parameter, made by none; and what comes from another stage.
  CHECK(models::says(faults_of_taking("positions.pointwise", 0, 3),
                     sentence("positions.pointwise", "embedding.lookup", "data")));
  CHECK(models::says(faults_of_taking("repeat.residual_2.linear.dot", 1, 2),
                     sentence("repeat.residual_2.linear.dot", "repeat.residual_2.linear.weight", "tensor")));
  CHECK(models::says(faults_of_taking("tokens.pointwise", 1, 3),
                     sentence("tokens.pointwise", model().values[model().parameters[0].gradients[0]].name, "tensor")));

  // An update takes a gradient as it was accumulated.
  ml::plan made = models::planned(model(), "data=2", 2, 2);
  ml::stage_plan& stage = made.stages[ml::stage_id{0}];
  take(stage, "tokens.pointwise", 0, 3);
  CHECK(ml::check(model(), made).empty());
  stage.parameters[models::parameter_named(model(), "tokens")].accumulated[1] = {};
  CHECK(ml::check(model(), made) ==
        sentences{sentence("tokens.pointwise", model().values[model().parameters[0].gradients[1]].name, "data")});

  // A gradient may be summed earlier than an update wants it, not later than it is made.
  CHECK(faults_with_positions([](auto& kept) { kept.accumulated[0] = kept.accumulated[0].without(0); }).empty());
  const auto accumulated = [](const std::string& axis) {
    return "parameter positions.weight: a gradient is accumulated as a pending sum over mesh axis " + axis +
           ", but not made as one; accumulate it as it is made";
  };
  CHECK(faults_with_positions([](auto& kept) { kept.accumulated[0] = kept.accumulated[0].with(1, sum); }) ==
        sentences{accumulated("tensor")});
  CHECK(faults_with_positions([](auto& kept) {
          kept.accumulated[0] = kept.accumulated[0].without(0).with(0, {ml::placement::partial_max, -1});
        }) == sentences{accumulated("data")});
}

TEST_CASE("what is without a fault can be lowered") {
  std::mt19937_64 bits(11);
  const ml::cluster machine = ml::local(4);
  int lowered = 0, refused = 0;
  for (const auto& [name, graph] : models::all()) {
    for (const std::string preset : {"data=2,tensor=2", "zero2=2,pipeline=2", "zero3=2,tensor=2"}) {
      const ml::plan sound = models::planned(graph, preset, 4, 2);
      for (int round = 0; round < 60; ++round) {
        ml::plan made = sound;
        ml::stage_plan& stage = made.stages[static_cast<ml::stage_id>(bits() % made.stages.size())];
        for (int changes = 0; changes < 3; ++changes) {
          const auto id = static_cast<ml::node_id>(bits() % graph.nodes.size());
          ml::strategy& how = stage.strategies[id];
          if (!ml::runs(graph, stage, id)) continue;
          how.row[bits() % static_cast<std::size_t>(stage.mesh.rank)] =
              static_cast<std::uint8_t>(bits() % static_cast<std::size_t>(graph.nodes[id].op->choices.count));
        }
        CAPTURE(preset);
        if (!ml::check(graph, made).empty()) {
          ++refused;
          continue;
        }
        CHECK_NOTHROW(ml::lower(graph, made, machine));
        ++lowered;
      }
    }
  }
  CHECK(lowered > 100);
  CHECK(refused > 100);
}

TEST_CASE("a stage runs the nodes of its blocks and the updates of what they read") {
  for (const auto& [name, graph] : models::all()) {
    const auto blocks = ml::blocks_of(graph);
    const auto count = static_cast<std::int32_t>(blocks.size());
    for (std::int32_t first = 0; first < count; ++first) {
      for (std::int32_t end = first + 1; end <= count; ++end) {
        ml::stage_plan stage;
        stage.first_block = first;
        stage.end_block = end;
        std::set<ml::node_id> run;
        std::set<ml::value_id> read;
        for (std::int32_t b = first; b < end; ++b) {
          for (const ml::phase when : {ml::phase::forward, ml::phase::backward}) {
            for (const ml::node_id id : ml::nodes_of(graph, blocks[static_cast<std::size_t>(b)].region, when)) {
              run.insert(id);
              read.insert(graph.nodes[id].operands.begin(), graph.nodes[id].operands.end());
            }
          }
        }
        for (std::size_t n = 0; n < graph.nodes.size(); ++n) {  // what updates a parameter bears its name
          const auto id = static_cast<ml::node_id>(n);
          for (const ml::parameter& each : graph.parameters) {
            const bool its_update = graph.nodes[id].when == ml::phase::update &&
                                    graph.nodes[id].name.starts_with(graph.values[each.value].name + ".");
            if (its_update && read.count(each.value) != 0) run.insert(id);
          }
          CHECK(ml::runs(graph, stage, id) == (run.count(id) != 0));
        }
        for (const ml::parameter& each : graph.parameters) {
          CHECK(ml::reads(graph, stage, each) == (read.count(each.value) != 0));
        }
      }
    }
  }
}

TEST_CASE("blocks have numbers, stages hold them, micro-batches share the batch") {
  const auto blocks = ml::blocks_of(model());
  const ml::plan made = models::planned(model(), "pipeline=3", 3);
  for (std::int32_t b = 0; b < static_cast<std::int32_t>(blocks.size()); ++b) {
    CHECK(ml::block_number(model(), blocks[static_cast<std::size_t>(b)]) == b);
    const ml::stage_plan& stage = made.stages[ml::stage_of(made, b)];
    CHECK((stage.first_block <= b && b < stage.end_block));
  }
  CHECK(ml::stage_of(made, static_cast<std::int32_t>(blocks.size())) == ml::stage_id::none);
  CHECK(ml::stage_of(made, -1) == ml::stage_id::none);
  const ml::size_table sizes = ml::micro_batch_sizes(model(), 4);
  CHECK(sizes[ml::find_axis(sizes, "batch")].extent == 6);
  CHECK(sizes[ml::find_axis(sizes, "seq")].extent == 6);
  CHECK(sizes[ml::find_axis(sizes, "embed")].extent == 12);
}
