// SPDX-License-Identifier: Apache-2.0
// Every operator × every strategy × small meshes equals the operator on one rank; and what is planted to break the law
// is found.
#include "laws_operators.hpp"

#include <doctest/doctest.h>

using namespace laws;

namespace {

constexpr dtype in_16_bits[] = {dtype::bf16};

/// Holds every operator that runs in these types to the law; says how many triples were tried.
void hold(std::size_t most, int rounds, std::span<const dtype> types = precisions) {
  std::int64_t operators = 0, tried = 0;
  std::uint64_t seed = 1;
  for (const subject& each : all_subjects()) {
    if (types[0] == dtype::bf16 && each.in_bf16 == nullptr) continue;
    const verdict made = judge(each, most, rounds, seed += 1'000'003, types);
    CHECK(made.first == "");
    CHECK(made.tried > 0);
    ++operators;
    tried += made.tried;
  }
  MESSAGE("the law was tried on ", operators, " operators, in ", tried, " triples of operator, strategy and mesh");
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
  const auto run = []<class Element>(const call& with, void* arithmetic) {
    call other = with;
    Change(other);
    detail::run_kernel<Operator, Element, plain>(other, arithmetic);
  };
  made.in_f32 = [](const call& with, void* on) { decltype(run){}.template operator()<float>(with, on); };
  made.in_f64 = [](const call& with, void* on) { decltype(run){}.template operator()<double>(with, on); };
  if constexpr (record_of<Operator>.rounded.any())
    made.in_bf16 = [](const call& with, void* on) { decltype(run){}.template operator()<bf16>(with, on); };
  return made;
}

/// Rounds what every product adds.
struct hasty : plain {
  template <class Element, class Result>
  void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Element* a, std::int64_t row_a, std::int64_t column_a,
            const Element* b, std::int64_t row_b, std::int64_t column_b, bool accumulate, Result* c, std::int64_t row_c,
            std::int64_t column_c) {
    plain::gemm(m, n, k, a, row_a, column_a, b, row_b, column_b, accumulate, c, row_c, column_c);
    for (std::int64_t at = 0; at < m * n; ++at) {
      Result& sum = c[at / n * row_c + at % n * column_c];
      sum = bf16(float(sum));
    }
  }
};

/// The number of strategies found to break the law in the types in which the fewest do; −1 if the types disagree on
/// whether any does.
std::int64_t broken(const subject& what) {
  const std::int64_t found = judge(what, 100, 2, 7).broken;
  if (what.in_bf16 == nullptr) return found;
  const std::int64_t in_half = judge(what, 100, 2, 7, in_16_bits).broken;
  return (found > 0) == (in_half > 0) ? std::min(found, in_half) : -1;
}

using matrix_product = op::dot<meshloom::at<0, 1>, meshloom::at<1, 2>, meshloom::at<0, 2>>;
using causal_softmax = op::softmax<3, true>;
using attention = op::attention<1, true>;
using gelu = op::pointwise<op::gelu<op::operand<0>>, meshloom::at<0, 1>, meshloom::at<0, 1>>;
using add =
    op::pointwise<op::add<op::operand<0>, op::operand<1>>, meshloom::at<0, 1>, meshloom::at<0, 1>, meshloom::at<0, 1>>;

}  // namespace

TEST_CASE("an operator's shards make what one rank makes: every strategy, on three mesh axes a sample") {
  hold(200, 1);
}

TEST_CASE("in 16 bits too, up to one rounding: of every strategy a sample") { hold(20, 1, in_16_bits); }

TEST_CASE("an operator's shards make what one rank makes: every strategy" * doctest::test_suite("all")) {
  hold(100'000, 5);
}

TEST_CASE("in 16 bits too, up to one rounding: every strategy" * doctest::test_suite("all")) {
  hold(100'000, 5, in_16_bits);
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
  CHECK(broken(told_otherwise<attention, nothing>()) == 0);
  CHECK(broken(told_otherwise<attention, no_origin>()) > 0);  // the mask
}

TEST_CASE("a kernel that forgets what it met in the rounds before breaks the law") {
  constexpr auto forgets = [](call& with) { with.round = 0; };
  CHECK(broken(told_otherwise<attention, forgets>()) > 0);
  CHECK(broken(one<op::attention_gradient<1, true>>()) == 0);
  CHECK(broken(told_otherwise<op::attention_gradient<1, true>, forgets>()) > 0);
}

TEST_CASE("a kernel that writes too little, too much or too often breaks the law") {
  constexpr auto lazy = [](call& with) { with.result[0].extent[0] -= with.result[0].extent[0] > 1 ? 1 : 0; };
  constexpr auto greedy = [](call& with) { with.result[0].extent[0] += 1; };
  constexpr auto adding = [](call& with) { with.accumulate = true; };
  CHECK(broken(told_otherwise<gelu, lazy>()) > 0);
  CHECK(broken(told_otherwise<gelu, greedy>()) > 0);
  CHECK(broken(told_otherwise<op::sum<meshloom::at<0, 1>, meshloom::at<1>>, adding>()) > 0);
}

TEST_CASE("element types that are not the operator's break the law in 16 bits") {
  using norm = op::layer_norm<2>;
  const auto broken_by = [](subject what, rounding told) {
    what.op.rounded = told;
    return judge(what, 100, 2, 7, in_16_bits).broken;
  };
  REQUIRE(broken_by(one<norm>(), norm::rounded) == 0);
  CHECK(broken_by(one<norm>(), {.operands = 2, .results = 1}) > 0);
  CHECK(broken_by(one<norm>(), {.operands = 7, .results = 1}) > 0);
  CHECK(broken_by(one<norm>(), {.operands = 3}) > 0);
  CHECK(broken_by(one<norm>(), {.operands = 3, .results = 3}) > 0);
  CHECK(broken_by(one<norm>(), {.operands = 3, .results = 1, .wide = true}) > 0);
}

TEST_CASE("summands that are rounded where their sum may not be break the law") {
  subject rounds = one<matrix_product>();
  rounds.in_bf16 = [](const call& with, void* arithmetic) {
    detail::run_kernel<matrix_product, bf16, plain>(with, arithmetic);
    if (with.result[0].type != dtype::f32) return;
    for (std::int64_t i = 0; i < with.result[0].count(); ++i)
      with.result[0].as<float>()[i] = bf16(with.result[0].as<float>()[i]);
  };
  CHECK(judge(rounds, 100, 2, 7, in_16_bits).broken > 0);
  rounds.op.rounded.wide = false;
  CHECK(judge(rounds, 100, 2, 7, in_16_bits).broken == 0);
}

TEST_CASE("a result that is rounded with every round of a sum breaks the law") {
  using two_sums = op::dot<meshloom::at<0, 1, 2>, meshloom::at<2, 1, 3>, meshloom::at<0, 3>>;
  REQUIRE(broken(one<two_sums>()) == 0);
  subject rounds = one<two_sums>();
  rounds.op.rounded.wide = false;
  REQUIRE(judge(rounds, 100, 2, 7, in_16_bits).broken == 0);
  rounds.in_bf16 = [](const call& with, void*) {
    hasty arithmetic;
    kernel_of<two_sums>::run<bf16>(arithmetic, with);
  };
  CHECK(judge(rounds, 100, 2, 7, in_16_bits).broken > 0);
}
