// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"
#include "textbook.hpp"

#include <doctest/doctest.h>

namespace {

using meshloom::at;
using meshloom::op::dot;

/// Never adds to what is there.
struct overwriting : law::textbook {
  template <class Element, class Result>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a, std::int64_t column_a,
            const Element* b, std::int64_t row_b, std::int64_t column_b, bool, Result* c, std::int64_t row_c,
            std::int64_t column_c) {
    law::textbook::gemm(m, n, k, a, row_a, column_a, b, row_b, column_b, false, c, row_c, column_c);
  }
};

/// Rounds what every product adds.
template <class Half>
struct hasty : law::textbook {
  template <class Element, class Result>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a, std::int64_t column_a,
            const Element* b, std::int64_t row_b, std::int64_t column_b, bool accumulate, Result* c, std::int64_t row_c,
            std::int64_t column_c) {
    law::textbook::gemm(m, n, k, a, row_a, column_a, b, row_b, column_b, accumulate, c, row_c, column_c);
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) c[i * row_c + j * column_c] = Half(float(c[i * row_c + j * column_c]));
    }
  }
};

/// The same contraction, of which nobody rounds the sums.
template <class Operator>
struct unrounded : Operator {
  static constexpr meshloom::rounding rounded{.operands = 3};
};

}  // namespace

template <class Operator>
struct meshloom::kernel_of<unrounded<Operator>> : kernel_of<Operator> {};
template <class Operator>
struct meshloom::reference::rule<unrounded<Operator>> : rule<Operator> {};

namespace {

template <class Operator, class Element, class Arithmetic>
bool dot_holds(const law::trial& how) {
  Arithmetic arithmetic;
  return law::checker<Operator, Element>{how}.holds(
      [&](const meshloom::call& with) { meshloom::kernel_of<Operator>::template run<Element>(arithmetic, with); });
}

template <class Operator>
void check_dot() {
  for (int round = 0; round < 10; ++round) {
    law::trial how = law::lengths(Operator::signature.index_count);
    how.accumulate = round % 2 == 1;
    CHECK(dot_holds<Operator, float, law::textbook>(how));
    CHECK(dot_holds<Operator, double, meshloom::plain>(how));
    CHECK(dot_holds<Operator, meshloom::bf16, meshloom::plain>(how));
    CHECK(dot_holds<Operator, meshloom::f16, law::textbook>(how));
    CHECK(dot_holds<unrounded<Operator>, meshloom::bf16, law::textbook>(how));
    CHECK(dot_holds<unrounded<Operator>, meshloom::f16, meshloom::plain>(how));
  }
}

template <class Operator>
void check_with_gradients() {
  check_dot<Operator>();
}

/// The plan of a contraction of dense tensors.
template <class Left, class Right, class Result>
meshloom::contraction planned(const law::trial& how) {
  meshloom::call with;
  with.operand[0] = law::make_tensor(Left::list, how, meshloom::dtype::f32).seen;
  with.operand[1] = law::make_tensor(Right::list, how, meshloom::dtype::f32).seen;
  with.result[0] = law::make_tensor(Result::list, how, meshloom::dtype::f32).seen;
  return meshloom::plan_contraction(dot<Left, Right, Result>::signature, with);
}

}  // namespace

TEST_CASE("contractions of all patterns equal the reference, whole and on uneven shards") {
  check_dot<dot<at<0, 1>, at<1, 2>, at<0, 2>>>();                    // matrix product
  check_dot<dot<at<1, 0>, at<2, 1>, at<2, 0>>>();                    // all transposed
  check_dot<dot<at<0, 1>, at<1>, at<0>>>();                          // matrix by vector
  check_dot<dot<at<0>, at<0>, at<>>>();                              // inner product
  check_dot<dot<at<0>, at<1>, at<0, 1>>>();                          // outer product
  check_dot<dot<at<0, 1>, at<0, 1>, at<0, 1>>>();                    // all batch
  check_dot<dot<at<0, 1, 2>, at<2, 3>, at<0, 1, 3>>>();              // linear layer
  check_dot<dot<at<0, 1, 2>, at<0, 1, 3>, at<2, 3>>>();              // its weights' gradient
  check_dot<dot<at<0, 1, 2, 3>, at<0, 4, 2, 3>, at<0, 2, 1, 4>>>();  // queries by keys, heads inside
  check_dot<dot<at<0, 1, 2, 3>, at<0, 3, 1, 4>, at<0, 2, 1, 4>>>();  // shares by values
  check_dot<dot<at<0, 1, 2>, at<3, 1, 2>, at<0, 3>>>();              // two indices summed
  check_dot<dot<at<0, 1, 2>, at<2, 1, 3>, at<0, 3>>>();              // two that do not merge
  check_dot<dot<at<0, 1>, at<2>, at<0, 2>>>();                       // an index of one operand alone is summed
}

TEST_CASE("indices that lie together become one matrix product") {
  const law::trial how{.extent = {4, 8, 16, 3, 5}};
  const auto linear = planned<at<0, 1, 2>, at<2, 3, 4>, at<0, 1, 3, 4>>(how);
  CHECK(linear.m.extent == 32);
  CHECK(linear.n.extent == 15);
  CHECK(linear.k.extent == 16);
  CHECK(linear.outer.rounds() == 1);
  CHECK(linear.inner.rounds() == 1);

  const law::trial attention{.extent = {2, 64, 3, 16, 65}};  // batch, query, head, feature, key
  const auto scores = planned<at<0, 1, 2, 3>, at<0, 4, 2, 3>, at<0, 2, 1, 4>>(attention);
  CHECK(scores.m.extent == 64);
  CHECK(scores.n.extent == 65);
  CHECK(scores.k.extent == 16);
  CHECK(scores.k.left == 1);
  CHECK(scores.outer.rounds() == 6);
}

TEST_CASE("a contraction over no elements is 0, or leaves what it adds to") {
  for (const bool accumulate : {false, true}) {
    law::trial how{.extent = {3, 0, 4}, .accumulate = accumulate};
    CHECK(dot_holds<dot<at<0, 1>, at<1, 2>, at<0, 2>>, float, meshloom::plain>(how));
    how.extent = {3, 2, 0, 2};
    CHECK(dot_holds<dot<at<0, 1, 2>, at<2, 1, 3>, at<0, 3>>, float, meshloom::plain>(how));
  }
}

namespace {

/// A sum over two indices that do not merge, of whole numbers: one round gives `first`, 64 others 1, of which a number
/// of 16 bits next to `first` keeps none. True if the result is all of them, and what it adds to.
template <class Half, class Arithmetic>
bool sums_rounds(float first, bool accumulate) {
  using product = dot<at<0, 1, 2>, at<2, 1, 3>, at<0, 3>>;
  const law::trial how{.extent = {5, 66, 65, 90}};
  constexpr auto type = meshloom::dtype_of<Half>;
  law::tensor left = law::make_tensor(product::signature.operands[0], how, type);
  law::tensor right = law::make_tensor(product::signature.operands[1], how, type);
  law::tensor result = law::make_tensor(product::signature.results[0], how, type);
  for (std::int64_t i = 0; i < left.seen.count(); ++i) {
    const std::int64_t round = i % 65, summand = i / 65 % 66;
    left.set(i, summand > 0 ? 0 : round == 0 ? double(first) : 1);
  }
  for (std::int64_t i = 0; i < right.seen.count(); ++i) right.set(i, 1);
  for (std::int64_t i = 0; i < result.seen.count(); ++i) result.set(i, static_cast<double>(64 * (i % 3)));
  meshloom::call with;
  with.operand[0] = left.seen;
  with.operand[1] = right.seen;
  with.result[0] = result.seen;
  with.accumulate = accumulate;
  REQUIRE(meshloom::plan_contraction(product::signature, with).inner.rounds() == 65);
  Arithmetic arithmetic;
  meshloom::kernel_of<product>::template run<Half>(arithmetic, with);
  for (std::int64_t i = 0; i < result.seen.count(); ++i) {
    if (result.get(i) != double(first) + 64 + (accumulate ? static_cast<double>(64 * (i % 3)) : 0)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a result of 16 bits is rounded once, after all rounds of its sum") {
  using meshloom::bf16;
  using meshloom::f16;
  for (const bool accumulate : {false, true}) {
    CHECK(sums_rounds<bf16, meshloom::plain>(256, accumulate));
    CHECK(sums_rounds<bf16, law::textbook>(256, accumulate));
    CHECK_FALSE(sums_rounds<bf16, hasty<bf16>>(256, accumulate));
    CHECK(sums_rounds<f16, meshloom::plain>(2048, accumulate));
    CHECK(sums_rounds<f16, law::textbook>(2048, accumulate));
    CHECK_FALSE(sums_rounds<f16, hasty<f16>>(2048, accumulate));
  }
}

TEST_CASE("the law rejects an arithmetic that does not accumulate") {
  const law::trial how{.extent = {3, 4, 5}, .accumulate = true};
  using product = dot<at<0, 1>, at<1, 2>, at<0, 2>>;
  CHECK(dot_holds<product, float, law::textbook>(how));
  CHECK_FALSE(dot_holds<product, float, overwriting>(how));
}
