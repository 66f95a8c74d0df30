// SPDX-License-Identifier: Apache-2.0
// op/expression.hpp: the numbers that tell expressions apart. (What expressions compute: tests/kernel/pointwise.cpp.)
#include <meshloom/base/vector.hpp>
#include <meshloom/op/expression.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>

namespace op = meshloom::op;

namespace {

using numbers = meshloom::vector<std::uint64_t>;

template <class... E>
struct list {};

using leaves = list<op::operand<0>, op::operand<1>, op::operand<2>, op::attribute<0>, op::attribute<1>,
                    op::attribute<3>, op::zero, op::one>;

/// Every function of one value, of each of these.
template <class... E>
constexpr auto unary_of(list<E...>) {
  return list<op::negate<E>..., op::exponential<E>..., op::hyperbolic_tangent<E>..., op::sigmoid<E>..., op::relu<E>...,
              op::step<E>..., op::gelu<E>..., op::gelu_slope<E>..., op::silu<E>..., op::silu_slope<E>...>{};
}

/// Every function of two values, one of them given.
template <class With, class... E>
constexpr auto binary_of(list<E...>) {
  return list<op::add<With, E>..., op::subtract<With, E>..., op::multiply<With, E>..., op::divide<With, E>...>{};
}

template <class... E>
void append(numbers& all, list<E...>) {
  all.insert(all.end(), {op::number_of<E>...});
}

template <class With>
void append_all_of(numbers& all) {
  append(all, binary_of<With>(leaves{}));
  append(all, binary_of<With>(unary_of(leaves{})));
}

}  // namespace

TEST_CASE("no two expressions have one number") {
  numbers all;
  append(all, leaves{});
  append(all, unary_of(leaves{}));
  append(all, unary_of(unary_of(leaves{})));
  append_all_of<op::operand<0>>(all);
  append_all_of<op::operand<1>>(all);
  append_all_of<op::one>(all);
  append_all_of<op::relu<op::operand<0>>>(all);
  append_all_of<op::add<op::operand<0>, op::operand<1>>>(all);
  CHECK(all.size() > 1500);
  std::sort(all.begin(), all.end());
  CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
}

TEST_CASE("numbers are the same in every build") {
  CHECK(op::number_of<op::add<op::operand<0>, op::gelu<op::operand<1>>>> ==
        0xc7671e1ee8cfc202u);  // another would make saved plans useless
}
