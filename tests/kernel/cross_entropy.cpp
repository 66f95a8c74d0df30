// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

template <int Rank>
law::trial with_targets(int operand) {
  law::trial how = law::lengths(Rank + 1);
  how.extent[Rank] = std::max<std::int64_t>(1, how.extent[Rank]);
  how.integers = operand;
  how.range = Rank;
  return how;
}

template <int Rank, class Element>
void check_cross_entropy() {
  for (int round = 0; round < 20; ++round) {
    law::trial forward = with_targets<Rank>(1), backward = with_targets<Rank>(2);
    if (round % 2 == 1) forward.attributes = backward.attributes = {0.1, 0.02};  // smoothing and z-loss
    CHECK(law::holds<meshloom::op::cross_entropy<Rank>, Element>(forward));
    CHECK(law::holds<meshloom::op::cross_entropy_gradient<Rank>, Element>(backward));
  }
}

/// Takes every target for one of its own shard.
struct without_origin : meshloom::cross_entropy_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.operand[0].origin[with.operand[0].rank - 1] = 0;
    cross_entropy_kernel::run<Element>(team, which, with);
  }
};

/// Spreads the smoothed part of a label over the classes of its own shard.
struct smoothing_its_own : meshloom::cross_entropy_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    const int classes = with.operand[0].rank - 1;
    with.operand[0].global[classes] = std::max<std::int64_t>(1, with.operand[0].extent[classes]);
    cross_entropy_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("cross-entropy equals the reference, also where the classes are split") {
  check_cross_entropy<1, float>();
  check_cross_entropy<1, double>();
  check_cross_entropy<2, float>();
  check_cross_entropy<3, double>();
  check_cross_entropy<1, meshloom::bf16>();
  check_cross_entropy<2, meshloom::f16>();
}

TEST_CASE("the law rejects a shard of classes that claims the others' targets") {
  const law::trial how{.extent = {9, 8}, .integers = 1, .range = 1};
  CHECK(law::holds<meshloom::op::cross_entropy<1>, float>(how));
  CHECK_FALSE(law::holds<meshloom::op::cross_entropy<1>, float, without_origin>(how));
}

TEST_CASE("the law rejects labels smoothed over the classes of a shard") {
  law::trial how{.extent = {9, 8}, .integers = 1, .range = 1};
  CHECK(law::holds<meshloom::op::cross_entropy<1>, double, smoothing_its_own>(how));
  how.attributes = {0.2};
  CHECK(law::holds<meshloom::op::cross_entropy<1>, double>(how));
  CHECK_FALSE(law::holds<meshloom::op::cross_entropy<1>, double, smoothing_its_own>(how));
}
