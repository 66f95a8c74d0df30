// SPDX-License-Identifier: Apache-2.0
// Batch normalisation (Ioffe and Szegedy 2015): y = (x − mean) · gain / √(variance + epsilon) + bias, with the mean and
// the biased variance of each feature over all rows. Of the `Rank` axes of x the last `Features` are the features (one:
// channels; two: group and channel, after a grouped convolution), all others the rows.
// Law: where rows are split, shards exchange sums of features, in two passes: the mean first, then the centred squares,
// so that no precision is lost to cancellation. Mean and variance are statistics to be averaged, without a gradient.
#pragma once

#include <meshloom/base/error.hpp>
#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// The axes of a batch norm of x.
template <int Rank, int Features>
struct batch_axes {
  static_assert(Features >= 1 && Features <= 2 && Rank > Features,
                "meshloom: batch_norm: one or two axes are features, and at least one more counts rows");
  using x = typename first<Rank>::list;
  using rows = typename first<Rank - Features>::list;
  using features = std::conditional_t<Features == 1, typename first<Rank - Features>::row,  // indices after the rows'
                                      typename first<Rank - Features>::matrix>;
};

/// Operands: dy, x, gain, mean, variance. Results: dx and the gradients of gain and bias. Attribute 0: epsilon.
/// Exchange: Σ dy and Σ dy·x̂ of each feature.
template <int Rank, int Features = 1>
struct batch_norm_gradient : batch_axes<Rank, Features> {
  using axes = batch_axes<Rank, Features>;
  using x = typename axes::x;
  using features = typename axes::features;
  static constexpr auto signature = describe("batch_norm_gradient")
                                        .operands<x, x, features, features, features>()
                                        .template results<x, features, features>()
                                        .is(role::statistic, axes::rows::list)
                                        .exchanges(features::list, reduction::sum, 2)
                                        .linear_in(1)
                                        .made;
  static constexpr double flops_per_point = 9;
  static constexpr rounding rounded{.operands = 3, .results = 1};
  using gradient = operators<>;
};

/// Operands: x, gain, bias. Results: y, mean, variance. Attribute 0: epsilon. Exchanges: Σ x, then Σ (x − mean)².
template <int Rank, int Features = 1>
struct batch_norm : batch_axes<Rank, Features> {
  using axes = batch_axes<Rank, Features>;
  using x = typename axes::x;
  using features = typename axes::features;
  static constexpr auto signature = describe("batch_norm")
                                        .operands<x, features, features>()
                                        .template results<x, features, features>()
                                        .is(role::statistic, axes::rows::list)
                                        .exchanges(features::list, reduction::sum, 1)
                                        .exchanges(features::list, reduction::sum, 1)
                                        .made;
  static constexpr double flops_per_point = 7;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  using gradient = operators<batch_norm_gradient<Rank, Features>>;

  static void differentiate(differentiation& d) {
    if (d.gradient(1) || d.gradient(2)) {
      throw error(
          "batch_norm: its mean or variance is part of the loss, but they have no gradient; compute them from "
          "the input with sum, or leave them out");
    }
    const auto made = d.emit(record_of<batch_norm_gradient<Rank, Features>>,
                             {d.gradient(0), d.operand(0), d.operand(1), d.result(1), d.result(2)}, d.attributes());
    for (int which = 0; which < 3; ++which) d.contribute(which, made[static_cast<std::size_t>(which)]);
  }
};

/// Operands: dy, gain, variance. Result: dx. Attribute 0: epsilon.
template <int Rank, int Features = 1>
struct batch_norm_inference_gradient_input : batch_axes<Rank, Features> {
  using x = typename batch_axes<Rank, Features>::x;
  using features = typename batch_axes<Rank, Features>::features;
  static constexpr auto signature = describe("batch_norm_inference_gradient_input")
                                        .operands<x, features, features>()
                                        .template results<x>()
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  using gradient = operators<>;
};

/// Operands: dy, x, mean, variance. Results: the gradients of gain and bias. Attribute 0: epsilon.
template <int Rank, int Features = 1>
struct batch_norm_inference_gradient_weights : batch_axes<Rank, Features> {
  using axes = batch_axes<Rank, Features>;
  using x = typename axes::x;
  using features = typename axes::features;
  static constexpr auto signature = describe("batch_norm_inference_gradient_weights")
                                        .operands<x, x, features, features>()
                                        .template results<features, features>()
                                        .is(role::contracted, axes::rows::list)
                                        .linear_in(1)
                                        .made;
  static constexpr double flops_per_point = 4;
  static constexpr rounding rounded{.operands = 3};
  static constexpr bool accumulates = true;
  using gradient = operators<>;
};

/// With given statistics: each element for itself. Operands: x, gain, bias, mean, variance. Result: y. Attribute 0:
/// epsilon. The statistics get no gradient: they are averages of what was seen in training.
template <int Rank, int Features = 1>
struct batch_norm_inference : batch_axes<Rank, Features> {
  using x = typename batch_axes<Rank, Features>::x;
  using features = typename batch_axes<Rank, Features>::features;
  static constexpr auto signature =
      describe("batch_norm_inference").operands<x, features, features, features, features>().template results<x>().made;
  static constexpr double flops_per_point = 3;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  using gradient = operators<batch_norm_inference_gradient_input<Rank, Features>,
                             batch_norm_inference_gradient_weights<Rank, Features>>;

  static void differentiate(differentiation& d) {
    const handle dy = d.gradient(0), mean = d.operand(3), variance = d.operand(4);
    if (d.wanted(0)) {
      d.contribute(0, d.emit(record_of<batch_norm_inference_gradient_input<Rank, Features>>,
                             {dy, d.operand(1), variance}, d.attributes())[0]);
    }
    if (!d.wanted(1) && !d.wanted(2)) return;
    const auto made = d.emit(record_of<batch_norm_inference_gradient_weights<Rank, Features>>,
                             {dy, d.operand(0), mean, variance}, d.attributes());
    d.contribute(1, made[0]);
    d.contribute(2, made[1]);
  }
};

}  // namespace meshloom::op
