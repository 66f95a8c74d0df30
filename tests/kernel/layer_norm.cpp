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
    CHECK(norm_holds<meshloom::op::layer_norm, Rank, Element>());
    CHECK(norm_holds<meshloom::op::layer_norm_gradient_input, Rank, Element>());
    CHECK(norm_holds<meshloom::op::layer_norm_gradient_weights, Rank, Element>(round % 2 == 1));
  }
}

/// Takes the shard's length for the tensor's.
struct local_mean : meshloom::layer_norm_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.operand[0].global[with.operand[0].rank - 1] = with.operand[0].extent[with.operand[0].rank - 1];
    layer_norm_kernel::run<Element>(team, which, with);
  }
};

/// Forgets to add to what is there.
struct overwriting : meshloom::layer_norm_gradient_weights_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.accumulate = false;
    layer_norm_gradient_weights_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("layer norms equal the reference, whole and on uneven shards") {
  check_norms<2, float>();
  check_norms<2, double>();
  check_norms<3, float>();
  check_norms<4, double>();
  check_norms<2, meshloom::bf16>();
  check_norms<3, meshloom::f16>();
}

TEST_CASE("a mean is exact where the values are large and alike") {
  meshloom::call with;
  meshloom::vector<float> x(300, 4096.0f), y(300), one(300, 1.0f), zero(300);
  for (std::size_t at = 0; at < x.size(); ++at) x[at] += static_cast<float>(at % 2);
  float mean = 0, rstd = 0;
  const auto see = [](float* data, std::int64_t rank, std::int64_t last) {
    meshloom::view made{.data = data, .extent = {1, 1}, .global = {1, 1}, .rank = static_cast<std::int32_t>(rank)};
    made.extent[rank - 1] = made.global[rank - 1] = last;
    meshloom::make_dense(made);
    return made;
  };
  with.operand[0] = see(x.data(), 2, 300), with.operand[1] = see(one.data(), 1, 300),
  with.operand[2] = see(zero.data(), 1, 300);
  with.result[0] = see(y.data(), 2, 300), with.result[1] = see(&mean, 1, 1), with.result[2] = see(&rstd, 1, 1);
  meshloom::run_on_host<meshloom::layer_norm_kernel, float>(with);
  CHECK(mean == 4096.5f);
  CHECK(rstd == doctest::Approx(2.0));
  CHECK(y[0] == doctest::Approx(-1.0));
}

TEST_CASE("the law rejects a kernel that takes a shard for the whole, and one that does not accumulate") {
  law::trial how{.extent = {4, 7}, .attributes = {1e-5}};
  CHECK(law::holds<meshloom::op::layer_norm<2>, float>(how));
  CHECK_FALSE(law::holds<meshloom::op::layer_norm<2>, float, local_mean>(how));
  how.accumulate = true;
  CHECK(law::holds<meshloom::op::layer_norm_gradient_weights<2>, float>(how));
  CHECK_FALSE(law::holds<meshloom::op::layer_norm_gradient_weights<2>, float, overwriting>(how));
}
