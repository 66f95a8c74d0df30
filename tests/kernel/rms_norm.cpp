// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

template <template <int> class Operator, int Rank, class Element>
bool norm_holds(bool accumulate = false) {
  law::trial how = law::lengths(Rank);
  how.extent[Rank - 1] = std::max<std::int64_t>(1, how.extent[Rank - 1]);  // a mean over nothing is no number
  how.attributes = {1e-5};
  how.accumulate = accumulate;
  return law::holds<Operator<Rank>, Element>(how);
}

template <int Rank, class Element>
void check_norms() {
  for (int round = 0; round < 20; ++round) {
    CHECK(norm_holds<meshloom::op::rms_norm, Rank, Element>());
    CHECK(norm_holds<meshloom::op::rms_norm_gradient_input, Rank, Element>());
    CHECK(norm_holds<meshloom::op::rms_norm_gradient_gain, Rank, Element>(round % 2 == 1));
  }
}

/// Takes the shard's length for the tensor's.
struct local_mean : meshloom::rms_norm_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.operand[0].global[with.operand[0].rank - 1] = with.operand[0].extent[with.operand[0].rank - 1];
    rms_norm_kernel::run<Element>(team, which, with);
  }
};

/// Forgets to add to what is there.
struct overwriting : meshloom::rms_norm_gradient_gain_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.accumulate = false;
    rms_norm_gradient_gain_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("RMS norms equal the reference, whole and on uneven shards") {
  check_norms<1, double>();
  check_norms<2, float>();
  check_norms<2, double>();
  check_norms<3, float>();
  check_norms<4, double>();
  check_norms<2, meshloom::bf16>();
  check_norms<3, meshloom::f16>();
}

TEST_CASE("the law rejects an RMS norm that takes a shard for the whole, and one that does not accumulate") {
  law::trial how{.extent = {4, 7}, .attributes = {1e-5}};
  CHECK(law::holds<meshloom::op::rms_norm<2>, float>(how));
  CHECK_FALSE(law::holds<meshloom::op::rms_norm<2>, float, local_mean>(how));
  how.accumulate = true;
  CHECK(law::holds<meshloom::op::rms_norm_gradient_gain<2>, float>(how));
  CHECK_FALSE(law::holds<meshloom::op::rms_norm_gradient_gain<2>, float, overwriting>(how));
}
