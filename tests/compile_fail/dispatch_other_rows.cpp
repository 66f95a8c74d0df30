// SPDX-License-Identifier: Apache-2.0
// Tokens that are sent where others were routed.
// expected: meshloom: dispatch_of: the tokens must have the row axes of their shares, then Token
#include "layers.hpp"

#include <meshloom/model/routing.hpp>

struct sent_away {
  static constexpr std::string_view name = "sent_away";
  template <class... Axis>
  auto operator()(auto& scope, ml::tensor<Axis...> shares) const {
    const auto by = ml::route_of<2, seq, embed>(scope, shares, 0, 1);
#if defined(MESHLOOM_MUST_FAIL)
    return ml::dispatch_of<mlp>(scope, by, ml::tensor<seq, batch, heads>{});
#else
    return ml::dispatch_of<mlp>(scope, by, ml::tensor<batch, seq, heads>{});
#endif
  }
};

void trace_it() { traced(sent_away{}); }
