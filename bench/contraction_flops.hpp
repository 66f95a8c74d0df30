// SPDX-License-Identifier: Apache-2.0
// The floor of a step: what its matrix products alone must compute.
#pragma once

#include <meshloom/graph/graph.hpp>

/// Floating-point operations of all matrix products of one step, those of attention and convolutions among them.
inline double contraction_flops(const meshloom::graph& graph) {
  double sum = 0;
  for (const meshloom::node& at : graph.nodes) {
    if (!at.op->products) continue;
    double flops = at.op->flops_per_point * graph.regions[at.region].count;
    for (std::size_t index = 0; index < at.indices.size(); ++index) {
      const std::int64_t extent = graph.sizes[at.indices[index]].extent;
      flops *= meshloom::points_along(at.op->op, at.attributes, static_cast<int>(index), extent);
    }
    sum += flops;
  }
  return sum;
}
