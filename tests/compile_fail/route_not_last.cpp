// SPDX-License-Identifier: Apache-2.0
// Shares of experts that are not along the last axis.
// expected: meshloom: route_of<Choices, Token, Expert>: the last axes of the shares must be Token and Expert
#include "layers.hpp"

#include <meshloom/model/routing.hpp>

struct choice_of_expert {
  static constexpr std::string_view name = "choice_of_expert";
  template <class... Axis>
  auto operator()(auto& scope, ml::tensor<Axis...> shares) const {
#if defined(MESHLOOM_MUST_FAIL)
    return ml::route_of<2, batch, seq>(scope, shares, 0, 1).weight;
#else
    return ml::route_of<2, seq, embed>(scope, shares, 0, 1).weight;
#endif
  }
};

void trace_it() { traced(choice_of_expert{}); }
