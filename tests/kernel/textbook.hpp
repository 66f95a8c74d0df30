// SPDX-License-Identifier: Apache-2.0
// The arithmetic of the textbook: a matrix product as it is defined, to test what is made of products, and so little
// room that tiles are many.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/tensor/dtype.hpp>

#include <cstdint>
#include <span>

namespace law {

struct textbook {
  meshloom::vector<double> room = meshloom::vector<double>(400);

  template <class Element>
  std::span<Element> scratch() {
    return {reinterpret_cast<Element*>(room.data()), room.size()};
  }

  template <class Element, class Result>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a, std::int64_t column_a,
            const Element* b, std::int64_t row_b, std::int64_t column_b, bool accumulate, Result* c, std::int64_t row_c,
            std::int64_t column_c) {
    using number = meshloom::computed<Element>;
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        number sum = accumulate ? number(c[i * row_c + j * column_c]) : number(0);
        for (std::int64_t p = 0; p < k; ++p) sum += a[i * row_a + p * column_a] * b[p * row_b + j * column_b];
        c[i * row_c + j * column_c] = sum;
      }
    }
  }
};

}  // namespace law
