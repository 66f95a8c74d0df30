// SPDX-License-Identifier: Apache-2.0
// Pooling and its gradients: a team per row of pixels, whose members take channels. Law: views hold the part of an
// image that a shard needs, and say where it lies; what is outside of the whole image is padding. Gradients gather, so
// every element is written by one team. Channels are contiguous; the other axes may lie at any strides.
#pragma once

#include <meshloom/kernel/kernel.hpp>
#include <meshloom/kernel/math.hpp>
#include <meshloom/op/pooling.hpp>

namespace meshloom {

/// The windows along one dimension of an image.
struct window_side {
  std::int64_t taps, stride, padding, dilation;

  MESHLOOM_DEVICE window_side(const call& with, int dimension)
      : taps(static_cast<std::int64_t>(with.attribute[dimension])),
        stride(static_cast<std::int64_t>(with.attribute[2 + dimension])),
        padding(static_cast<std::int64_t>(with.attribute[4 + dimension])),
        dilation(static_cast<std::int64_t>(with.attribute[6 + dimension])) {}

  /// The element at a tap of the window at `position`, of `extent`; −1 if that is padding.
  MESHLOOM_DEVICE std::int64_t element(std::int64_t position, std::int64_t tap, std::int64_t extent) const {
    const std::int64_t at = position * stride - padding + tap * dilation;
    return at >= 0 && at < extent ? at : -1;
  }
  /// The position, of `extent`, of the window that has an element at a tap; −1 if there is none.
  MESHLOOM_DEVICE std::int64_t position(std::int64_t element, std::int64_t tap, std::int64_t extent) const {
    const std::int64_t steps = element + padding - tap * dilation;
    return steps >= 0 && steps % stride == 0 && steps / stride < extent ? steps / stride : -1;
  }
  /// How many elements the window at `position` has.
  MESHLOOM_DEVICE std::int64_t elements(std::int64_t position, std::int64_t extent) const {
    std::int64_t count = 0;
    for (std::int64_t tap = 0; tap < taps; ++tap) count += element(position, tap, extent) >= 0 ? 1 : 0;
    return count;
  }
};

struct pool_windows {
  window_side high, wide;

  MESHLOOM_DEVICE explicit pool_windows(const call& with) : high(with, 0), wide(with, 1) {}

  /// Calls f(i, j, tap) for the elements of the image that the window at (p, q) has.
  template <class Function>
  MESHLOOM_DEVICE void each_element(const view& image, std::int64_t p, std::int64_t q, Function f) const {
    for (std::int64_t tap = 0; tap < high.taps * wide.taps; ++tap) {
      const std::int64_t i = high.element(p, tap / wide.taps, image.global[1]);
      const std::int64_t j = wide.element(q, tap % wide.taps, image.global[2]);
      if (i >= 0 && j >= 0) f(i, j, tap);
    }
  }
  /// Calls f(p, q, tap) for the windows that have the element (i, j) of an image.
  template <class Function>
  MESHLOOM_DEVICE void each_window(const view& pooled, std::int64_t i, std::int64_t j, Function f) const {
    for (std::int64_t tap = 0; tap < high.taps * wide.taps; ++tap) {
      const std::int64_t p = high.position(i, tap / wide.taps, pooled.global[1]);
      const std::int64_t q = wide.position(j, tap % wide.taps, pooled.global[2]);
      if (p >= 0 && q >= 0) f(p, q, tap);
    }
  }
};

/// One row of the pixels that a call makes.
struct pixel_row {
  std::int64_t image, high;  ///< the latter in the whole image

  MESHLOOM_DEVICE pixel_row(const view& made, std::int64_t which)
      : image(which / made.extent[1]), high(made.origin[1] + which % made.extent[1]) {}

  /// Calls f(column), numbered as in the whole image.
  template <class Function>
  MESHLOOM_DEVICE static void each(const view& made, Function f) {
    for (std::int64_t j = made.origin[2]; j < made.origin[2] + made.extent[2]; ++j) f(j);
  }
  /// The channels at (i, j) of the whole, which the view has.
  template <class Element>
  MESHLOOM_DEVICE Element* at(const view& shard, std::int64_t i, std::int64_t j) const {
    return shard.as<Element>() + image * shard.stride[0] + (i - shard.origin[1]) * shard.stride[1] +
           (j - shard.origin[2]) * shard.stride[2];
  }
};

/// Channels of a pixel, which a member of a team sums beside it: of 16 bits a sum is rounded once.
template <class Element, class Team>
struct channel_strip {
  static constexpr int width = Team::lanes == 1 ? 1 : 256;
  using number = computed<Element>;
  using lanes = number[width];

  Team team;
  std::int64_t first, count;

  template <class Function>
  MESHLOOM_DEVICE void each(Function f) const {
    if constexpr (width == 1)
      f(0);
    else
      team.for_each(count, f);
  }
};

struct pool_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return with.result[0].extent[0] * with.result[0].extent[1];
  }

 protected:
  /// Calls f(strip) for all channels of a pixel.
  template <class Element, class Team, class Function>
  MESHLOOM_DEVICE static void each_strip(Team team, std::int64_t channels, Function f) {
    using strip = channel_strip<Element, Team>;
    if constexpr (strip::width == 1) {
      team.for_each(channels, [&](std::int64_t c) { f(strip{team, c, 1}); });
    } else {
      for (std::int64_t first = 0; first < channels; first += strip::width)
        f(strip{team, first, channels - first < strip::width ? channels - first : strip::width});
    }
  }
};

struct max_pool_kernel : pool_kernel {
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view &x = with.operand[0], &y = with.result[0];
    const pool_windows windows(with);
    const pixel_row row(y, which);
    const std::int64_t channels = y.extent[3];
    row.each(y, [&](std::int64_t q) {
      Element* const largest = row.at<Element>(y, row.high, q);
      std::int32_t* const chosen = row.at<std::int32_t>(with.result[1], row.high, q);
      team.for_each(channels, [=](std::int64_t c) {
        largest[c] = -math::float_format<number>::infinity;
        chosen[c] = -1;
      });
      windows.each_element(x, row.high, q, [&](std::int64_t i, std::int64_t j, std::int64_t tap) {
        const Element* const seen = row.at<const Element>(x, i, j);
        const auto number_of_tap = static_cast<std::int32_t>(tap);
        team.for_each(channels, [=](std::int64_t c) {
          const number value = seen[c], before = largest[c];
          const bool better = (chosen[c] < 0) | (value > before) | (value != value);
          largest[c] = better ? value : before;
          chosen[c] = better ? number_of_tap : chosen[c];
        });
      });
    });
  }
};

struct max_pool_gradient_kernel : pool_kernel {
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view &dy = with.operand[0], &chosen = with.operand[1], &dx = with.result[0];
    const pool_windows windows(with);
    const pixel_row row(dx, which);
    row.each(dx, [&](std::int64_t j) {
      each_strip<Element>(team, dx.extent[3], [&](const auto& strip) {
        typename channel_strip<Element, Team>::lanes sum;
        strip.each([&](std::int64_t c) { sum[c] = 0; });
        windows.each_window(dy, row.high, j, [&](std::int64_t p, std::int64_t q, std::int64_t tap) {
          const Element* const slope = row.at<const Element>(dy, p, q) + strip.first;
          const std::int32_t* const taken = row.at<const std::int32_t>(chosen, p, q) + strip.first;
          const auto mine = static_cast<std::int32_t>(tap);
          strip.each([&](std::int64_t c) { sum[c] += taken[c] == mine ? number(slope[c]) : number(0); });
        });
        Element* const to = row.at<Element>(dx, row.high, j) + strip.first;
        strip.each([&](std::int64_t c) { to[c] = sum[c]; });
      });
    });
  }
};

struct average_pool_kernel : pool_kernel {
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view &x = with.operand[0], &y = with.result[0];
    const pool_windows windows(with);
    const pixel_row row(y, which);
    const std::int64_t high = windows.high.elements(row.high, x.global[1]);
    row.each(y, [&](std::int64_t q) {
      const std::int64_t count = high * windows.wide.elements(q, x.global[2]);
      const number share = number(1) / static_cast<number>(count > 0 ? count : 1);
      each_strip<Element>(team, y.extent[3], [&](const auto& strip) {
        typename channel_strip<Element, Team>::lanes sum;
        strip.each([&](std::int64_t c) { sum[c] = 0; });
        windows.each_element(x, row.high, q, [&](std::int64_t i, std::int64_t j, std::int64_t) {
          const Element* const seen = row.at<const Element>(x, i, j) + strip.first;
          strip.each([&](std::int64_t c) { sum[c] += seen[c]; });
        });
        Element* const mean = row.at<Element>(y, row.high, q) + strip.first;
        strip.each([&](std::int64_t c) { mean[c] = sum[c] * share; });
      });
    });
  }
};

struct average_pool_gradient_kernel : pool_kernel {
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view &dy = with.operand[0], &dx = with.result[0];
    const pool_windows windows(with);
    const pixel_row row(dx, which);
    row.each(dx, [&](std::int64_t j) {
      each_strip<Element>(team, dx.extent[3], [&](const auto& strip) {
        typename channel_strip<Element, Team>::lanes sum;
        strip.each([&](std::int64_t c) { sum[c] = 0; });
        windows.each_window(dy, row.high, j, [&](std::int64_t p, std::int64_t q, std::int64_t) {
          const Element* const slope = row.at<const Element>(dy, p, q) + strip.first;
          const std::int64_t count = windows.high.elements(p, dx.global[1]) * windows.wide.elements(q, dx.global[2]);
          const number share = number(1) / static_cast<number>(count);
          strip.each([&](std::int64_t c) { sum[c] += slope[c] * share; });
        });
        Element* const to = row.at<Element>(dx, row.high, j) + strip.first;
        strip.each([&](std::int64_t c) { to[c] = sum[c]; });
      });
    });
  }
};

template <>
struct kernel_of<op::max_pool> : max_pool_kernel {};
template <>
struct kernel_of<op::max_pool_gradient> : max_pool_gradient_kernel {};
template <>
struct kernel_of<op::average_pool> : average_pool_kernel {};
template <>
struct kernel_of<op::average_pool_gradient> : average_pool_gradient_kernel {};

}  // namespace meshloom
