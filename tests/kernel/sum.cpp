// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

using meshloom::at;

template <class Operand, class Result>
law::trial random_trial() {
  law::trial how = law::lengths(Operand::end > Result::end ? Operand::end : Result::end);
  how.attributes = {-1.5};
  return how;
}

template <class Operand, class Result>
void check_sum() {
  for (int round = 0; round < 20; ++round) {
    law::trial how = random_trial<Operand, Result>();
    how.accumulate = round % 2 == 1;
    CHECK(law::holds<meshloom::op::sum<Operand, Result>, float>(how));
    CHECK(law::holds<meshloom::op::sum<Operand, Result>, double>(how));
    CHECK(law::holds<meshloom::op::sum<Operand, Result>, meshloom::bf16>(how));
    CHECK(law::holds<meshloom::op::sum<Operand, Result>, meshloom::f16>(how));
    CHECK(law::holds<meshloom::op::broadcast<Result, Operand>, double>(random_trial<Operand, Result>()));
    CHECK(law::holds<meshloom::op::broadcast<Result, Operand>, meshloom::bf16>(random_trial<Operand, Result>()));
  }
}

struct overwriting : meshloom::kernel_of<meshloom::op::sum<at<0, 1>, at<1>>> {
  static meshloom::call arrange(meshloom::call with) {
    with.accumulate = false;
    return kernel_of::arrange(with);
  }
};

}  // namespace

TEST_CASE("sums over any axes equal the reference, and broadcasts undo them") {
  check_sum<at<0, 1>, at<1>>();
  check_sum<at<0, 1, 2>, at<2>>();
  check_sum<at<0, 1, 2>, at<>>();
  check_sum<at<0>, at<>>();
  check_sum<at<0, 1>, at<0>>();
  check_sum<at<0, 1, 2>, at<0, 2>>();
  check_sum<at<0, 1, 2>, at<2, 0>>();
  check_sum<at<0, 1, 2, 3>, at<1, 3>>();
  check_sum<at<0, 1, 2, 3>, at<1>>();
  check_sum<at<0, 1>, at<0, 1>>();
}

TEST_CASE("more columns than one team has") {
  const law::trial how{.extent = {3, 2500}, .attributes = {1.0}};
  CHECK(law::holds<meshloom::op::sum<at<0, 1>, at<1>>, float>(how));
  CHECK(law::holds<meshloom::op::sum<at<0, 1>, at<1>>, meshloom::bf16>(how));
}

TEST_CASE("a sum over no elements is 0, not what was there") {
  const law::trial how{.extent = {0, 5}, .attributes = {1.0}};
  CHECK(law::holds<meshloom::op::sum<at<0, 1>, at<1>>, float>(how));
  CHECK(law::holds<meshloom::op::sum<at<0, 1>, at<>>, float>(how));
}

TEST_CASE("the law rejects a sum that does not accumulate") {
  law::trial how{.extent = {4, 5}, .attributes = {1.0}, .accumulate = true};
  CHECK(law::holds<meshloom::op::sum<at<0, 1>, at<1>>, float>(how));
  CHECK_FALSE(law::holds<meshloom::op::sum<at<0, 1>, at<1>>, float, overwriting>(how));
}
