// SPDX-License-Identifier: Apache-2.0
// The floor of a step: what its matrix products alone must compute.
#pragma once

#include <meshloom/graph/graph.hpp>

/// Floating-point operations of all matrix products of one step, those of attention among them.
inline double contraction_flops(const meshloom::graph& graph) {
  double sum = 0;
  for (const meshloom::node& at : graph.nodes) {
    if (!at.op->products) continue;
    double flops = at.op->flops_per_point * graph.regions[at.region].count;
    for (const meshloom::axis_id axis : at.indices) flops *= static_cast<double>(graph.sizes[axis].extent);
    sum += flops;
  }
  return sum;
}
