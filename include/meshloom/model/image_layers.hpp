// SPDX-License-Identifier: Apache-2.0
// Layers on images [N, High, Wide, Channels]. A window that moves in strides leaves every Stride-th row and column: the
// result's axes are `strided<High, Stride>` and `strided<Wide, Stride>`, whose sizes follow. Channels are named by the
// layer that makes them; a layer that makes as many as it reads names them `keys<Channels>`.
// Law: gradients are those of finite differences. Source: He et al. 2015 (how weights start), Ioffe and Szegedy 2015,
// Howard et al. 2017 (depthwise kernels).
#pragma once

#include <meshloom/model/compose.hpp>
#include <meshloom/model/convolution.hpp>
#include <meshloom/model/image.hpp>
#include <meshloom/op/update.hpp>

#include <cmath>

namespace meshloom {

namespace detail {

/// The window of `Taps` elements whose padding keeps the size at a stride of 1.
constexpr stencil centred(int taps, int stride, int dilation = 1) {
  return {taps, stride, dilation * (taps - 1) / 2, dilation};
}

/// √(2 / fan): keeps the variance of what a relu leaves (He et al. 2015).
inline initial he_normal(std::int64_t fan) { return {initial::normal, std::sqrt(2.0 / static_cast<double>(fan))}; }

}  // namespace detail

/// Convolution with Taps × Taps kernels, without bias: the result has Out channels.
template <class Out, int Taps, int Stride = 1, int Dilation = 1>
struct convolution {
  static_assert(Taps % 2 == 1, "meshloom: convolution<Out, Taps>: the kernel has no centre; give it an odd size");
  static constexpr std::string_view name = "convolution";

  auto operator()(auto& scope, const pointwise_value auto& value) const { return apply(scope, evaluate(scope, value)); }

 private:
  template <class N, class High, class Wide, class In>
  auto apply(auto& scope, const tensor<N, High, Wide, In>& x) const {
    const initial start = detail::he_normal(Taps * Taps * scope.template size_of<Out>());
    if constexpr (Taps == 1 && Stride == 1) {
      return dot<In>(scope, x, scope.template parameter<In, Out>("weight", start));
    } else {
      const auto weight = scope.template parameter<taps<High, Taps>, taps<Wide, Taps>, In, Out>("weight", start);
      const stencil window = detail::centred(Taps, Stride, Dilation);
      return convolve<strided<High, Stride>, strided<Wide, Stride>>(scope, x, weight, window, window);
    }
  }
};

/// Every channel convolved with a kernel of its own (Howard et al. 2017).
template <int Taps, int Stride = 1, int Dilation = 1>
struct depthwise_convolution {
  static_assert(Taps % 2 == 1, "meshloom: depthwise_convolution<Taps>: the kernel has no centre; give it an odd size");
  static constexpr std::string_view name = "convolution";

  auto operator()(auto& scope, const pointwise_value auto& value) const { return apply(scope, evaluate(scope, value)); }

 private:
  template <class N, class High, class Wide, class Channels>
  auto apply(auto& scope, const tensor<N, High, Wide, Channels>& x) const {
    const auto weight = scope.template parameter<taps<High, Taps>, taps<Wide, Taps>, Channels>(
        "weight", detail::he_normal(Taps * Taps));
    const stencil window = detail::centred(Taps, Stride, Dilation);
    return convolve<strided<High, Stride>, strided<Wide, Stride>>(scope, x, weight, window, window);
  }
};

/// Batch normalisation (Ioffe and Szegedy 2015) of the last axis over all others: by the statistics of a micro-batch,
/// whatever shards it has, while the model trains, and by running statistics in evaluation. These take in the mean over
/// a step's micro-batches once per step; the variance that they keep is the unbiased one.
struct batch_norm {
  static constexpr std::string_view name = "batch_norm";
  double epsilon = 1e-5;
  double momentum = 0.1;

  auto operator()(auto& scope, const pointwise_value auto& value) const { return apply(scope, evaluate(scope, value)); }

 private:
  template <class N, class High, class Wide, class Channels>
  tensor<N, High, Wide, Channels> apply(auto& scope, const tensor<N, High, Wide, Channels>& x) const {
    const auto gain = scope.template parameter<Channels>("gain", {initial::constant, 1});
    const auto bias = scope.template parameter<Channels>("bias", {initial::constant, 0});
    const auto mean = scope.template parameter<Channels>("running_mean", {initial::constant, 0});
    const auto variance = scope.template parameter<Channels>("running_variance", {initial::constant, 1});
    if (!scope.trains()) return batch_norm_inference_of(scope, x, gain, bias, mean, variance, epsilon);
    const double rows = static_cast<double>(scope.template size_of<N>() * scope.template size_of<High>() *
                                            scope.template size_of<Wide>());
    const auto made = batch_norm_of(scope, x, gain, bias, epsilon);
    scope.template observe<op::moving_average<1>>(mean, made.mean, {momentum, 0});
    scope.template observe<op::moving_average<1>>(variance, made.variance, {momentum, rows});
    return made.value;
  }
};

/// The largest element under a window of Taps × Taps.
template <int Taps, int Stride>
struct max_pooling {
  static constexpr std::string_view name = "max_pooling";

  auto operator()(auto& scope, const pointwise_value auto& value) const { return apply(scope, evaluate(scope, value)); }

 private:
  template <class N, class High, class Wide, class Channels>
  auto apply(auto& scope, const tensor<N, High, Wide, Channels>& x) const {
    const stencil window = detail::centred(Taps, Stride);
    return max_pool<strided<High, Stride>, strided<Wide, Stride>>(scope, x, window, window);
  }
};

/// The mean of the elements under a window of Taps × Taps, those outside the image not counted.
template <int Taps, int Stride>
struct average_pooling {
  static constexpr std::string_view name = "average_pooling";

  auto operator()(auto& scope, const pointwise_value auto& value) const { return apply(scope, evaluate(scope, value)); }

 private:
  template <class N, class High, class Wide, class Channels>
  auto apply(auto& scope, const tensor<N, High, Wide, Channels>& x) const {
    const stencil window = detail::centred(Taps, Stride);
    return average_pool<strided<High, Stride>, strided<Wide, Stride>>(scope, x, window, window);
  }
};

/// The mean of every channel over the image: [N, Channels].
struct global_average_pooling {
  static constexpr std::string_view name = "global_average_pooling";

  auto operator()(auto& scope, const pointwise_value auto& value) const { return apply(scope, evaluate(scope, value)); }

 private:
  template <class N, class High, class Wide, class Channels>
  auto apply(auto& scope, const tensor<N, High, Wide, Channels>& x) const {
    const auto pixels = scope.template size_of<High>() * scope.template size_of<Wide>();
    return sum<High, Wide>(scope, x, 1 / static_cast<double>(pixels));
  }
};

}  // namespace meshloom
