// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

template <int Rank, class Element>
void check_lamb() {
  for (int round = 0; round < 20; ++round) {
    law::trial how = law::lengths(Rank);
    how.attributes = {1e-2, 0.9, 0.999, 1e-6, 0.1};
    how.positive = 1u << 3;
    how.rate = 0.25;
    how.step = static_cast<std::uint64_t>(round * round);
    CHECK(law::holds<meshloom::op::lamb<Rank>, Element>(how));
  }
}

/// Each shard steps by its own norms.
struct alone : meshloom::lamb_kernel {
  template <class Element>
  static std::int64_t teams(const meshloom::call& with) {
    return with.part == 0 ? 0 : 1;
  }
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.part = meshloom::all_parts;
    lamb_kernel::run<Element>(team, which, with);
  }
};

/// Takes the biased moments.
struct biased : meshloom::lamb_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.step = 1'000'000;
    lamb_kernel::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("LAMB equals the reference, split in any way") {
  check_lamb<0, double>();
  check_lamb<1, float>();
  check_lamb<2, double>();
  check_lamb<3, float>();
}

TEST_CASE("LAMB of a parameter longer than one stretch") {
  law::trial how{.extent = {20001}, .attributes = {1e-2, 0.9, 0.999, 1e-6, 0.1}, .positive = 1u << 3};
  CHECK(law::holds<meshloom::op::lamb<1>, double>(how));
}

TEST_CASE("the law rejects a LAMB whose shards go by their own norms, or by biased moments") {
  const law::trial how{.extent = {9, 5}, .attributes = {0.1, 0.9, 0.999, 1e-6, 0.1}, .positive = 1u << 3};
  CHECK(law::holds<meshloom::op::lamb<2>, double>(how));
  CHECK_FALSE(law::holds<meshloom::op::lamb<2>, double, alone>(how));
  CHECK_FALSE(law::holds<meshloom::op::lamb<2>, double, biased>(how));
}

// By hand: of g = 3 and 4 the first step's moments are, unbiased, g and g², so the direction is 1 and 1 and its norm
// √2; p = 6 and 8 has the norm 10.
TEST_CASE("the first step of LAMB is as long as the parameter, times the rate") {
  meshloom::vector<double> p{6, 8}, g{3, 4}, m(2), v(2);
  const auto see = [](meshloom::vector<double>& of) {
    return meshloom::view{
        .data = of.data(), .extent = {2}, .stride = {1}, .global = {2}, .rank = 1, .type = meshloom::dtype::f64};
  };
  meshloom::call with;
  with.operand[0] = with.result[0] = see(p), with.operand[1] = see(g);
  with.operand[2] = with.result[1] = see(m), with.operand[3] = with.result[2] = see(v);
  with.attribute[0] = 0.1, with.attribute[1] = 0.9, with.attribute[2] = 0.999;
  meshloom::run_on_host<meshloom::lamb_kernel, double>(with);
  CHECK(p[0] == doctest::Approx(6 - 0.1 * 10 / std::sqrt(2)));
  CHECK(p[1] == doctest::Approx(8 - 0.1 * 10 / std::sqrt(2)));
}

TEST_CASE("a parameter of zeros steps as AdamW would") {
  double p = 0, g = 0.5, m = 0, v = 0;
  const auto see = [](double& of) {
    return meshloom::view{
        .data = &of, .extent = {1}, .stride = {1}, .global = {1}, .rank = 1, .type = meshloom::dtype::f64};
  };
  meshloom::call with;
  with.operand[0] = with.result[0] = see(p), with.operand[1] = see(g);
  with.operand[2] = with.result[1] = see(m), with.operand[3] = with.result[2] = see(v);
  with.attribute[0] = 0.1, with.attribute[1] = 0.9, with.attribute[2] = 0.999;
  meshloom::run_on_host<meshloom::lamb_kernel, double>(with);
  CHECK(p == doctest::Approx(-0.1));
}
