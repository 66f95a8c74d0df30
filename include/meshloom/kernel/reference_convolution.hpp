// SPDX-License-Identifier: Apache-2.0
// Convolution and its gradients again, obviously right: every pixel, tap and position of the whole image, and of those
// that meet, the ones that this shard has. Law: as in kernel/reference.hpp, in double precision whatever the strides.
#pragma once

#include <meshloom/kernel/reference.hpp>
#include <meshloom/op/convolution.hpp>

namespace meshloom::reference {

/// True if the pixel, position and tap of a point meet along one dimension of the image.
inline bool meets(const space& s, const point& at, int dimension, const view& image, const view& result) {
  const auto axis = static_cast<std::size_t>(dimension);
  const auto attribute = [&](int first) { return static_cast<std::int64_t>(s.attribute(first + dimension)); };
  const std::int64_t pixel = at[1 + axis] + image.origin[1 + axis], position = at[3 + axis] + result.origin[1 + axis];
  return pixel == position * attribute(2) - attribute(4) + at[5 + axis] * attribute(6);
}

/// Writes, for every point of the result, the sum of the operands' products over the points that meet.
inline void convolve(const space& s, const view& image, const view& result) {
  point at{};
  s.over(s.op.results[0], at, [&] {
    const double total = s.sum(s.contracted(), at, [&] {
      const bool met = meets(s, at, 0, image, result) && meets(s, at, 1, image, result);
      return met ? s.operand(0, at) * s.operand(1, at) : 0;
    });
    s.write(0, at, total, true);
  });
}

template <op::channels Kind>
struct rule<op::convolution<Kind>> {
  static void run(const space& s) { convolve(s, s.with.operand[0], s.with.result[0]); }
};
template <op::channels Kind>
struct rule<op::convolution_gradient_image<Kind>> {
  static void run(const space& s) { convolve(s, s.with.result[0], s.with.operand[0]); }
};
template <op::channels Kind>
struct rule<op::convolution_gradient_weight<Kind>> {
  static void run(const space& s) { convolve(s, s.with.operand[0], s.with.operand[1]); }
};

}  // namespace meshloom::reference
