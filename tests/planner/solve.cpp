// SPDX-License-Identifier: Apache-2.0
// planner/solve.hpp: presets give what their names promise, pins bind, and every plan is sound: what an independent
// look at signatures and neighbours finds, not only `check`.
#include <meshloom/model/pin.hpp>
#include <meshloom/planner/solve.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

constexpr ml::placement whole{};
constexpr ml::placement sum{ml::placement::partial_sum, -1};
constexpr ml::placement split(int axis) { return {ml::placement::split, static_cast<std::int8_t>(axis)}; }

const ml::graph& gpt() { return models::all()[0].graph; }

const ml::stage_plan& only_stage(const ml::plan& made) {
  REQUIRE(made.stages.size() == 1);
  return made.stages[ml::stage_id{0}];
}

const ml::parameter_plan& kept(const ml::graph& graph, const ml::stage_plan& stage, const std::string& name) {
  return stage.parameters[models::parameter_named(graph, name)];
}

ml::spec result_of(const ml::graph& graph, const ml::stage_plan& stage, const std::string& name) {
  return ml::result_spec_in(graph, stage, models::node_named(graph, name), 0);
}

using placements = ml::vector<ml::placement>;

/// What mesh axis 0 does to a value, where it is made: one that is carried into the copies of a layer is made by its
/// neighbours, in the last copy or the first by another than in the rest.
placements placements_of(const ml::graph& graph, const ml::stage_plan& stage, ml::value_id id) {
  const ml::region_id home = graph.values[id].region;
  ml::vector<ml::value_id> made;
  for (std::int32_t copy = 0; copy < graph.regions[home].count; ++copy) {
    const ml::value_id source = ml::resolve(graph, id, {home, copy}).value;
    if (std::find(made.begin(), made.end(), source) == made.end()) made.push_back(source);
  }
  placements found;
  for (const ml::value_id source : made) {
    found.push_back(result_of(graph, stage, graph.nodes[graph.values[source].producer].name).on(0));
  }
  return found;
}

/// The operands that a mesh axis leaves as pending sums must be a set in which the operator says it is linear.
void check_linear(const ml::node& at, const ml::stage_plan& stage, ml::node_id id, const ml::graph& graph) {
  const ml::signature& op = at.op->op;
  for (int axis = 0; axis < stage.mesh.rank; ++axis) {
    unsigned pending = 0;
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const auto how = ml::operand_spec_in(graph, stage, id, k).on(axis).kind;
      CHECK(how != ml::placement::partial_max);
      if (how == ml::placement::partial_sum) pending |= 1u << k;
    }
    const auto end = op.linear.begin() + op.linear_count;
    CHECK_MESSAGE((pending == 0 || std::find(op.linear.begin(), end, pending) != end), at.name);
  }
}

/// A pending operand must have been made pending, in this stage.
void check_pending_operands(const ml::graph& graph, const ml::stage_plan& stage, ml::node_id id,
                            const ml::block& here) {
  const ml::node& at = graph.nodes[id];
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    const ml::spec wanted = ml::operand_spec_in(graph, stage, id, k);
    if (!wanted.has_partial()) continue;
    const ml::instance what = ml::resolve(graph, at.operands[k], here);
    const ml::node_id maker = graph.values[what.value].producer;
    REQUIRE_MESSAGE(maker != ml::node_id::none, at.name);
    const std::int32_t number = ml::block_number(graph, ml::maker_of(graph, what));
    CHECK_MESSAGE((stage.first_block <= number && number < stage.end_block), at.name);
    const auto& results = graph.nodes[maker].results;
    const auto which =
        static_cast<std::size_t>(std::find(results.begin(), results.end(), what.value) - results.begin());
    const ml::spec made = ml::result_spec_in(graph, stage, maker, which);
    for (int axis = 0; axis < stage.mesh.rank; ++axis) {
      if (wanted.on(axis) == sum) CHECK_MESSAGE(made.on(axis) == sum, at.name);
    }
  }
}

void check_sound(const ml::graph& graph, const ml::plan& made) {
  CHECK(ml::check(graph, made).empty());
  CHECK(made.predicted.count > 0);
  CHECK(made.bound.count == 0);
  const auto blocks = ml::blocks_of(graph);
  for (const ml::stage_plan& stage : made.stages) {
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      const auto id = static_cast<ml::node_id>(n);
      if (ml::runs(graph, stage, id)) {
        check_linear(graph.nodes[id], stage, id, graph);
      } else {
        CHECK(stage.strategies[id] == ml::strategy{});  // a text says nothing of it
      }
      for (std::size_t p = 0; p < graph.parameters.size(); ++p) {
        if (!stage.parameters[p].used) CHECK(stage.parameters[p] == ml::parameter_plan{});
      }
    }
    for (std::int32_t b = stage.first_block; b < stage.end_block; ++b) {
      const ml::block here = blocks[static_cast<std::size_t>(b)];
      for (const ml::phase when : {ml::phase::forward, ml::phase::backward}) {
        for (const ml::node_id id : ml::nodes_of(graph, here.region, when)) {
          check_pending_operands(graph, stage, id, here);
        }
      }
    }
  }
}

double work_of(const ml::graph& graph, const ml::block& here) {
  double work = 0;
  for (const ml::node& at : graph.nodes) {
    if (at.region != here.region || at.when == ml::phase::update) continue;
    double points = at.op->flops_per_point;
    for (const ml::axis_id axis : at.indices) points *= static_cast<double>(graph.sizes[axis].extent);
    work += points;
  }
  return work;
}

}  // namespace

TEST_CASE("every product of presets on 1 to 8 ranks gives a sound plan") {
  int plans = 0;
  for (const auto& [name, graph] : models::all()) {
    const std::size_t blocks = ml::blocks_of(graph).size();
    for (std::int32_t ranks = 1; ranks <= 8; ++ranks) {
      for (const std::string& preset : models::products(ranks)) {
        CAPTURE(name);
        CAPTURE(preset);
        const ml::problem posed = models::posed(graph, preset, ranks, 2);
        const auto made = ml::solve(posed);
        if (static_cast<std::size_t>(posed.constraints.stages) > blocks) {
          CHECK(!made);
          continue;
        }
        REQUIRE_MESSAGE(made, made.error());
        check_sound(graph, made.value());
        ++plans;
      }
    }
  }
  CHECK(plans > 300);
}

TEST_CASE("the same problem has the same plan") {
  for (const std::string preset : {"zero2=2,tensor=2,pipeline=2", "data=8", "tensor=2,gpipe=4"}) {
    CHECK(models::planned(gpt(), preset, 8, 4) == models::planned(models::gpt(), preset, 8, 4));
  }
}

TEST_CASE("data parallel: parameters are whole, gradients are summed once per step") {
  for (const auto& [name, graph] : models::all()) {
    const ml::plan made = models::planned(graph, "data", 4, 3);
    const ml::stage_plan& stage = only_stage(made);
    CHECK(stage.mesh_axes == ml::vector<std::string>{"data"});
    for (const ml::parameter_plan& each : stage.parameters) {
      CHECK(each.stored.is_whole());
      CHECK(each.state.is_whole());
      for (const ml::spec& layout : each.accumulated) CHECK(layout == ml::spec{}.with(0, sum));
    }
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      const ml::node& at = graph.nodes[static_cast<ml::node_id>(n)];
      const bool has_batch =
          std::find(at.indices.begin(), at.indices.end(), ml::find_axis(graph.sizes, "batch")) != at.indices.end();
      const ml::choice& row = at.op->choices.rows[stage.strategies[static_cast<ml::node_id>(n)].row[0]];
      CHECK_MESSAGE((row.kind == ml::choice::split) == has_batch, at.name);
    }
  }
}

TEST_CASE("ZeRO: state, gradients and parameters are split from levels 1, 2 and 3 on") {
  for (const auto& [name, graph] : models::all()) {
    for (const std::int32_t level : {1, 2, 3}) {
      const ml::plan made = models::planned(graph, "zero" + std::to_string(level), 4, 3);
      const ml::stage_plan& stage = only_stage(made);
      for (const ml::parameter_plan& each : stage.parameters) {
        CHECK(each.state.on(0).kind == ml::placement::split);
        CHECK(each.stored == (level >= 3 ? each.state : ml::spec{}));
        for (const ml::spec& layout : each.accumulated) {
          CHECK(layout == (level >= 2 ? each.state : ml::spec{}.with(0, sum)));
        }
      }
    }
  }
}

TEST_CASE("ZeRO: the update computes where the state is") {
  const ml::plan made = models::planned(gpt(), "zero1", 4);
  const ml::stage_plan& stage = only_stage(made);
  for (std::size_t n = 0; n < gpt().nodes.size(); ++n) {
    const ml::node& at = gpt().nodes[static_cast<ml::node_id>(n)];
    if (at.when != ml::phase::update) continue;
    for (std::size_t p = 0; p < gpt().parameters.size(); ++p) {
      if (gpt().parameters[p].value == at.operands[0]) {
        CHECK(ml::result_spec_in(gpt(), stage, static_cast<ml::node_id>(n), 0) == stage.parameters[p].state);
      }
    }
  }
}

TEST_CASE("Megatron: attention is split by heads, the perceptron by hidden units, embedding and head by vocabulary") {
  const ml::plan made = models::planned(gpt(), "tensor", 4);
  const ml::stage_plan& stage = only_stage(made);
  const auto stored = [&](const std::string& name) { return kept(gpt(), stage, name).stored; };
  for (const std::string part : {"query", "key", "value"}) {
    const std::string path = "repeat.residual.causal_attention." + part;
    CHECK(stored(path + ".weight") == ml::spec{}.with(0, split(1)));  // [embed, heads, head]
    CHECK(stored(path + ".bias") == ml::spec{}.with(0, split(0)));
    CHECK(result_of(gpt(), stage, path + ".dot") == ml::spec{}.with(0, split(2)));  // [batch, seq, heads, head]
  }
  CHECK(stored("repeat.residual.causal_attention.output.weight") ==
        ml::spec{}.with(0, split(0)));  // [heads, head, embed]
  CHECK(result_of(gpt(), stage, "repeat.residual.causal_attention.output.dot") == ml::spec{}.with(0, sum));
  CHECK(stored("repeat.residual_2.linear.weight") == ml::spec{}.with(0, split(1)));    // [embed, mlp]
  CHECK(stored("repeat.residual_2.linear_2.weight") == ml::spec{}.with(0, split(0)));  // [mlp, embed]
  CHECK(result_of(gpt(), stage, "repeat.residual_2.linear_2.dot") == ml::spec{}.with(0, sum));
  CHECK(stored("embedding.table") == ml::spec{}.with(0, split(0)));  // [vocab, embed]
  CHECK(stored("linear.weight") == ml::spec{}.with(0, split(1)));    // [embed, vocab]
  CHECK(stored("positions.weight").is_whole());
  CHECK(stored("layer_norm.gain").is_whole());
  for (const ml::parameter_plan& each : stage.parameters) CHECK(each.state == each.stored);
}

TEST_CASE("a product splits by both, each on its mesh axis") {
  const ml::plan made = models::planned(gpt(), "zero1=2,tensor=2", 4);
  const ml::parameter_plan& weight = kept(gpt(), only_stage(made), "repeat.residual_2.linear.weight");
  CHECK(weight.stored == ml::spec{}.with(1, split(1)));
  CHECK(weight.state == ml::spec{}.with(0, split(0)).with(1, split(1)));
  CHECK(weight.accumulated[0] == ml::spec{}.with(0, sum).with(1, split(1)));
}

TEST_CASE("pipeline: stages are contiguous, on ranks of their own, and share the work evenly") {
  for (const auto& [name, graph] : models::all()) {
    const auto blocks = ml::blocks_of(graph);
    double total = 0, largest = 0;
    for (const ml::block& here : blocks) {
      total += work_of(graph, here);
      largest = std::max(largest, work_of(graph, here));
    }
    for (std::int32_t stages = 1; stages <= static_cast<std::int32_t>(blocks.size()); ++stages) {
      const ml::plan made = models::planned(graph, "pipeline", stages, 4);
      REQUIRE(made.stages.size() == static_cast<std::size_t>(stages));
      std::int32_t next_block = 0, next_rank = 0;
      for (const ml::stage_plan& stage : made.stages) {
        CHECK(stage.first_rank == next_rank++);
        CHECK(stage.mesh.rank == 0);
        CHECK(stage.first_block == next_block);
        next_block = stage.end_block;
        double work = 0;
        for (std::int32_t b = stage.first_block; b < stage.end_block; ++b) {
          work += work_of(graph, blocks[static_cast<std::size_t>(b)]);
        }
        CHECK(work <= total / stages + largest);
      }
      CHECK(next_block == static_cast<std::int32_t>(blocks.size()));
    }
  }
}

TEST_CASE("pipeline: equal layers are dealt out equally, and cuts are kept") {
  const ml::graph deep = models::gpt({.layers = 64});
  const ml::plan made = models::planned(deep, "pipeline", 4);
  for (const ml::stage_plan& stage : made.stages) {
    CHECK(stage.end_block - stage.first_block >= 15);
    CHECK(stage.end_block - stage.first_block <= 19);
  }
  const ml::plan cut = ml::solve(ml::formulate(gpt(), ml::local(3), ml::stage(2) & ml::stage(7))).value();
  CHECK(cut.stages[ml::stage_id{1}].first_block == 2);
  CHECK(cut.stages[ml::stage_id{2}].first_block == 7);
}

TEST_CASE("a tied table is kept by every stage that reads it, and by no other") {
  const ml::graph& tied = models::all()[1].graph;
  const ml::plan made = models::planned(tied, "pipeline", 3);
  const std::size_t p = models::parameter_named(tied, "tokens");
  CHECK(made.stages[ml::stage_id{0}].parameters[p].used);
  CHECK(!made.stages[ml::stage_id{1}].parameters[p].used);
  CHECK(made.stages[ml::stage_id{2}].parameters[p].used);
  CHECK(made.stages[ml::stage_id{2}].parameters[p].accumulated.size() == 2);
}

TEST_CASE("a pinned result is obeyed") {
  const std::string path = "repeat.residual_2.linear.dot";  // [batch, seq, mlp]
  const auto planned = [&](const ml::manual& asked) { return ml::solve(ml::formulate(gpt(), ml::local(2), asked)); };
  const ml::manual free{.mesh = {{"data", 2}}};
  int obeyed = 0;
  for (const std::string axis : {"batch", "seq", "mlp", ""}) {
    ml::manual asked = free;
    asked.pins = {{path, "data", axis}};
    const auto made = planned(asked);
    REQUIRE_MESSAGE(made, made.error());
    check_sound(gpt(), made.value());
    const auto& axes = gpt().values[gpt().nodes[models::node_named(gpt(), path)].results[0]].axes;
    const auto place = std::find(axes.begin(), axes.end(), ml::find_axis(gpt().sizes, axis)) - axes.begin();
    const ml::spec wanted = axis.empty() ? ml::spec{} : ml::spec{}.with(0, split(static_cast<int>(place)));
    CHECK(result_of(gpt(), only_stage(made.value()), path) == wanted);
    obeyed += planned(free).value() == made.value() ? 0 : 1;
  }
  CHECK(obeyed >= 3);  // without pins the plan is at most one of them
  const auto typed = planned(free & ml::pin_result<mlp, ml::mesh::data>(path));
  CHECK(result_of(gpt(), only_stage(typed.value()), path) == ml::spec{}.with(0, split(2)));
}

TEST_CASE("pins that contradict each other, a rule or the operator are named") {
  const std::string path = "repeat.residual_2.linear.dot";
  const std::string sentence =
      "operator " + path + " has no strategy that meets its pins; remove one, or pin an axis it can split";
  const auto error_of = [&](const ml::manual& asked) {
    return ml::solve(ml::formulate(gpt(), ml::local(2), asked)).error();
  };
  const ml::manual free{.mesh = {{"data", 2}}};
  CHECK(error_of(free & ml::pin_result<mlp, ml::mesh::data>(path) & ml::pin_result<seq, ml::mesh::data>(path)) ==
        sentence);
  CHECK(error_of(ml::data_parallel(2) & ml::pin_result<mlp, ml::mesh::data>(path)) == sentence);
  CHECK(error_of(free & ml::pin_result<vocab, ml::mesh::data>(path)) == sentence);  // not an axis of the result
}

TEST_CASE("a constraint in the model is obeyed by every plan") {
  const auto with_constraint = [](auto... constraint) {
    const auto pinned = ml::pinned(ml::linear<embed, mlp>{}, constraint...);
    return ml::trace(
        models::token_training(ml::embedding<vocab, embed>{} | pinned | ml::gelu{} | ml::linear<mlp, vocab>{}));
  };
  const std::string path = "linear.pointwise";  // [batch, seq, mlp]
  for (const ml::manual& asked : {ml::manual{.mesh = {{"tensor", 2}}}, ml::manual{.mesh = {{"data", 2}, {"tensor", 2}}},
                                  ml::data_parallel(2) & ml::manual{.mesh = {{"tensor", 2}}}}) {
    const int axis = static_cast<int>(asked.mesh.size()) - 1;
    const auto placed = [&](const ml::graph& graph) {
      REQUIRE(graph.nodes[models::node_named(graph, path)].op->op.name == "pointwise");
      return result_of(graph, only_stage(ml::solve(ml::formulate(graph, ml::local(asked.ranks()), asked)).value()),
                       path)
          .on(axis);
    };
    CHECK(placed(with_constraint(ml::split<mlp, ml::mesh::tensor>{})) == split(2));
    CHECK(placed(with_constraint(ml::split<seq, ml::mesh::tensor>{})) == split(1));
    CHECK(placed(with_constraint(ml::whole<ml::mesh::tensor>{})) == whole);
  }
  const auto contradictory = with_constraint(ml::split<mlp, ml::mesh::tensor>{}, ml::split<seq, ml::mesh::tensor>{});
  CHECK(ml::solve(ml::formulate(contradictory, ml::local(2), {.mesh = {{"tensor", 2}}})).error() ==
        "operator linear.pointwise has no strategy that meets its pins; remove one, or pin an axis it can split");
}

TEST_CASE("a gradient pinned in the model is obeyed, the result left alone") {
  const auto planned = [](auto... constraint) {
    const auto pinned = ml::pinned_gradient(ml::linear<embed, mlp>{}, constraint...);
    const ml::graph graph = ml::trace(
        models::token_training(ml::embedding<vocab, embed>{} | pinned | ml::gelu{} | ml::linear<mlp, vocab>{}));
    const auto made = ml::solve(ml::formulate(graph, ml::local(2), {.mesh = {{"tensor", 2}}}));
    REQUIRE_MESSAGE(made, made.error());
    check_sound(graph, made.value());
    const ml::value_id result = graph.nodes[models::node_named(graph, "linear.pointwise")].results[0];
    return std::pair(placements_of(graph, only_stage(made.value()), result),
                     placements_of(graph, only_stage(made.value()), graph.values[result].gradient));
  };
  const auto free = planned();
  const auto by_mlp = planned(ml::split<mlp, ml::mesh::tensor>{}), by_seq = planned(ml::split<seq, ml::mesh::tensor>{});
  CHECK(by_mlp.second == placements{split(2)});
  CHECK(by_seq.second == placements{split(1)});
  CHECK(planned(ml::whole<ml::mesh::tensor>{}).second == placements{whole});
  CHECK((by_mlp.second != free.second || by_seq.second != free.second));
}

TEST_CASE("what is carried through a repeated layer is pinned where it is made") {
  const auto planned = [](const auto& middle) {
    const ml::graph graph = ml::trace(models::token_training(ml::embedding<vocab, embed>{} | middle |
                                                             ml::layer_norm<embed>{} | ml::linear<embed, vocab>{}));
    const auto made = ml::solve(ml::formulate(graph, ml::local(2), {.mesh = {{"tensor", 2}}}));
    REQUIRE_MESSAGE(made, made.error());
    check_sound(graph, made.value());
    REQUIRE(graph.pins.size() == 1);
    const ml::value_id bound = graph.pins[0].value;
    return placements_of(graph, only_stage(made.value()),
                         graph.pins[0].gradient ? graph.values[bound].gradient : bound);
  };
  constexpr ml::split<seq, ml::mesh::tensor> by_seq;
  const auto block = models::perceptron();
  CHECK(planned(ml::pinned(ml::repeat(3, block), by_seq)) == placements{split(1)});
  CHECK(planned(ml::pinned_gradient(ml::repeat(3, block), by_seq)) == placements{split(1)});
  CHECK(planned(ml::repeat(3, ml::pinned(block, by_seq))) == placements{split(1)});
  CHECK(planned(ml::repeat(3, ml::pinned_gradient(block, by_seq))) == placements{split(1), split(1)});
}

TEST_CASE("a pinned gradient is obeyed") {
  ml::graph graph = gpt();
  const ml::node_id forward = models::node_named(graph, "repeat.residual_2.linear.dot");
  const ml::value_id hidden = graph.nodes[forward].results[0], gradient = graph.values[hidden].gradient;
  REQUIRE(gradient != ml::value_id::none);
  for (const int axis : {0, 1, 2, -1}) {
    graph.pins = {{hidden, "data", static_cast<std::int8_t>(axis), true}};
    const auto made = ml::solve(ml::formulate(graph, ml::local(2), {.mesh = {{"data", 2}}}));
    REQUIRE_MESSAGE(made, made.error());
    const std::string& maker = graph.nodes[graph.values[gradient].producer].name;
    CHECK(result_of(graph, only_stage(made.value()), maker).on(0) == (axis < 0 ? whole : split(axis)));
  }
}

TEST_CASE("a sum that must be done before a message, or in every micro-batch, is weighed as often as it is done") {
  const auto two_products = [](std::int64_t samples, std::int64_t wide) {
    return ml::trace(ml::training{
        .model = ml::linear_without_bias<embed, mlp>{} | ml::linear_without_bias<mlp, vocab>{},
        .loss = ml::cross_entropy<vocab>{},
        .optimizer = ml::sgd{},
        .sizes = ml::sizes{ml::size<batch>{samples}, ml::size<embed>{wide}, ml::size<mlp>{2}, ml::size<vocab>{2}},
        .input = ml::tensor<batch, embed>{},
        .target = ml::integers<batch>{}});
  };
  const auto placed = [](const ml::graph& graph, const ml::manual& asked, const std::string& path) {
    const ml::plan made = ml::solve(ml::formulate(graph, ml::local(asked.ranks()), asked)).value();
    return result_of(graph, made.stages[ml::stage_id{0}], path).on(0);
  };
  const ml::manual free{.mesh = {{"data", 2}}};

  // Split by its long contracted axis, the first product moves the least; but its sums, read by the next stage, would
  // have to be done before it is sent.
  CHECK(placed(two_products(2, 4096), free & ml::stage(1), "linear.dot") != sum);

  // Split by the batch, the gradient of its weight moves the least; but under ZeRO-2 its sums are done as often as
  // there are micro-batches.
  const auto gradient = [&](std::int32_t level, std::int32_t parts) {
    const ml::graph graph = two_products(8192 * parts, 2);
    ml::manual asked = free;
    asked.micro_batches = parts;
    asked.zero = {{"data", level}};
    const ml::value_id slope = graph.values[graph.nodes[models::node_named(graph, "linear.dot")].results[0]].gradient;
    asked.pins = {{graph.nodes[graph.values[slope].producer].name, "data", ""}};
    return placed(graph, asked, graph.nodes[graph.values[graph.parameters[0].gradients[0]].producer].name);
  };
  CHECK(gradient(1, 8) == sum);
  CHECK(gradient(2, 8) != sum);
}

TEST_CASE("more micro-batches cost no less, and the schedule is as asked") {
  std::int64_t before = 0;
  for (const std::int32_t parts : {1, 2, 4, 8}) {
    const ml::plan made = models::planned(gpt(), "data", 1, parts);
    CHECK(made.micro_batches == parts);
    CHECK(made.predicted.count > before);  // the same work, started more often
    before = made.predicted.count;
  }
  CHECK(models::planned(gpt(), "pipeline=2", 2).schedule == ml::schedule_kind::one_f_one_b);
  CHECK(models::planned(gpt(), "gpipe=2", 2).schedule == ml::schedule_kind::gpipe);
  const ml::manual cut = ml::pipeline(2, ml::schedule_kind::gpipe) & ml::stage(3);
  CHECK(ml::solve(ml::formulate(gpt(), ml::local(2), cut)).value().schedule == ml::schedule_kind::gpipe);
}
