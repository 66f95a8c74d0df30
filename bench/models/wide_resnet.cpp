// SPDX-License-Identifier: Apache-2.0
// Wide-ResNets: another type for every number of stages and every stem, and where the optimizer is that of Alpa's.
#include "named_model.hpp"

#include <meshloom/model/wide_resnet.hpp>

namespace ml = meshloom;

namespace {

template <class Precision>
named_model make(const std::string& name, std::int32_t layers) {
  if (layers > 0)
    throw ml::error(name + " cannot have " + std::to_string(layers) + " layers: its stages have depths; ask for none");
  constexpr ml::sgd nesterov{.rate = 0.1, .momentum = 0.9, .nesterov = true};
  for (const ml::wide_resnet_shape<4>& each : ml::alpa_wide_resnets)
    if (name == each.name) return named_model_of<Precision>(ml::wide_resnet_training<ml::stem::large>(each, nesterov));
  if (name == ml::wrn_tiny.name) return named_model_of<Precision>(ml::wide_resnet_training(ml::wrn_tiny, ml::adamw{}));
  if (name == ml::wrn_small.name)
    return named_model_of<Precision>(ml::wide_resnet_training(ml::wrn_small, ml::adamw{}));
  return named_model_of<Precision>(ml::wide_resnet_training<ml::stem::large>(ml::wrn_medium, ml::adamw{}));
}

}  // namespace

template <class Precision>
model_family wide_resnets() {
  model_family made{{"wrn-tiny", "wrn-small", "wrn-medium"}, make<Precision>};
  for (const ml::wide_resnet_shape<4>& each : ml::alpa_wide_resnets) made.names.emplace_back(each.name);
  return made;
}

template model_family wide_resnets<MODEL_PRECISION>();
