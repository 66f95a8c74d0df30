// SPDX-License-Identifier: Apache-2.0
#include "named_model.hpp"

#include <algorithm>

named_model find_model(const std::string& name) {
  std::string known;
  for (const model_family& family : {gpts(), moes(), llamas(), wide_resnets()}) {
    if (std::find(family.names.begin(), family.names.end(), name) != family.names.end()) return family.make(name);
    for (const std::string& each : family.names) known += (known.empty() ? "" : ", ") + each;
  }
  throw meshloom::error("no model is called '" + name + "'; the named models are " + known);
}
