// SPDX-License-Identifier: Apache-2.0
#include "named_model.hpp"

#include <algorithm>

namespace {

template <class Precision>
std::vector<model_family> families() {
  return {gpts<Precision>(), moes<Precision>(), llamas<Precision>(), wide_resnets<Precision>()};
}

}  // namespace

named_model find_model(const std::string& name, meshloom::dtype precision) {
  using meshloom::bf16, meshloom::dtype;
  std::string known;
  for (const model_family& family : precision == dtype::bf16 ? families<bf16>() : families<float>()) {
    if (std::find(family.names.begin(), family.names.end(), name) != family.names.end()) return family.make(name);
    for (const std::string& each : family.names) known += (known.empty() ? "" : ", ") + each;
  }
  throw meshloom::error("no model is called '" + name + "'; the named models are " + known);
}
