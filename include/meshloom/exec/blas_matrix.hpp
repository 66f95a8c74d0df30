// SPDX-License-Identifier: Apache-2.0
// A matrix product as BLAS sees it: row-major matrices, each with contiguous rows or (transposed) contiguous columns.
// Every vendor's product goes through here. Law: what has no such form (no stride of 1, overlapping rows, sizes beyond
// int, a sum over nothing) is none.
#pragma once

#include <algorithm>
#include <climits>
#include <cstdint>
#include <optional>
#include <utility>

namespace meshloom {

struct blas_matrix {
  bool transposed = false;
  int leading = 0;  ///< elements from one contiguous line to the next
};

/// A matrix with these strides of its rows and columns, if BLAS can express it.
constexpr std::optional<blas_matrix> blas_matrix_of(std::int64_t rows, std::int64_t columns, std::int64_t row,
                                                    std::int64_t column) {
  // The stride of an axis of one element is free: any that BLAS accepts will do.
  const std::int64_t by_row = rows <= 1 ? std::max(row, columns) : row;
  const std::int64_t by_column = columns <= 1 ? std::max(column, rows) : column;
  if (std::max({rows, columns, by_row, by_column}) > INT_MAX) return {};
  if ((column == 1 || columns <= 1) && by_row >= columns) return blas_matrix{false, static_cast<int>(by_row)};
  if ((row == 1 || rows <= 1) && by_column >= rows) return blas_matrix{true, static_cast<int>(by_column)};
  return {};
}

/// c ← a·b (or c + a·b), where c is m × n with contiguous rows and k is summed.
template <class Element, class Result = Element>
struct blas_product {
  int m = 0, n = 0, k = 0;
  const Element* a = nullptr;
  const Element* b = nullptr;
  blas_matrix left, right;
  bool accumulate = false;
  Result* c = nullptr;
  int leading = 0;
};

/// The product c ← a·b of matrices with strides of rows and columns, if BLAS can express it; where c has contiguous
/// columns, it is cᵀ ← bᵀ·aᵀ.
template <class Element, class Result>
constexpr std::optional<blas_product<Element, Result>> blas_product_of(std::int64_t m, std::int64_t n, std::int64_t k,
                                                                       const Element* a, std::int64_t row_a,
                                                                       std::int64_t column_a, const Element* b,
                                                                       std::int64_t row_b, std::int64_t column_b,
                                                                       bool accumulate, Result* c, std::int64_t row_c,
                                                                       std::int64_t column_c) {
  auto left = blas_matrix_of(m, k, row_a, column_a), right = blas_matrix_of(k, n, row_b, column_b);
  const auto result = blas_matrix_of(m, n, row_c, column_c);
  if (k == 0 || !left || !right || !result) return {};
  if (result->transposed) {
    std::swap(m, n);
    std::swap(a, b);
    std::swap(left, right);
    left->transposed = !left->transposed;
    right->transposed = !right->transposed;
  }
  return blas_product<Element, Result>{
      static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), a, b, *left, *right, accumulate, c,
      result->leading};
}

}  // namespace meshloom
