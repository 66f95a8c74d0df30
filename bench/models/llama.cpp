// SPDX-License-Identifier: Apache-2.0
// LLaMAs.
#include "named_model.hpp"

#include <meshloom/model/llama.hpp>

namespace ml = meshloom;

template <class Precision>
model_family llamas() {
  model_family made{{}, [](const std::string& name, std::int32_t layers) {
                      ml::llama_shape shape = ml::find_llama(name);
                      if (layers > 0) shape.layers = layers;
                      return named_model_of<Precision>(ml::llama_training(shape, ml::adamw{}));
                    }};
  for (const ml::llama_shape& each : ml::named_llamas) made.names.emplace_back(each.name);
  return made;
}

template model_family llamas<MODEL_PRECISION>();
