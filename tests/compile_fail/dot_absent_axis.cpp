// SPDX-License-Identifier: Apache-2.0
// A contraction of an axis that an operand does not have.
// expected: meshloom: dot: the left operand does not have the axis to contract
#include "layers.hpp"

struct projection {
  static constexpr std::string_view name = "projection";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
    const auto weight = scope.template parameter<embed, mlp>("weight", {});
#if defined(MESHLOOM_MUST_FAIL)
    return ml::dot<mlp>(scope, x, weight);
#else
    return ml::dot<embed>(scope, x, weight);
#endif
  }
};

void trace_it() { traced(projection{}); }
