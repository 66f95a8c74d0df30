// SPDX-License-Identifier: Apache-2.0
// Convolution as a function on typed tensors: which channels are groups follows from the axes of the weight.
// Law: the sizes of the result's high and wide axes are the positions of the stencils, or tracing ends with an error.
#pragma once

#include <meshloom/model/expression.hpp>
#include <meshloom/op/convolution.hpp>

namespace meshloom {

namespace detail {

/// What a convolution of an image and a weight is; `possible` says if there is one.
template <class Image, class Weight>
struct convolved {
  static constexpr bool possible = false;
};
template <class N, class H, class W, class C, class KH, class KW, class K>
struct convolved<axes<N, H, W, C>, axes<KH, KW, C, K>> {
  static constexpr bool possible = true;
  using operation = op::convolution<op::channels::dense>;
  template <class OH, class OW>
  using index = axes<N, H, W, OH, OW, KH, KW, C, K>;
  template <class OH, class OW>
  using result = tensor<N, OH, OW, K>;
};
template <class N, class H, class W, class G, class C, class KH, class KW, class K>
struct convolved<axes<N, H, W, G, C>, axes<KH, KW, G, C, K>> {
  static constexpr bool possible = true;
  using operation = op::convolution<op::channels::grouped>;
  template <class OH, class OW>
  using index = axes<N, H, W, OH, OW, KH, KW, G, C, K>;
  template <class OH, class OW>
  using result = tensor<N, OH, OW, G, K>;
};
template <class N, class H, class W, class C, class KH, class KW>
struct convolved<axes<N, H, W, C>, axes<KH, KW, C>> {
  static constexpr bool possible = true;
  using operation = op::convolution<op::channels::depthwise>;
  template <class OH, class OW>
  using index = axes<N, H, W, OH, OW, KH, KW, C>;
  template <class OH, class OW>
  using result = tensor<N, OH, OW, C>;
};

/// Throws if a stencil does not lead from one axis to the other.
template <class From, class To, class Taps, class Scope>
void check_stencil(const Scope& within, const stencil& shape) {
  const auto text = [](std::int64_t number) { return std::to_string(number); };
  const std::string function = "convolve over " + std::string(name_of<From>()) + ": ";
  if (shape.taps < 1 || shape.stride < 1 || shape.padding < 0 || shape.dilation < 1)
    throw error(function + "taps " + text(shape.taps) + ", stride " + text(shape.stride) + ", padding " +
                text(shape.padding) + " and dilation " + text(shape.dilation) +
                " are no stencil; give taps, stride and dilation of 1 or more and a padding of 0 or more");
  const std::int64_t taps = within.template size_of<Taps>();
  if (taps != shape.taps)
    throw error(function + "the weight's axis " + std::string(name_of<Taps>()) + " has " + text(taps) +
                " elements, the stencil " + text(shape.taps) + " taps; make them equal");
  const std::int64_t from = within.template size_of<From>(), to = within.template size_of<To>();
  if (shape.positions(from) != to)
    throw error(function + text(shape.taps) + " taps with stride " + text(shape.stride) + ", padding " +
                text(shape.padding) + " and dilation " + text(shape.dilation) + " have " + text(shape.positions(from)) +
                " positions on its " + text(from) + " elements, but " + std::string(name_of<To>()) + " has " +
                text(to) + "; give that axis the size " + text(shape.positions(from)) + ", or change the stencil");
}

}  // namespace detail

/// Convolves an image [n, h, w, c] with a weight [kh, kw, c, k] to [n, OH, OW, k]. With groups, an image [n, h, w, g,
/// c] and a weight [kh, kw, g, c, k] give [n, OH, OW, g, k]; depthwise, a weight [kh, kw, c] gives [n, OH, OW, c].
/// `convolve<high, wide>(scope, image, weight, {.taps = 3, .padding = 1}, {.taps = 3, .padding = 1})`. Throws if sizes
/// do not fit.
template <class OH, class OW, class Scope, pointwise_value Image, class KH, class KW, class... Channel>
auto convolve(Scope& within, const Image& image, tensor<KH, KW, Channel...> weight, const stencil& high,
              const stencil& wide) {
  const auto x = evaluate(within, image);
  using image_axes = typename decltype(x)::axes_type;
  using made = detail::convolved<image_axes, axes<KH, KW, Channel...>>;
  static_assert(made::possible,
                "meshloom: convolve: image and weight do not meet; with an image [n, h, w, c] the weight is "
                "[kh, kw, c, k], or [kh, kw, c] if depthwise, with an image [n, h, w, g, c] it is [kh, kw, g, c, k]: "
                "name the channels of the image in the weight, and add channels that the image does not have");
  if constexpr (made::possible) {
    [&]<class N, class H, class W, class... Rest>(axes<N, H, W, Rest...>) {
      detail::check_stencil<H, OH, KH>(within, high);
      detail::check_stencil<W, OW, KW>(within, wide);
    }(image_axes{});
    return typename made::template result<OH, OW>{within.template emit<typename made::operation>(
        typename made::template index<OH, OW>{}, attributes_of(high, wide), x, weight)[0]};
  } else {
    return x;
  }
}

}  // namespace meshloom
