// SPDX-License-Identifier: Apache-2.0
// The inputs of a step hold one of the element types of tensors; 64-bit tokens are no tokens.
// expected: meshloom: dtype_of: the elements of a tensor are float, double, bf16, f16 or std::int32_t
#include <meshloom/exec/host_run.hpp>

#if defined(MESHLOOM_MUST_FAIL)
using token = std::int64_t;
#else
using token = std::int32_t;
#endif

double step_it(meshloom::host_run& run, const meshloom::vector<token>& tokens) {
  return run.step({tokens, tokens}).loss;
}
