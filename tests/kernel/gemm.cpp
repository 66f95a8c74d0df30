// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/vector.hpp>
#include <meshloom/kernel/gemm.hpp>

#if defined(TEST_WITH_CBLAS)
#include <meshloom/exec/cblas.hpp>
#endif
#if defined(TEST_WITH_ONEDNN)
#include <meshloom/exec/onednn.hpp>
#endif

#include <doctest/doctest.h>

#include <cmath>
#include <random>

namespace {

std::mt19937_64 dice{7};

std::int64_t pick(std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(dice);
}

/// A matrix in memory of its own: by rows, by columns, with gaps, or with neither stride 1.
template <class Element>
struct matrix {
  std::int64_t rows, columns, row, column;
  meshloom::vector<Element> memory;

  matrix(std::int64_t height, std::int64_t width) : rows(height), columns(width) {
    const std::int64_t gap = pick(0, 2), stretch = pick(0, 3) == 0 ? 2 : 1;
    const bool by_row = pick(0, 1) == 0;
    row = by_row ? stretch * (columns + gap) : stretch;
    column = by_row ? stretch : stretch * (rows + gap);
    memory.resize(static_cast<std::size_t>((rows + 1) * row + (columns + 1) * column + 1));
    for (Element& value : memory) value = static_cast<meshloom::computed<Element>>(pick(-4, 4));
  }
  Element& at(std::int64_t i, std::int64_t j) { return memory[static_cast<std::size_t>(i * row + j * column)]; }
};

/// True if the arithmetic computes a random product exactly: the numbers are small and whole, so every order of adding
/// gives the same, which is rounded at most once, and what lies between the elements of the result stays.
template <class Element, class Result = Element, class Arithmetic>
bool multiplies(Arithmetic& how, std::int64_t m, std::int64_t n, std::int64_t k) {
  using number = meshloom::computed<Element>;
  matrix<Element> a(m, k), b(k, n);
  matrix<Result> c(m, n);
  const bool accumulate = pick(0, 1) == 1;
  matrix<Result> expected = c;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      number sum = accumulate ? number(c.at(i, j)) : number(0);
      for (std::int64_t p = 0; p < k; ++p) sum += a.at(i, p) * b.at(p, j);
      expected.at(i, j) = sum;
    }
  }
  how.template gemm<Element>(m, n, k, a.memory.data(), a.row, a.column, b.memory.data(), b.row, b.column, accumulate,
                             c.memory.data(), c.row, c.column);
  return c.memory == expected.memory;
}

template <class Half, class Arithmetic>
void check_halves(Arithmetic& how, std::int64_t m, std::int64_t n, std::int64_t k) {
  CHECK(multiplies<Half>(how, m, n, k));
  CHECK(multiplies<Half, float>(how, m, n, k));
}

template <class Arithmetic>
void check_sizes(Arithmetic& how) {
  for (int round = 0; round < 300; ++round) {
    const std::int64_t m = pick(0, 40), n = pick(0, 60), k = pick(0, 40);
    CHECK(multiplies<float>(how, m, n, k));
    CHECK(multiplies<double>(how, m, n, k));
    check_halves<meshloom::bf16>(how, m, n, k);
    check_halves<meshloom::f16>(how, m, n, k);
  }
  for (const std::int64_t size : {0, 1}) {
    CHECK(multiplies<float>(how, size, 5, 6));
    CHECK(multiplies<float>(how, 5, size, 6));
    CHECK(multiplies<float>(how, 5, 6, size));
    CHECK(multiplies<double>(how, size, size, size));
    check_halves<meshloom::bf16>(how, size, 5, 6);
    check_halves<meshloom::bf16>(how, 5, size, 6);
    check_halves<meshloom::bf16>(how, 5, 6, size);
  }
  CHECK(multiplies<float>(how, 131, 500, 270));  // more than one block of each
  CHECK(multiplies<double>(how, 130, 481, 513));
  check_halves<meshloom::bf16>(how, 131, 500, 270);
  check_halves<meshloom::f16>(how, 130, 481, 513);
}

/// Leaves out the last of the summed products.
struct impatient {
  meshloom::plain own;
  template <class Element, class... Rest>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Rest... rest) {
    own.gemm<Element>(m, n, k > 1 ? k - 1 : k, rest...);
  }
};

}  // namespace

TEST_CASE("the plain product is exact on whole numbers, whatever the sizes and strides") {
  meshloom::plain how;
  check_sizes(how);
}

TEST_CASE("a stride of 0 repeats a row or column") {
  const float a[] = {1, 2, 3}, b[] = {10};
  float c[3] = {};
  meshloom::plain how;
  how.gemm<float>(1, 3, 3, a, 0, 1, b, 0, 0, false, c, 3, 1);
  CHECK(c[2] == 60.0f);
}

#if defined(TEST_WITH_CBLAS)
TEST_CASE("the CBLAS product is exact on whole numbers, whatever the sizes and strides") {
  const meshloom::single_threaded_blas<> alone;
  meshloom::cblas how;
  check_sizes(how);
}

TEST_CASE("the CBLAS product takes what BLAS cannot express as well") {
  const float a[] = {1, 2, 3}, b[] = {10};
  float c[3] = {1, 1, 1};
  meshloom::cblas how;
  how.gemm<float>(1, 3, 3, a, 0, 1, b, 0, 0, true, c, 3, 1);
  CHECK(c[0] == 61.0f);
}

TEST_CASE("a single-threaded BLAS gives the threads back") {
  const int before = openblas_get_num_threads();
  openblas_set_num_threads(2);
  {
    const meshloom::single_threaded_blas<> alone;
    CHECK(openblas_get_num_threads() == 1);
  }
  CHECK(openblas_get_num_threads() == 2);
  openblas_set_num_threads(before);
}
#endif

#if defined(TEST_WITH_ONEDNN)
TEST_CASE("the oneDNN product is exact on whole numbers, whatever the sizes and strides") {
  meshloom::onednn how;
  check_sizes(how);
}
#endif

#if defined(TEST_WITH_ONEDNN) && defined(TEST_WITH_CBLAS)
TEST_CASE("oneDNN with a CBLAS is exact on whole numbers, whatever the sizes and strides") {
  const auto alone = meshloom::onednn_with<meshloom::cblas>::session();
  meshloom::onednn_with<meshloom::cblas> how;
  check_sizes(how);
}
#endif

TEST_CASE("the check rejects a product that leaves out a term") {
  impatient how;
  int rejected = 0;
  for (int round = 0; round < 20; ++round) rejected += !multiplies<float>(how, 5, 6, 7);
  CHECK(rejected > 15);
}
