// SPDX-License-Identifier: Apache-2.0
// graph/build.hpp: equal operators are one node, names are unique, and what cannot be built has its sentence.
#include <meshloom/graph/build.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <set>

namespace ml = meshloom;
using namespace ml::axis;
using ml::operator|;

namespace {

/// A builder with one axis, one open region and one parameter.
struct bench {
  ml::graph_builder into;
  ml::vector<ml::axis_id> axes{into.axis("rows", 4)};
  ml::value_id x = [this] {
    into.open_region("first", 1, false);
    return into.add_parameter("x", axes, {}, false);
  }();

  ml::value_id add(ml::value_id left, ml::value_id right, const ml::attribute_list& attributes = {}) {
    return into.emit(ml::addition_of_rank(1), std::array{left, right}, axes, attributes)[0];
  }
};

/// Adds one shared parameter of the whole model.
template <class... Axis>
struct offset {
  static constexpr std::string_view name = "offset";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
    return x + scope.template shared_parameter<Axis...>("offset", {ml::initial::constant, 0});
  }
};

template <class Layer>
void trace_middle(const Layer& layer) {
  ml::trace(models::token_training(ml::embedding<vocab, embed>{} | layer | ml::linear<embed, vocab>{}));
}

}  // namespace

TEST_CASE("equal operators on equal operands in one region are one node") {
  bench on;
  const ml::value_id y = on.add(on.x, on.x);
  CHECK(on.add(on.x, on.x) == y);
  CHECK(on.into.made.nodes.size() == 1);
  CHECK(on.add(on.x, y) != on.add(y, on.x));  // other operands
  CHECK(on.add(on.x, on.x, {1.0}) != y);      // other attributes
  on.into.resume(ml::phase::backward, ml::region_id{0}, "");
  CHECK(on.add(on.x, on.x) != y);  // another phase
  on.into.resume(ml::phase::forward, ml::region_id{0}, "");
  CHECK(on.add(on.x, on.x) == y);
  on.into.open_region("second", 1, false);
  CHECK(on.add(on.x, on.x) != y);  // another region
  CHECK(on.into.made.nodes.size() == 6);
}

TEST_CASE("nodes know their place, values their producer") {
  bench on;
  const ml::value_id y = on.add(on.x, on.x);
  const ml::graph& made = on.into.made;
  CHECK(made.values[y].producer == ml::node_id{0});
  CHECK(made.values[y].region == ml::region_id{0});
  CHECK(made.values[y].axes == on.axes);
  CHECK(made.nodes[ml::node_id{0}].name == "first.pointwise");
  CHECK(made.nodes[ml::node_id{0}].when == ml::phase::forward);
  CHECK(made.values[on.x].kind == ml::value_kind::parameter);
  CHECK(made.values[on.x].name == "first.x");
}

TEST_CASE("axes enter the size table once") {
  ml::graph_builder into;
  const ml::axis_id rows = into.axis("rows", 4);
  CHECK(into.axis("columns", 5) != rows);
  CHECK(into.axis("rows", 4) == rows);
  CHECK(into.made.sizes.size() == 2);
}

TEST_CASE("paths are unique, whatever layers are called") {
  ml::graph_builder into;
  std::set<std::string> names;
  for (const char* name : {"linear", "linear_2", "linear", "linear", "linear_2", "linear_2_2"}) {
    into.open_region(name, 1, false);
    into.close_region();
    names.insert(into.made.regions[static_cast<ml::region_id>(into.made.regions.size() - 1)].name);
  }
  CHECK(names == std::set<std::string>{"linear", "linear_2", "linear_3", "linear_4", "linear_2_2", "linear_2_2_2"});

  into.open_region("block", 1, false);
  const ml::vector<ml::axis_id> axes{into.axis("rows", 4)};
  CHECK(into.made.values[into.add_parameter("w", axes, {}, false)].name == "block.w");
  CHECK(into.made.values[into.add_parameter("w", axes, {}, false)].name == "block.w_2");
  into.enter("inner");
  CHECK(into.made.values[into.add_parameter("w", axes, {}, false)].name == "block.inner.w");
  into.leave();
  into.enter("inner");
  CHECK(into.made.values[into.add_parameter("w", axes, {}, false)].name == "block.inner_2.w");
}

TEST_CASE("a shared parameter is one, by its name") {
  bench on;
  const ml::value_id shared = on.into.add_parameter("table", on.axes, {}, true);
  on.into.close_region();
  on.into.open_region("second", 1, false);
  CHECK(on.into.add_parameter("table", on.axes, {}, true) == shared);
  CHECK(on.into.made.values[shared].name == "table");
  CHECK(on.into.add_parameter("table", on.axes, {}, false) != shared);
  CHECK(on.into.made.parameters.size() == 3);
}

TEST_CASE("shared parameters that cannot be shared have their sentence") {
  CHECK_THROWS_WITH_AS(trace_middle(offset<embed>{} | offset<seq, embed>{}),
                       "trace: the shared parameter 'offset' is used with two shapes; use one, or two names",
                       ml::error);
  CHECK_THROWS_WITH_AS(trace_middle(offset<embed>{} | ml::repeat(2, offset<embed>{})),
                       "trace: the shared parameter 'offset' is used inside repeat(…) and outside; every copy of a "
                       "repeated layer has its own "
                       "parameters, so make it private to the layer",
                       ml::error);
  CHECK_THROWS_WITH_AS(trace_middle(ml::repeat(2, offset<embed>{})),
                       "trace: the shared parameter 'offset' is first used inside repeat(…), where every copy has its "
                       "own parameters; make it "
                       "private to the layer",
                       ml::error);
  CHECK_THROWS_WITH_AS(trace_middle(ml::repeat(0, models::perceptron())),
                       "repeat: a layer cannot be repeated 0 times; give a count of 1 or more", ml::error);
}

TEST_CASE("repeat inside repeat is written out") {
  const auto nested = ml::trace(models::token_training(
      ml::embedding<vocab, embed>{} | ml::repeat(2, ml::repeat(3, models::perceptron())) | ml::linear<embed, vocab>{}));
  CHECK(ml::check(nested).empty());
  REQUIRE(nested.regions.size() == 4);  // embedding, repeat, linear, loss
  CHECK(nested.regions[ml::region_id{1}].count == 2);
  CHECK(ml::blocks_of(nested).size() == 5);
  std::size_t weights = 0;
  for (const ml::parameter& each : nested.parameters) {
    weights += nested.values[each.value].name.ends_with(".linear.weight") ? 1 : 0;
  }
  CHECK(weights == 3);
  for (const char* name :
       {"repeat.repeat.linear.weight", "repeat.repeat_2.linear.weight", "repeat.repeat_3.linear.weight"}) {
    CHECK_NOTHROW(models::parameter_named(nested, name));
  }
  CHECK(nested.nodes.size() > 2 * models::vectors({.layers = 2}).nodes.size());
}

TEST_CASE("an axis has one size") {
  ml::graph_builder into;
  const ml::axis_id high = into.axis("high_by_2", 4);
  CHECK(into.axis("high_by_2", 4) == high);
  CHECK_THROWS_WITH_AS(into.axis("high_by_2", 5),
                       "trace: two axes are called 'high_by_2', of 4 and of 5 elements; rename one", ml::error);
}
