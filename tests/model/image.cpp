// SPDX-License-Identifier: Apache-2.0
// Functions of images make the operators that they name, and refuse windows that do not fit with the cure. Their
// gradients are tried in finite_differences.cpp, their arithmetic in tests/kernel.
#include <meshloom/model/image.hpp>
#include <meshloom/model/scope.hpp>

#include "../train/error_of.hpp"

#include <doctest/doctest.h>

namespace {

using namespace meshloom;
using meshloom::axis::batch;
struct high;
struct wide;
struct channel;
struct pooled_high;
struct pooled_wide;

/// The graph of what `body(scope, image)` makes of images of 7 x 6 pixels, pooled to 4 x 3.
template <class Body>
graph traced(const Body& body) {
  const sizes all{size<batch>{2},   size<high>{7},        size<wide>{6},
                  size<channel>{3}, size<pooled_high>{4}, size<pooled_wide>{3}};
  graph_builder into;
  no_visitor nothing;
  scope<std::remove_const_t<decltype(all)>, no_visitor, true> top(into, all, nothing);
  top.region("images", [&](auto& inside) {
    body(inside, inside.template parameter<batch, high, wide, channel>("image", {}));
    return 0;
  });
  return into.made;
}

std::string refusal(const stencil& down, const stencil& across) {
  return error_of([&] {
    traced([&](auto& scope, const auto& image) { max_pool<pooled_high, pooled_wide>(scope, image, down, across); });
  });
}

}  // namespace

TEST_CASE("functions of images make their operators, with axes and attributes") {
  const graph made = traced([](auto& scope, const auto& image) {
    const auto gain = scope.template parameter<channel>("gain", {}),
               bias = scope.template parameter<channel>("bias", {});
    const auto normal = batch_norm_of(scope, image, gain, bias, 1e-3);
    max_pool<pooled_high, pooled_wide>(scope, normal.value, {.taps = 2, .stride = 2, .padding = 1}, {2, 2, 0, 1});
    const auto frozen = batch_norm_inference_of(scope, image, gain, bias, normal.mean, normal.variance, 1e-3);
    average_pool<pooled_high, pooled_wide>(scope, frozen, {1, 2, 0, 1}, {2, 2, 0, 1});
  });
  const vector<node> nodes(made.nodes.begin(), made.nodes.end());
  REQUIRE(nodes.size() == 4);
  CHECK(nodes[0].op == &record_of<op::batch_norm<4>>);
  CHECK(nodes[0].attributes[0] == 1e-3);
  CHECK(nodes[1].op == &record_of<op::max_pool>);
  CHECK(nodes[1].attributes == attribute_list{2, 2, 2, 2, 1, 0, 1, 1});
  CHECK(made.values[nodes[1].results[1]].type == dtype::i32);
  CHECK(nodes[2].op == &record_of<op::batch_norm_inference<4>>);
  CHECK(nodes[3].op == &record_of<op::average_pool>);
  CHECK(made.values[nodes[3].results[0]].axes == made.values[nodes[1].results[0]].axes);
}

TEST_CASE("windows that do not fit are refused") {
  const stencil fits{.taps = 2, .stride = 2};
  CHECK(refusal({.taps = 2, .stride = 2, .padding = 1}, fits) == "nothing was thrown");
  CHECK(refusal(fits, fits) ==
        "max_pool: windows over 7 elements have 3 positions, but the size of pooled_high is 4; make it 3");
  CHECK(refusal({.taps = 1, .stride = 2}, {.taps = 7}) ==
        "max_pool: no window of 7 taps along pooled_wide lies within 6 elements and their padding; use fewer taps or "
        "more padding");
  CHECK(refusal({.taps = 1, .stride = 0}, fits) ==
        "max_pool: windows with positions along pooled_high have 1 taps, stride 0, dilation 1 and padding 0; give at "
        "least 1, 1, 1 and 0");
}
