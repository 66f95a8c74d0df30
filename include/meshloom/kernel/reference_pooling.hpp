// SPDX-License-Identifier: Apache-2.0
// Pooling and its gradients again, obviously right: every pair of an element and a window, and the tap between them.
// Law: as of kernel/reference.hpp; of equal elements the one at the first tap is the largest.
#pragma once

#include <meshloom/kernel/reference.hpp>
#include <meshloom/op/pooling.hpp>

namespace meshloom::reference {

/// The tap at which window `position` has `element` along a dimension; −1 if it has not.
inline std::int64_t tap_between(const space& s, int dimension, std::int64_t position, std::int64_t element) {
  attribute_list attributes{};
  std::copy(s.with.attribute, s.with.attribute + max_attributes, attributes.begin());
  const stencil shape = stencil_of(attributes, dimension);
  for (std::int64_t tap = 0; tap < shape.taps; ++tap) {
    if (position * shape.stride - shape.padding + tap * shape.dilation == element) return tap;
  }
  return -1;
}

/// The number of the tap between the element and the window of a point; −1 if there is none.
inline std::int64_t tap_at(const space& s, const point& at) {
  const std::int64_t high = tap_between(s, 0, at[3], at[1]), wide = tap_between(s, 1, at[4], at[2]);
  return high < 0 || wide < 0 ? -1 : high * static_cast<std::int64_t>(s.attribute(1)) + wide;
}

inline constexpr index_list image_sides = meshloom::at<1, 2>::list;
inline constexpr index_list window_sides = meshloom::at<3, 4>::list;

template <>
struct rule<op::max_pool> {
  static void run(const space& s) {
    point at{};
    s.over(s.op.results[0], at, [&] {
      double largest = -std::numeric_limits<double>::infinity();
      std::int64_t chosen = -1;
      s.over(image_sides, at, [&] {  // taps come in ascending order
        if (tap_at(s, at) < 0) return;
        const double value = s.operand(0, at);
        if (chosen < 0 || value > largest || std::isnan(value)) chosen = tap_at(s, at), largest = value;
      });
      s.write(0, at, largest);
      s.write(1, at, static_cast<double>(chosen));
    });
  }
};

template <>
struct rule<op::max_pool_gradient> {
  static void run(const space& s) {
    point at{};
    s.over(s.op.results[0], at, [&] {
      s.write(0, at, s.sum(window_sides, at, [&] {
        const std::int64_t tap = tap_at(s, at);
        return tap >= 0 && s.operand(1, at) == static_cast<double>(tap) ? s.operand(0, at) : 0;
      }));
    });
  }
};

template <>
struct rule<op::average_pool> {
  static void run(const space& s) {
    point at{};
    s.over(s.op.results[0], at, [&] {
      const double count = s.sum(image_sides, at, [&] { return tap_at(s, at) < 0 ? 0.0 : 1.0; });
      const double sum = s.sum(image_sides, at, [&] { return tap_at(s, at) < 0 ? 0 : s.operand(0, at); });
      s.write(0, at, count > 0 ? sum / count : 0);
    });
  }
};

template <>
struct rule<op::average_pool_gradient> {
  static void run(const space& s) {
    point at{};
    s.over(s.op.results[0], at, [&] {
      s.write(0, at, s.sum(window_sides, at, [&] {
        if (tap_at(s, at) < 0) return 0.0;
        point other = at;
        const double count = s.sum(image_sides, other, [&] { return tap_at(s, other) < 0 ? 0.0 : 1.0; });
        return s.operand(0, at) / count;
      }));
    });
  }
};

}  // namespace meshloom::reference
