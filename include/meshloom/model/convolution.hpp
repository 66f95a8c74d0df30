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

/// Throws if a stencil does not lead from one axis to the other, along the kernel's `taps`.
void check_stencil(const stencil& shape, const sized_axis& from, const sized_axis& to, const sized_axis& taps);

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
      detail::check_stencil(high, within.template sized<H>(), within.template sized<OH>(), within.template sized<KH>());
      detail::check_stencil(wide, within.template sized<W>(), within.template sized<OW>(), within.template sized<KW>());
    }(image_axes{});
    return typename made::template result<OH, OW>{within.template emit<typename made::operation>(
        typename made::template index<OH, OW>{}, attributes_of(high, wide), x, weight)[0]};
  } else {
    return x;
  }
}

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/model/convolution.inl>
#endif
