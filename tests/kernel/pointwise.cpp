// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

namespace {

using meshloom::at;
namespace op = meshloom::op;
using x = op::operand<0>;
using y = op::operand<1>;
using z = op::operand<2>;

template <class Operator, class Element = float, class Kernel = meshloom::kernel_of<Operator>>
bool pointwise_holds(std::uint32_t positive = 0) {
  law::trial how = law::lengths(Operator::signature.index_count);
  how.attributes = {0.75, -2.0};
  how.positive = positive;
  return law::holds<Operator, Element, Kernel>(how);
}

/// One operand, everywhere.
template <class Expression>
using unary = op::pointwise<Expression, at<0, 1>, at<0, 1>>;

template <class Expression>
void check_unary() {
  for (int round = 0; round < 10; ++round) {
    CHECK(pointwise_holds<unary<Expression>>());
    CHECK(pointwise_holds<unary<Expression>, double>());
    CHECK(pointwise_holds<unary<Expression>, meshloom::bf16>());
    CHECK(pointwise_holds<unary<Expression>, meshloom::f16>());
    CHECK(pointwise_holds<op::pointwise_gradient<op::derivative<Expression, 0>, at<0, 1>, at<0, 1>>, double>());
  }
}

template <class Operator>
void check_broadcast() {
  for (int round = 0; round < 20; ++round) {
    CHECK(pointwise_holds<Operator>());
    CHECK(pointwise_holds<Operator, double>());
    CHECK(pointwise_holds<Operator, meshloom::bf16>());
    CHECK(pointwise_holds<Operator, meshloom::f16>());
  }
}

/// Leaves the last element of a row as it was.
template <class Kernel>
struct short_rows : Kernel {
  static meshloom::call arrange(const meshloom::call& with) {
    meshloom::call made = Kernel::arrange(with);
    const int last = made.result[0].rank - 1;
    made.result[0].extent[last] -= made.result[0].extent[last] > 1;
    return made;
  }
};

struct constant_seven {
  struct kernel {
    template <class Element>
    static std::int64_t teams(const meshloom::call& with) {
      return with.result[0].count();
    }
    template <class Element, class Team>
    static void run(Team, std::int64_t which, const meshloom::call& with) {
      with.result[0].as<Element>()[which] = 7;
    }
  };
  static constexpr auto signature = meshloom::describe("constant_seven").results<at<0>>().made;
  using gradient = meshloom::operators<>;
};

}  // namespace

TEST_CASE("every function of the expression language and its derivative") {
  check_unary<op::negate<x>>();
  check_unary<op::exponential<x>>();
  check_unary<op::hyperbolic_tangent<x>>();
  check_unary<op::sigmoid<x>>();
  check_unary<op::relu<x>>();
  check_unary<op::gelu<x>>();
  check_unary<op::silu<x>>();
  check_unary<op::multiply<x, op::add<x, op::attribute<1>>>>();
  check_unary<op::subtract<op::one, op::multiply<op::attribute<0>, x>>>();
}

TEST_CASE("a division keeps away from 0") {
  using quotient = op::pointwise<op::divide<x, y>, at<0, 1>, at<0, 1>, at<1>>;
  for (int round = 0; round < 20; ++round) CHECK(pointwise_holds<quotient>(1u << 1));
}

TEST_CASE("operands are broadcast along any axes, in any order") {
  check_broadcast<op::pointwise<op::gelu<op::add<x, y>>, at<0, 1>, at<0, 1>, at<1>>>();
  check_broadcast<op::pointwise<op::add<x, y>, at<0, 1>, at<0>, at<1>>>();
  check_broadcast<op::pointwise<op::add<x, y>, at<0, 1, 2>, at<2, 0>, at<1>>>();
  check_broadcast<op::pointwise<op::add<x, op::multiply<y, z>>, at<0, 1, 2, 3>, at<0, 1, 2, 3>, at<1, 2>, at<3>>>();
  check_broadcast<op::pointwise<op::add<x, y>, at<1, 0>, at<0, 1>, at<>>>();
  check_broadcast<op::pointwise<op::multiply<x, y>, at<>, at<>, at<>>>();
}

TEST_CASE("rows longer than one task") {
  const law::trial how{.extent = {2, 20001}};
  CHECK(law::holds<op::pointwise<op::add<x, y>, at<0, 1>, at<0, 1>, at<0>>, float>(how));
  CHECK(law::holds<op::pointwise<op::add<x, y>, at<0, 1>, at<0, 1>, at<0>>, meshloom::bf16>(how));
}

TEST_CASE("a fill sets a scalar") { CHECK(law::holds<op::fill, float>({.attributes = {3.5}})); }

TEST_CASE("a user's operator brings its own kernel") {
  float memory[3] = {};
  meshloom::call with;
  with.result[0] = {.data = memory, .extent = {3}, .stride = {1}, .global = {3}, .rank = 1};
  static_assert(meshloom::operator_type<constant_seven> && meshloom::has_kernel<constant_seven>);
  CHECK(constant_seven::signature.result_count == 1);
  meshloom::run_on_host<meshloom::kernel_of<constant_seven>, float>(with);
  CHECK(memory[2] == 7.0f);
}

TEST_CASE("operators that differ in axes share one kernel") {
  using rows = op::pointwise<op::add<x, y>, at<0, 1>, at<0, 1>, at<0>>;
  using columns = op::pointwise<op::add<x, y>, at<0, 1>, at<0, 1>, at<1>>;
  static_assert(std::is_same_v<meshloom::kernel_of<rows>::kernel, meshloom::kernel_of<columns>::kernel>);
  const law::trial how{.extent = {3, 4}};
  CHECK(law::holds<rows, float>(how));
  CHECK(law::holds<columns, float>(how));
}

TEST_CASE("the law rejects a kernel that leaves out the last element of a row") {
  using sum = op::pointwise<op::add<x, y>, at<0, 1>, at<0, 1>, at<1>>;
  const law::trial how{.extent = {3, 4}};
  CHECK(law::holds<sum, float>(how));
  CHECK_FALSE(law::holds<sum, float, short_rows<meshloom::kernel_of<sum>>>(how));
}
