// SPDX-License-Identifier: Apache-2.0
// What a convolution has to do on one shard, as plain data: its pass, extents, strides and addresses. It is what an
// arithmetic that convolves by itself is given. Law: it knows the shard only: what lies beyond its image is zero,
// because a shard's image is everything in the whole one that its results read.
#pragma once

#include <meshloom/kernel/call.hpp>
#include <meshloom/op/convolution.hpp>

#include <algorithm>
#include <numeric>
#include <utility>

namespace meshloom {

enum class convolution_pass : std::uint8_t {
  forward,          ///< writes the result
  gradient_image,   ///< writes the image
  gradient_weight,  ///< writes, or adds to, the weight
};

/// One dimension of the image. Position o and tap t meet at pixel o·stride − before + t·dilation of the shard, if there
/// is one. Both paddings may be negative: then the outer pixels meet no tap.
struct convolution_side {
  std::int64_t pixels = 0, positions = 0, taps = 1;
  std::int64_t stride = 1, dilation = 1;
  std::int64_t before = 0;  ///< zeros in front of the first pixel
  std::int64_t after = 0;   ///< zeros behind the last one that the last position's last tap needs; 0 if no position

  constexpr bool operator==(const convolution_side&) const = default;

  constexpr std::int64_t pixel(std::int64_t position, std::int64_t tap) const {
    return position * stride - before + tap * dilation;
  }
};

/// A tensor of a convolution: strides, in elements, of its axes; one that it lacks has length 1, and any stride.
struct convolution_tensor {
  void* data = nullptr;
  std::int64_t outer = 0;  ///< of images n; of a weight 0
  std::int64_t high = 0, wide = 0;
  std::int64_t group = 0;
  std::int64_t in = 0, out = 0;  ///< of an image and a result one of the two is 0

  constexpr bool operator==(const convolution_tensor&) const = default;

  template <class Element>
  Element* as() const {
    return static_cast<Element*>(data);
  }
};

/// Dense channels are one group; depthwise ones are groups of one channel in and one out.
struct convolution_shape {
  convolution_pass pass = convolution_pass::forward;
  bool accumulate = false;  ///< add to the weight's gradient instead of overwriting it
  std::int64_t images = 0, groups = 1, in = 1, out = 1;
  convolution_side high, wide;
  convolution_tensor image, weight, result;

  constexpr std::int64_t taps() const { return high.taps * wide.taps; }
  constexpr std::int64_t positions() const { return images * high.positions * wide.positions; }
};

namespace detail {

constexpr convolution_side side_of(const stencil& shape, const view& image, const view& result, int dimension) {
  const int axis = 1 + dimension;
  convolution_side made{image.extent[axis], result.extent[axis], shape.taps, shape.stride, shape.dilation};
  made.before = shape.padding + image.origin[axis] - result.origin[axis] * shape.stride;
  if (made.positions > 0) made.after = made.pixel(made.positions - 1, made.taps - 1) + 1 - made.pixels;
  return made;
}

}  // namespace detail

/// The shape of a call of a convolution or of one of its gradients.
template <op::channels Kind>
constexpr convolution_shape shape_of_convolution(convolution_pass pass, const call& with) {
  constexpr bool dense = Kind == op::channels::dense, depthwise = Kind == op::channels::depthwise;
  const bool forward = pass == convolution_pass::forward, to_image = pass == convolution_pass::gradient_image;
  const view& image = to_image ? with.result[0] : with.operand[0];
  const view& weight = forward || to_image ? with.operand[1] : with.result[0];
  const view& result = forward ? with.result[0] : to_image ? with.operand[0] : with.operand[1];
  attribute_list attributes;
  for (std::size_t k = 0; k < attributes.size(); ++k) attributes[k] = with.attribute[k];
  convolution_shape made;
  made.pass = pass;
  made.accumulate = with.accumulate;
  made.images = image.extent[0];
  made.high = detail::side_of(stencil_of(attributes, 0), image, result, 0);
  made.wide = detail::side_of(stencil_of(attributes, 1), image, result, 1);
  made.image = {image.data, image.stride[0], image.stride[1], image.stride[2]};
  made.weight = {weight.data, 0, weight.stride[0], weight.stride[1]};
  made.result = {result.data, result.stride[0], result.stride[1], result.stride[2]};
  if constexpr (!dense) {
    made.groups = image.extent[3];
    made.image.group = image.stride[3];
    made.weight.group = weight.stride[2];
    made.result.group = result.stride[3];
  }
  if constexpr (!depthwise) {
    constexpr int last = dense ? 3 : 4;
    made.in = image.extent[last];
    made.out = result.extent[last];
    made.image.in = image.stride[last];
    made.weight.in = weight.stride[last - 1];
    made.weight.out = weight.stride[last];
    made.result.out = result.stride[last];
  }
  return made;
}

namespace detail {

/// One dimension of an image's gradient: the pixels `first`, first + stride, … are positions, which see the positions
/// of the convolution as pixels. All are met by the same taps, `last` and every `step`-th before it.
struct transposed_side {
  convolution_side side;
  std::int64_t last = 0, step = 0;
};

constexpr transposed_side transpose(const convolution_side& of, std::int64_t first) {
  const auto steps = [&](std::int64_t tap) {
    return first + of.before - tap * of.dilation;
  };  // strides to its position
  transposed_side made{.side = {of.positions, (of.pixels - first + of.stride - 1) / of.stride, 0}};
  made.step = of.stride / std::gcd(of.stride, of.dilation);
  const std::int64_t end = std::min(made.step, of.taps);
  std::int64_t tap = 0;
  while (tap < end && steps(tap) % of.stride != 0) ++tap;
  if (tap == end) return made;
  made.side.taps = (of.taps - 1 - tap) / made.step + 1;
  made.last = tap + (made.side.taps - 1) * made.step;
  made.side.dilation = made.step * of.dilation / of.stride;
  made.side.before = -steps(made.last) / of.stride;
  return made;
}

}  // namespace detail

/// The gradient of an image as forward convolutions of the result: calls visit(shape), whose paddings behind are
/// unknown, for the pixels that lie strides apart. Every pixel is in one of them, also one that no tap meets.
template <class Element, class Visit>
constexpr void for_each_transposed(const convolution_shape& s, Visit visit) {
  for (std::int64_t first = 0; first < s.high.stride * s.wide.stride; ++first) {
    const std::int64_t h = first / s.wide.stride, w = first % s.wide.stride;
    const detail::transposed_side high = detail::transpose(s.high, h), wide = detail::transpose(s.wide, w);
    convolution_shape made = s;
    made.pass = convolution_pass::forward;
    made.high = high.side;
    made.wide = wide.side;
    std::swap(made.in, made.out);
    std::swap(made.image, made.result);
    for (convolution_tensor* each : {&made.image, &made.weight, &made.result}) std::swap(each->in, each->out);
    made.result.data = s.image.as<Element>() + h * s.image.high + w * s.image.wide;
    made.result.high *= s.high.stride;
    made.result.wide *= s.wide.stride;
    made.weight.data = s.weight.as<Element>() + high.last * s.weight.high + wide.last * s.weight.wide;
    made.weight.high *= -high.step;
    made.weight.wide *= -wide.step;
    visit(made);
  }
}

}  // namespace meshloom
