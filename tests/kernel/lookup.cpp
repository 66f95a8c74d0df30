// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

template <int Rank>
law::trial with_integers() {
  law::trial how = law::lengths(Rank + 2);
  how.integers = 0;
  how.range = Rank;
  return how;
}

template <int Rank, class Element>
void check_lookup() {
  for (int round = 0; round < 20; ++round) {
    CHECK(law::holds<meshloom::op::lookup<Rank>, Element>(with_integers<Rank>()));
    law::trial how = with_integers<Rank>();
    how.accumulate = round % 2 == 1;
    CHECK(law::holds<meshloom::op::lookup_gradient<Rank>, Element>(how));
  }
}

/// Takes the shard's first row for the table's.
struct without_origin : meshloom::lookup_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.operand[1].origin[0] = 0;
    lookup_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("lookups equal the reference, also where the table is split") {
  check_lookup<1, float>();
  check_lookup<1, double>();
  check_lookup<2, float>();
  check_lookup<2, meshloom::bf16>();
  check_lookup<1, meshloom::f16>();
  check_lookup<3, double>();
}

TEST_CASE("tables wider than one team's columns") {
  law::trial how{.extent = {5, 3, 2500}, .integers = 0, .range = 1};
  CHECK(law::holds<meshloom::op::lookup_gradient<1>, float>(how));
  CHECK(law::holds<meshloom::op::lookup_gradient<1>, meshloom::bf16>(how));
}

TEST_CASE("the law rejects a shard of a table that forgets where it lies") {
  const law::trial how{.extent = {12, 6, 3}, .integers = 0, .range = 1};
  CHECK(law::holds<meshloom::op::lookup<1>, float>(how));
  CHECK_FALSE(law::holds<meshloom::op::lookup<1>, float, without_origin>(how));
}
