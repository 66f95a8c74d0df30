// SPDX-License-Identifier: Apache-2.0
// The floor of a step: what its matrix products alone must compute.
#pragma once

#include <meshloom/graph/graph.hpp>

/// Floating-point operations of all contractions of one step.
inline double contraction_flops(const meshloom::graph& graph) {
  double sum = 0;
  for (const meshloom::node& at : graph.nodes) {
    if (at.op->op.name != "dot") continue;
    double points = 2 * graph.regions[at.region].count;
    for (const meshloom::axis_id axis : at.indices) points *= static_cast<double>(graph.sizes[axis].extent);
    sum += points;
  }
  return sum;
}
