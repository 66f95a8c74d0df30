// SPDX-License-Identifier: Apache-2.0
// The arithmetic of any CBLAS (OpenBLAS, BLIS, MKL, …). The only header that includes <cblas.h>.
// Law: what BLAS cannot express, and numbers of 16 bits, go to our own product.
#pragma once

#include <meshloom/exec/blas_matrix.hpp>
#include <meshloom/kernel/gemm.hpp>

#include <cblas.h>

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
  template <class Element, class Result>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a, std::int64_t column_a,
            const Element* b, std::int64_t row_b, std::int64_t column_b, bool accumulate, Result* c, std::int64_t row_c,
            std::int64_t column_c) {
    if (m == 0 || n == 0) return;
    if constexpr (!half_type<Element>) {
      if (const auto product =
              blas_product_of(m, n, k, a, row_a, column_a, b, row_b, column_b, accumulate, c, row_c, column_c))
        return multiply(*product);
    }
    own_.gemm(m, n, k, a, row_a, column_a, b, row_b, column_b, accumulate, c, row_c, column_c);
  }

  template <class Element>
  std::span<Element> scratch() {
    return own_.scratch<Element>();
  }

 private:
  template <class Element>
  static void multiply(const blas_product<Element>& product) {
    const auto& [m, n, k, a, b, left, right, accumulate, c, leading] = product;
    const auto how = [](blas_matrix shape) { return shape.transposed ? CblasTrans : CblasNoTrans; };
    const Element beta = accumulate ? 1 : 0;
    if constexpr (std::is_same_v<Element, float>) {
      cblas_sgemm(CblasRowMajor, how(left), how(right), m, n, k, 1, a, left.leading, b, right.leading, beta, c,
                  leading);
    } else {
      cblas_dgemm(CblasRowMajor, how(left), how(right), m, n, k, 1, a, left.leading, b, right.leading, beta, c,
                  leading);
    }
  }

  plain own_;
};

}  // namespace meshloom
