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

static_assert(std::is_same_v<computed<bf16>, float> && std::is_same_v<computed<f16>, float>);
static_assert(std::is_same_v<computed<double>, double> && std::is_same_v<computed<float>, float>);

}  // namespace

TEST_CASE("a function gets a number of the type that is named") {
  for (const dtype type : {dtype::f32, dtype::f64, dtype::bf16, dtype::f16})
    CHECK(with_floating(type, []<class Element>(Element) { return dtype_of<Element>; }) == type);
  CHECK(is_half(dtype::bf16));
  CHECK(!is_half(dtype::f32));
}

TEST_CASE("sizes and names") {
  check_element<float>("f32");
  check_element<double>("f64");
  check_element<std::int32_t>("i32");
  check_element<bf16>("bf16");
  check_element<f16>("f16");
}
