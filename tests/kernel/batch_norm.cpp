// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

using namespace meshloom;

namespace {

template <class Operator, class Element>
bool norm_holds(std::uint32_t positive = 0, bool accumulate = false) {
  constexpr index_list rows = Operator::rows::list;
  law::trial how = law::lengths(Operator::signature.index_count);
  for (int axis = 0; axis < rows.count; ++axis)  // a mean over nothing is no number
    how.extent[static_cast<std::size_t>(axis)] = std::max<std::int64_t>(1, how.extent[static_cast<std::size_t>(axis)]);
  how.attributes = {1e-3};
  how.positive = positive;
  how.accumulate = accumulate;
  return law::holds<Operator, Element>(how);
}

template <int Rank, int Features, class Element>
void check_norms() {
  using namespace op;
  for (int round = 0; round < 20; ++round) {
    CHECK(norm_holds<batch_norm<Rank, Features>, Element>());
    CHECK(norm_holds<batch_norm_gradient<Rank, Features>, Element>(1 << 4));
    CHECK(norm_holds<batch_norm_inference<Rank, Features>, Element>(1 << 4));
    CHECK(norm_holds<batch_norm_inference_gradient_input<Rank, Features>, Element>(1 << 2));
    CHECK(norm_holds<batch_norm_inference_gradient_weights<Rank, Features>, Element>(1 << 3, round % 2 == 1));
  }
}

/// Takes the shard's rows for the tensor's.
struct local_mean : batch_norm_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, call with) {
    with.attribute[1] = static_cast<double>(with.operand[0].extent[0]);
    batch_norm_kernel::run<Element>(team, which, with);
  }
};

/// Forgets to add to what is there.
struct overwriting : batch_norm_inference_gradient_weights_kernel {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, call with) {
    with.accumulate = false;
    batch_norm_inference_gradient_weights_kernel::run<Element>(team, which, with);
  }
};

/// Whole tensors of x, gain 1, bias 0 and the results, normalised in single precision.
struct normalised {
  vector<float> y, mean, variance;

  normalised(vector<float> x, std::int64_t rows, std::int64_t features)
      : y(x.size()), mean(static_cast<std::size_t>(features)), variance(mean.size()) {
    vector<float> one(mean.size(), 1.0f), zero(mean.size());
    const auto see = [](vector<float>& data, std::initializer_list<std::int64_t> extents) {
      view made{.data = data.data()};
      for (const std::int64_t extent : extents) made.extent[made.rank] = extent, made.global[made.rank++] = extent;
      make_dense(made);
      return made;
    };
    call with;
    with.operand[0] = see(x, {rows, features});
    with.operand[1] = see(one, {features}), with.operand[2] = see(zero, {features});
    with.result[0] = see(y, {rows, features});
    with.result[1] = see(mean, {features}), with.result[2] = see(variance, {features});
    run_on_host<kernel_of<op::batch_norm<2>>, float>(with);
  }
};

}  // namespace

TEST_CASE("batch norms equal the reference, whole and on uneven shards") {
  check_norms<2, 1, float>();
  check_norms<2, 1, double>();
  check_norms<4, 1, float>();
  check_norms<4, 1, double>();
  check_norms<3, 2, double>();
  check_norms<5, 2, float>();
  check_norms<2, 1, bf16>();
  check_norms<4, 1, f16>();
  check_norms<5, 2, bf16>();
}

TEST_CASE("batch norms equal the reference over several stretches of rows and blocks of features") {
  for (const auto& [rows, features] : {std::pair<std::int64_t, std::int64_t>{300, 70}, {3, 2100}, {1, 5}}) {
    law::trial how{.extent = {rows, features}, .attributes = {1e-3}};
    CHECK(law::holds<op::batch_norm<2>, float>(how));
    CHECK(law::holds<op::batch_norm<2>, double>(how));
    CHECK(law::holds<op::batch_norm<2>, bf16>(how));
    how.positive = 1 << 4;
    CHECK(law::holds<op::batch_norm_gradient<2>, float>(how));
    CHECK(law::holds<op::batch_norm_gradient<2>, double>(how));
    CHECK(law::holds<op::batch_norm_gradient<2>, bf16>(how));
  }
}

TEST_CASE("statistics of many rows keep their digits") {
  constexpr std::int64_t rows = 16384, features = 48;
  vector<float> x(rows * features);
  for (std::size_t at = 0; at < x.size(); ++at)
    x[at] = static_cast<float>(5 + std::normal_distribution<double>()(law::dice));
  const normalised made(x, rows, features);
  for (std::size_t feature = 0; feature < features; ++feature) {
    double mean = 0, variance = 0;
    for (std::size_t row = 0; row < rows; ++row) mean += x[row * features + feature] / rows;
    for (std::size_t row = 0; row < rows; ++row) variance += std::pow(x[row * features + feature] - mean, 2) / rows;
    CHECK(std::abs(made.mean[feature] - mean) <= 1e-6 * mean);
    CHECK(std::abs(made.variance[feature] - variance) <= 1e-6 * variance);
  }
}

TEST_CASE("a mean is exact where the values are large and alike") {
  vector<float> x(300, 4096.0f);
  for (std::size_t row = 0; row < 300; ++row) x[row] += static_cast<float>(row % 2);
  const normalised made(x, 300, 1);
  CHECK(made.mean[0] == 4096.5f);
  CHECK(made.variance[0] == doctest::Approx(0.25));
  CHECK(made.y[0] == doctest::Approx(-1.0));
}

TEST_CASE("the law rejects a norm that takes a shard for the whole, and one that does not accumulate") {
  law::trial how{.extent = {4, 7}, .attributes = {1e-5}};
  CHECK(law::holds<op::batch_norm<2>, float>(how));
  CHECK_FALSE(law::holds<op::batch_norm<2>, float, by_features<local_mean, 1>>(how));
  how.positive = 1 << 3;
  how.accumulate = true;
  using gradient = op::batch_norm_inference_gradient_weights<2>;
  CHECK(law::holds<gradient, float>(how));
  CHECK_FALSE(law::holds<gradient, float, by_features<overwriting, 1>>(how));
}
