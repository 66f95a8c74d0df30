// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

template <class Operator, int Rank, class Element, class Kernel = meshloom::kernel_of<Operator>>
bool softmax_holds() {
  law::trial how = law::lengths(Rank);
  how.extent[Rank - 1] = std::max<std::int64_t>(1, how.extent[Rank - 1]);
  how.attributes = {law::pick(0, 1) == 0 ? 0.5 : -1.25};
  return law::holds<Operator, Element, Kernel>(how);
}

template <int Rank, class Element>
void check_softmax() {
  for (int round = 0; round < 20; ++round) {
    CHECK(softmax_holds<meshloom::op::softmax<Rank, false>, Rank, Element>());
    CHECK(softmax_holds<meshloom::op::softmax<Rank, true>, Rank, Element>());
    CHECK(softmax_holds<meshloom::op::softmax_gradient<Rank>, Rank, Element>());
  }
}

/// Takes the first row and column of its shard for those of the tensor.
struct without_origin : meshloom::softmax_kernel<true> {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    for (std::int64_t& origin : with.operand[0].origin) origin = 0;
    softmax_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("softmax equals the reference, whole and on uneven shards, with and without a causal mask") {
  check_softmax<2, float>();
  check_softmax<2, double>();
  check_softmax<3, float>();
  check_softmax<4, double>();
  check_softmax<2, meshloom::bf16>();
  check_softmax<3, meshloom::f16>();
}

TEST_CASE("rows longer than what is kept of them") {
  const law::trial how{.extent = {2, 5000}, .attributes = {1.5}};
  CHECK(law::holds<meshloom::op::softmax<2, false>, float>(how));
  CHECK(law::holds<meshloom::op::softmax<2, false>, meshloom::bf16>(how));
}

TEST_CASE("logits of any size give shares, never NaN") {
  float x[] = {-1e30f, 3e38f, -3e38f, 3e38f, -std::numeric_limits<float>::infinity()}, y[5];
  meshloom::view row{.data = x, .extent = {5}, .stride = {1}, .global = {5}, .rank = 1};
  meshloom::call with;
  with.operand[0] = with.result[0] = row;
  with.result[0].data = y;
  with.attribute[0] = 1;
  meshloom::run_on_host<meshloom::softmax_kernel<false>, float>(with);
  CHECK(y[0] == 0.0f);
  CHECK(y[1] == 0.5f);
  CHECK(y[2] == 0.0f);
  CHECK(y[3] == 0.5f);
  CHECK(y[4] == 0.0f);
}

TEST_CASE("the law rejects a causal mask that forgets where its shard lies") {
  const law::trial how{.extent = {2, 6, 6}, .attributes = {1.0}};
  CHECK(law::holds<meshloom::op::softmax<3, true>, float>(how));
  CHECK_FALSE(law::holds<meshloom::op::softmax<3, true>, float, without_origin>(how));
}
