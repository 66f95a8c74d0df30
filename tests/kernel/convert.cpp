// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

using meshloom::bf16;
using meshloom::f16;

template <int Rank, class Element>
void check_conversions() {
  for (int round = 0; round < 20; ++round) {
    const law::trial how = law::lengths(Rank);
    CHECK(law::holds<meshloom::op::narrow<Rank>, Element>(how));
    CHECK(law::holds<meshloom::op::widen<Rank>, Element>(how));
    CHECK(law::holds<meshloom::op::store_rounded<Rank>, Element>(how));
  }
}

/// Converts the first element of a row only.
struct first_of_row : meshloom::convert_kernel<0, true> {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.result[0].extent[with.result[0].rank - 1] = 1;
    convert_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("conversions equal the reference, whole and on uneven shards") {
  check_conversions<0, bf16>();
  check_conversions<1, bf16>();
  check_conversions<2, f16>();
  check_conversions<3, bf16>();
}

TEST_CASE("the law refuses a conversion that leaves something out") {
  int refused = 0;
  for (int round = 0; round < 20; ++round)
    refused += !law::holds<meshloom::op::narrow<2>, bf16, first_of_row>(law::lengths(2, 2));
  CHECK(refused == 20);
}

TEST_CASE("rows at any strides are converted") {
  const float from[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  bf16 to[4];
  meshloom::call with;
  with.operand[0] = {.data = const_cast<float*>(from), .extent = {2, 2}, .stride = {6, 2}, .rank = 2};
  with.result[0] = {.data = to, .extent = {2, 2}, .stride = {1, 2}, .rank = 2, .type = meshloom::dtype::bf16};
  meshloom::run_on_host<meshloom::kernel_of<meshloom::op::narrow<2>>, bf16>(with);
  CHECK(float(to[0]) == 1);
  CHECK(float(to[1]) == 7);
  CHECK(float(to[2]) == 3);
  CHECK(float(to[3]) == 9);
}
