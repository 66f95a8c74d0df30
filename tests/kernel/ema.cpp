// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

template <int Rank, class Element>
void check_averages() {
  for (int round = 0; round < 20; ++round) {
    law::trial how = law::lengths(Rank);
    how.attributes = {0.9};
    how.step = static_cast<std::uint64_t>(round % 3);
    CHECK(law::holds<meshloom::op::ema<Rank>, Element>(how));
  }
}

/// Averages with what was before the first step.
struct early : meshloom::ema_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.step += 1;
    ema_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("averages of weights equal the reference, split in any way") {
  check_averages<0, double>();
  check_averages<1, float>();
  check_averages<2, double>();
  check_averages<3, float>();
}

TEST_CASE("an average longer than one stretch") {
  CHECK(law::holds<meshloom::op::ema<1>, double>({.extent = {20001}, .attributes = {0.9}, .step = 5}));
}

TEST_CASE("the law rejects an average that remembers what was before the first step") {
  CHECK_FALSE(law::holds<meshloom::op::ema<1>, double, early>({.extent = {9}, .attributes = {0.9}}));
}
