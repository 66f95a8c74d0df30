// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace {

template <int Rank, class Element>
void check_clipping() {
  for (int round = 0; round < 20; ++round) {
    CHECK(law::holds<meshloom::op::square_sum<Rank>, Element>(law::lengths(Rank)));
    law::trial how = law::lengths(Rank);
    how.attributes = {0.5};
    how.positive = 1u << 1;
    CHECK(law::holds<meshloom::op::clip<Rank>, Element>(how));
  }
}

/// Clips by the square of the norm.
struct squared : meshloom::clip_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.attribute[0] *= with.attribute[0];
    clip_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("square sums and clipping equal the reference, split in any way") {
  check_clipping<1, float>();
  check_clipping<2, double>();
  check_clipping<3, float>();
}

TEST_CASE("a square sum longer than one stretch") {
  CHECK(law::holds<meshloom::op::square_sum<1>, double>({.extent = {20001}}));
}

TEST_CASE("the law rejects a clip by another limit") {
  const law::trial how{.extent = {9}, .attributes = {0.01}, .positive = 1u << 1};
  CHECK(law::holds<meshloom::op::clip<1>, double>(how));
  CHECK_FALSE(law::holds<meshloom::op::clip<1>, double, squared>(how));
}
