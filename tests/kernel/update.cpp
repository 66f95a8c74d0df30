// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

template <int Rank, class Element>
void check_updates() {
  for (int round = 0; round < 20; ++round) {
    law::trial how = law::lengths(Rank);
    how.attributes = {0.1, 0.9, 0.01};
    how.rate = 0.25;
    CHECK(law::holds<meshloom::op::sgd<Rank>, Element>(how));
    how.attributes[3] = 1;  // Nesterov's momentum
    CHECK(law::holds<meshloom::op::sgd<Rank>, Element>(how));
    how = law::lengths(Rank);
    how.attributes = {1e-2, 0.9, 0.999, 1e-8, 0.1};
    how.positive = 1u << 3;
    how.rate = 0.25;
    how.step = static_cast<std::uint64_t>(round * round);
    CHECK(law::holds<meshloom::op::adamw<Rank>, Element>(how));
  }
}

/// Averages the sum of all micro-batches.
struct sum_for_mean : meshloom::moving_average_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.micro_batches = 1;
    moving_average_kernel::run<Element>(team, which, with);
  }
};

/// Counts steps from 0, so that the first correction divides by 0.
struct late : meshloom::adamw_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.step -= 1;
    adamw_kernel::run<Element>(team, which, with);
  }
};

/// Steps from the old velocity.
struct behind : meshloom::sgd_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.attribute[3] = 0;
    sgd_kernel::run<Element>(team, which, with);
  }
};

/// Numbers as a tensor of one axis.
meshloom::view see(meshloom::vector<double>& of) {
  const auto count = static_cast<std::int64_t>(of.size());
  return {
      .data = of.data(), .extent = {count}, .stride = {1}, .global = {count}, .rank = 1, .type = meshloom::dtype::f64};
}

}  // namespace

TEST_CASE("updates in place equal the reference, split in any way") {
  check_updates<1, float>();
  check_updates<2, double>();
  check_updates<3, float>();
}

TEST_CASE("an update longer than one task") {
  law::trial how{.extent = {20001}, .attributes = {1e-2, 0.9, 0.999, 1e-8, 0.1}, .positive = 1u << 3};
  CHECK(law::holds<meshloom::op::adamw<1>, float>(how));
}

// torch 1.13: p = 1, g = 0.5, AdamW(lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01). By hand, first step:
// p·(1 − 0.001) = 0.999, both corrections undo the decay of the moments, so the step is 0.1·0.5/0.5.
TEST_CASE("the first step of AdamW is the rate, whatever the gradient") {
  double p = 1, g = 0.5, m = 0, v = 0;
  meshloom::call with;
  const auto see = [](double* data) {
    return meshloom::view{
        .data = data, .extent = {1}, .stride = {1}, .global = {1}, .rank = 1, .type = meshloom::dtype::f64};
  };
  with.operand[0] = with.result[0] = see(&p);
  with.operand[1] = see(&g);
  with.operand[2] = with.result[1] = see(&m);
  with.operand[3] = with.result[2] = see(&v);
  with.attribute[0] = 0.1, with.attribute[1] = 0.9, with.attribute[2] = 0.999, with.attribute[3] = 1e-8,
  with.attribute[4] = 0.01;
  meshloom::run_on_host<meshloom::adamw_kernel, double>(with);
  CHECK(p == doctest::Approx(0.899).epsilon(1e-7));
  CHECK(m == doctest::Approx(0.05));
  CHECK(v == doctest::Approx(0.00025));
}

TEST_CASE("the law rejects an AdamW that counts steps from 0") {
  const law::trial how{.extent = {9}, .attributes = {1e-2, 0.9, 0.999, 1e-8, 0.1}, .positive = 1u << 3, .step = 3};
  CHECK(law::holds<meshloom::op::adamw<1>, float>(how));
  CHECK_FALSE(law::holds<meshloom::op::adamw<1>, float, late>(how));
}

TEST_CASE("moving averages equal the reference, of any number of micro-batches") {
  for (int round = 0; round < 20; ++round) {
    law::trial how = law::lengths(2);
    how.attributes = {0.1, static_cast<double>(law::pick(0, 40))};
    how.micro_batches = static_cast<std::uint64_t>(law::pick(1, 4));
    CHECK(law::holds<meshloom::op::moving_average<2>, float>(how));
    CHECK(law::holds<meshloom::op::moving_average<2>, double>(how));
  }
  law::trial how{.extent = {5, 7}, .attributes = {0.1, 12}, .micro_batches = 3};
  CHECK_FALSE(law::holds<meshloom::op::moving_average<2>, double, sum_for_mean>(how));
}

// Two micro-batches of 3 rows observed the biased variances 2 and 4: their mean is 3, unbiased 3 · 3/2 = 4.5.
TEST_CASE("a moving average of variances corrects what micro-batches observe") {
  double p = 1, observed = 6;
  meshloom::call with;
  const auto see = [](double* data) {
    return meshloom::view{
        .data = data, .extent = {1}, .stride = {1}, .global = {1}, .rank = 1, .type = meshloom::dtype::f64};
  };
  with.operand[0] = with.result[0] = see(&p);
  with.operand[1] = see(&observed);
  with.attribute[0] = 0.1, with.attribute[1] = 6;
  with.micro_batches = 2;
  meshloom::run_on_host<meshloom::moving_average_kernel, double>(with);
  CHECK(p == doctest::Approx(1 + 0.1 * (4.5 - 1)));
}

// As torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True) computes it: the buffer starts as the
// first gradient, and each step goes along gradient + momentum·buffer.
TEST_CASE("Nesterov's momentum looks ahead, as torch's") {
  meshloom::vector<double> p{1, -2, 3}, g(3), v(3), weight = p, buffer;
  meshloom::call with;
  with.operand[0] = with.result[0] = see(p), with.operand[1] = see(g), with.operand[2] = with.result[1] = see(v);
  with.attribute[0] = 0.1, with.attribute[1] = 0.9, with.attribute[2] = 0.01, with.attribute[3] = 1;
  for (int step = 0; step < 5; ++step) {
    meshloom::vector<double> gradient;
    for (std::size_t i = 0; i < 3; ++i) {
      g[i] = 0.5 * static_cast<double>(step) - static_cast<double>(i);
      gradient.push_back(g[i] + 0.01 * weight[i]);
    }
    if (buffer.empty())
      buffer = gradient;
    else
      for (std::size_t i = 0; i < 3; ++i) buffer[i] = 0.9 * buffer[i] + gradient[i];
    for (std::size_t i = 0; i < 3; ++i) weight[i] -= 0.1 * (gradient[i] + 0.9 * buffer[i]);
    meshloom::run_on_host<meshloom::sgd_kernel, double>(with);
    for (std::size_t i = 0; i < 3; ++i) CHECK(p[i] == doctest::Approx(weight[i]).epsilon(1e-14));
  }
}

TEST_CASE("the law rejects a Nesterov's momentum that does not look ahead") {
  const law::trial how{.extent = {9}, .attributes = {0.1, 0.9, 0.01, 1}};
  CHECK(law::holds<meshloom::op::sgd<1>, double>(how));
  CHECK_FALSE(law::holds<meshloom::op::sgd<1>, double, behind>(how));
}
