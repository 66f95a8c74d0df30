// SPDX-License-Identifier: Apache-2.0
// A layer of one's own that has no name, in a chain.
// expected: meshloom: first | second: one of the two is not a layer with a name
#include "layers.hpp"

struct twice {
#if !defined(MESHLOOM_MUST_FAIL)
  static constexpr std::string_view name = "twice";
#endif
  auto operator()(auto&, const ml::pointwise_value auto& x) const { return x + x; }
};

void trace_it() { traced(ml::linear<embed, mlp>{} | twice{}); }
