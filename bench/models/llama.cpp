// SPDX-License-Identifier: Apache-2.0
// LLaMAs of about the sizes of the GPTs of the same names: a gated MLP of 8/3 of the width, two queries per key.
#include "named_model.hpp"

#include <meshloom/model/llama.hpp>

namespace ml = meshloom;

namespace {

constexpr ml::llama_shape shapes[] = {
    {"llama-tiny", 64, 16, 4, 32, 2, 4, 2, 88},
    {"llama-small", 2048, 128, 8, 256, 4, 4, 2, 688},
    {"llama-medium", 8192, 256, 4, 512, 8, 8, 4, 1376},
};

template <class Precision>
named_model make(const std::string& name) {
  const auto* shape = shapes;
  while (shape->name != name) ++shape;
  return named_model_of<Precision>(ml::llama_training(*shape, ml::adamw{}));
}

}  // namespace

template <class Precision>
model_family llamas() {
  model_family made{{}, make<Precision>};
  for (const ml::llama_shape& each : shapes) made.names.emplace_back(each.name);
  return made;
}

template model_family llamas<MODEL_PRECISION>();
