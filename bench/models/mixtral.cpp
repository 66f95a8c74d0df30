// SPDX-License-Identifier: Apache-2.0
// Mixtrals.
#include "named_model.hpp"

#include <meshloom/model/mixtral.hpp>

namespace ml = meshloom;

template <class Precision>
model_family mixtrals() {
  model_family made{{}, [](const std::string& name, std::int32_t layers) {
                      ml::mixtral_shape shape = ml::find_mixtral(name);
                      if (layers > 0) shape.llama.layers = layers;
                      return named_model_of<Precision>(ml::mixtral_training(shape, ml::adamw{}));
                    }};
  for (const ml::mixtral_shape& each : ml::named_mixtrals) made.names.emplace_back(each.llama.name);
  return made;
}

template model_family mixtrals<MODEL_PRECISION>();
