// SPDX-License-Identifier: Apache-2.0
// Every operator × every strategy × small meshes equals the operator on one rank; and what is planted to break the law
// is found.
#include "laws_operators.hpp"

#include <doctest/doctest.h>

using namespace laws;

namespace {

/// Holds every operator to the law; says how many triples were tried.
void hold(std::size_t most, int rounds) {
  std::int64_t tried = 0;
  std::uint64_t seed = 1;
  const auto subjects = all_subjects();
  for (const subject& each : subjects) {
    const verdict made = judge(each, most, rounds, seed += 1'000'003);
    CHECK(made.first == "");
    CHECK(made.tried > 0);
    tried += made.tried;
  }
  MESSAGE("the law was tried on ", subjects.size(), " operators, in ", tried,
          " triples of operator, strategy and mesh");
}

template <class Operator>
subject one() {
  collector only;
  only(operators<Operator>{});
  return only.subjects().front();
}

/// The operator with a kernel that is told something else.
template <class Operator, auto Change>
subject told_otherwise() {
  subject made = one<Operator>();
  const auto run = []<class Element>(const call& with) {
    call other = with;
    Change(other);
    run_on_host<kernel_of<Operator>, Element>(other);
  };
  made.in_f32 = [](const call& with, void*) { decltype(run){}.template operator()<float>(with); };
  made.in_f64 = [](const call& with, void*) { decltype(run){}.template operator()<double>(with); };
  return made;
}

/// The number of strategies found to break the law.
std::int64_t broken(const subject& what) { return judge(what, 100, 2, 7).broken; }

using matrix_product = op::dot<meshloom::at<0, 1>, meshloom::at<1, 2>, meshloom::at<0, 2>>;
using causal_softmax = op::softmax<3, true>;
using gelu = op::pointwise<op::gelu<op::operand<0>>, meshloom::at<0, 1>, meshloom::at<0, 1>>;
using add =
    op::pointwise<op::add<op::operand<0>, op::operand<1>>, meshloom::at<0, 1>, meshloom::at<0, 1>, meshloom::at<0, 1>>;

}  // namespace

TEST_CASE("an operator's shards make what one rank makes: every strategy, on three mesh axes a sample") {
  hold(200, 1);
}

TEST_CASE("an operator's shards make what one rank makes: every strategy" * doctest::test_suite("all")) {
  hold(100'000, 5);
}

TEST_CASE("roles that are not the operator's break the law") {
  subject pending = one<matrix_product>();
  REQUIRE(broken(pending) == 0);
  pending.op.op.roles[1] = role::mapped;  // the result would be called whole, and is a pending sum
  CHECK(broken(pending) > 0);

  subject alone = one<causal_softmax>();
  REQUIRE(broken(alone) == 0);
  alone.op.op.roles[2] = role::mapped;  // no exchange: each shard would be its own row
  CHECK(broken(alone) > 0);

  subject largest = one<op::layer_norm<2>>();
  REQUIRE(broken(largest) == 0);
  largest.op.op.statistics[1].combine = reduction::max;
  CHECK(broken(largest) > 0);
}

TEST_CASE("a pending sum breaks an operator that is not linear in it") {
  const auto with_partial = [](subject what, unsigned operands) {
    what.op.choices.rows[static_cast<std::size_t>(what.op.choices.count++)] = {choice::linear, -1,
                                                                               static_cast<std::uint16_t>(operands)};
    return what;
  };
  CHECK(broken(one<gelu>()) == 0);
  CHECK(broken(with_partial(one<gelu>(), 1)) > 0);
  CHECK(broken(with_partial(one<add>(), 3)) == 0);  // partial + partial is a row already
  CHECK(broken(with_partial(one<add>(), 1)) > 0);   // partial + whole is none
  CHECK(broken(with_partial(one<matrix_product>(), 3)) > 0);
}

TEST_CASE("a kernel that does not know where its shard lies breaks the law") {
  constexpr auto no_origin = [](call& with) {
    for (view& each : with.operand) std::fill(std::begin(each.origin), std::end(each.origin), 0);
    for (view& each : with.result) std::fill(std::begin(each.origin), std::end(each.origin), 0);
  };
  constexpr auto no_global = [](call& with) {
    std::copy(with.operand[0].extent, with.operand[0].extent + max_rank, with.operand[0].global);
  };
  constexpr auto nothing = [](call&) {};
  CHECK(broken(told_otherwise<causal_softmax, nothing>()) == 0);
  CHECK(broken(told_otherwise<causal_softmax, no_origin>()) > 0);  // the mask
  CHECK(broken(told_otherwise<op::lookup_gradient<1>, nothing>()) == 0);
  CHECK(broken(told_otherwise<op::lookup_gradient<1>, no_origin>()) > 0);  // the rows
  CHECK(broken(told_otherwise<op::dispatch<1, false>, nothing>()) == 0);
  CHECK(broken(told_otherwise<op::dispatch<1, false>, no_origin>()) > 0);  // the slots
  CHECK(broken(told_otherwise<op::layer_norm<2>, nothing>()) == 0);
  CHECK(broken(told_otherwise<op::layer_norm<2>, no_global>()) > 0);  // the mean
}

TEST_CASE("a kernel that writes too little, too much or too often breaks the law") {
  constexpr auto lazy = [](call& with) { with.result[0].extent[0] -= with.result[0].extent[0] > 1 ? 1 : 0; };
  constexpr auto greedy = [](call& with) { with.result[0].extent[0] += 1; };
  constexpr auto adding = [](call& with) { with.accumulate = true; };
  CHECK(broken(told_otherwise<gelu, lazy>()) > 0);
  CHECK(broken(told_otherwise<gelu, greedy>()) > 0);
  CHECK(broken(told_otherwise<op::sum<meshloom::at<0, 1>, meshloom::at<1>>, adding>()) > 0);
}
