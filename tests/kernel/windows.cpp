// SPDX-License-Identifier: Apache-2.0
// The law of kernels, on kernels that read windows.
#include "../exec/stencils.hpp"
#include "law.hpp"

#include <doctest/doctest.h>

/// Obviously right: sums over the operator's whole index space.
template <>
struct meshloom::reference::rule<stencils::moving_sum> {
  static void run(const space& s) {
    const stencil with = stencil_of({s.attribute(0), 0, s.attribute(2), 0, s.attribute(4), 0, s.attribute(6)}, 0);
    for (std::int64_t n = 0; n < s.extent(0); ++n) {
      for (std::int64_t p = 0; p < s.extent(2); ++p) {
        double sum = 0;
        for (std::int64_t t = 0; t < with.taps; ++t) {
          const std::int64_t i = p * with.stride - with.padding + t * with.dilation;
          if (i >= 0 && i < s.extent(1)) sum += s.operand(0, {n, i});
        }
        s.write(0, {n, 0, p}, sum);
      }
    }
  }
};

template <>
struct meshloom::reference::rule<stencils::moving_sum_gradient> {
  static void run(const space& s) {
    const stencil with = stencil_of({s.attribute(0), 0, s.attribute(2), 0, s.attribute(4), 0, s.attribute(6)}, 0);
    for (std::int64_t n = 0; n < s.extent(0); ++n) {
      for (std::int64_t i = 0; i < s.extent(1); ++i) {
        double sum = 0;
        for (std::int64_t p = 0; p < s.extent(2); ++p) {
          const std::int64_t from = i - p * with.stride + with.padding;
          if (from >= 0 && from % with.dilation == 0 && from / with.dilation < with.taps)
            sum += s.operand(0, {n, 0, p});
        }
        s.write(0, {n, i}, sum);
      }
    }
  }
};

namespace {

/// Believes that its shard begins where the image does.
struct lost : stencils::moving_sum::kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t row, const meshloom::call& with) {
    meshloom::call other = with;
    other.operand[0].origin[1] = 0;
    stencils::moving_sum::kernel::run<Element>(team, row, other);
  }
};

/// Does not look at the last element of its window, but of the image.
struct short_sighted : stencils::moving_sum::kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t row, const meshloom::call& with) {
    meshloom::call other = with;
    meshloom::view& x = other.operand[0];
    if (x.extent[1] > 0 && x.origin[1] + x.extent[1] < x.global[1]) --x.extent[1];
    stencils::moving_sum::kernel::run<Element>(team, row, other);
  }
};

}  // namespace

TEST_CASE("shards of any sizes read windows as wide as they need") {
  for (int round = 0; round < 200; ++round) {
    CHECK(law::holds<stencils::moving_sum, float>(law::windowed_lengths<stencils::moving_sum>()));
    CHECK(law::holds<stencils::moving_sum, double>(law::windowed_lengths<stencils::moving_sum>()));
    CHECK(law::holds<stencils::moving_sum_gradient, double>(law::windowed_lengths<stencils::moving_sum_gradient>()));
  }
}

TEST_CASE("kernels that read less, or elsewhere, break the law") {
  int lost_ones = 0, short_ones = 0;
  for (int round = 0; round < 50; ++round) {
    law::trial how = law::windowed_lengths<stencils::moving_sum>();
    how.more = 0;  // what a shard has besides, it does not miss
    lost_ones += law::holds<stencils::moving_sum, double, lost>(how) ? 0 : 1;
    short_ones += law::holds<stencils::moving_sum, double, short_sighted>(how) ? 0 : 1;
  }
  CHECK(lost_ones > 20);
  CHECK(short_ones > 10);
}
