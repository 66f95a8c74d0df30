// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

/// Lengths of 1 or more: there is no mean of nothing.
template <int Rank>
law::trial drawn(int round) {
  law::trial how = law::lengths(Rank, 1);
  how.attributes = {0.1, 0.9, 0.8, 1e-3, 0.5, 1, 0.2, round % 2 == 0 ? 0.5 : 0};
  how.positive = Rank < 2 ? 1u << 2 : 3u << 2;
  how.rate = 0.25;
  how.step = static_cast<std::uint64_t>(round * round);
  return how;
}

template <int Rank, class Element>
void check_adafactor() {
  for (int round = 0; round < 10; ++round) {
    CHECK(law::holds<meshloom::op::adafactor<Rank, false>, Element>(drawn<Rank>(round)));
    CHECK(law::holds<meshloom::op::adafactor<Rank, true>, Element>(drawn<Rank>(round)));
  }
}

/// Of matrices as the kernel has them, with one attribute changed.
template <int Which, int Factor>
struct other : meshloom::adafactor_matrix_kernel<true> {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    with.attribute[Which] *= Factor;
    adafactor_matrix_kernel<true>::run<Element>(team, which, with);
  }
};

/// Takes the sums of its own shard for those of all.
struct alone : meshloom::adafactor_matrix_kernel<true> {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, meshloom::call with) {
    for (int axis = 0; axis < with.result[0].rank; ++axis) with.result[0].global[axis] = with.result[0].extent[axis];
    adafactor_matrix_kernel<true>::run<Element>(team, which, with);
  }
};

meshloom::view see(meshloom::vector<double>& of, std::int64_t rows, std::int64_t columns) {
  meshloom::view seen{.data = of.data(), .rank = rows == 0 ? 1 : 2, .type = meshloom::dtype::f64};
  if (rows > 0) seen.extent[0] = seen.global[0] = rows;
  seen.extent[seen.rank - 1] = seen.global[seen.rank - 1] = columns;
  make_dense(seen);
  return seen;
}

}  // namespace

TEST_CASE("Adafactor equals the reference, split in any way") {
  check_adafactor<0, double>();
  check_adafactor<1, float>();
  check_adafactor<1, double>();
  check_adafactor<2, float>();
  check_adafactor<2, double>();
  check_adafactor<3, double>();
  check_adafactor<4, double>();
}

TEST_CASE("Adafactor of a vector longer than one stretch") {
  law::trial how = drawn<1>(2);
  how.extent = {20001};
  CHECK(law::holds<meshloom::op::adafactor<1, true>, double>(how));
}

TEST_CASE("the law rejects an Adafactor with another threshold, decay or momentum, or with means of shards") {
  law::trial how = drawn<2>(2);
  how.extent = {7, 5};
  using op = meshloom::op::adafactor<2, true>;
  CHECK(law::holds<op, double>(how));
  CHECK(law::holds<op, double, other<0, 1>>(how));
  CHECK_FALSE(law::holds<op, double, other<1, 0>>(how));
  CHECK_FALSE(law::holds<op, double, other<3, 2>>(how));
  CHECK_FALSE(law::holds<op, double, other<5, 2>>(how));
  CHECK_FALSE(law::holds<op, double, other<6, 0>>(how));
  CHECK_FALSE(law::holds<op, double, alone>(how));
}

// By hand: g = a·bᵀ is of rank one, so r·c / mean r is g² and u is its signs, in the first step; of size 1, which is
// the threshold. p is of size 2, and the rate that of a hundredth.
TEST_CASE("the first step of Adafactor goes along the signs of a gradient of rank one") {
  meshloom::vector<double> p{2, -2, 2, 2, -2, 2}, g{1, -2, 3, -2, 4, -6}, r(2), c(3), before = p;
  meshloom::call with;
  with.operand[0] = with.result[0] = see(p, 2, 3), with.operand[1] = see(g, 2, 3);
  with.operand[2] = with.result[1] = see(r, 0, 2), with.operand[3] = with.result[2] = see(c, 0, 3);
  constexpr meshloom::attribute_list attributes{0.01, 0, 0.8, 1e-30, 1e-3, 1, 0, 0.01};
  std::copy(attributes.begin(), attributes.end(), with.attribute);
  meshloom::run_on_host<meshloom::adafactor_matrix_kernel<false>, double>(with);
  for (std::size_t i = 0; i < 6; ++i)
    CHECK(p[i] == doctest::Approx(before[i] - 0.02 * (g[i] > 0 ? 1 : -1)).epsilon(1e-12));
  CHECK(r[0] == doctest::Approx(14.0 / 3));
  CHECK(c[1] == doctest::Approx(10.0));
}

TEST_CASE("of zero gradients nothing comes, in single precision too, also where others are large") {
  meshloom::vector<float> p(6, 1), g{0, 0, 0, 0, 1e6f, 0}, r(2), c(3);
  const auto single = [](meshloom::vector<float>& of, meshloom::vector<double> like, std::int64_t rows,
                         std::int64_t columns) {
    meshloom::view seen = see(like, rows, columns);
    seen.data = of.data(), seen.type = meshloom::dtype::f32;
    return seen;
  };
  meshloom::call with;
  with.operand[0] = with.result[0] = single(p, {}, 2, 3), with.operand[1] = single(g, {}, 2, 3);
  with.operand[2] = with.result[1] = single(r, {}, 0, 2), with.operand[3] = with.result[2] = single(c, {}, 0, 3);
  constexpr meshloom::attribute_list attributes{0.01, 0, 0.8, 1e-30, 1e-3, 1, 0, 0.01};
  std::copy(attributes.begin(), attributes.end(), with.attribute);
  meshloom::run_on_host<meshloom::adafactor_matrix_kernel<false>, float>(with);
  for (std::size_t i = 0; i < 6; ++i) CHECK((i == 4 ? p[i] < 1 : p[i] == 1));
}
