// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts: another type where the optimizer is Adafactor, as Alpa's was.
#include "named_model.hpp"

#include <meshloom/model/moe.hpp>

#include <algorithm>

namespace ml = meshloom;

template <class Precision>
model_family moes() {
  model_family made{{}, [](const std::string& name, std::int32_t layers) {
                      ml::moe_shape shape = ml::find_moe(name);
                      if (layers > 0) shape.gpt.layers = layers;
                      const auto named = [&](const ml::moe_shape& each) { return each.gpt.name == name; };
                      const bool alpa = std::any_of(std::begin(ml::alpa_moes), std::end(ml::alpa_moes), named);
                      return alpa ? named_model_of<Precision>(ml::moe_training(shape, ml::adafactor{}))
                                  : named_model_of<Precision>(ml::moe_training(shape, ml::adamw{}));
                    }};
  for (const ml::moe_shape& each : ml::named_moes) made.names.emplace_back(each.gpt.name);
  for (const ml::moe_shape& each : ml::alpa_moes) made.names.emplace_back(each.gpt.name);
  return made;
}

template model_family moes<MODEL_PRECISION>();
