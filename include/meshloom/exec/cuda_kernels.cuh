// SPDX-License-Identifier: Apache-2.0
// The row kernels as CUDA kernels. In one .cu file of the program the line
//     template struct meshloom::cuda_kernels<meshloom::operators<…>>;
// instantiates a __global__ function for every row kernel of the list, in f32 and f64 and, if its operator may round, in
// bf16 and f16; other files may declare it `extern template` and stay plain host C++. Kernels made of matrix products are left out: they are the vendor
// library's. Law: block n of a launch runs task n of the call, the same code that the host runs.
#pragma once

#include <meshloom/kernel/contraction.hpp>
#include <meshloom/kernel/kernel.hpp>

#include <cuda_runtime_api.h>

namespace meshloom {

/// Enqueues a whole call on a stream and returns cudaSuccess or why it could not.
using cuda_kernel = cudaError_t (*)(const call&, cudaStream_t);

/// The CUDA kernels of a list of operators.
template <class List>
struct cuda_kernels;

template <class... Operator>
struct cuda_kernels<operators<Operator...>> {
  /// The kernel of the operator with this record that computes in a type; null if there is none in the list.
  static cuda_kernel find(const record& op, dtype type);
};

#if defined(__CUDACC__)

namespace detail {

/// Whole warps; enough to hide memory latency, few enough that short rows do not leave most of them idle.
inline constexpr int threads_per_team = 256;

template <class Kernel, class Element>
__global__ void __launch_bounds__(threads_per_team) launch(const __grid_constant__ call with) {
  Kernel::template run<Element>(device_team{}, static_cast<std::int64_t>(blockIdx.x), with);
}

template <class Kernel, class Element>
cudaError_t enqueue(const call& with, cudaStream_t stream) {
  if constexpr (arranged_kernel<Kernel>) {
    return enqueue<typename Kernel::kernel, Element>(Kernel::arrange(with), stream);
  } else {
    const std::int64_t teams = Kernel::template teams<Element>(with);
    if (teams == 0) return cudaSuccess;
    if (teams > 0x7fffffff) return cudaErrorInvalidConfiguration;
    launch<Kernel, Element><<<static_cast<unsigned>(teams), threads_per_team, 0, stream>>>(with);
    return cudaGetLastError();
  }
}

/// The kernel of an operator that computes in a type; null if it is made of products.
template <class Operator, class Element>
cuda_kernel kernel_for() {
  if constexpr (product_kernel<kernel_of<Operator>>) {
    return nullptr;
  } else {
    static_assert(has_kernel<Operator>,
                  "meshloom: cuda_kernels: an operator of the list has no kernel: specialise "
                  "meshloom::kernel_of for it, or give it a nested type `kernel`");
    return &enqueue<kernel_of<Operator>, Element>;
  }
}

template <class Operator>
cuda_kernel find_one(const record& op, dtype type) {
  if (&op != &record_of<Operator>) return nullptr;
  if constexpr (record_of<Operator>.rounded.any()) {
    if (type == dtype::bf16) return kernel_for<Operator, bf16>();
    if (type == dtype::f16) return kernel_for<Operator, f16>();
  }
  if (is_half(type)) return nullptr;
  return type == dtype::f64 ? kernel_for<Operator, double>() : kernel_for<Operator, float>();
}

}  // namespace detail

template <class... Operator>
cuda_kernel cuda_kernels<operators<Operator...>>::find(const record& op, dtype type) {
  cuda_kernel found = nullptr;
  ((found = found != nullptr ? found : detail::find_one<Operator>(op, type)), ...);
  return found;
}

#endif

}  // namespace meshloom
