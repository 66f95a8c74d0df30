// SPDX-License-Identifier: Apache-2.0
// The arithmetic of any CBLAS (OpenBLAS, BLIS, MKL, …). The only header that includes <cblas.h>.
// Law: layouts that BLAS cannot express (no stride of 1, overlapping rows, sizes beyond int) go to our own product.
#pragma once

#include <meshloom/kernel/gemm.hpp>

#include <cblas.h>

#include <algorithm>
#include <climits>
#include <type_traits>

namespace meshloom {

namespace detail {

/// True where <cblas.h> declares OpenBLAS's control of its threads. The pack makes the second name dependent as well.
template <class Number, class... Nothing>
concept has_openblas_threads = requires(Number threads, Nothing... nothing) {
  openblas_set_num_threads(threads);
  openblas_get_num_threads(nothing...);
};

}  // namespace detail

/// For its lifetime the library runs on the calling thread alone: ranks are our threads, and a second pool under each
/// of them is slower than one. OpenBLAS only, and process-wide there, so make one before the ranks' threads start. Any
/// other CBLAS is left as it is: use its sequential build, or set its threads by its own means.
template <class Number = int>
class single_threaded_blas {
 public:
  single_threaded_blas() {
    if constexpr (detail::has_openblas_threads<Number>) {
      previous_ = openblas_get_num_threads();
      openblas_set_num_threads(Number{1});
    }
  }
  ~single_threaded_blas() {
    if constexpr (detail::has_openblas_threads<Number>) openblas_set_num_threads(previous_);
  }
  single_threaded_blas(const single_threaded_blas&) = delete;
  single_threaded_blas& operator=(const single_threaded_blas&) = delete;

 private:
  Number previous_ = 0;
};

class cblas {
 public:
  using session = single_threaded_blas<>;  ///< held while ranks compute with it

  /// c ← a·b (or c + a·b); a is m × k, b is k × n, c is m × n, with strides of rows and columns.
  template <class Element>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a, std::int64_t column_a,
            const Element* b, std::int64_t row_b, std::int64_t column_b, bool accumulate, Element* c,
            std::int64_t row_c, std::int64_t column_c) {
    if (m == 0 || n == 0) return;
    const matrix left = matrix_of(m, k, row_a, column_a), right = matrix_of(k, n, row_b, column_b);
    const matrix result = matrix_of(m, n, row_c, column_c);
    if (k == 0 || !left.possible || !right.possible || !result.possible) {
      return own_.gemm(m, n, k, a, row_a, column_a, b, row_b, column_b, accumulate, c, row_c, column_c);
    }
    const Element beta = accumulate ? 1 : 0;
    if (result.transposed)
      multiply(n, m, k, b, flipped(right), a, flipped(left), beta, c, result.leading);
    else
      multiply(m, n, k, a, left, b, right, beta, c, result.leading);
  }

  template <class Element>
  std::span<Element> scratch() {
    return own_.scratch<Element>();
  }

 private:
  /// A matrix as BLAS sees it in row-major order: its rows are contiguous, or (transposed) its columns.
  struct matrix {
    bool possible = false, transposed = false;
    int leading = 0;
  };

  static matrix matrix_of(std::int64_t rows, std::int64_t columns, std::int64_t row, std::int64_t column) {
    // The stride of an axis of one element is free: any that BLAS accepts will do.
    const std::int64_t by_row = rows <= 1 ? std::max(row, columns) : row;
    const std::int64_t by_column = columns <= 1 ? std::max(column, rows) : column;
    if (std::max({rows, columns, by_row, by_column}) > INT_MAX) return {};
    if ((column == 1 || columns <= 1) && by_row >= columns) return {true, false, static_cast<int>(by_row)};
    if ((row == 1 || rows <= 1) && by_column >= rows) return {true, true, static_cast<int>(by_column)};
    return {};
  }

  static matrix flipped(matrix shape) { return {shape.possible, !shape.transposed, shape.leading}; }

  template <class Element>
  static void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, matrix left, const Element* b,
                       matrix right, Element beta, Element* c, int leading) {
    const auto how = [](matrix shape) { return shape.transposed ? CblasTrans : CblasNoTrans; };
    const int rows = static_cast<int>(m), columns = static_cast<int>(n), depth = static_cast<int>(k);
    if constexpr (std::is_same_v<Element, float>) {
      cblas_sgemm(CblasRowMajor, how(left), how(right), rows, columns, depth, 1, a, left.leading, b, right.leading,
                  beta, c, leading);
    } else {
      cblas_dgemm(CblasRowMajor, how(left), how(right), rows, columns, depth, 1, a, left.leading, b, right.leading,
                  beta, c, leading);
    }
  }

  plain own_;
};

}  // namespace meshloom
