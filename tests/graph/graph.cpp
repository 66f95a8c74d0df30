// SPDX-License-Identifier: Apache-2.0
// graph/graph.hpp: `check` accepts what is traced and finds every planted fault; tracing has one outcome; the hash
// changes with the model and not with its sizes.
#include <meshloom/graph/graph.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <set>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

using sentences = ml::vector<std::string>;

/// The graph of the GPT with one thing changed.
sentences faults_with(const std::function<void(ml::graph&)>& change) {
  ml::graph whole = models::all()[0].graph;
  change(whole);
  return ml::check(whole);
}

sentences faults_with_node(const std::string& name, const std::function<void(ml::graph&, ml::node&)>& change) {
  return faults_with([&](ml::graph& whole) { change(whole, whole.nodes[models::node_named(whole, name)]); });
}

sentences faults_with_carry(const std::function<void(ml::graph&, ml::region&)>& change) {
  return faults_with([&](ml::graph& whole) { change(whole, whole.regions[ml::region_id{2}]); });
}

ml::value_id result_of(const ml::graph& whole, const std::string& name) {
  return whole.nodes[models::node_named(whole, name)].results[0];
}

/// Everything in a graph, as text.
std::string described(const ml::graph& whole) {
  std::string text;
  const auto add = [&text](const auto& each) {
    if constexpr (std::is_convertible_v<decltype(each), std::string>)
      text += std::string(each) + " ";
    else
      text += std::to_string(static_cast<std::int64_t>(each)) + " ";
  };
  const auto add_all = [&add](const auto& list) {
    for (const auto& each : list) add(each);
  };
  for (const auto& axis : whole.sizes) {
    add(axis.name);
    add(axis.extent);
  }
  for (const auto& each : whole.values) {
    add(each.name);
    add_all(each.axes);
    add(each.type);
    add(each.kind);
    add(each.producer);
    add(each.region);
    add(each.gradient);
    add(each.start.kind);
    add(std::to_string(each.start.value));
  }
  for (const auto& each : whole.nodes) {
    add(std::string(each.op->op.name));
    add(each.name);
    add(each.when);
    add(each.region);
    add_all(each.operands);
    add_all(each.results);
    add_all(each.indices);
    for (const double attribute : each.attributes) add(std::to_string(attribute));
  }
  for (const auto& each : whole.regions) {
    add(each.name);
    add(each.count);
    add(each.repeated);
    for (const ml::carry& flow : {each.forward, each.backward}) {
      add_all(std::array{flow.outer_in, flow.body_in, flow.body_out, flow.outer_out});
    }
  }
  for (const auto& each : whole.parameters) {
    add(each.value);
    add_all(each.gradients);
    add_all(each.states);
  }
  add_all(whole.inputs);
  add_all(whole.results);
  return text;
}

template <class Layer>
std::uint64_t hash_of_middle(const Layer& layer) {
  return ml::hash_of(
      ml::trace(models::token_training(ml::embedding<vocab, embed>{} | layer | ml::linear<embed, vocab>{})));
}

/// x and two parameters: what is added to one tensor has one gradient.
struct two_biases {
  static constexpr std::string_view name = "biases";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
    const auto first = scope.template parameter<embed>("first", {});
    const auto second = scope.template parameter<embed>("second", {});
    return x + first + second;
  }
};

/// A layer of one pointwise function.
template <class Function>
struct pointwise_layer {
  static constexpr std::string_view name = "function";
  Function function;
  auto operator()(auto&, const ml::pointwise_value auto& x) const { return function(x); }
};

}  // namespace

TEST_CASE("traced graphs have no fault") {
  for (const auto& [name, graph] : models::all()) CHECK(ml::check(graph).empty());
  const auto task = models::token_training(ml::embedding<vocab, embed>{} | ml::repeat(3, models::attention()) |
                                           ml::linear<embed, vocab>{});
  CHECK(ml::check(ml::trace_inference(task)).empty());
  for (const std::int32_t layers : {1, 2, 9}) CHECK(ml::check(models::gpt({.layers = layers})).empty());
}

TEST_CASE("tracing has one outcome") {
  CHECK(described(models::gpt()) == described(models::gpt()));
  CHECK(described(models::tied()) == described(models::tied()));
  CHECK(described(models::vectors()) == described(models::vectors()));
  CHECK(described(models::gpt()) != described(models::tied()));
  CHECK(described(models::gpt()) != described(models::gpt({.samples = 12})));
}

TEST_CASE("ids of nothing are found") {
  const std::string node = "positions.pointwise";
  CHECK(faults_with([](ml::graph& whole) { whole.values[ml::value_id{0}].axes[0] = ml::axis_id{99}; }) ==
        sentences{"value input: has an axis that does not exist"});
  CHECK(faults_with([](ml::graph& whole) { whole.regions[ml::region_id{1}].count = 0; }) ==
        sentences{"region positions: has 0 copies"});
  CHECK(faults_with_node(node, [](auto&, auto& at) { at.op = nullptr; }) ==
        sentences{"node positions.pointwise: has no operator"});
  CHECK(faults_with_node(node, [](auto&, auto& at) { at.region = ml::region_id::none; }) ==
        sentences{"node positions.pointwise: is in no region"});
  CHECK(faults_with_node(node, [](auto&, auto& at) { at.indices[0] = ml::axis_id::none; }) ==
        sentences{"node positions.pointwise: an index stands for no axis"});
  CHECK(faults_with([](ml::graph& whole) { whole.parameters[0].value = ml::value_id{9999}; }) ==
        sentences{"the graph: a parameter does not exist"});
  CHECK(models::says(faults_with_node(node, [](auto&, auto& at) { at.operands[0] = ml::value_id::none; }),
                     "node positions.pointwise: one operand does not exist"));
  CHECK(models::says(faults_with_node(node, [](auto&, auto& at) { at.results[0] = ml::value_id{9999}; }),
                     "node positions.pointwise: one result does not exist"));
}

TEST_CASE("names that are not unique are found") {
  CHECK(faults_with_node("positions.pointwise", [](auto&, auto& at) { at.name = "embedding.lookup"; }) ==
        sentences{"node embedding.lookup: has its name twice"});
  CHECK(faults_with([](ml::graph& whole) { whole.regions[ml::region_id{1}].name = "loss"; }) ==
        sentences{"region loss: has its name twice"});
  CHECK(faults_with([](ml::graph& whole) { whole.values[whole.parameters[1].value].name = "embedding.table"; }) ==
        sentences{"parameter embedding.table: has its name twice"});
}

TEST_CASE("nodes that do not fit their operator are found") {
  const std::string
      node = "positions.pointwise",
      signature = "node positions.pointwise: operands, results or indices do not match the signature of pointwise";
  CHECK(models::says(faults_with_node(node, [](auto&, auto& at) { at.operands.pop_back(); }), signature));
  CHECK(models::says(faults_with_node(node, [](auto&, auto& at) { at.indices.pop_back(); }), signature));
  CHECK(models::says(faults_with_node(node, [](auto&, auto& at) { at.results.push_back(at.results[0]); }), signature));
  CHECK(faults_with_node(node, [](auto& whole, auto& at) { at.operands[1] = whole.parameters[0].value; }) ==
        sentences{"node positions.pointwise: operand embedding.table has another shape than the operator needs"});
  CHECK(models::says(faults_with_node(node, [](auto& whole, auto& at) { whole.values[at.results[0]].axes.pop_back(); }),
                     "node positions.pointwise: result positions.pointwise has another shape than the operator needs"));
  CHECK(models::says(faults_with_node(node, [](auto&, auto& at) { std::swap(at.indices[0], at.indices[1]); }),
                     "node positions.pointwise: operand embedding.lookup has another shape than the operator needs"));
}

TEST_CASE("values that are read before they are made, or made twice, are found") {
  CHECK(models::says(
      faults_with_node("positions.pointwise",
                       [](auto& whole, auto& at) { at.operands[0] = result_of(whole, "layer_norm.layer_norm"); }),
      "node positions.pointwise: reads layer_norm.layer_norm#0 before it is made"));
  CHECK(models::says(faults_with_node("positions.pointwise", [](auto&, auto& at) { at.when = ml::phase::backward; }),
                     "region repeat: starts before positions.pointwise is made"));
  const std::string again = "repeat.residual_2.pointwise";
  CHECK(models::says(
      faults_with_node(again, [](auto& whole, auto& at) { at.results[0] = result_of(whole, "positions.pointwise"); }),
      "value positions.pointwise: has two producers"));
  CHECK(models::says(faults_with_node(again, [](auto& whole, auto& at) { at.results[0] = whole.inputs[0]; }),
                     "value input: has two producers"));
  CHECK(faults_with([](ml::graph& whole) {
          whole.values[result_of(whole, "positions.pointwise")].producer = ml::node_id{0};
        }) == sentences{"value positions.pointwise: names another producer than positions.pointwise"});
  CHECK(faults_with([](ml::graph& whole) {
          whole.values[result_of(whole, "positions.pointwise")].region = ml::region_id{0};
        }) == sentences{"value positions.pointwise: is in another region than positions.pointwise"});
  CHECK(faults_with([](ml::graph& whole) { whole.results[0] = ml::value_id::none; }) ==
        sentences{"the graph: a result is made by no node"});
  CHECK(faults_with([](ml::graph& whole) { whole.results[0] = whole.values.add({.name = "nothing"}); }) ==
        sentences{"the graph: a result is made by no node"});
}

TEST_CASE("a copy of a repeated layer is read from outside through its carry only") {
  const auto faults = faults_with_node(
      "layer_norm.layer_norm", [](auto& whole, auto& at) { at.operands[0] = result_of(whole, "repeat.pointwise"); });
  CHECK(faults ==
        sentences{"node layer_norm.layer_norm: reads repeat.pointwise, of which every copy of repeat has its own"});
}

TEST_CASE("carries that carry nothing are found") {
  for (const auto which : {&ml::carry::outer_in, &ml::carry::body_in, &ml::carry::body_out, &ml::carry::outer_out}) {
    CHECK(models::says(faults_with_carry([&](auto&, auto& area) { area.forward.*which = ml::value_id::none; }),
                       "region repeat: its carry is incomplete"));
    if (which == &ml::carry::body_in) continue;  // without it, a region has no backward
    CHECK(models::says(faults_with_carry([&](auto&, auto& area) { area.backward.*which = ml::value_id::none; }),
                       "region repeat: its carry is incomplete"));
  }
  CHECK(models::says(
      faults_with_carry([](auto& whole, auto& area) { area.forward.outer_in = whole.parameters[0].value; }),
      "region repeat: a copy's result has another shape than its input"));
  CHECK(models::says(faults_with_carry([](auto& whole, auto& area) {
                       area.forward.outer_in = result_of(whole, "layer_norm.layer_norm");
                     }),
                     "region repeat: starts before layer_norm.layer_norm#0 is made"));
  CHECK(models::says(faults_with_carry([](auto& whole, auto& area) {
                       area.forward.body_out = result_of(whole, "layer_norm.layer_norm");
                     }),
                     "region repeat: carries a value that no node makes"));
}

TEST_CASE("parameters without what belongs to them are found") {
  const std::string gradient = "parameter embedding.table: a gradient is not made or has another shape";
  const std::string state = "parameter embedding.table: a state does not exist or has other axes";
  CHECK(models::says(
      faults_with([](ml::graph& whole) { whole.values[whole.parameters[0].value].kind = ml::value_kind::state; }),
      "parameter embedding.table: is a value of another kind"));
  CHECK(faults_with([](ml::graph& whole) { whole.parameters[0].gradients[0] = ml::value_id::none; }) ==
        sentences{gradient});
  CHECK(faults_with([](ml::graph& whole) { whole.parameters[0].gradients[0] = whole.parameters[1].gradients[0]; }) ==
        sentences{gradient});
  CHECK(faults_with([](ml::graph& whole) { whole.parameters[0].states[1] = ml::value_id{9999}; }) == sentences{state});
  CHECK(faults_with([](ml::graph& whole) { whole.parameters[0].states[1] = whole.parameters[1].states[1]; }) ==
        sentences{state});
}

TEST_CASE("a node of the update belongs to the parameter that its name says, any other to none") {
  const ml::graph biases =
      ml::trace(models::token_training(ml::embedding<vocab, embed>{} | two_biases{} | ml::linear<embed, vocab>{}));
  const auto& last = biases.parameters[2];
  REQUIRE(biases.values[last.value].name == "biases.second");
  REQUIRE(last.gradients == biases.parameters[1].gradients);
  for (const ml::graph& whole : {models::gpt(), models::tied(), models::vectors(), biases}) {
    const auto all = ml::parameters_updated(whole);
    REQUIRE(all.size() == whole.nodes.size());
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
      const ml::node& at = whole.nodes[ml::node_id(n)];
      const auto found = ml::updated_by(whole, at);
      CHECK(all[ml::node_id(n)] == (found ? static_cast<int>(*found) : -1));
      CHECK(found.has_value() == (at.when == ml::phase::update));
      if (found) CHECK(at.name.starts_with(whole.values[whole.parameters[*found].value].name + "."));
    }
  }
}

TEST_CASE("the hash changes with the model") {
  std::set<std::uint64_t> seen;
  int models_seen = 0;
  const auto is_new = [&](std::uint64_t hash) { return seen.insert(hash).second && ++models_seen > 0; };
  CHECK(is_new(ml::hash_of(models::gpt())));
  CHECK(is_new(ml::hash_of(models::gpt({.layers = 5}))));
  CHECK(is_new(ml::hash_of(models::tied())));
  CHECK(is_new(ml::hash_of(models::vectors())));
  CHECK(is_new(hash_of_middle(ml::layer_norm<embed>{})));
  CHECK(is_new(hash_of_middle(ml::named("norm", ml::layer_norm<embed>{}))));
  CHECK(is_new(hash_of_middle(ml::layer_norm<embed>{} | ml::gelu{})));
  CHECK(is_new(hash_of_middle(models::perceptron())));
  CHECK(is_new(hash_of_middle(ml::repeat(1, models::perceptron()))));
  CHECK(is_new(hash_of_middle(ml::residual(ml::linear<embed, head>{}, ml::gelu{}, ml::linear<head, embed>{}))));
  CHECK(is_new(hash_of_middle(ml::residual(ml::linear<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{}))));
  CHECK(is_new(
      hash_of_middle(ml::residual(ml::linear_without_bias<embed, mlp>{}, ml::gelu{}, ml::linear<mlp, embed>{}))));
  CHECK(models_seen == 12);
}

TEST_CASE("the hash changes with what a pointwise operator computes, where names and axes do not") {
  const auto swapped = [](const auto& function) { return hash_of_middle(ml::named("function", function)); };
  std::set<std::uint64_t> seen;
  seen.insert(swapped(ml::gelu{}));
  seen.insert(swapped(ml::relu{}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return ml::tanh_of(x); }}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return ml::sigmoid_of(x); }}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return ml::exp_of(x); }}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return -x; }}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return -ml::relu_of(x); }}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return ml::relu_of(-x); }}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return x + x * x; }}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return x * x + x; }}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return x - x * x; }}));
  seen.insert(swapped(pointwise_layer{[](const auto& x) { return x - x / x; }}));
  CHECK(seen.size() == 12);
}

TEST_CASE("the hash changes with who reads what, where names do not") {
  const ml::graph& whole = models::all()[0].graph;
  ml::graph other = whole;
  std::swap(other.nodes[models::node_named(other, "repeat.residual.causal_attention.attention")].operands[0],
            other.nodes[models::node_named(other, "repeat.residual.causal_attention.attention")].operands[1]);
  CHECK(ml::hash_of(other) != ml::hash_of(whole));
}

TEST_CASE("the hash does not change with sizes or attributes, and is the same in every build") {
  CHECK(ml::hash_of(models::gpt()) == ml::hash_of(models::gpt({.samples = 48, .width = 36})));
  CHECK(ml::hash_of(models::vectors()) == ml::hash_of(models::vectors({.samples = 1})));
  const auto model = ml::embedding<vocab, embed>{} | ml::linear<embed, vocab>{};
  auto task = models::token_training(model);
  const std::uint64_t before = ml::hash_of(ml::trace(task));
  task.optimizer.rate = 17;
  CHECK(ml::hash_of(ml::trace(task)) == before);

  ml::graph_builder into;
  const ml::vector<ml::axis_id> axes{into.axis("rows", 4)};
  into.open_region("only", 1, false);
  const auto x = into.add_parameter("x", axes, {}, false);
  into.emit(ml::addition_of_rank(1), std::array{x, x}, axes, {});
  into.close_region();
  CHECK(ml::hash_of(into.made) == 0x7cf8969760aa088fu);  // another number would make saved plans useless
}
