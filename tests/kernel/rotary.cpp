// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"
#include "lone.hpp"

#include <doctest/doctest.h>

#include <cmath>

namespace {

namespace ml = meshloom;

template <int Rank, int Seq, class Element>
void check_rotary() {
  using operation = ml::op::rotary<Rank, Seq>;
  for (int round = 0; round < 20; ++round) {
    law::trial how = law::lengths(Rank);
    how.attributes = {round % 2 == 0 ? 10000.0 : 500.0, round % 3 == 0 ? -1.0 : 1.0};
    CHECK(law::holds<operation, Element>(how));
    CHECK(law::checker<operation, Element>{how}.holds(law::run_alone<ml::kernel_of<operation>, Element>));
  }
}

/// Takes the first position of a shard for the first of all.
struct without_origin : ml::kernel_of<ml::op::rotary<3, 1>> {
  static ml::call arrange(const ml::call& with) {
    ml::call made = kernel_of::arrange(with);
    made.operand[0].origin[0] = 0;
    return made;
  }
};

/// One row of `elements` at a position, turned.
ml::vector<double> turned(ml::vector<double> x, std::int64_t position, double factor = 1) {
  ml::call with;
  ml::vector<double> y(x.size());
  const auto elements = static_cast<std::int64_t>(x.size());
  with.operand[0] = {.data = x.data(),
                     .extent = {1, elements},
                     .global = {position + 1, elements},
                     .origin = {position, 0},
                     .rank = 2,
                     .type = ml::dtype::f64};
  ml::make_dense(with.operand[0]);
  with.result[0] = with.operand[0];
  with.result[0].data = y.data();
  with.attribute[0] = 10000;
  with.attribute[1] = factor;
  ml::run_on_host<ml::kernel_of<ml::op::rotary<2, 0>>, double>(with);
  return y;
}

double product(const ml::vector<double>& a, const ml::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

TEST_CASE("rotary positions equal the reference, whole and on uneven shards, by lanes and alone") {
  check_rotary<2, 0, double>();
  check_rotary<3, 1, float>();
  check_rotary<3, 0, double>();
  check_rotary<4, 1, float>();
  check_rotary<4, 2, double>();
  check_rotary<3, 1, ml::bf16>();
  check_rotary<4, 2, ml::f16>();
}

TEST_CASE("pairs are (i, i + half): the first turns by the position, the last hardly") {
  const auto y = turned({2, 3, 0, 5}, 3);
  CHECK(y[0] == doctest::Approx(2 * std::cos(3.0)));
  CHECK(y[2] == doctest::Approx(2 * std::sin(3.0)));
  CHECK(y[1] == doctest::Approx(3 * std::cos(0.03) - 5 * std::sin(0.03)));
  CHECK(y[3] == doctest::Approx(5 * std::cos(0.03) + 3 * std::sin(0.03)));
}

TEST_CASE("products of turned rows depend on the distance of their positions alone, and turning back undoes it") {
  ml::vector<double> q(64), k(64);
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = std::sin(double(i) * 1.7), k[i] = std::cos(double(i) * 0.9);
  for (const std::int64_t distance : {0, 1, 17, 300}) {
    const double first = product(turned(q, distance), turned(k, 0));
    for (const std::int64_t start : {1, 5, 1000, 1 << 16}) {
      CHECK(std::abs(product(turned(q, start + distance), turned(k, start)) - first) < 1e-8);
    }
  }
  CHECK(product(turned(q, 9), turned(k, 0)) != doctest::Approx(product(turned(q, 0), turned(k, 0))));
  const auto back = turned(turned(q, 777), 777, -1);
  for (std::size_t i = 0; i < q.size(); ++i) CHECK(std::abs(back[i] - q[i]) < 1e-13);
}

TEST_CASE("sines and cosines of angles are exact to 2e-10 up to position 2^20") {
  const std::int64_t half = 64;
  double near = 0, far = 0;
  for (std::int64_t position = 0; position <= 1 << 20; position += position < 4096 ? 1 : 4093) {
    const ml::rotary_angles angles(500000, static_cast<double>(position), half);
    for (std::int64_t i = 0; i < half; i += 3) {
      const long double angle =
          static_cast<long double>(position) * std::pow(500000.0L, -static_cast<long double>(i) / half);
      const auto [sine, cosine] = angles.of(i);
      const double apart = static_cast<double>(std::max(std::abs(static_cast<long double>(sine) - std::sin(angle)),
                                                        std::abs(static_cast<long double>(cosine) - std::cos(angle))));
      (position < 4096 ? near : far) = std::max(position < 4096 ? near : far, apart);
    }
  }
  MESSAGE("largest error below position 4096: " << near << ", up to 2^20: " << far);
  CHECK(near < 1e-12);
  CHECK(far < 2e-10);
}

TEST_CASE("the law rejects positions counted from the start of a shard") {
  const law::trial how{.extent = {2, 9, 6}, .attributes = {100, 1}};
  CHECK(law::holds<ml::op::rotary<3, 1>, double>(how));
  CHECK_FALSE(law::holds<ml::op::rotary<3, 1>, double, without_origin>(how));
}
