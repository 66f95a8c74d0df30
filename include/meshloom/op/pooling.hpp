// SPDX-License-Identifier: Apache-2.0
// Pooling of images [batch, high, wide, channel]: of each window the largest element, or the mean. The indices are
// batch, high, wide of the image, high and wide of the result, channel; the attributes are `attributes_of(high, wide)`.
// Law: padding is never chosen and does not count in a mean, so where high or wide is split a shard needs the windows'
// elements of its neighbours and nothing else. A window of padding alone has the largest element −∞ and the mean 0.
#pragma once

#include <meshloom/op/record.hpp>

#include <span>

namespace meshloom::op {

namespace detail {

using image = at<0, 1, 2, 5>;
using pooled = at<0, 3, 4, 5>;

/// The gradient of a pooling with respect to its image.
inline handle gradient_of_image(differentiation& d, const record& op, std::initializer_list<handle> operands) {
  const axis_id sides[] = {d.index(1), d.index(2)};
  return d.emit(op, operands, d.attributes(), sides)[0];
}

}  // namespace detail

/// Operands: dy, the numbers of the chosen taps. Result: dx.
struct max_pool_gradient {
  static constexpr auto signature = describe("max_pool_gradient")
                                        .operands<detail::pooled, detail::pooled>()
                                        .results<detail::image>()
                                        .reads_window(1, 3, -1, 0, true)
                                        .reads_window(2, 4, -1, 1, true)
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  using gradient = operators<>;
};

/// Operand: the image. Results: the largest elements, and the number of the tap that saw each, high · (taps wide) +
/// wide, the lowest where several did (−1 in a window of padding alone). NaN is larger than any number.
struct max_pool {
  static constexpr auto signature = describe("max_pool")
                                        .operands<detail::image>()
                                        .results<detail::pooled, detail::pooled>()
                                        .reads_window(3, 1, -1, 0)
                                        .reads_window(4, 2, -1, 1)
                                        .returns_integers(2)
                                        .made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  using gradient = operators<max_pool_gradient>;
  static void differentiate(differentiation& d) {
    if (!d.wanted(0)) return;
    d.contribute(0, detail::gradient_of_image(d, record_of<max_pool_gradient>, {d.gradient(0), d.result(1)}));
  }
};

/// Operand: dy. Result: dx.
struct average_pool_gradient {
  static constexpr auto signature = describe("average_pool_gradient")
                                        .operands<detail::pooled>()
                                        .results<detail::image>()
                                        .reads_window(1, 3, -1, 0, true)
                                        .reads_window(2, 4, -1, 1, true)
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  using gradient = operators<>;
};

/// Operand: the image. Result: the means of what lies within the image (a choice to count the padding has no place: the
/// stencils take all attributes).
struct average_pool {
  static constexpr auto signature = describe("average_pool")
                                        .operands<detail::image>()
                                        .results<detail::pooled>()
                                        .reads_window(3, 1, -1, 0)
                                        .reads_window(4, 2, -1, 1)
                                        .linear_in(1)
                                        .made;
  static constexpr rounding rounded{.operands = 1, .results = 1};
  using gradient = operators<average_pool_gradient>;
  static void differentiate(differentiation& d) {
    if (!d.wanted(0)) return;
    d.contribute(0, detail::gradient_of_image(d, record_of<average_pool_gradient>, {d.gradient(0)}));
  }
};

}  // namespace meshloom::op
