// SPDX-License-Identifier: Apache-2.0
// Losses. A loss is called like a layer, with the model's output and the targets, and returns one number per row; the
// loss of a step is their sum divided once by the global count, so that uneven shards and micro-batches are exact.
#pragma once

#include <meshloom/model/functions.hpp>

namespace meshloom {

/// Mean cross-entropy over every row of the targets; Class is the last axis of the logits.
template <class Class>
struct cross_entropy {
  static constexpr std::string_view name = "cross_entropy";

  template <class... Row>
  tensor<Row...> operator()(auto& scope, const pointwise_value auto& logits, integers<Row...> targets) const {
    return cross_entropy_of<Class>(scope, evaluate(scope, logits), targets);
  }
};

}  // namespace meshloom
