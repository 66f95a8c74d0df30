// SPDX-License-Identifier: Apache-2.0
// Wide-ResNets: another type for every number of stages and every stem.
#include "named_model.hpp"

#include <meshloom/model/wide_resnet.hpp>

namespace ml = meshloom;

template <class Precision>
model_family wide_resnets() {
  return {{"wrn-tiny", "wrn-small", "wrn-medium"}, [](const std::string& name) {
            if (name == ml::wrn_tiny.name)
              return named_model_of<Precision>(ml::wide_resnet_training(ml::wrn_tiny, ml::adamw{}));
            if (name == ml::wrn_small.name)
              return named_model_of<Precision>(ml::wide_resnet_training(ml::wrn_small, ml::adamw{}));
            return named_model_of<Precision>(ml::wide_resnet_training<ml::stem::large>(ml::wrn_medium, ml::adamw{}));
          }};
}

template model_family wide_resnets<MODEL_PRECISION>();
