// SPDX-License-Identifier: Apache-2.0
// GPTs: another type where the head is tied to the embedding.
#include "named_model.hpp"

#include <meshloom/model/gpt.hpp>

namespace ml = meshloom;

template <class Precision>
model_family gpts() {
  model_family made{{}, [](const std::string& name, std::int32_t layers) {
                      ml::gpt_shape shape = ml::find_gpt(name);
                      if (layers > 0) shape.layers = layers;
                      return shape.tied ? named_model_of<Precision>(ml::tied_gpt_training(shape, ml::adamw{}))
                                        : named_model_of<Precision>(ml::gpt_training(shape, ml::adamw{}));
                    }};
  for (const ml::gpt_shape& each : ml::named_gpts) made.names.emplace_back(each.name);
  return made;
}

template model_family gpts<MODEL_PRECISION>();
