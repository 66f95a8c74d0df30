// SPDX-License-Identifier: Apache-2.0
// Pooling into an axis of the image.
// expected: meshloom: pooling: the axes of the result's height and width must be others than the image's
#include <meshloom/model/image.hpp>

#include "layers.hpp"

struct pool {
  static constexpr std::string_view name = "pool";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
    const auto image = scope.template parameter<batch, seq, embed, mlp>("image", {});
#if defined(MESHLOOM_MUST_FAIL)
    ml::max_pool<heads, embed>(scope, image, {.taps = 4, .stride = 4}, {.taps = 4, .stride = 4});
#else
    ml::max_pool<heads, head>(scope, image, {.taps = 4, .stride = 4}, {.taps = 4, .stride = 4});
#endif
    return ml::evaluate(scope, x);
  }
};

void trace_it() { traced(pool{}); }
