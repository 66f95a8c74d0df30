// SPDX-License-Identifier: Apache-2.0
// Attention to keys that are read as the queries are.
// expected: meshloom: attention_of: queries must be [rows, seq, heads, head] and keys and values [rows, keys, heads,
// head]
#include "layers.hpp"

struct to_itself {
  static constexpr std::string_view name = "to_itself";
  auto operator()(auto& scope, const ml::pointwise_value auto& x) const {
    const auto weight = scope.template parameter<embed, heads, head>("weight", {});
    const auto q = ml::dot<embed>(scope, x, weight);
#if defined(MESHLOOM_MUST_FAIL)
    return ml::attention_of(scope, q, q, q, 1.0);
#else
    const auto k = ml::rename<seq, ml::keys<seq>>(q);
    return ml::attention_of(scope, q, k, k, 1.0);
#endif
  }
};

void trace_it() { traced(to_itself{}); }
