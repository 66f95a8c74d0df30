// SPDX-License-Identifier: Apache-2.0
// Small operators with windows, to try on them what is said of windows: `blur`, an image under a kernel of taps, and
// `moving_sum`, a row under taps that are all 1; each with its gradients, in which the windows are the other way round.
#pragma once

#include <meshloom/kernel/kernels.hpp>

namespace stencils {

using namespace meshloom;

/// Element `global` of an axis as an element of the shard; −1 if the shard does not have it.
inline std::int64_t local_of(const view& shard, int axis, std::int64_t global) {
  const std::int64_t local = global - shard.origin[axis];
  return local >= 0 && local < shard.extent[axis] ? local : -1;
}

/// The element of the image `x` along `axis` that tap `a` of position `p` meets, both counted in their shards.
inline std::int64_t met(const call& with, int dimension, const view& x, const view& y, std::int64_t p, std::int64_t a) {
  const auto number = [&](int first) { return static_cast<std::int64_t>(with.attribute[first + dimension]); };
  const std::int64_t position = y.origin[1 + dimension] + p;
  return local_of(x, 1 + dimension, position * number(2) - number(4) + a * number(6));
}

/// Adds, at every point (row, position, tap), the product of two of image x, kernel k and result y to the third.
template <int X, int K, int Y>
struct blur_kernel {
  template <class Element>
  static std::int64_t teams(const call&) {
    return 1;
  }

  template <class Element, class Team>
  static void run(Team, std::int64_t, const call& with) {
    const auto tensor = [&](int operand) { return operand < 0 ? with.result[0] : with.operand[operand]; };
    const view x = tensor(X), k = tensor(K), y = tensor(Y), into = with.result[0];
    std::fill_n(into.as<Element>(), into.count(), Element{0});
    for_each_point(with, x, k, y, [&](std::int64_t in, std::int64_t tap, std::int64_t out) {
      const Element *const from = x.as<const Element>() + in, *const by = k.as<const Element>() + tap,
                           *const made = y.as<const Element>() + out;
      if (Y < 0) y.as<Element>()[out] += *from * *by;
      if (X < 0) x.as<Element>()[in] += *made * *by;
      if (K < 0) k.as<Element>()[tap] += *from * *made;
    });
  }

 private:
  template <class Visit>
  static void for_each_point(const call& with, const view& x, const view& k, const view& y, const Visit& visit) {
    for (std::int64_t point = 0; point < y.count() * k.count(); ++point) {
      const std::int64_t tap = point % k.count(), out = point / k.count();
      const std::int64_t n = out / y.stride[0], p = out / y.stride[1] % y.extent[1], q = out % y.extent[2];
      const std::int64_t i = met(with, 0, x, y, p, k.origin[0] + tap / k.stride[0]);
      const std::int64_t j = met(with, 1, x, y, q, k.origin[1] + tap % k.stride[0]);
      if (i >= 0 && j >= 0) visit(n * x.stride[0] + i * x.stride[1] + j, tap, out);
    }
  }
};

/// Indices: 0 row of the batch; 1, 2 the image; 3, 4 positions; 5, 6 taps.
struct blur_image_gradient {
  static constexpr auto signature = describe("blur_image_gradient")
                                        .operands<at<0, 3, 4>, at<5, 6>>()  // dy, k
                                        .results<at<0, 1, 2>>()             // dx
                                        .is(role::contracted, at<5, 6>::list)
                                        .reads_window(1, 3, 5, 0, true)
                                        .reads_window(2, 4, 6, 1, true)
                                        .linear_in(1)
                                        .linear_in(2)
                                        .made;
  static constexpr double flops_per_point = 2;
  using gradient = operators<>;
  using kernel = blur_kernel<-1, 1, 0>;
};

struct blur_kernel_gradient {
  static constexpr auto signature = describe("blur_kernel_gradient")
                                        .operands<at<0, 1, 2>, at<0, 3, 4>>()  // x, dy
                                        .results<at<5, 6>>()                   // dk
                                        .is(role::contracted, at<0, 3, 4>::list)
                                        .reads_window(3, 1, 5, 0)
                                        .reads_window(4, 2, 6, 1)
                                        .linear_in(1)
                                        .linear_in(2)
                                        .made;
  static constexpr double flops_per_point = 2;
  using gradient = operators<>;
  using kernel = blur_kernel<0, -1, 1>;
};

struct blur {
  static constexpr auto signature = describe("blur")
                                        .operands<at<0, 1, 2>, at<5, 6>>()  // x, k
                                        .results<at<0, 3, 4>>()             // y
                                        .is(role::contracted, at<5, 6>::list)
                                        .reads_window(3, 1, 5, 0)
                                        .reads_window(4, 2, 6, 1)
                                        .linear_in(1)
                                        .linear_in(2)
                                        .made;
  static constexpr double flops_per_point = 2;
  using gradient = operators<blur_image_gradient, blur_kernel_gradient>;
  using kernel = blur_kernel<0, 1, -1>;

  static void differentiate(differentiation& d) {
    const axis_id image[] = {d.index(1), d.index(2)}, taps[] = {d.index(5), d.index(6)};
    if (d.wanted(0)) {
      d.contribute(0, d.emit(record_of<blur_image_gradient>, {d.gradient(0), d.operand(1)}, d.attributes(), image)[0]);
    }
    d.contribute(1, d.emit(record_of<blur_kernel_gradient>, {d.operand(0), d.gradient(0)}, d.attributes(), taps)[0]);
  }
};

/// Adds each element of the row to the positions that read it, or the other way round.
template <bool Transposed>
struct moving_sum_kernel {
  template <class Element>
  static std::int64_t teams(const call& with) {
    return with.result[0].extent[0];
  }

  template <class Element, class Team>
  static void run(Team, std::int64_t row, const call& with) {
    const view x = Transposed ? with.result[0] : with.operand[0], y = Transposed ? with.operand[0] : with.result[0];
    Element* const image = x.as<Element>() + row * x.stride[0];
    Element* const sums = y.as<Element>() + row * y.stride[0];
    std::fill_n(Transposed ? image : sums, with.result[0].extent[1], Element{0});
    const auto taps = static_cast<std::int64_t>(with.attribute[0]);
    for (std::int64_t p = 0; p < y.extent[1]; ++p) {
      for (std::int64_t a = 0; a < taps; ++a) {
        const std::int64_t i = met(with, 0, x, y, p, a);
        if (i < 0) continue;
        if (Transposed)
          image[i] += sums[p];
        else
          sums[p] += image[i];
      }
    }
  }
};

struct moving_sum_gradient {
  static constexpr auto signature = describe("moving_sum_gradient")
                                        .operands<at<0, 2>>()
                                        .results<at<0, 1>>()
                                        .reads_window(1, 2, -1, 0, true)
                                        .linear_in(1)
                                        .made;
  using gradient = operators<>;
  using kernel = moving_sum_kernel<true>;
};

/// Indices: 0 rows, 1 elements of a row, 2 positions.
struct moving_sum {
  static constexpr auto signature =
      describe("moving_sum").operands<at<0, 1>>().results<at<0, 2>>().reads_window(2, 1, -1, 0).linear_in(1).made;
  using gradient = operators<moving_sum_gradient>;
  using kernel = moving_sum_kernel<false>;

  static void differentiate(differentiation& d) {
    const axis_id elements[] = {d.index(1)};
    d.contribute(0, d.emit(record_of<moving_sum_gradient>, {d.gradient(0)}, d.attributes(), elements)[0]);
  }
};

}  // namespace stencils
