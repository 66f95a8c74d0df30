// SPDX-License-Identifier: Apache-2.0
// Laws of report/check_constraints.hpp: it accepts what `solve` makes of any constraints, and says which one a plan
// breaks. Products of presets are in tests/report/evaluate.cpp.
#include <meshloom/report/check_constraints.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <set>

namespace ml = meshloom;
using namespace ml::axis;
using sentences = ml::vector<std::string>;

namespace {

constexpr ml::placement split(int axis) { return {ml::placement::split, static_cast<std::int8_t>(axis)}; }
constexpr ml::placement sum{ml::placement::partial_sum, -1};

const ml::problem& posed() {
  static const ml::problem made = models::posed(models::all()[1].graph, "zero2=2,tensor=2,pipeline=2", 8, 4);
  return made;
}

const ml::plan& sound() {
  static const ml::plan made = ml::solve(posed()).value();
  return made;
}

/// What the plan breaks once the constraints have changed.
sentences broken_with(const std::function<void(ml::manual&)>& change) {
  ml::problem asked = posed();
  change(asked.constraints);
  return ml::check_constraints(asked, sound());
}

/// What the problem's plan breaks once its first stage has changed.
sentences broken_with_stage(const ml::problem& asked, const std::function<void(ml::stage_plan&)>& change) {
  ml::plan made = ml::solve(asked).value();
  change(made.stages[ml::stage_id{0}]);
  return ml::check_constraints(asked, made);
}

sentences broken_with_parameter(const std::string& preset, const std::string& name,
                                const std::function<void(ml::parameter_plan&)>& change) {
  const ml::problem asked = models::posed(posed().graph, preset, 2, 2);
  return broken_with_stage(
      asked, [&](ml::stage_plan& stage) { change(stage.parameters[models::parameter_named(asked.graph, name)]); });
}

/// A model with a constraint in the middle, solved on one stage of 2 x 2.
template <class Layer>
ml::problem pinned_problem(const Layer& layer) {
  const ml::graph graph =
      ml::trace(models::token_training(ml::embedding<vocab, embed>{} | layer | ml::linear<embed, vocab>{}));
  ml::manual asked = ml::automatic() & ml::pipeline(1);
  asked.mesh = {{"data", 2}, {"tensor", 2}};
  return ml::formulate(graph, models::near_ranks(4), asked);
}

}  // namespace

TEST_CASE("what is solved under constraints keeps to them") {
  const auto keeps = [](const ml::problem& asked) {
    const auto made = ml::solve(asked);
    REQUIRE_MESSAGE(made, made.error());
    const sentences broken = ml::check_constraints(asked, made.value());
    CHECK_MESSAGE(broken.empty(), broken.front());
  };
  keeps(posed());
  const ml::graph graph = models::vectors({.layers = 2});
  const ml::manual any = ml::automatic();
  ml::manual batches = any & ml::pipeline(2, ml::schedule_kind::gpipe);
  batches.micro_batches = 8;
  for (const ml::manual& asked :
       {any, any & ml::stage(3), any & ml::pipeline(2), batches, any & ml::data_parallel(0), any & ml::data_parallel(2),
        any & ml::zero(1, 2), any & ml::zero(1, 2) & ml::manual{.mesh = {{"inner", 0}}},
        any & ml::zero(2, 2) & ml::manual{.mesh = {{"inner", 0}}}, any & ml::zero(3, 2),
        any & ml::zero(3, 2) & ml::manual{.mesh = {{"inner", 0}}},
        any & ml::pin_result<mlp, ml::mesh::tensor>("repeat.linear.dot") & ml::manual{.mesh = {{"tensor", 2}}}})
    keeps(ml::formulate(graph, models::near_ranks(4), asked));
  ml::problem whole = pinned_problem(models::perceptron());
  whole.constraints.pins = {{"residual.linear.dot", "tensor", ""}, {"residual.linear.dot", "data", "seq"}};
  keeps(whole);
  keeps(pinned_problem(ml::pinned(models::perceptron(), ml::split<embed, ml::mesh::tensor>{})));
  keeps(pinned_problem(ml::pinned_gradient(models::perceptron(), ml::whole<ml::mesh::data>{})));
  keeps(pinned_problem(ml::repeat(3, ml::pinned(models::perceptron(), ml::split<seq, ml::mesh::tensor>{}))));
}

TEST_CASE("another shape than was asked for is found") {
  CHECK(broken_with([](ml::manual& asked) { asked.stages = 3; }) ==
        sentences{"the problem asks for 3 stages, but the plan has 2; solve again"});
  const std::int32_t cut = sound().stages[ml::stage_id{1}].first_block;
  CHECK(broken_with([&](ml::manual& asked) { asked.cuts = {cut}; }).empty());
  CHECK(broken_with([&](ml::manual& asked) { asked.cuts = {cut + 1}; }) ==
        sentences{"stage 1: begins with block " + std::to_string(cut) + ", but the problem cuts in front of block " +
                  std::to_string(cut + 1) + "; solve again"});
  CHECK(broken_with([](ml::manual& asked) { asked.micro_batches = 2; }) ==
        sentences{"the problem asks for 2 micro-batches, but the plan has 4; solve again"});
  CHECK(broken_with([](ml::manual& asked) { asked.schedules = {ml::schedule_kind::gpipe}; }) ==
        sentences{"the problem asks for schedule gpipe, but the plan has 1f1b; solve again"});
  CHECK(broken_with([](ml::manual& asked) { asked.mesh[1].size = 4; }) ==
        sentences{"stage 0: mesh axis tensor has size 2, but the problem asks for 4; solve again",
                  "stage 1: mesh axis tensor has size 2, but the problem asks for 4; solve again"});
  CHECK(broken_with([](ml::manual& asked) { asked.mesh.push_back({"expert", 2}); }).size() == 2);
  CHECK(broken_with([](ml::manual& asked) { asked = ml::automatic(); }).empty());
}

TEST_CASE("a block that keeps what it should recompute is found") {
  CHECK(
      broken_with([](ml::manual& asked) { asked.recompute = ml::recompute("repeat", 1, 2).recompute; }) ==
      sentences{"stage 0: block repeat[1] keeps its activations, but the problem asks to recompute them; solve again"});
  CHECK(broken_with([](ml::manual& asked) { asked.recompute = ml::recompute("loss").recompute; }) ==
        sentences{"stage 1: block loss keeps its activations, but the problem asks to recompute them; solve again"});
  CHECK(broken_with([](ml::manual& asked) { asked.recompute = ml::recompute().recompute; }).size() == 4);
  ml::problem asked = posed();
  asked.constraints = asked.constraints & ml::recompute();
  CHECK(ml::check_constraints(asked, ml::solve(asked).value()).empty());
  CHECK(broken_with_stage(posed(), [](ml::stage_plan& stage) { stage.recompute[0] = true; }).empty());  // nobody minds
}

TEST_CASE("an operator that does not split what a rule says is found") {
  const ml::graph& graph = posed().graph;
  for (const auto& [operator_name, mesh_axis, what] :
       {std::tuple{"repeat.residual.causal_attention.attention", 0, "batch"},
        {"repeat.residual_2.linear.dot", 1, "mlp"},
        {"repeat.residual_2.linear.dot.d.dot", 1, "mlp"}}) {
    const auto broken = broken_with_stage(posed(), [&, name = operator_name, axis = mesh_axis](ml::stage_plan& stage) {
      stage.strategies[models::node_named(graph, name)].row[static_cast<std::size_t>(axis)] = 0;
    });
    CHECK(broken ==
          sentences{std::string("stage 0: operator ") + operator_name + " does not split " + what + " over mesh axis " +
                    (mesh_axis == 0 ? "data" : "tensor") + ", as a rule of the problem says; solve again"});
  }
}

TEST_CASE("a pin that is not met is found, in the problem and in the model") {
  const auto whole_from = [](const ml::problem& asked, const std::string& name) {
    return broken_with_stage(
        asked, [&](ml::stage_plan& stage) { stage.strategies[models::node_named(asked.graph, name)].row = {}; });
  };
  ml::problem asked = pinned_problem(models::perceptron());
  asked.constraints.pins = {{"residual.linear.dot", "tensor", "mlp"}};
  CHECK(whole_from(asked, "residual.linear.dot") ==
        sentences{"stage 0: operator residual.linear.dot leaves residual.linear.dot whole over mesh axis tensor, "
                  "against a pin; solve again"});
  asked.constraints.pins = {{"residual.linear.dot", "tensor", ""}};
  CHECK(broken_with_stage(asked,
                          [&](ml::stage_plan& stage) {
                            const ml::node_id id = models::node_named(asked.graph, "residual.linear.dot");
                            const ml::choice_table& table = asked.graph.nodes[id].op->choices;
                            for (std::uint8_t row = 0; row < table.count; ++row) {  // over what is contracted
                              if (ml::result_placement(asked.graph.nodes[id].op->op, 0, table.rows[row]) == sum)
                                stage.strategies[id].row[1] = row;
                            }
                          }) ==
        sentences{"stage 0: operator residual.linear.dot leaves residual.linear.dot a pending sum over mesh axis "
                  "tensor, against a pin; solve again"});

  const auto by_seq = ml::split<seq, ml::mesh::tensor>{};
  for (const ml::problem& each : {pinned_problem(ml::pinned(models::perceptron(), by_seq)),
                                  pinned_problem(ml::repeat(3, ml::pinned(models::perceptron(), by_seq))),
                                  pinned_problem(ml::pinned(ml::repeat(3, models::perceptron()), by_seq))}) {
    const ml::pin bound = each.graph.pins.front();
    const ml::value& entry = each.graph.values[bound.value];
    const std::int32_t last = each.graph.regions[entry.region].count - 1;
    const ml::value_id made = ml::resolve(each.graph, bound.value, {entry.region, last}).value;
    const ml::node& maker = each.graph.nodes[each.graph.values[made].producer];
    const auto broken = whole_from(each, maker.name);
    REQUIRE(broken.size() == 1);
    CHECK(broken[0] == "stage 0: operator " + maker.name + " leaves " + each.graph.values[made].name +
                           " whole over mesh axis tensor, against a pin; solve again");
  }
}

TEST_CASE("a pinned gradient that is carried binds whoever makes it, in every copy") {
  const auto by_seq = ml::split<seq, ml::mesh::tensor>{};
  const ml::problem asked = pinned_problem(ml::repeat(3, ml::pinned_gradient(models::perceptron(), by_seq)));
  const ml::pin bound = asked.graph.pins.front();
  const ml::value_id target = asked.graph.values[bound.value].gradient;
  std::set<std::string> makers;
  for (std::int32_t copy = 0; copy < 3; ++copy) {
    const ml::value_id made = ml::resolve(asked.graph, target, {asked.graph.values[target].region, copy}).value;
    makers.insert(asked.graph.nodes[asked.graph.values[made].producer].name);
  }
  REQUIRE(makers.size() == 2);  // one behind the last copy, and one in all others
  for (const std::string& name : makers) {
    const auto broken = broken_with_stage(
        asked, [&](ml::stage_plan& stage) { stage.strategies[models::node_named(asked.graph, name)].row = {}; });
    REQUIRE(broken.size() == 1);
    CHECK(broken[0].starts_with("stage 0: operator " + name + " leaves "));
  }
}

TEST_CASE("a parameter that is kept otherwise than ZeRO says is found") {
  const std::string name = "repeat.residual_2.linear.weight";  // [embed, mlp]
  const auto says = [&](const std::string& what, int level) {
    return sentences{"stage 0: parameter " + name + " has " + what + " over mesh axis data, against ZeRO of level " +
                     std::to_string(level) + "; solve again"};
  };
  for (int level = 1; level <= 3; ++level) {
    const auto broken = [&](const std::function<void(ml::parameter_plan&)>& change) {
      return broken_with_parameter("zero" + std::to_string(level), name, change);
    };
    CHECK(broken([](ml::parameter_plan&) {}).empty());
    CHECK(broken([](auto& kept) { kept.state = kept.stored = {}; }) == says("its state whole", level));
    if (level < 3) {
      CHECK(broken([](auto& kept) { kept.stored = kept.state; }) == says("itself split", level));
    } else {
      CHECK(broken([](auto& kept) { kept.stored = {}; }) == says("itself whole", level));
    }
    const auto pending = broken([](auto& kept) { kept.accumulated[0] = ml::spec{}.with(0, sum); });
    CHECK(pending == (level < 2 ? sentences{} : says("its gradient pending", level)));
  }
}

TEST_CASE("ZeRO does not bind what has no room, nor what a rule splits") {
  ml::problem asked = models::posed(posed().graph, "zero1=2,tensor=2", 4, 2);
  const std::string bias = "repeat.residual_2.linear.bias";  // [mlp], which tensor splits
  CHECK(broken_with_stage(asked, [&](ml::stage_plan& stage) {
          ml::parameter_plan& kept = stage.parameters[models::parameter_named(asked.graph, bias)];
          kept.state = kept.stored = ml::spec{}.with(1, split(0));
        }).empty());
  asked.constraints.rules.push_back({"embed", "data"});
  ml::plan made = ml::solve(models::posed(posed().graph, "zero1=2,tensor=2", 4, 2)).value();
  const std::string weight = "positions.weight";  // [seq, embed]
  ml::parameter_plan& kept = made.stages[ml::stage_id{0}].parameters[models::parameter_named(asked.graph, weight)];
  kept.state = kept.stored = ml::spec{}.with(0, split(1));
  for (const std::string& each : ml::check_constraints(asked, made))
    CHECK(each.find(weight + " has ") == std::string::npos);
}
