// SPDX-License-Identifier: Apache-2.0
// Products of bf16 matrices by oneDNN, summed as float: on the tiles (AMX) or dot products (AVX512-BF16) of a processor
// that has them. Law: on the calling thread alone; a shape is compiled when it is first seen, and then asks the heap
// for nothing but what oneDNN itself does.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/exec/blas_matrix.hpp>
#include <meshloom/exec/onednn_stream.hpp>
#include <meshloom/tensor/dtype.hpp>

#include <string>
#include <tuple>
#include <type_traits>

namespace meshloom::detail {

/// The products that oneDNN has compiled for one rank, one per shape.
class onednn_products {
 public:
  /// Multiplies, or returns false, having done nothing, where oneDNN has no bf16 for this processor.
  template <class Result>
  bool run(const blas_product<bf16, Result>& product, onednn_stream& on) {
    const one_openmp_thread alone;
    prepared& ready = find(product, std::is_same_v<Result, bf16>, on);
    if (!ready.multiply) return false;
    // oneDNN takes operands as memory that it might write.
    ready.left.set_data_handle(const_cast<bf16*>(product.a));
    ready.right.set_data_handle(const_cast<bf16*>(product.b));
    ready.result.set_data_handle(product.c);
    ready.scratch.set_data_handle(on.scratch.data());
    on.execute("a product", ready.multiply,
               {{DNNL_ARG_SRC, ready.left.get()},
                {DNNL_ARG_WEIGHTS, ready.right.get()},
                {DNNL_ARG_DST, ready.result.get()},
                {DNNL_ARG_SCRATCHPAD, ready.scratch.get()}});
    return true;
  }

 private:
  using memory = dnnl::memory;
  /// m, n, k, how the operands lie, how far apart the result's rows, whether it adds, whether it rounds.
  using shape = std::tuple<int, int, int, bool, int, bool, int, int, bool, bool>;

  /// What was made for a shape; no primitive where oneDNN has none.
  struct prepared {
    shape of;
    dnnl::primitive multiply = {};
    memory left = {}, right = {}, result = {}, scratch = {};
  };

  template <class Result>
  prepared& find(const blas_product<bf16, Result>& product, bool rounds, onednn_stream& on) {
    const shape wanted{product.m,
                       product.n,
                       product.k,
                       product.left.transposed,
                       product.left.leading,
                       product.right.transposed,
                       product.right.leading,
                       product.leading,
                       product.accumulate,
                       rounds};
    for (prepared& each : prepared_) {
      if (each.of == wanted) return each;
    }
    try {
      prepared_.push_back(prepare(wanted, on));
    } catch (const dnnl::error& why) {
      if (why.status != dnnl_unimplemented)
        throw error(std::string("onednn: a product of bf16 cannot be made: ") + why.what());
      prepared_.push_back({.of = wanted});
    }
    return prepared_.back();
  }

  static memory::desc matrix(int rows, int columns, memory::data_type type, bool transposed, int leading) {
    const memory::dims strides = transposed ? memory::dims{1, leading} : memory::dims{leading, 1};
    return {{rows, columns}, type, strides};
  }

  static prepared prepare(const shape& of, onednn_stream& on) {
    const auto& [m, n, k, left_transposed, left, right_transposed, right, leading, adds, rounds] = of;
    constexpr auto half = memory::data_type::bf16;
    const memory::desc a = matrix(m, k, half, left_transposed, left), b = matrix(k, n, half, right_transposed, right);
    const memory::desc c = matrix(m, n, rounds ? half : memory::data_type::f32, false, leading);
    const auto attributes = onednn_stream::attributes(adds);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc what(on.engine, a, b, c, attributes);
#else
    const dnnl::matmul::primitive_desc what({a, b, c}, attributes, on.engine);
#endif
    onednn_stream::reserve(on.scratch, what.scratchpad_desc());
    return {of, dnnl::matmul(what), on.empty(a), on.empty(b), on.empty(c), on.empty(what.scratchpad_desc())};
  }

  vector<prepared> prepared_;
};

}  // namespace meshloom::detail
