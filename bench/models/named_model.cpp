// SPDX-License-Identifier: Apache-2.0
#include "named_model.hpp"

#include <algorithm>

namespace {

template <class Precision>
meshloom::vector<model_family> families() {
  return {gpts<Precision>(), moes<Precision>(), llamas<Precision>(), mixtrals<Precision>(), wide_resnets<Precision>()};
}

meshloom::vector<model_family> families_in(meshloom::dtype precision) {
  if (precision == meshloom::dtype::bf16) return families<meshloom::bf16>();
  if (precision == meshloom::dtype::f16) return families<meshloom::f16>();
  return families<float>();
}

}  // namespace

named_model find_model(const std::string& name, meshloom::dtype precision, std::int32_t layers) {
  std::string known;
  for (const model_family& family : families_in(precision)) {
    if (std::find(family.names.begin(), family.names.end(), name) != family.names.end())
      return family.make(name, layers);
    for (const std::string& each : family.names) known += (known.empty() ? "" : ", ") + each;
  }
  throw meshloom::error("no model is called '" + name + "'; the named models are " + known);
}
