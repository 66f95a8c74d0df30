// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts.
#include "named_model.hpp"

#include <meshloom/model/moe.hpp>

namespace ml = meshloom;

template <class Precision>
model_family moes() {
  model_family made{{}, [](const std::string& name) {
                      return named_model_of<Precision>(ml::moe_training(ml::find_moe(name), ml::adamw{}));
                    }};
  for (const ml::moe_shape& each : ml::named_moes) made.names.emplace_back(each.gpt.name);
  return made;
}

template model_family moes<MODEL_PRECISION>();
