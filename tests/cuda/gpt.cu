// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels of a whole training, instantiated by one line as a user would; without a device the table is only
// read: every operator of the traced graph must be in it, and every one but the matrix products must have a kernel.
#include <meshloom/exec/cuda_training.cuh>
#include <meshloom/model/gpt.hpp>

#include <cstdio>

namespace ml = meshloom;

auto make_task() { return ml::gpt_training(ml::named_gpts[0], ml::adamw{}); }

template struct meshloom::cuda_kernels<decltype(make_task())>;

int main() {
  const auto task = make_task();
  const auto kernels = ml::cuda_kernels<decltype(make_task())>::of(task);
  int missing = 0;
  for (const ml::node& at : ml::trace(task).nodes) {
    bool found = false;
    for (const auto& each : kernels) {
      found = found || (each.op == at.op && (at.op->products || each.run != nullptr));
    }
    if (!found) std::printf("no kernel for %s\n", at.name.c_str());
    missing += found ? 0 : 1;
  }
  return missing == 0 ? 0 : 1;
}
