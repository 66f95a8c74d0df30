// SPDX-License-Identifier: Apache-2.0
// What is counted in the graph of a named model: its trained parameters, and what its matrix products compute.
#pragma once

#include <meshloom/graph/graph.hpp>

#include "../../bench/contraction_flops.hpp"

namespace counts {

/// Elements of all trained parameters, in all copies of their layers.
inline std::int64_t parameters_of(const meshloom::graph& of) {
  std::int64_t sum = 0;
  for (const meshloom::parameter& each : of.parameters) {
    if (each.observed_by != nullptr) continue;
    const meshloom::value& entry = of.values[each.value];
    std::int64_t elements = of.regions[entry.region].count;
    for (const meshloom::axis_id axis : entry.axes) elements *= of.sizes[axis].extent;
    sum += elements;
  }
  return sum;
}

/// What the products of a step of causal attention compute less than Alpa counts (3 times 4·B·S²·H per layer): a causal
/// one only half of each product, but one product more in the backward pass, which makes the scores again.
inline double causal_saving(double batch, double seq, double width, double layers) {
  return (12 - 7) * layers * batch * seq * seq * width;
}

}  // namespace counts
