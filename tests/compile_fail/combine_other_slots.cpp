// SPDX-License-Identifier: Apache-2.0
// Buffers that no tokens were sent to come back.
// expected: meshloom: combine_of: the buffers must have the axes Expert, the rows, Slot and one axis of features
#include "layers.hpp"

#include <meshloom/model/routing.hpp>

struct brought_back {
  static constexpr std::string_view name = "brought_back";
  template <class... Axis>
  auto operator()(auto& scope, ml::tensor<Axis...> shares) const {
    const auto by = ml::route_of<2, seq, heads>(scope, ml::dot<embed>(scope, shares, weight(scope)), 0, 1);
    const auto sent = ml::dispatch_of<mlp>(scope, by, shares);
#if defined(MESHLOOM_MUST_FAIL)
    return ml::combine_of<head>(scope, by, sent);
#else
    return ml::combine_of<mlp>(scope, by, sent);
#endif
  }
  static auto weight(auto& scope) { return scope.template parameter<embed, heads>("weight", {}); }
};

void trace_it() { traced(brought_back{}); }
