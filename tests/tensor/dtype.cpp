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

static_assert(element_type<float> && element_type<double> && element_type<std::int32_t>);
static_assert(!element_type<std::int64_t> && !element_type<unsigned> && !element_type<bool> && !element_type<char>);
static_assert(!element_type<const float> && !element_type<long double>);

}  // namespace

TEST_CASE("sizes and names") {
  check_element<float>("f32");
  check_element<double>("f64");
  check_element<std::int32_t>("i32");
}
