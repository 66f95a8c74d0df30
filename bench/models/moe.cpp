// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts.
#include "named_model.hpp"

#include <meshloom/model/moe.hpp>

namespace ml = meshloom;

model_family moes() {
  model_family made{
      {}, [](const std::string& name) { return named_model_of(ml::moe_training(ml::find_moe(name), ml::adamw{})); }};
  for (const ml::moe_shape& each : ml::named_moes) made.names.emplace_back(each.gpt.name);
  return made;
}
