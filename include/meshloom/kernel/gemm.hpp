// SPDX-License-Identifier: Apache-2.0
// The plain arithmetic: our own blocked, packed and register-tiled matrix product. It needs nothing installed, and is
// the oracle of the vendors' ones. Law: any strides, also 0; sizes may be 0; no heap traffic after construction;
// numbers of 16 bits are summed as float, and rounded once. Source: Goto and van de Geijn, Anatomy of High-Performance
// Matrix Multiplication (2008).
#pragma once

#include <meshloom/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace meshloom {

class plain {
 public:
  /// c ← a·b (or c + a·b); a is m × k, b is k × n, c is m × n, with strides of rows and columns.
  template <class Element, class Result>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a, std::int64_t column_a,
            const Element* b, std::int64_t row_b, std::int64_t column_b, bool accumulate, Result* c, std::int64_t row_c,
            std::int64_t column_c) {
    if constexpr (half_type<Result>)
      multiply_rounded(m, n, k, a, row_a, column_a, b, row_b, column_b, accumulate, c, row_c, column_c);
    else
      multiply(m, n, k, a, row_a, column_a, b, row_b, column_b, accumulate, c, row_c, column_c);
  }

  /// Memory for kernels made of matrix products, of a size that caches hold; its contents last for one call.
  template <class Element>
  std::span<Element> scratch() {
    return {reinterpret_cast<Element*>(scratch_.data()), scratch_.size() * sizeof(line) / sizeof(Element)};
  }

 private:
  // A tile of the result is kept in registers: 4 × 24 numbers are 12 registers of AVX2 (of 16), 3 more hold the row of
  // b. Columns are more than 16, because g++ 12 unrolls loops of up to 16 rounds before it vectorises and then fails
  // to.
  static constexpr std::int64_t tile_rows = 4, tile_columns = 24;
  // A block of a (with its depth) stays in the second-level cache, a tile column of b in the first.
  static constexpr std::int64_t block_rows = 128, block_columns = 480, block_depth = 256;

  struct alignas(64) line {
    std::byte bytes[64];
  };
  static constexpr std::size_t lines = (block_rows + block_columns) * block_depth * sizeof(double) / sizeof(line);
  static constexpr std::size_t scratch_lines = (1 << 20) / sizeof(line);

  static constexpr std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

  template <class Number>
  Number* packed_left() {
    return reinterpret_cast<Number*>(packed_.data());
  }
  template <class Number>
  Number* packed_right() {
    return packed_left<Number>() + block_rows * block_depth;
  }

  template <class Element, class Number>
  void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a,
                std::int64_t column_a, const Element* b, std::int64_t row_b, std::int64_t column_b, bool accumulate,
                Number* c, std::int64_t row_c, std::int64_t column_c) {
    if (row_c == 1 && column_c != 1) {  // cᵀ = bᵀ·aᵀ has contiguous rows
      std::swap(m, n);
      std::swap(a, b);
      std::swap(row_c, column_c);
      std::swap(row_a, column_b);
      std::swap(column_a, row_b);
    }
    if (k == 0 && !accumulate) clear(m, n, c, row_c, column_c);
    for (std::int64_t depth = 0; depth < k; depth += block_depth) {
      const std::int64_t deep = least(block_depth, k - depth);
      for (std::int64_t j = 0; j < n; j += block_columns) {
        const std::int64_t wide = least(block_columns, n - j);
        pack<tile_columns>(wide, deep, b + depth * row_b + j * column_b, column_b, row_b, packed_right<Number>());
        for (std::int64_t i = 0; i < m; i += block_rows) {
          const std::int64_t tall = least(block_rows, m - i);
          pack<tile_rows>(tall, deep, a + i * row_a + depth * column_a, row_a, column_a, packed_left<Number>());
          multiply_block<Number>(tall, wide, deep, accumulate || depth > 0, c + i * row_c + j * column_c, row_c,
                                 column_c);
        }
      }
    }
  }

  /// Block after block of the result, summed beside it: its numbers could not be summed in place.
  template <class Element>
  void multiply_rounded(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a,
                        std::int64_t column_a, const Element* b, std::int64_t row_b, std::int64_t column_b,
                        bool accumulate, Element* c, std::int64_t row_c, std::int64_t column_c) {
    auto* const sums = reinterpret_cast<float*>(sums_.data());
    for (std::int64_t j = 0; j < n; j += block_columns) {
      const std::int64_t wide = least(block_columns, n - j);
      for (std::int64_t i = 0; i < m; i += block_rows) {
        const std::int64_t tall = least(block_rows, m - i);
        multiply(tall, wide, k, a + i * row_a, row_a, column_a, b + j * column_b, row_b, column_b, false, sums, wide,
                 std::int64_t{1});
        for (std::int64_t at = 0; at < tall * wide; ++at) {
          Element& to = c[(i + at / wide) * row_c + (j + at % wide) * column_c];
          to = sums[at] + (accumulate ? float(to) : 0.0f);
        }
      }
    }
  }

  template <class Element>
  static void clear(std::int64_t m, std::int64_t n, Element* c, std::int64_t row_c, std::int64_t column_c) {
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) c[i * row_c + j * column_c] = 0;
    }
  }

  /// Copies `count` lines of `deep` elements into strips of `Width` lines, depth outermost; missing lines are zeros.
  template <std::int64_t Width, class Element, class Number>
  static void pack(std::int64_t count, std::int64_t deep, const Element* from, std::int64_t step,
                   std::int64_t depth_step, Number* to) {
    for (std::int64_t first = 0; first < count; first += Width, to += Width * deep) {
      const Element* const strip = from + first * step;
      const std::int64_t here = least(Width, count - first);
      if (here == Width && step == 1) {
        for (std::int64_t p = 0; p < deep; ++p) {
          for (std::int64_t i = 0; i < Width; ++i) to[p * Width + i] = strip[p * depth_step + i];
        }
        continue;
      }
      for (std::int64_t i = 0; i < Width; ++i) {
        for (std::int64_t p = 0; p < deep; ++p)
          to[p * Width + i] = i < here ? Number(strip[i * step + p * depth_step]) : Number(0);
      }
    }
  }

  /// The product of the packed blocks, tile by tile.
  template <class Element>
  void multiply_block(std::int64_t tall, std::int64_t wide, std::int64_t deep, bool add, Element* c, std::int64_t row_c,
                      std::int64_t column_c) {
    for (std::int64_t j = 0; j < wide; j += tile_columns) {
      for (std::int64_t i = 0; i < tall; i += tile_rows) {
        Element tile[tile_rows][tile_columns];
        multiply_tile(deep, packed_left<Element>() + i * deep, packed_right<Element>() + j * deep, tile);
        store_tile(tile, least(tile_rows, tall - i), least(tile_columns, wide - j), add, c + i * row_c + j * column_c,
                   row_c, column_c);
      }
    }
  }

  template <class Element>
  static void multiply_tile(std::int64_t deep, const Element* a, const Element* b,
                            Element (&tile)[tile_rows][tile_columns]) {
    Element sum[tile_rows][tile_columns] = {};
    for (std::int64_t p = 0; p < deep; ++p, a += tile_rows, b += tile_columns) {
      for (std::int64_t i = 0; i < tile_rows; ++i) {
        for (std::int64_t j = 0; j < tile_columns; ++j) sum[i][j] += a[i] * b[j];
      }
    }
    for (std::int64_t i = 0; i < tile_rows; ++i) {
      for (std::int64_t j = 0; j < tile_columns; ++j) tile[i][j] = sum[i][j];
    }
  }

  template <class Element>
  static void store_tile(const Element (&tile)[tile_rows][tile_columns], std::int64_t rows, std::int64_t columns,
                         bool add, Element* c, std::int64_t row_c, std::int64_t column_c) {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        Element& to = c[i * row_c + j * column_c];
        to = add ? to + tile[i][j] : tile[i][j];
      }
    }
  }

  std::vector<line> packed_ = std::vector<line>(lines);
  std::vector<line> sums_ = std::vector<line>(block_rows * block_columns * sizeof(float) / sizeof(line));
  std::vector<line> scratch_ = std::vector<line>(scratch_lines);
};

}  // namespace meshloom
