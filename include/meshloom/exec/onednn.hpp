// SPDX-License-Identifier: Apache-2.0
// The arithmetic of oneDNN: products of float and bf16, and convolutions of dense images without copying their windows.
// What it does not do (double precision, f16, layouts that BLAS cannot express) another arithmetic does:
// `onednn_with<cblas>`; our own in `onednn`.
// Law: it computes on the calling thread alone. Once it has seen the shapes of a step it asks the heap for nothing;
// oneDNN itself still does, in every call: in version 2.6 for 72 KiB in a product, for less than 1 KiB in a
// convolution.
#pragma once

#include <meshloom/base/error.hpp>
#include <meshloom/base/vector.hpp>
#include <meshloom/exec/onednn_product.hpp>
#include <meshloom/kernel/convolution_shape.hpp>
#include <meshloom/kernel/gemm.hpp>

#include <initializer_list>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>

namespace meshloom {

namespace detail {

/// The convolutions that oneDNN has compiled for one rank, one per shape and element type. Weights are brought into the
/// order that oneDNN likes in every call, which costs less than it saves. Of bf16 the gradient of a weight is float.
class onednn_convolutions {
 public:
  /// Convolves, or returns false, having done nothing, where oneDNN has no fast way.
  template <class Element>
  bool run(const convolution_shape& shape, onednn_stream& on) {
    constexpr auto type = std::is_same_v<Element, bf16> ? memory::data_type::bf16 : memory::data_type::f32;
    if (!is_dense(shape) || !has_padding(shape.high) || !has_padding(shape.wide) || is_slow(shape, type)) return false;
    const one_openmp_thread alone;
    prepared& ready = find(shape, type, on);
    if (!ready.convolve) return false;
    ready.image.set_data_handle(shape.image.data);
    ready.weight.set_data_handle(shape.weight.data);
    ready.result.set_data_handle(shape.result.data);
    ready.ordered.set_data_handle(ready.reorder ? ordered_.data() : shape.weight.data);
    ready.scratch.set_data_handle(on.scratch.data());
    const bool makes_weight = shape.pass == convolution_pass::gradient_weight;
    if (ready.reorder && !makes_weight) execute_reorder(ready, ready.weight, ready.ordered, on);
    execute_convolution(ready, shape.pass, on);
    if (ready.reorder && makes_weight) execute_reorder(ready, ready.ordered, ready.weight, on);
    return true;
  }

 private:
  using memory = dnnl::memory;

  /// What was made for a shape; no primitive where oneDNN has no fast way.
  struct prepared {
    convolution_shape of;
    memory::data_type type;
    dnnl::primitive convolve, reorder;
    memory image, weight, result, ordered, scratch, reorder_scratch;
  };

  struct axis {
    std::int64_t extent, stride;
  };

  /// True if the axes, outermost first, have elements and lie without gaps.
  static bool lies_densely(std::initializer_list<axis> axes) {
    std::int64_t next = 1;
    for (auto each = std::rbegin(axes); each != std::rend(axes); ++each) {
      if (each->extent == 0 || (each->extent > 1 && each->stride != next)) return false;
      next *= each->extent;
    }
    return true;
  }

  static bool is_dense(const convolution_shape& shape) {
    const auto& [image, weight, result] = std::tie(shape.image, shape.weight, shape.result);
    const auto& [high, wide] = std::tie(shape.high, shape.wide);
    return lies_densely({{shape.images, image.outer},
                         {high.pixels, image.high},
                         {wide.pixels, image.wide},
                         {shape.groups, image.group},
                         {shape.in, image.in}}) &&
           lies_densely({{high.taps, weight.high},
                         {wide.taps, weight.wide},
                         {shape.groups, weight.group},
                         {shape.in, weight.in},
                         {shape.out, weight.out}}) &&
           lies_densely({{shape.images, result.outer},
                         {high.positions, result.high},
                         {wide.positions, result.wide},
                         {shape.groups, result.group},
                         {shape.out, result.out}});
  }

  /// oneDNN crops no more than a stride leaves over at the end.
  static bool has_padding(const convolution_side& side) { return side.before >= 0 && side.after > -side.stride; }

  /// What is faster as products of columns (measured). Of float: gradients of many channels with strides and several
  /// taps, by up to a half with 512 channels, and 10 % with 128; with 64, slower. Of bf16: gradients with strides,
  /// those of pointwise weights, and what has so few positions that to order the weight takes longer than to multiply
  /// it.
  static bool is_slow(const convolution_shape& shape, memory::data_type type) {
    const bool strided = shape.high.stride > 1 || shape.wide.stride > 1, pointwise = shape.taps() == 1;
    const bool forward = shape.pass == convolution_pass::forward;
    if (type == memory::data_type::f32) return !forward && strided && !pointwise && shape.in >= 128;
    if (shape.groups > 1) return false;
    const std::int64_t weights = shape.taps() * shape.in * shape.out, positions = shape.positions();
    if (shape.pass == convolution_pass::gradient_weight)
      return weights > 512 * positions || (shape.in >= 64 && (strided || pointwise));
    return weights > 8192 * positions || (!forward && strided && shape.in >= 128);
  }

  /// A name like jit:avx512_core; what oneDNN has no code for, it makes from products itself, or by plain loops.
  static bool is_fast(std::string_view implementation) {
    return !implementation.starts_with("ref") && implementation.find("gemm") == std::string_view::npos;
  }

  static bool same(const convolution_shape& a, const convolution_shape& b) {
    const auto key = [](const convolution_shape& of) {
      return std::tie(of.pass, of.accumulate, of.images, of.groups, of.in, of.out, of.high, of.wide);
    };
    return key(a) == key(b);
  }

  prepared& find(const convolution_shape& shape, memory::data_type type, onednn_stream& on) {
    for (prepared& each : prepared_) {
      if (each.type == type && same(each.of, shape)) return each;
    }
    prepared& made = prepared_.emplace_back();
    made.of = shape;
    made.type = type;
    try {
      prepare(made, on);
    } catch (const dnnl::error& why) {
      if (why.status == dnnl_unimplemented) return made;  // of bf16, on a processor without it
      prepared_.pop_back();
      throw error(std::string("onednn: a convolution cannot be made: ") + why.what());
    }
    return made;
  }

  /// The arguments that all three passes are described by.
  struct arguments {
    memory::desc image, weight, result;
    memory::dims stride, dilation, before, after;
  };

  static memory::dims weight_extents(const convolution_shape& of) {
    if (of.groups == 1) return {of.out, of.in, of.high.taps, of.wide.taps};
    return {of.groups, of.out, of.in, of.high.taps, of.wide.taps};
  }

  /// Gradients of weights are summed, and not rounded.
  static memory::data_type type_of_weight(const prepared& made) {
    return made.of.pass == convolution_pass::gradient_weight ? memory::data_type::f32 : made.type;
  }

  /// A weight as it lies: [high, wide, groups, in, out].
  static memory::desc weight_of(const prepared& made) {
    const convolution_shape& of = made.of;
    const std::int64_t group = of.in * of.out, wide = of.groups * group, high = of.wide.taps * wide;
    const memory::dims strides = of.groups == 1 ? memory::dims{1, of.out, high, wide}  //
                                                : memory::dims{group, 1, of.out, high, wide};
    return {weight_extents(of), type_of_weight(made), strides};
  }

  static arguments arguments_of(const prepared& made) {
    const convolution_shape& of = made.of;
    const auto &high = of.high, &wide = of.wide;
    constexpr auto images = memory::format_tag::nhwc;
    return {.image = {{of.images, of.groups * of.in, high.pixels, wide.pixels}, made.type, images},
            .weight = {weight_extents(of), type_of_weight(made), memory::format_tag::any},
            .result = {{of.images, of.groups * of.out, high.positions, wide.positions}, made.type, images},
            .stride = {high.stride, wide.stride},
            .dilation = {high.dilation - 1, wide.dilation - 1},
            .before = {high.before, wide.before},
            .after = {high.after, wide.after}};
  }

  /// A primitive's description, by version 3 or by the operation descriptors of version 2. What comes first is the kind
  /// of the operation; gradients are given the forward one as a hint.
  template <class Primitive, class... Kind, class... Hint>
  static typename Primitive::primitive_desc describe(const dnnl::engine& engine, const arguments& with,
                                                     std::tuple<Kind...> kind, const Hint&... hint) {
    const auto attributes = onednn_stream::attributes(false);
    const auto& [image, weight, result, stride, dilation, before, after] = with;
    return std::apply(
        [&](auto... kinds) -> typename Primitive::primitive_desc {
#if DNNL_VERSION_MAJOR >= 3
          return {engine, kinds..., image, weight, result, stride, dilation, before, after, hint..., attributes};
#else
          return {{kinds..., image, weight, result, stride, dilation, before, after}, attributes, engine, hint...};
#endif
        },
        kind);
  }

  void prepare(prepared& made, onednn_stream& on) {
    const arguments with = arguments_of(made);
    arguments ahead = with;  // of the forward pass, which gradients are given as a hint
    ahead.weight = {weight_extents(made.of), made.type, memory::format_tag::any};
    constexpr auto how = dnnl::algorithm::convolution_direct;
    const auto forward =
        describe<dnnl::convolution_forward>(on.engine, ahead, std::tuple(dnnl::prop_kind::forward_training, how));
    if (made.of.pass == convolution_pass::forward) {
      take<dnnl::convolution_forward>(made, with, forward, forward.weights_desc(), on);
    } else if (made.of.pass == convolution_pass::gradient_image) {
      const auto backward = describe<dnnl::convolution_backward_data>(on.engine, with, std::tuple(how), forward);
      take<dnnl::convolution_backward_data>(made, with, backward, backward.weights_desc(), on);
    } else {
      const auto backward = describe<dnnl::convolution_backward_weights>(on.engine, with, std::tuple(how), forward);
      take<dnnl::convolution_backward_weights>(made, with, backward, backward.diff_weights_desc(), on);
    }
  }

  /// Makes the primitive of a description, if it is fast, and the reorder of its weights.
  template <class Primitive>
  void take(prepared& made, const arguments& with, const typename Primitive::primitive_desc& what,
            const memory::desc& ordered, onednn_stream& on) {
    if (!is_fast(what.impl_info_str())) return;
    const memory::desc weight = weight_of(made);
    made.convolve = Primitive(what);
    made.image = on.empty(with.image);
    made.weight = on.empty(weight);
    made.result = on.empty(with.result);
    made.ordered = on.empty(ordered);
    made.scratch = on.empty(what.scratchpad_desc());
    onednn_stream::reserve(on.scratch, what.scratchpad_desc());
    if (ordered == weight && !made.of.accumulate) return;
    const bool makes_weight = made.of.pass == convolution_pass::gradient_weight;
    const dnnl::reorder::primitive_desc reorder(on.engine, makes_weight ? ordered : weight, on.engine,
                                                makes_weight ? weight : ordered,
                                                onednn_stream::attributes(made.of.accumulate));
    made.reorder = dnnl::reorder(reorder);
    made.reorder_scratch = on.empty(reorder.scratchpad_desc());
    onednn_stream::reserve(ordered_, ordered);
    onednn_stream::reserve(on.scratch, reorder.scratchpad_desc());
  }

  static void execute_convolution(const prepared& ready, convolution_pass pass, onednn_stream& on) {
    const bool to_image = pass == convolution_pass::gradient_image, forward = pass == convolution_pass::forward;
    const bool to_weight = pass == convolution_pass::gradient_weight;
    on.execute("a convolution", ready.convolve,
               {{to_image ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC, ready.image.get()},
                {to_weight ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, ready.ordered.get()},
                {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST, ready.result.get()},
                {DNNL_ARG_SCRATCHPAD, ready.scratch.get()}});
  }

  static void execute_reorder(prepared& ready, const memory& from, const memory& to, onednn_stream& on) {
    ready.reorder_scratch.set_data_handle(on.scratch.data());
    on.execute(
        "the reorder of a weight", ready.reorder,
        {{DNNL_ARG_FROM, from.get()}, {DNNL_ARG_TO, to.get()}, {DNNL_ARG_SCRATCHPAD, ready.reorder_scratch.get()}});
  }

  vector<prepared> prepared_;
  onednn_stream::room ordered_ = onednn_stream::room(1);
};

/// The session of an arithmetic that has one.
template <class Arithmetic>
struct session_from {};
template <class Arithmetic>
  requires requires { typename Arithmetic::session; }
struct session_from<Arithmetic> {
  using session = typename Arithmetic::session;
};

}  // namespace detail

/// oneDNN, and `Other` for what it does not do.
template <class Other = plain>
class onednn_with : public detail::session_from<Other> {
 public:
  /// c ← a·b (or c + a·b); a is m × k, b is k × n, c is m × n, with strides of rows and columns.
  template <class Element, class Result>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a, std::int64_t column_a,
            const Element* b, std::int64_t row_b, std::int64_t column_b, bool accumulate, Result* c, std::int64_t row_c,
            std::int64_t column_c) {
    if (m == 0 || n == 0) return;
    if constexpr (std::is_same_v<Element, float> || std::is_same_v<Element, bf16>) {
      if (const auto product =
              blas_product_of(m, n, k, a, row_a, column_a, b, row_b, column_b, accumulate, c, row_c, column_c)) {
        if (multiply(*product)) return;
      }
    }
    other_.template gemm<Element>(m, n, k, a, row_a, column_a, b, row_b, column_b, accumulate, c, row_c, column_c);
  }

  /// Convolves, or returns false, having done nothing, where oneDNN has no fast way.
  template <class Element>
  bool convolve(const convolution_shape& shape) {
    if constexpr (std::is_same_v<Element, float> || std::is_same_v<Element, bf16>)
      return convolutions_.run<Element>(shape, stream_);
    else
      return false;
  }

  template <class Element>
  std::span<Element> scratch() {
    return other_.template scratch<Element>();
  }

 private:
  static bool multiply(const blas_product<float>& product) {
    const auto& [m, n, k, a, b, left, right, accumulate, c, leading] = product;
    const auto how = [](blas_matrix shape) { return shape.transposed ? 'T' : 'N'; };
    const detail::one_openmp_thread alone;
    const auto status = dnnl_sgemm(how(left), how(right), m, n, k, 1, a, left.leading, b, right.leading,
                                   accumulate ? 1 : 0, c, leading);
    if (status != dnnl_success) throw error("onednn: a product fails with status " + std::to_string(status));
    return true;
  }

  template <class Result>
  bool multiply(const blas_product<bf16, Result>& product) {
    return products_.run(product, stream_);
  }

  Other other_;
  detail::onednn_stream stream_;
  detail::onednn_products products_;
  detail::onednn_convolutions convolutions_;
};

using onednn = onednn_with<>;

}  // namespace meshloom
