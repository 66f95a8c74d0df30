// SPDX-License-Identifier: Apache-2.0
// graph/differentiate.hpp: the structure of backward graphs, and the sentences of what cannot be differentiated. That
// the numbers are right is tested where they are computed.
#include <meshloom/graph/differentiate.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

template <class Layer>
ml::graph with_middle(const Layer& layer) {
  return ml::trace(models::token_training(ml::embedding<vocab, embed>{} | layer | ml::linear<embed, vocab>{}));
}

std::size_t count_nodes(const ml::graph& whole, ml::phase when) {
  return static_cast<std::size_t>(
      std::count_if(whole.nodes.begin(), whole.nodes.end(), [&](const ml::node& at) { return at.when == when; }));
}

/// x + offset, scaled by the same offset: one shared parameter, read twice in one layer.
struct offset_twice {
  static constexpr std::string_view name = "offset";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
    const auto offset = scope.template shared_parameter<embed>("offset", {ml::initial::constant, 1});
    return ml::evaluate(scope, x + offset) * offset;
  }
};

/// Rounds its input; nobody knows a gradient.
struct rounding {
  static constexpr auto signature = ml::describe("round").operands<ml::at<0, 1, 2>>().results<ml::at<0, 1, 2>>().made;
  using gradient = ml::operators<>;
};

struct round_layer {
  static constexpr std::string_view name = "round";
  auto operator()(auto& scope, const ml::pointwise_value auto& value) const {
    const auto x = ml::evaluate(scope, value);
    return ml::tensor<batch, seq, embed>{scope.template emit<rounding>(ml::axes<batch, seq, embed>{}, {}, x)[0]};
  }
};

/// Has a parameter and does not use it.
struct idle {
  static constexpr std::string_view name = "idle";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
    [[maybe_unused]] const auto weight = scope.template parameter<embed>("weight", {ml::initial::constant, 0});
    return x + x;
  }
};

/// Copies that read, beside their input, what came before all of them.
struct skipping {
  static constexpr std::string_view name = "skipping";
  static constexpr bool opens_regions = true;
  auto operator()(auto& scope, const auto& x) const {
    return scope.repeat("repeat", 2, x,
                        [&](auto& inside, const auto& input) { return ml::evaluate(inside, input + x); });
  }
};

/// What one repeat makes is read by another repeat and by a third layer.
struct forked {
  static constexpr std::string_view name = "forked";
  static constexpr bool opens_regions = true;
  auto operator()(auto& scope, const auto& x) const {
    const auto body = [](auto& inside, const auto& input) { return ml::layer_norm<embed>{}(inside, input); };
    const auto first = scope.repeat("repeat", 2, x, body);
    const auto second = scope.repeat("repeat", 2, first, body);
    return scope.region("join", [&](auto& inside) { return ml::evaluate(inside, first + second); });
  }
};

}  // namespace

TEST_CASE("every parameter has gradients of its shape, one per region that reads it") {
  for (const auto& [name, graph] : models::all()) {
    for (const ml::parameter& each : graph.parameters) {
      std::set<ml::region_id> readers;
      for (const ml::node& at : graph.nodes) {
        const bool reads = std::find(at.operands.begin(), at.operands.end(), each.value) != at.operands.end();
        if (reads && at.when == ml::phase::forward) readers.insert(at.region);
      }
      CHECK(each.gradients.size() == readers.size());
      for (const ml::value_id gradient : each.gradients) {
        CHECK(graph.values[gradient].axes == graph.values[each.value].axes);
      }
    }
  }
  const ml::graph& tied = models::all()[1].graph;
  CHECK(tied.parameters[models::parameter_named(tied, "tokens")].gradients.size() == 2);
}

TEST_CASE("a parameter that one region reads twice has one gradient") {
  const ml::graph graph = with_middle(offset_twice{});
  const ml::parameter& offset = graph.parameters[models::parameter_named(graph, "offset")];
  REQUIRE(offset.gradients.size() == 1);
  const ml::node& sum = graph.nodes[graph.values[offset.gradients[0]].producer];
  CHECK(sum.op == &ml::addition_of_rank(1));
  CHECK(ml::check(graph).empty());
}

TEST_CASE("gradients of different regions are added by the update, at the parameter's home") {
  const ml::graph& tied = models::all()[1].graph;
  const ml::parameter& tokens = tied.parameters[models::parameter_named(tied, "tokens")];
  const ml::node& sum = tied.nodes[models::node_named(tied, "tokens.pointwise")];
  CHECK(sum.when == ml::phase::update);
  CHECK(sum.operands == tokens.gradients);
  CHECK(sum.region == tied.values[tokens.value].region);
}

TEST_CASE("backward operators stand in the region of what they differentiate") {
  for (const auto& [name, graph] : models::all()) {
    for (const ml::node& at : graph.nodes) {
      const std::size_t mark = at.name.find(".d.");
      if (at.when != ml::phase::backward || mark == std::string::npos) continue;
      CHECK(graph.nodes[models::node_named(graph, at.name.substr(0, mark))].region == at.region);
    }
  }
}

TEST_CASE("an activation's gradient has its shape") {
  for (const auto& [name, graph] : models::all()) {
    std::size_t known = 0;
    for (const ml::value& each : graph.values) {
      if (each.gradient == ml::value_id::none) continue;
      ++known;
      CHECK(ml::extents_of(graph.sizes, graph.values[each.gradient].axes) == ml::extents_of(graph.sizes, each.axes));
    }
    CHECK(known > count_nodes(graph, ml::phase::forward) / 2);
  }
}

TEST_CASE("a repeated layer is differentiated once, however many copies it has") {
  const ml::graph few = models::gpt({.layers = 2}), many = models::gpt({.layers = 96});
  for (const ml::phase when : {ml::phase::forward, ml::phase::backward, ml::phase::update}) {
    CHECK(count_nodes(few, when) == count_nodes(many, when));
  }
  const ml::region& area = many.regions[ml::region_id{2}];
  CHECK(area.backward.outer_in != ml::value_id::none);
  CHECK(many.values[area.forward.outer_in].gradient == area.backward.outer_out);
  CHECK(many.values[area.forward.body_out].gradient != ml::value_id::none);
}

TEST_CASE("nothing is computed that no parameter needs") {
  const ml::graph& vectors = models::all()[2].graph;  // its first layer normalises the input itself
  for (const ml::node& at : vectors.nodes) CHECK(at.name != "layer_norm.layer_norm.d.layer_norm_gradient_input");
  CHECK_NOTHROW(models::node_named(vectors, "layer_norm.layer_norm.d.layer_norm_gradient_weights"));
  CHECK_NOTHROW(models::node_named(vectors, "repeat.layer_norm.layer_norm.d.layer_norm_gradient_input"));
  CHECK(vectors.values[vectors.inputs[0]].gradient == ml::value_id::none);
}

TEST_CASE("what cannot be differentiated has its sentence") {
  CHECK_THROWS_WITH_AS(with_middle(round_layer{}),
                       "differentiate: operator round at round.round has no gradient; give its type a `differentiate`",
                       ml::error);
  CHECK_THROWS_WITH_AS(
      with_middle(idle{}),
      "differentiate: the loss does not depend on parameter idle.weight; remove the layer or use its result",
      ml::error);
  CHECK_THROWS_WITH_AS(with_middle(skipping{}),
                       "differentiate: repeat.pointwise inside repeat reads embedding.lookup from outside the "
                       "repeat(…); only its input may "
                       "cross, pass the value through it",
                       ml::error);
  CHECK_THROWS_WITH_AS(with_middle(forked{}),
                       "differentiate: repeat.out, the result of one repeat(…), is read by another repeat(…) and by a "
                       "third layer; put a layer "
                       "between them",
                       ml::error);
}

TEST_CASE("an operator without a gradient is no matter where no gradient passes") {
  const auto model = round_layer{} | ml::linear<embed, vocab>{};
  const ml::graph graph = ml::trace(ml::training{.model = model,
                                                 .loss = ml::cross_entropy<vocab>{},
                                                 .optimizer = ml::adamw{},
                                                 .sizes = models::sizes_of({}),
                                                 .input = ml::tensor<batch, seq, embed>{}});
  CHECK(ml::check(graph).empty());
}
