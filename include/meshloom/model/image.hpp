// SPDX-License-Identifier: Apache-2.0
// Operators on images [batch, high, wide, channel] as functions on typed tensors: batch normalisation and pooling. The
// axes may be any tags, in this order. Shapes are checked by the compiler, sizes when the model is traced, and every
// message names function, argument and cure. Law: a call makes one operator, with these axes and windows.
// Source: Ioffe and Szegedy 2015 (batch normalisation).
#pragma once

#include <meshloom/model/expression.hpp>
#include <meshloom/op/batch_norm.hpp>
#include <meshloom/op/pooling.hpp>

#include <string_view>

namespace meshloom {

/// A normalised batch, and the mean and the biased variance of each feature in it, which have no gradient.
template <class Value, class Statistic>
struct normalised_batch {
  Value value;
  Statistic mean, variance;
};

namespace detail {

template <class All, class... Feature>
constexpr void check_features() {
  static_assert(sizeof...(Feature) == 1 || sizeof...(Feature) == 2,
                "meshloom: batch_norm: gain and bias must have one axis or two (group, channel); rename or merge axes");
  static_assert(
      std::is_same_v<All, join<without<All, axes<Feature...>>, axes<Feature...>>> && (All::count > sizeof...(Feature)),
      "meshloom: batch_norm: the axes of gain and bias must be the last of the input, in their order, and "
      "not all of it; name the last ones, or make them the last");
}

/// Throws meshloom::error unless windows along axis `in` have the positions of axis `out`.
void check_windows(std::string_view function, const stencil& shape, const sized_axis& in, const sized_axis& out);

/// The first result of a pooling operator.
template <class Operator, class OutHigh, class OutWide, class Scope, class N, class H, class W, class C>
tensor<N, OutHigh, OutWide, C> pooled(std::string_view function, Scope& within, tensor<N, H, W, C> image,
                                      const stencil& high, const stencil& wide) {
  using indices = axes<N, H, W, OutHigh, OutWide, C>;
  static_assert(all_distinct<indices>,
                "meshloom: pooling: the axes of the result's height and width must be others than the image's; "
                "declare axes of their own");
  check_windows(function, high, within.template sized<H>(), within.template sized<OutHigh>());
  check_windows(function, wide, within.template sized<W>(), within.template sized<OutWide>());
  return {within.template emit<Operator>(indices{}, attributes_of(high, wide), image)[0]};
}

}  // namespace detail

/// Normalises every feature over all other axes, then scales and shifts it. The features, one axis or two, are those of
/// `gain` and `bias`, and the last of x.
template <class Scope, class... Axis, class... Feature>
normalised_batch<tensor<Axis...>, tensor<Feature...>> batch_norm_of(Scope& within, tensor<Axis...> x,
                                                                    tensor<Feature...> gain, tensor<Feature...> bias,
                                                                    double epsilon) {
  detail::check_features<axes<Axis...>, Feature...>();
  using operation = op::batch_norm<sizeof...(Axis), sizeof...(Feature)>;
  const auto made = within.template emit<operation>(axes<Axis...>{}, {epsilon}, x, gain, bias);
  return {{made[0]}, {made[1]}, {made[2]}};
}

/// The same with given means and variances, which get no gradient.
template <class Scope, class... Axis, class... Feature>
tensor<Axis...> batch_norm_inference_of(Scope& within, tensor<Axis...> x, tensor<Feature...> gain,
                                        tensor<Feature...> bias, tensor<Feature...> mean, tensor<Feature...> variance,
                                        double epsilon) {
  detail::check_features<axes<Axis...>, Feature...>();
  using operation = op::batch_norm_inference<sizeof...(Axis), sizeof...(Feature)>;
  return {within.template emit<operation>(axes<Axis...>{}, {epsilon}, x, gain, bias, mean, variance)[0]};
}

/// The largest element of each window: `max_pool<out_high, out_wide>(scope, image, {.taps = 2, .stride = 2}, …)`.
/// Throws meshloom::error if the size of a result's axis is not the number of positions of the windows.
template <class OutHigh, class OutWide, class Scope, class N, class H, class W, class C>
tensor<N, OutHigh, OutWide, C> max_pool(Scope& within, tensor<N, H, W, C> image, const stencil& high,
                                        const stencil& wide) {
  return detail::pooled<op::max_pool, OutHigh, OutWide>("max_pool", within, image, high, wide);
}

/// The mean of each window; padding does not count. Throws as `max_pool`.
template <class OutHigh, class OutWide, class Scope, class N, class H, class W, class C>
tensor<N, OutHigh, OutWide, C> average_pool(Scope& within, tensor<N, H, W, C> image, const stencil& high,
                                            const stencil& wide) {
  return detail::pooled<op::average_pool, OutHigh, OutWide>("average_pool", within, image, high, wide);
}

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/model/image.inl>
#endif
