// SPDX-License-Identifier: Apache-2.0
#include <meshloom/model/convolution.hpp>

#include <doctest/doctest.h>

using namespace meshloom;
using meshloom::axis::batch;

namespace {

struct high;
struct wide;
struct lower;
struct narrower;
struct tall;
struct across;
struct color;
struct group;
struct inside;

constexpr sizes all_sizes{size<batch>{4}, size<high>{8},   size<wide>{9},  size<lower>{4}, size<narrower>{5},
                          size<tall>{3},  size<across>{2}, size<color>{3}, size<group>{2}, size<inside>{6}};
constexpr stencil halving{.taps = 3, .stride = 2, .padding = 1}, pairs{.taps = 2, .stride = 2, .padding = 1};

template <class... Axis>
tensor<Axis...> a_tensor(auto& within, tensor<Axis...>) {
  return within.template parameter<Axis...>("tensor", {});
}

/// The operator that `convolve<lower, narrower>` emits and the lengths of what it makes, as "name: 4 8 9"; or the
/// message with which it refuses.
template <class Image, class Weight>
std::string convolved(const stencil& down, const stencil& along) {
  graph_builder into;
  no_visitor visitor;
  scope<std::remove_const_t<decltype(all_sizes)>> within(into, all_sizes, visitor);
  into.open_region("images", 1, false);
  try {
    convolve<lower, narrower>(within, a_tensor(within, Image{}), a_tensor(within, Weight{}), down, along);
  } catch (const error& refusal) {
    return refusal.what();
  }
  into.close_region();
  const graph& made = into.made;
  CHECK(check(made) == vector<std::string>{});
  const node& last = made.nodes[node_id{0}];
  CHECK(last.attributes == attributes_of(down, along));
  std::string text = std::string(last.op->op.name) + ":";
  for (const std::int64_t extent : extents_of(made.sizes, made.values[last.results[0]].axes))
    text += " " + std::to_string(extent);
  return text;
}

using image = tensor<batch, high, wide, color>;
using weight = tensor<tall, across, color, inside>;

}  // namespace

TEST_CASE("the axes of the weight say what the channels are") {
  CHECK(convolved<image, weight>(halving, pairs) == "convolution: 4 4 5 6");
  CHECK(convolved<image, tensor<tall, across, color>>(halving, pairs) == "convolution: 4 4 5 3");
  CHECK(convolved<tensor<batch, high, wide, group, color>, tensor<tall, across, group, color, inside>>(
            halving, pairs) == "convolution: 4 4 5 2 6");
}

TEST_CASE("sizes that do not fit are refused, with the axes and a cure") {
  CHECK(convolved<image, weight>({.taps = 3, .padding = 1}, pairs) ==
        "convolve over high: 3 taps with stride 1, padding 1 and dilation 1 have 8 positions on its 8 elements, but "
        "lower has 4; give that axis the size 8, or change the stencil");
  CHECK(convolved<image, weight>(halving, {.taps = 3, .stride = 2, .padding = 1}) ==
        "convolve over wide: the weight's axis across has 2 elements, the stencil 3 taps; make them equal");
  CHECK(convolved<image, weight>({.taps = 3, .stride = 0}, pairs) ==
        "convolve over high: taps 3, stride 0, padding 0 and dilation 1 are no stencil; give taps, stride and dilation "
        "of 1 or more and a padding of 0 or more");
}
