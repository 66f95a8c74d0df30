// SPDX-License-Identifier: Apache-2.0
// Losses. A loss is called like a layer, with the model's output and the targets, and returns one number per row. The
// loss of a step is their sum, weighted by one over the number of rows in the whole batch, so that uneven shards and
// micro-batches are exact.
#pragma once

#include <meshloom/model/functions.hpp>

namespace meshloom {

/// The cross-entropy of every row with its target; Class is the last axis of the logits. In training, labels may be
/// smoothed (Szegedy et al. 2016) and logits kept from drifting by z_loss · logsum² (Chowdhery et al. 2022); held-out
/// losses are cross-entropy alone.
template <class Class>
struct cross_entropy {
  static constexpr std::string_view name = "cross_entropy";
  double smoothing = 0;  ///< the share of every label that goes to all classes alike
  double z_loss = 0;

  template <class... Row>
  tensor<Row...> operator()(auto& scope, const pointwise_value auto& logits, integers<Row...> targets) const {
    const double part = scope.trains() ? 1 : 0;
    return cross_entropy_of<Class>(scope, evaluate(scope, logits), targets, part * smoothing, part * z_loss);
  }
};

}  // namespace meshloom
