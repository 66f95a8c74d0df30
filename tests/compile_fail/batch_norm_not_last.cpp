// SPDX-License-Identifier: Apache-2.0
// Batch normalisation of a feature that is not the last axis.
// expected: meshloom: batch_norm: the axes of gain and bias must be the last of the input
#include <meshloom/model/image.hpp>

#include "layers.hpp"

struct norm {
  static constexpr std::string_view name = "norm";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
#if defined(MESHLOOM_MUST_FAIL)
    using feature = seq;
#else
    using feature = embed;
#endif
    const auto gain = scope.template parameter<feature>("gain", {}),
               bias = scope.template parameter<feature>("bias", {});
    return ml::batch_norm_of(scope, ml::evaluate(scope, x), gain, bias, 1e-5).value;
  }
};

void trace_it() { traced(norm{}); }
