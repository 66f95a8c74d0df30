// SPDX-License-Identifier: Apache-2.0
// An expression of [seq] and [embed] alone has no operand that says how both lie in the result.
// expected: meshloom: a pointwise expression needs one operand that has all axes of the others
#include "layers.hpp"

struct bias_per_place {
  static constexpr std::string_view name = "bias_per_place";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
    const auto row = scope.template parameter<seq>("row", {});
    const auto column = scope.template parameter<embed>("column", {});
#if defined(MESHLOOM_MUST_FAIL)
    return x + ml::evaluate(scope, row + column);
#else
    return x + row + column;
#endif
  }
};

void trace_it() { traced(bias_per_place{}); }
