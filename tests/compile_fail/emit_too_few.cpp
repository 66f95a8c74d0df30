// SPDX-License-Identifier: Apache-2.0
// An operator emitted with fewer operands than its signature has.
// expected: meshloom: scope::emit: the operator has another number of operands
#include "layers.hpp"

struct norm_by_hand {
  static constexpr std::string_view name = "norm_by_hand";

  template <class... Axis>
  auto operator()(auto& scope, const ml::tensor<Axis...>& x) const {
    const auto gain = scope.template parameter<embed>("gain", {});
    using norm = ml::op::layer_norm<sizeof...(Axis)>;
#if defined(MESHLOOM_MUST_FAIL)
    return ml::tensor<Axis...>{scope.template emit<norm>(ml::axes<Axis...>{}, {}, x, gain)[0]};
#else
    return ml::tensor<Axis...>{scope.template emit<norm>(ml::axes<Axis...>{}, {}, x, gain, gain)[0]};
#endif
  }
};

void trace_it() { traced(norm_by_hand{}); }
