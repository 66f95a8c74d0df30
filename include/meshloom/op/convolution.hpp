// SPDX-License-Identifier: Apache-2.0
// Convolution of images over two dimensions, and its gradients. Images are [n, h, w, channels], results
// [n, oh, ow, channels], weights [kh, kw, channels]; attributes are the stencils, see `attributes_of`. Indices 0 … 6
// are n, h, w, oh, ow, kh, kw; what the channels are is a template parameter, and groups are an axis, as heads are.
// Law: a shard of rows or columns needs the window that they read, and zeros only beyond the whole image.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// How the channels of image and result meet in the weight, as axes after the first ones of the three tensors.
enum class channels : std::uint8_t {
  dense,      ///< image [c], weight [c, k], result [k]
  grouped,    ///< image [g, c], weight [g, c, k], result [g, k]
  depthwise,  ///< image [c], weight [c], result [c]
};

namespace detail {

/// The axes of the three tensors, and the roles of the channels.
template <channels Kind>
struct convolution_axes;
template <>
struct convolution_axes<channels::dense> {
  using image = at<0, 1, 2, 7>;
  using weight = at<5, 6, 7, 8>;
  using result = at<0, 3, 4, 8>;
  using in = at<7>;
  using out = at<8>;
};
template <>
struct convolution_axes<channels::grouped> {
  using image = at<0, 1, 2, 7, 8>;
  using weight = at<5, 6, 7, 8, 9>;
  using result = at<0, 3, 4, 7, 9>;
  using in = at<8>;
  using out = at<9>;
};
template <>
struct convolution_axes<channels::depthwise> {
  using image = at<0, 1, 2, 7>;
  using weight = at<5, 6, 7>;
  using result = at<0, 3, 4, 7>;
  using in = at<>;
  using out = at<>;
};

}  // namespace detail

/// Operands: dy, weight. Result: dx.
template <channels Kind>
struct convolution_gradient_image {
  using axes = detail::convolution_axes<Kind>;
  static constexpr auto signature = describe("convolution_gradient_image")
                                        .operands<typename axes::result, typename axes::weight>()
                                        .template results<typename axes::image>()
                                        .is(role::blocked, at<5, 6>::list)
                                        .is(role::contracted, axes::out::list)
                                        .reads_window(1, 3, 5, 0, true)
                                        .reads_window(2, 4, 6, 1, true)
                                        .linear_in(1)
                                        .linear_in(2)
                                        .made;
  static constexpr double flops_per_point = 2;
  static constexpr bool products = true;
  static constexpr rounding rounded{.operands = 3, .results = 1, .always = true};
  using gradient = operators<>;
};

/// Operands: image, dy. Result: the weight's gradient.
template <channels Kind>
struct convolution_gradient_weight {
  using axes = detail::convolution_axes<Kind>;
  static constexpr auto signature = describe("convolution_gradient_weight")
                                        .operands<typename axes::image, typename axes::result>()
                                        .template results<typename axes::weight>()
                                        .is(role::contracted, at<0, 3, 4>::list)
                                        .is(role::blocked, at<5, 6>::list)
                                        .reads_window(3, 1, 5, 0)
                                        .reads_window(4, 2, 6, 1)
                                        .linear_in(1)
                                        .linear_in(2)
                                        .made;
  static constexpr double flops_per_point = 2;
  static constexpr bool products = true;
  static constexpr rounding rounded{.operands = 3, .always = true};
  static constexpr bool accumulates = true;
  using gradient = operators<>;
};

/// Operands: image, weight. Result: y = Σ image · weight over the taps and the channels that the result lacks.
template <channels Kind>
struct convolution {
  using axes = detail::convolution_axes<Kind>;
  static constexpr auto signature = describe("convolution")
                                        .operands<typename axes::image, typename axes::weight>()
                                        .template results<typename axes::result>()
                                        .is(role::blocked, at<5, 6>::list)
                                        .is(role::contracted, axes::in::list)
                                        .reads_window(3, 1, 5, 0)
                                        .reads_window(4, 2, 6, 1)
                                        .linear_in(1)
                                        .linear_in(2)
                                        .made;
  static constexpr double flops_per_point = 2;
  static constexpr bool products = true;
  static constexpr rounding rounded{.operands = 3, .results = 1, .always = true};
  using gradient = operators<convolution_gradient_image<Kind>, convolution_gradient_weight<Kind>>;

  static void differentiate(differentiation& d) {
    const handle image = d.operand(0), weight = d.operand(1), slope = d.gradient(0);
    const std::array<axis_id, 2> pixels{d.index(1), d.index(2)}, taps{d.index(5), d.index(6)};
    if (d.wanted(0)) {
      d.contribute(0, d.emit(record_of<convolution_gradient_image<Kind>>, {slope, weight}, d.attributes(), pixels)[0]);
    }
    if (d.wanted(1)) {
      d.contribute(1, d.emit(record_of<convolution_gradient_weight<Kind>>, {image, slope}, d.attributes(), taps)[0]);
    }
  }
};

}  // namespace meshloom::op
