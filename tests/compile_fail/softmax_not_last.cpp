// SPDX-License-Identifier: Apache-2.0
// Softmax over an axis that is not the last one.
// expected: meshloom: softmax: the axis must be the last one of the tensor
#include "layers.hpp"

struct distribution {
  static constexpr std::string_view name = "distribution";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
#if defined(MESHLOOM_MUST_FAIL)
    return ml::softmax<seq>(scope, x);
#else
    return ml::softmax<embed>(scope, x);
#endif
  }
};

void trace_it() { traced(distribution{}); }
