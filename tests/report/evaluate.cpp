// SPDX-License-Identifier: Apache-2.0
// The referee of plans: it finds nothing in what `solve` makes, and every planted fault by its own sentence.
#include <meshloom/plan/adapt.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/report/evaluate.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <random>

namespace ml = meshloom;
using namespace ml::axis;
using ml::picoseconds;
using ml::work;
using sentences = ml::vector<std::string>;

namespace {

/// Two stages of 2 x 2 ranks under 1F1B, of a GPT whose head is its embedding.
const ml::problem& posed() {
  static const ml::problem made = models::posed(models::all()[1].graph, "data=2,tensor=2,pipeline=2", 8, 4);
  return made;
}

const ml::plan& sound() {
  static const ml::plan made = ml::solve(posed()).value();
  return made;
}

sentences violations_with(const std::function<void(ml::plan&)>& change) {
  ml::plan made = sound();
  change(made);
  return ml::evaluate(posed(), made).violations;
}

sentences violations_with_stage(int which, const std::function<void(ml::stage_plan&)>& change) {
  return violations_with([&](ml::plan& made) { change(made.stages[static_cast<ml::stage_id>(which)]); });
}

/// The one violation there is; a list of all of them if there are more, or none.
std::string only(const sentences& violations) {
  if (violations.size() == 1) return violations[0];
  std::string text = std::to_string(violations.size()) + " violations";
  for (const std::string& each : violations) text += "\n" + each;
  return text;
}

/// The row of an operator's table that takes these operands as pending sums.
std::uint8_t linear_row(const ml::node& at, unsigned operands) {
  const ml::choice_table& table = at.op->choices;
  for (std::uint8_t row = 0; row < table.count; ++row) {
    if (table.rows[row].kind == ml::choice::linear && table.rows[row].operands == operands) return row;
  }
  throw ml::error(at.name + " has no such row");
}

}  // namespace

TEST_CASE("plans of presets and their products are sound, predict what they take, and break down") {
  int plans = 0;
  for (const auto& [name, graph] : models::all()) {
    for (const std::int32_t ranks : {1, 2, 4, 8}) {
      for (const std::string& preset : models::products(ranks)) {
        const std::int32_t micro_batches = plans % 2 == 0 ? 1 : 4;
        ml::problem asked = models::posed(graph, preset, ranks, micro_batches);
        if (plans % 3 == 0) asked.cluster = models::near_ranks(ranks);
        if (plans % 4 == 1) asked.constraints = asked.constraints & ml::recompute();
        const auto made = ml::solve(asked);
        if (!made) continue;  // more stages than blocks
        CAPTURE(name);
        CAPTURE(preset);
        const ml::verdict judged = ml::evaluate(asked, made.value());
        CHECK_MESSAGE(judged.violations.empty(), judged.violations.front());
        REQUIRE(judged.parts);
        const picoseconds off = judged.recounted - made.value().predicted;
        CHECK(std::abs(off.count) <= 100);  // parts of operators are rounded up one by one
        CHECK(judged.parts->stages.size() == made.value().stages.size());
        if (made.value().stages.size() == 1) {
          const picoseconds copies = judged.parts->stages[ml::stage_id{0}].times[work::copies];
          CHECK(judged.parts->step == judged.recounted + copies);
        }
        ++plans;
      }
    }
  }
  CHECK(plans > 150);
}

TEST_CASE("so are automatic plans, within a host and between hosts") {
  const ml::graph graph = models::vectors({.layers = 2});
  ml::cluster hosts = ml::p3_16xlarge(2);
  hosts.devices_per_host = 2;
  for (const ml::cluster& machine : {hosts, models::near_ranks(4)}) {
    const ml::problem asked = ml::formulate(graph, machine);
    const auto made = ml::solve(asked);
    REQUIRE_MESSAGE(made, made.error());
    const ml::verdict judged = ml::evaluate(asked, made.value());
    CHECK_MESSAGE(judged.violations.empty(), judged.violations.front());
    CHECK(judged.recounted >= made.value().bound);
  }
}

TEST_CASE("so are plans whose messages skip stages, or pass between meshes that are not alike") {
  const ml::graph skipped = models::bypassed(), &gpt = models::all()[0].graph;
  const ml::problem any = ml::formulate(gpt, ml::local(3));
  ml::plan uneven = models::planned(gpt, "data=2,pipeline=2", 4, 2);
  uneven.stages[ml::stage_id{1}] = models::planned(gpt, "pipeline=2", 2, 2).stages[ml::stage_id{1}];
  uneven.stages[ml::stage_id{1}].first_rank = 2;
  uneven.ranks = 3;
  uneven.predicted = ml::predict(gpt, uneven, any.cluster);
  CHECK(only(ml::evaluate(any, uneven).violations) == "0 violations");
  for (const std::string preset : {"pipeline=4", "gpipe=5", "pipeline=5", "data=2,pipeline=3"}) {
    CAPTURE(preset);
    const std::int32_t ranks = preset == "data=2,pipeline=3" ? 6 : preset.back() - '0';
    const ml::problem asked = models::posed(skipped, preset, ranks, 4);
    CHECK(only(ml::evaluate(asked, ml::solve(asked).value()).violations) == "0 violations");
  }
}

TEST_CASE("so are plans of graphs without a backward, solved for them or adapted from a training's") {
  const auto task = models::token_training(ml::embedding<vocab, embed>{} | ml::repeat(4, models::perceptron()) |
                                           ml::linear<embed, vocab>{});
  const ml::graph training = ml::trace(task);
  int plans = 0;
  for (const ml::graph& graph : {ml::trace_inference(task), ml::trace_evaluation(task)}) {
    for (const std::string& preset : models::products(4)) {
      CAPTURE(preset);
      const ml::problem asked = models::posed(graph, preset, 4, 4);
      const ml::plan made = ml::solve(asked).value();
      const ml::verdict judged = ml::evaluate(asked, made);
      CHECK_MESSAGE(judged.violations.empty(), judged.violations.front());
      CHECK(std::abs((judged.recounted - made.predicted).count) <= 100);

      ml::plan adapted = ml::adapt(training, models::planned(training, preset, 4, 4), graph);
      const ml::verdict again = ml::evaluate(asked, adapted);
      CHECK_MESSAGE(again.violations.empty(), again.violations.front());
      adapted.predicted = ml::predict(graph, adapted, asked.cluster);
      CHECK(std::abs((again.recounted - adapted.predicted).count) <= 100);
      ++plans;
    }
  }
  CHECK(plans == 2 * static_cast<int>(models::products(4).size()));

  const ml::problem any = ml::formulate(ml::trace_inference(task), models::near_ranks(4));
  const auto made = ml::solve(any);
  REQUIRE_MESSAGE(made, made.error());
  const ml::verdict judged = ml::evaluate(any, made.value());
  CHECK_MESSAGE(judged.violations.empty(), judged.violations.front());
  CHECK(made.value().schedule == ml::schedule_kind::forward_only);
}

TEST_CASE("memory over the limit is found, to the byte") {
  const ml::table<ml::stage_id, ml::stage_breakdown> stages = ml::evaluate(posed(), sound()).parts->stages;
  const ml::bytes first = stages[ml::stage_id{0}].peak(), second = stages[ml::stage_id{1}].peak();
  REQUIRE(first > second);
  ml::problem asked = posed();
  asked.cluster.device.memory = first;
  CHECK(ml::evaluate(asked, sound()).violations.empty());
  asked.cluster.device.memory = first - ml::bytes{1};
  const ml::verdict judged = ml::evaluate(asked, sound());
  CHECK(only(judged.violations) == "stage 0: each rank needs " + ml::describe_bytes(first) + ", 1 B more than the " +
                                       ml::describe_bytes(first - ml::bytes{1}) + " of its device, most (" +
                                       ml::describe_bytes(stages[ml::stage_id{0}].kept * 2) +
                                       ") for kept activations; split or recompute them, or take more micro-batches");
  CHECK(judged.parts);
  asked.cluster.device.memory = second - ml::bytes{1};
  CHECK(ml::evaluate(asked, sound()).violations.size() == 2);
}

TEST_CASE("a stage that straddles groups of hosts is found, and memory is that of a stage's own group") {
  ml::problem asked = posed();
  const ml::cluster& machine = asked.cluster;
  ml::host_group half{machine.device, 1, 4, machine.within_host, machine.between_hosts};
  asked.cluster.devices_per_host = 4;
  asked.cluster.others = {half};
  const ml::plan made = ml::solve(asked).value();
  CHECK(only(ml::evaluate(asked, made).violations) == "0 violations");
  const auto stages = ml::evaluate(asked, made).parts->stages;
  asked.cluster.others[0].device.memory = stages[ml::stage_id{1}].peak();
  CHECK(only(ml::evaluate(asked, made).violations) == "0 violations");
  asked.cluster.others[0].device.memory.count -= 1;
  CHECK(only(ml::evaluate(asked, made).violations).starts_with("stage 1: each rank needs "));
  asked.cluster.others[0].device.memory = machine.device.memory;
  asked.constraints = ml::automatic();
  asked.cluster.devices_per_host = 2;
  asked.cluster.others = {half, half};
  asked.cluster.others[1].devices_per_host = 2;
  CHECK(
      ml::evaluate(asked, made).violations ==
      sentences{"stage 0: uses ranks 0 to 3 of several groups of hosts, the next of which begins with rank 2; a stage "
                "stands on one group, so shrink it, or solve again",
                "stage 1: uses ranks 4 to 7 of several groups of hosts, the next of which begins with rank 6; a stage "
                "stands on one group, so shrink it, or solve again"});
}

TEST_CASE("ranks that are used twice, not at all, or that there are not, are found") {
  CHECK(violations_with_stage(1, [](auto& stage) { stage.first_rank = 2; }) ==
        sentences{"ranks 2 to 3: in stages 0 and 1; a device can be in one only, so move the others",
                  "ranks 6 to 7: in no stage; give every device to one, or solve again for fewer"});
  CHECK(violations_with_stage(1, [](auto& stage) { stage.first_rank = 5; }) ==
        sentences{"stage 1: uses ranks 5 to 8, but the cluster has ranks 0 to 7; move or shrink it, or solve again",
                  "rank 4: in no stage; give every device to one, or solve again for fewer"});
  CHECK(violations_with_stage(0, [](auto& stage) {
          stage.first_rank = std::numeric_limits<std::int32_t>::min();
        }).size() == 2);
  CHECK(violations_with_stage(1, [](auto& stage) {
          stage.mesh.size[0] = std::numeric_limits<std::int32_t>::max();
        }).size() == 1);
  CHECK(only(violations_with([](auto& made) { made.ranks = 9; })) ==
        "the plan is for 9 ranks, but the cluster has 8; solve again for this cluster");
  const ml::problem fewer = ml::formulate(posed().graph, ml::local(4));
  CHECK(ml::evaluate(fewer, sound()).violations ==
        sentences{"the plan is for 8 ranks, but the cluster has 4; solve again for this cluster",
                  "stage 1: uses ranks 4 to 7, but the cluster has ranks 0 to 3; move or shrink it, or solve again"});
}

TEST_CASE("what does not cover the model, or is not of it, is found") {
  CHECK(only(violations_with_stage(1, [](auto& stage) {
          --stage.end_block;
          stage.recompute.pop_back();
        })) == "plan: stages do not cover the model's blocks; correct it, or solve again");
  CHECK(only(violations_with_stage(1, [](auto& stage) { ++stage.first_block; })) ==
        "plan: stages do not follow each other block by block; correct it, or solve again");
  CHECK(only(violations_with([](auto& made) { ++made.model; })) ==
        "plan: the plan belongs to another model; correct it, or solve again");
  CHECK(only(violations_with([](auto& made) { made.micro_batches = 5; })) ==
        "plan: 5 micro-batches do not divide a batch of 24; correct it, or solve again");
}

TEST_CASE("illegal rows and sums that are pending where none may be are found") {
  const ml::graph& graph = posed().graph;
  const auto found = [&](const std::string& name, std::size_t axis, std::uint8_t row) {
    return only(violations_with_stage(
        0, [&](auto& stage) { stage.strategies[models::node_named(graph, name)].row[axis] = row; }));
  };
  // Attention is not linear: no row of its table takes a pending sum, so the first that would is none.
  const std::string attention = "repeat.residual.causal_attention.attention";
  const ml::choice_table& table = graph.nodes[models::node_named(graph, attention)].op->choices;
  for (int row = 0; row < table.count; ++row)
    CHECK(table.rows[static_cast<std::size_t>(row)].kind != ml::choice::linear);
  CHECK(found(attention, 1, static_cast<std::uint8_t>(table.count)) ==
        "plan: operator " + attention + ": its strategy is not in its table; correct it, or solve again");
  // A sum is linear in both its operands together: where one of them is whole, the other may not pend.
  const std::string add = "positions.pointwise";
  const std::string pending = found(add, 0, linear_row(graph.nodes[models::node_named(graph, add)], 3));
  CHECK(
      pending.starts_with("plan: operator positions.pointwise: takes embedding.lookup as a pending sum over mesh axis "
                          "data, which nothing in its stage leaves so; "));
}

TEST_CASE("a time that is not the plan's is found, to the picosecond") {
  const picoseconds right = ml::evaluate(posed(), sound()).recounted;
  const auto predicting = [&](picoseconds time) {
    return only(violations_with([&](ml::plan& made) { made.predicted = time; }));
  };
  const std::string time = ml::describe_time(right);
  CHECK(predicting(right * 2) == "the plan predicts a step of " + ml::describe_time(right * 2) +
                                     ", but its program takes " + time + " as plans are priced, " + time +
                                     " less; solve again for this cluster");
  CHECK(predicting({1}).starts_with("the plan predicts a step of 1 ps, but its program takes " + time));
  CHECK(predicting({std::numeric_limits<std::int64_t>::max()}).find(" less; ") != std::string::npos);

  const ml::problem exact = models::posed(models::all()[2].graph, "data=4", 4, 2);  // no operator runs in parts
  ml::plan made = ml::solve(exact).value();
  for (const std::int64_t off : {-1, 1}) {
    made.predicted += {off};
    CHECK(only(ml::evaluate(exact, made).violations).find(", 1 ps " + std::string(off > 0 ? "less" : "more")) !=
          std::string::npos);
    made.predicted += {-off};
  }
  CHECK(ml::evaluate(exact, made).violations.empty());
}

TEST_CASE("another cluster's plan takes another time") {
  ml::problem other = posed();
  other.cluster.within_host.latency += picoseconds{1'000};
  CHECK(only(ml::evaluate(other, sound()).violations).ends_with(" more; solve again for this cluster"));
}

TEST_CASE("a bound above the plan and a runner-up below it are found") {
  const picoseconds right = sound().predicted, more = right + picoseconds{7}, less = right - picoseconds{7};
  CHECK(violations_with([&](ml::plan& made) { made.bound = right; }).empty());
  CHECK(only(violations_with([&](ml::plan& made) { made.bound = more; })) ==
        "the plan says that none takes less than " + ml::describe_time(more) + ", but takes " +
            ml::describe_time(right) + " itself, 7 ps less; drop the bound, or solve again");
  CHECK(violations_with([&](ml::plan& made) { made.runner_up = {"another", right}; }).empty());
  CHECK(only(violations_with([&](ml::plan& made) {
          made.runner_up = {"1 stage\nof 8", less};
        })) == "the runner-up (1 stage\\0aof 8) takes " + ml::describe_time(less) +
                   ", 7 ps less than the plan; take it instead, or solve again");
  CHECK(only(violations_with([](ml::plan& made) {
          made.runner_up = {"", {-1}};
        })) == "plan: a time of the plan is negative; correct it, or solve again");
}

TEST_CASE("a plan that predicts nothing is judged by what it takes") {
  const picoseconds right = ml::evaluate(posed(), sound()).recounted;
  const auto with_bound = [&](picoseconds bound, picoseconds next) {
    return violations_with([&](ml::plan& made) {
      made.predicted = {};
      made.bound = bound;
      made.runner_up = {"another", next};
    });
  };
  CHECK(with_bound({}, right).empty());
  CHECK(with_bound(right, right).empty());
  CHECK(only(with_bound(right + picoseconds{7}, right)).find(" itself, 7 ps less; ") != std::string::npos);
  CHECK(only(with_bound({}, right - picoseconds{7})).find(", 7 ps less than the plan; ") != std::string::npos);
}

TEST_CASE("a problem that is none is said, and nothing else") {
  ml::problem none = posed();
  none.constraints.mesh[0].size = 3;
  CHECK(only(ml::evaluate(none, sound()).violations) ==
        "problem: the plan uses 12 ranks, but the cluster has 8; make the product of stages and mesh axes equal to it");
}

TEST_CASE("whatever is changed in a plan, nothing is thrown, and what is lowered breaks down") {
  std::mt19937_64 bits(29);
  const auto draw = [&](std::size_t count) { return static_cast<std::size_t>(bits() % count); };
  const auto number = [&] {
    const std::int32_t odd[] = {
        -1, 0, 1, 2, 3, 5, 8, 100, std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min()};
    return odd[draw(std::size(odd))];
  };
  int found = 0, lowered = 0;
  for (int round = 0; round < 1500; ++round) {
    ml::plan made = sound();
    for (std::size_t changes = 1 + draw(2); changes > 0; --changes) {
      ml::stage_plan& stage = made.stages[static_cast<ml::stage_id>(draw(made.stages.size()))];
      const auto node = static_cast<ml::node_id>(draw(stage.strategies.size()));
      ml::parameter_plan& kept = stage.parameters[draw(stage.parameters.size())];
      switch (draw(14)) {
        case 0:
          stage.first_rank = number();
          break;
        case 1:
          stage.mesh.rank = number();
          break;
        case 2:
          stage.mesh.size[draw(3)] = number();
          break;
        case 3:
          stage.first_block = number();
          break;
        case 4:
          stage.end_block = number();
          break;
        case 5:
          for (bool& again : stage.recompute) again = !again;
          break;
        case 6:
          stage.mesh_axes.pop_back();
          break;
        case 7:
          kept.used = !kept.used;
          break;
        case 8:
          kept.accumulated.push_back({});
          break;
        case 9:
          kept.stored = kept.stored.without(0).with(0, {ml::placement::split, static_cast<std::int8_t>(draw(4))});
          break;
        case 10:
          made.micro_batches = number();
          break;
        case 11:
          made.ranks = number();
          break;
        case 12:
          stage.strategies[node].order = static_cast<std::uint8_t>(draw(256));
          break;
        default:
          stage.strategies[node].row[draw(3)] = static_cast<std::uint8_t>(draw(12));
      }
      if (stage.mesh_axes.empty()) stage.mesh_axes = {"data", "tensor"};
    }
    ml::verdict judged;
    CHECK_NOTHROW(judged = ml::evaluate(posed(), made));
    found += judged.violations.empty() ? 0 : 1;
    lowered += judged.parts ? 1 : 0;
    if (!judged.parts) CHECK_FALSE(judged.violations.empty());
    for (const std::string& each : judged.violations) CHECK_MESSAGE(each.find("; ") != std::string::npos, each);
  }
  CHECK(found > 1200);
  CHECK(lowered > 50);
}
