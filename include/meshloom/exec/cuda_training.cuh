// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels of a whole training. In one .cu file of the program the line
//     template struct meshloom::cuda_kernels<decltype(make_task())>;
// instantiates a __global__ function for every operator that the training can execute, in its precision and, where the
// operator may round, in its compute type.
// Law: the same closure over model, loss, gradients and optimizer as on the host (`for_each_operator`).
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/exec/cuda_kernels.cuh>
#include <meshloom/kernel/kernels.hpp>
#include <meshloom/model/training.hpp>

namespace meshloom {

struct cuda_kernel_entry {
  const record* op = nullptr;
  dtype type = dtype::f32;    ///< that it computes in
  cuda_kernel run = nullptr;  ///< null for matrix products: the vendor library computes them
};

template <class Model, class Loss, class Optimizer, class Sizes, class Input, class Target, class MicroBatched,
          class Precision>
struct cuda_kernels<training<Model, Loss, Optimizer, Sizes, Input, Target, MicroBatched, Precision>> {
  using training_type = training<Model, Loss, Optimizer, Sizes, Input, Target, MicroBatched, Precision>;

  /// Record → kernel, for every operator of the training.
  static vector<cuda_kernel_entry> of(const training_type& task);
};

#if defined(__CUDACC__)

namespace detail {

template <class Element>
struct cuda_collector {
  vector<cuda_kernel_entry> made;

  template <class Operator>
  void operator()(operators<Operator>) {
    for (const cuda_kernel_entry& known : made) {
      if (known.op == &record_of<Operator>) return;
    }
    collect<Operator, computed<Element>>();
    if constexpr (half_type<Element> && record_of<Operator>.rounded.any()) collect<Operator, Element>();
  }

 private:
  template <class Operator, class Type>
  void collect() {
    made.push_back({&record_of<Operator>, dtype_of<Type>, kernel_for<Operator, Type>()});
  }
};

}  // namespace detail

template <class Model, class Loss, class Optimizer, class Sizes, class Input, class Target, class MicroBatched,
          class Precision>
vector<cuda_kernel_entry>
cuda_kernels<training<Model, Loss, Optimizer, Sizes, Input, Target, MicroBatched, Precision>>::of(
    const training_type& task) {
  detail::cuda_collector<Precision> kernels;
  for_each_operator(task, kernels);
  return kernels.made;
}

#endif

}  // namespace meshloom
