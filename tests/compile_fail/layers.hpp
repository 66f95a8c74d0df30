// SPDX-License-Identifier: Apache-2.0
// Traces one layer on an input [batch, seq, embed]: what most files here do.
#pragma once

#include <meshloom/model/training.hpp>

namespace ml = meshloom;
using namespace ml::axis;

/// The axes of the layer's output.
template <class Layer>
auto traced(const Layer& layer) {
  const ml::sizes sizes{ml::size<batch>{8}, ml::size<seq>{16},  ml::size<embed>{32},
                        ml::size<mlp>{64},  ml::size<heads>{4}, ml::size<head>{8}};
  ml::graph_builder into;
  ml::no_visitor nothing;
  ml::scope<std::remove_const_t<decltype(sizes)>, ml::no_visitor, true> scope(into, sizes, nothing);
  return ml::call_layer(scope, layer, ml::tensor<batch, seq, embed>{});
}
