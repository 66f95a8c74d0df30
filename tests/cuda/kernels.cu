// SPDX-License-Identifier: Apache-2.0
// Every row kernel of the library as a CUDA kernel, in every element type: this file must compile. Where there is a
// device, each kernel's results equal those of the host; without one the program says so and exits with 77 (skipped).
#include <meshloom/base/vector.hpp>
#include <meshloom/exec/cuda_kernels.cuh>
#include <meshloom/kernel/kernels.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>

namespace {

using namespace meshloom;

using x = op::operand<0>;
using y = op::operand<1>;
using matrix = at<0, 1>;

using gelu = op::pointwise<op::gelu<op::add<x, y>>, matrix, matrix, at<1>>;
using gelu_slope = op::pointwise_gradient<op::multiply<op::gelu_slope<x>, y>, matrix, matrix, matrix>;
using functions = op::pointwise<op::divide<op::add<op::exponential<op::negate<x>>, op::hyperbolic_tangent<y>>,
                                           op::add<op::sigmoid<x>, op::relu<op::subtract<y, op::attribute<0>>>>>,
                                matrix, at<1>, matrix>;
using silu = op::pointwise<op::multiply<op::silu<x>, y>, matrix, matrix, matrix>;
using silu_slope = op::pointwise_gradient<op::multiply<op::silu_slope<x>, y>, matrix, matrix, matrix>;
using steps = op::pointwise_gradient<op::multiply<op::step<x>, op::one>, matrix, matrix>;
using row_sum = op::sum<matrix, at<0>>;
using column_sum = op::sum<matrix, at<1>>;
using total = op::sum<matrix, at<>>;
using spread = op::broadcast<at<1>, matrix>;

}  // namespace

using all_kernels = meshloom::operators<
    gelu, gelu_slope, silu, silu_slope, functions, steps, row_sum, column_sum, total, spread, op::fill, op::lookup<1>,
    op::lookup_gradient<1>, op::layer_norm<2>, op::layer_norm_gradient_input<2>, op::layer_norm_gradient_weights<2>,
    op::rms_norm<2>, op::rms_norm_gradient_input<2>, op::rms_norm_gradient_gain<2>, op::rotary<3, 1>, op::rotary<2, 0>,
    op::dropout<2>, op::dropout<3>, op::softmax<2, false>, op::softmax<2, true>, op::softmax_gradient<2>,
    op::cross_entropy<1>, op::cross_entropy_gradient<1>, op::sgd<2>, op::adamw<2>, op::lamb<2>, op::ema<2>,
    op::adafactor<1, false>, op::adafactor<2, false>, op::adafactor<3, true>, op::dot<at<0, 1>, at<1, 2>, at<0, 2>>,
    op::route<1, 1>, op::route<1, 2>, op::route_gradient<1, 2, true>, op::route_gradient<1, 1, false>,
    op::dispatch<1, false>, op::dispatch<1, true>, op::combine<1, false>, op::combine<1, true>,
    op::combine_gradient_weight<1>, op::moving_average<2>, op::batch_norm<2>, op::batch_norm_gradient<2>,
    op::batch_norm_inference<2>, op::batch_norm_inference_gradient_input<2>,
    op::batch_norm_inference_gradient_weights<2>, op::batch_norm<3, 2>, op::max_pool, op::max_pool_gradient,
    op::average_pool, op::average_pool_gradient, op::square_sum<2>, op::clip<2>, op::narrow<2>, op::widen<2>,
    op::store_rounded<2>>;

template struct meshloom::cuda_kernels<all_kernels>;

namespace {

constexpr std::int64_t extents[] = {37, 531, 5, 500, 33};  // of the indices 0, 1, …

/// Integers that choose one of 5, or slots: a token takes the one of its number, if there are as many and it is no
/// multiple of 7.
template <class Operator>
std::int32_t integer(std::int64_t at) {
  if constexpr (requires { Operator::lists::slot; }) {
    const std::int64_t token = at / extents[2] % extents[1];
    return token % 7 == 0 ? -1 : static_cast<std::int32_t>(token);
  } else {
    return static_cast<std::int32_t>(at * 3 % 5);
  }
}

/// The memory of one view, on both sides.
struct buffer {
  vector<double> host;
  void* device = nullptr;

  explicit buffer(view& seen) : host(static_cast<std::size_t>(seen.count()) + 1) {
    cudaMalloc(&device, host.size() * sizeof(double));
    seen.data = host.data();
  }
  ~buffer() { cudaFree(device); }
  buffer(buffer&& other) noexcept : host(std::move(other.host)), device(other.device) { other.device = nullptr; }
};

view dense(const index_list& axes, dtype type) {
  view made;
  made.type = type;
  made.rank = axes.count;
  for (int axis = 0; axis < axes.count; ++axis) {
    made.extent[axis] = made.global[axis] = extents[axes.at[static_cast<std::size_t>(axis)]];
  }
  make_dense(made);
  return made;
}

/// True if a tensor of the device has the elements of one of the host, but for rounding.
template <class Element>
bool alike(const view& here, const view& there) {
  constexpr double tolerance = std::is_same_v<Element, bf16> ? 1e-2 : std::is_same_v<Element, f16> ? 2e-3 : 1e-4;
  vector<Element> made(static_cast<std::size_t>(here.count()));
  cudaMemcpy(made.data(), there.data, made.size() * sizeof(Element), cudaMemcpyDeviceToHost);
  for (std::size_t at = 0; at < made.size(); ++at) {
    const double expected = static_cast<double>(here.as<Element>()[at]);
    if (!(std::abs(static_cast<double>(made[at]) - expected) <= tolerance * (1 + std::abs(expected)))) return false;
  }
  return true;
}

/// Runs one operator on host and device with the same numbers; true if the results agree.
template <class Operator, class Element>
bool agrees(int integers, std::initializer_list<double> attributes) {
  const signature& op = Operator::signature;
  constexpr rounding rounded = record_of<Operator>.rounded;
  constexpr dtype exact = dtype_of<computed<Element>>;
  const auto type_of = [&](bool rounds) { return rounds ? dtype_of<Element> : exact; };
  call with;
  vector<buffer> buffers;
  buffers.reserve(max_operands + max_results);
  std::copy(attributes.begin(), attributes.end(), with.attribute);
  for (int k = 0; k < op.operand_count; ++k) {
    const dtype type = k == integers ? dtype::i32 : type_of(rounded.operand(static_cast<std::size_t>(k)));
    view& seen = with.operand[k] = dense(op.operands[static_cast<std::size_t>(k)], type);
    buffers.emplace_back(seen);
    for (std::int64_t at = 0; at < seen.count(); ++at) {
      const double value = 0.1 + uniform(1, static_cast<std::uint64_t>(k), static_cast<std::uint64_t>(at));
      if (k == integers)
        seen.as<std::int32_t>()[at] = integer<Operator>(at);
      else
        with_floating(type, [&]<class Type>(Type) { seen.as<Type>()[at] = static_cast<computed<Type>>(value); });
    }
  }
  for (int k = 0; k < op.result_count; ++k) {
    const bool integer = (op.integer_results >> k & 1) != 0;
    with.result[k] = dense(op.results[static_cast<std::size_t>(k)],
                           integer ? dtype::i32 : type_of(rounded.result(static_cast<std::size_t>(k))));
    if constexpr (requires { Operator::replaces; })
      with.result[k].data = with.operand[Operator::replaces[static_cast<std::size_t>(k)]].data;
    else
      buffers.emplace_back(with.result[k]);
  }

  call there = with;
  const auto move = [&](view& seen) {
    for (const buffer& each : buffers) {
      if (seen.data != each.host.data()) continue;
      cudaMemcpy(each.device, each.host.data(), each.host.size() * sizeof(double), cudaMemcpyHostToDevice);
      seen.data = each.device;
      return;
    }
  };
  for (int k = 0; k < op.operand_count; ++k) move(there.operand[k]);
  for (int k = 0; k < op.result_count; ++k) move(there.result[k]);
  const cuda_kernel kernel = cuda_kernels<all_kernels>::find(record_of<Operator>, dtype_of<Element>);
  if (kernel == nullptr || kernel(there, nullptr) != cudaSuccess || cudaDeviceSynchronize() != cudaSuccess)
    return false;

  run_on_host<kernel_of<Operator>, Element>(with);
  for (int k = 0; k < op.result_count; ++k) {
    const view &here = with.result[k], &made = there.result[k];
    const bool same = here.type == dtype::i32
                          ? alike<std::int32_t>(here, made)
                          : with_floating(here.type, [&]<class Type>(Type) { return alike<Type>(here, made); });
    if (!same) return false;
  }
  return true;
}

template <class Operator>
int failures(const char* name, int integers = -1, std::initializer_list<double> attributes = {1.0}) {
  int wrong = 0;
  const auto say = [&](dtype type, bool same) {
    std::printf("%s in %s %s\n", name, name_of(type).data(), same ? "agrees" : "DIFFERS");
    wrong += same ? 0 : 1;
  };
  say(dtype::f32, agrees<Operator, float>(integers, attributes));
  say(dtype::f64, agrees<Operator, double>(integers, attributes));
  if constexpr (record_of<Operator>.rounded.any()) {
    say(dtype::bf16, agrees<Operator, bf16>(integers, attributes));
    say(dtype::f16, agrees<Operator, f16>(integers, attributes));
  }
  return wrong;
}

}  // namespace

int main() {
  int devices = 0;
  const cudaError_t found = cudaGetDeviceCount(&devices);
  if (found != cudaSuccess || devices == 0) {
    std::printf("skipped: no CUDA device (%s)\n", cudaGetErrorString(found));
    return 77;
  }
  const int wrong =
      failures<gelu>("gelu") + failures<gelu_slope>("gelu_slope") + failures<functions>("functions") +
      failures<steps>("steps") + failures<row_sum>("row_sum") + failures<column_sum>("column_sum") +
      failures<total>("total") + failures<spread>("spread") + failures<op::fill>("fill") +
      failures<op::lookup<1>>("lookup", 0) + failures<op::lookup_gradient<1>>("lookup_gradient", 0) +
      failures<op::layer_norm<2>>("layer_norm", -1, {1e-5}) +
      failures<op::layer_norm_gradient_input<2>>("layer_norm_gradient_input") +
      failures<op::layer_norm_gradient_weights<2>>("layer_norm_gradient_weights") +
      failures<op::softmax<2, false>>("softmax") + failures<op::softmax<2, true>>("causal_softmax") +
      failures<op::softmax_gradient<2>>("softmax_gradient") + failures<op::cross_entropy<1>>("cross_entropy", 1) +
      failures<op::cross_entropy_gradient<1>>("cross_entropy_gradient", 2) +
      failures<op::sgd<2>>("sgd", -1, {0.1, 0.9, 0.01}) +
      failures<op::adamw<2>>("adamw", -1, {1e-2, 0.9, 0.999, 1e-8, 0.1}) +
      failures<op::lamb<2>>("lamb", -1, {1e-2, 0.9, 0.999, 1e-6, 0.1}) + failures<op::ema<2>>("ema", -1, {0.9}) +
      failures<op::adafactor<1, false>>("adafactor of vectors", -1, {1e-2, 0, 0.8, 1e-30, 1e-3, 1, 0.1, 0.01}) +
      failures<op::adafactor<2, false>>("adafactor", -1, {1e-2, 0, 0.8, 1e-30, 1e-3, 1, 0.1, 0.01}) +
      failures<op::adafactor<3, true>>("adafactor with momentum", -1, {1e-2, 0.9, 0.8, 1e-30, 1e-3, 1, 0.1, 0.01}) +
      failures<op::route<1, 1>>("route to one", -1, {59, 10}) +
      failures<op::route<1, 2>>("route to two", -1, {0, 200}) +
      failures<op::route_gradient<1, 2, true>>("route_gradient", 3, {59, 10}) +
      failures<op::route_gradient<1, 1, false>>("route_gradient of weights", 2, {59, 10}) +
      failures<op::dispatch<1, false>>("dispatch", 0) + failures<op::dispatch<1, true>>("dispatch, weighted", 1) +
      failures<op::combine<1, false>>("combine", 0) + failures<op::combine<1, true>>("combine, weighted", 1) +
      failures<op::combine_gradient_weight<1>>("combine_gradient_weight", 1) + failures<silu>("silu") +
      failures<silu_slope>("silu_slope") + failures<op::rms_norm<2>>("rms_norm", -1, {1e-5}) +
      failures<op::rms_norm_gradient_input<2>>("rms_norm_gradient_input") +
      failures<op::rms_norm_gradient_gain<2>>("rms_norm_gradient_gain") +
      failures<op::rotary<2, 0>>("rotary of rows", -1, {10000, 1}) +
      failures<op::rotary<3, 1>>("rotary of heads", -1, {10000, -1}) +
      failures<op::moving_average<2>>("moving_average", -1, {0.1, 37}) +
      failures<op::batch_norm<2>>("batch_norm", -1, {1e-5}) +
      failures<op::batch_norm_gradient<2>>("batch_norm_gradient") +
      failures<op::batch_norm<3, 2>>("batch_norm of columns", -1, {1e-5}) +
      failures<op::batch_norm_inference<2>>("batch_norm_inference", -1, {1e-5}) +
      failures<op::batch_norm_inference_gradient_input<2>>("batch_norm_inference_gradient_input", -1, {1e-5}) +
      failures<op::batch_norm_inference_gradient_weights<2>>("batch_norm_inference_gradient_weights", -1, {1e-5}) +
      failures<op::square_sum<2>>("square_sum") + failures<op::clip<2>>("clip", -1, {0.5}) +
      failures<op::narrow<2>>("narrow") + failures<op::widen<2>>("widen") +
      failures<op::store_rounded<2>>("store_rounded") + failures<op::dropout<2>>("dropout of rows", -1, {0.1, 3, 0}) +
      failures<op::dropout<3>>("dropout", -1, {0.1, 3, 1});
  return wrong == 0 ? 0 : 1;
}
