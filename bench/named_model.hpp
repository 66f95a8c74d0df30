// SPDX-License-Identifier: Apache-2.0
// The training of a model that has a name: another type where the head is tied to the embedding.
#pragma once

#include <meshloom/model/gpt.hpp>

#include <string>

/// Calls `use(shape, training)`. Throws meshloom::error that lists the names if there is no such model.
template <class Use>
void with_named_model(const std::string& name, const Use& use) {
  const meshloom::gpt_shape shape = meshloom::find_gpt(name);
  if (shape.tied)
    use(shape, meshloom::tied_gpt_training(shape, meshloom::adamw{}));
  else
    use(shape, meshloom::gpt_training(shape, meshloom::adamw{}));
}
