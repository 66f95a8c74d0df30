// SPDX-License-Identifier: Apache-2.0
// Laws of tensor/dtype.hpp: an element type has the size and the name of what it stands for.
#include <doctest/doctest.h>

#include <meshloom/tensor/dtype.hpp>

#include <string>

using namespace meshloom;

namespace {

template <class Element>
void check_element(const std::string& name) {
  CHECK(size_of(dtype_of<Element>) == sizeof(Element));
  CHECK(name_of(dtype_of<Element>) == name);
}

}  // namespace

TEST_CASE("sizes and names") {
  check_element<float>("f32");
  check_element<double>("f64");
  check_element<std::int32_t>("i32");
}
