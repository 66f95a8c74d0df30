// SPDX-License-Identifier: Apache-2.0
// Laws of kernel/attention.hpp: it equals the reference, whole and on uneven shards, also where there are many blocks;
// windows of the keys merge as op/attention.hpp says; and what forgets where a shard lies is found.
#include "law.hpp"

#if defined(TEST_WITH_CBLAS)
#include <meshloom/exec/cblas.hpp>
#endif
#if defined(TEST_WITH_ONEDNN)
#include <meshloom/exec/onednn.hpp>
#endif

#include <doctest/doctest.h>

namespace {

using meshloom::op::attention;
using meshloom::op::attention_gradient;

constexpr auto as_it_is = [](meshloom::call&) {};

/// True if the kernel obeys the law in this trial, told what `change` makes of every call.
template <class Operator, class Element, class Arithmetic = meshloom::plain, class Change = decltype(as_it_is)>
bool attention_holds(const law::trial& how, Change change = {}) {
  static Arithmetic arithmetic;
  return law::checker<Operator, Element>{how}.holds([&](meshloom::call with) {
    change(with);
    meshloom::kernel_of<Operator>::template run<Element>(arithmetic, with);
  });
}

/// Scores around 1, so that shares differ and are not all of one key.
law::trial scaled(law::trial how, std::int64_t head) {
  how.attributes = {(law::pick(0, 1) == 0 ? 0.9 : -1.1) / std::sqrt(static_cast<double>(head + 1))};
  return how;
}

template <int Rows, bool Causal, bool Grouped, class Element>
void check_attention() {
  constexpr int head = Rows + 2 + Grouped;
  const law::trial how = law::lengths(head + 2);
  const law::trial shown = scaled(how, how.extent[head]);
  CHECK(attention_holds<attention<Rows, Causal, Grouped>, Element>(shown));
  CHECK(attention_holds<attention_gradient<Rows, Causal, Grouped>, Element>(shown));
}

template <int Rows, bool Grouped>
void check_attention() {
  for (int round = 0; round < 10; ++round) {
    check_attention<Rows, false, Grouped, double>();
    check_attention<Rows, true, Grouped, double>();
    check_attention<Rows, true, Grouped, float>();
  }
}

/// In 16 bits shares are rounded before they are added up, many of either sign.
template <class Element, class Arithmetic = meshloom::plain>
void check_rounded_attention() {
  for (int round = 0; round < 10; ++round) {
    law::trial how = law::lengths(6);
    how.slack = 8;
    const law::trial shown = scaled(how, how.extent[4]);
    CHECK(attention_holds<attention<1, true, true>, Element, Arithmetic>(shown));
    CHECK(attention_holds<attention_gradient<1, true, true>, Element, Arithmetic>(shown));
  }
}

/// More than one block of queries and of keys, neither of them full.
constexpr law::trial many_blocks{.extent = {2, 150, 1, 3, 600}, .attributes = {0.7}};
constexpr law::trial many_grouped_blocks{.extent = {1, 70, 2, 2, 3, 300}, .attributes = {0.7}};

/// All tensors of a forward call, with what the reference makes of them.
struct forward_case {
  law::case_of_call made, expected;

  explicit forward_case(const law::trial& how)
      : made(law::checker<attention<1, true>, double>{how}.whole()), expected(made) {
    expected.connect(how, {});
    meshloom::reference::run<attention<1, true>>(expected.with);
  }
};

/// The call on keys [begin, end) alone.
meshloom::call window(const meshloom::call& whole, std::int64_t begin, std::int64_t end) {
  meshloom::call part = whole;
  for (const int k : {1, 2}) {
    meshloom::view& keys = part.operand[k];
    keys.data = keys.as<double>() + begin * keys.stride[1];
    keys.origin[1] = begin;
    keys.extent[1] = end - begin;
  }
  return part;
}

/// Runs the kernel on three windows of the keys, from the last to the first, and merges them; true if that is what the
/// reference makes of all keys.
bool windows_merge(const law::trial& how, std::int64_t first_cut, std::int64_t second_cut) {
  forward_case all(how);
  const std::int64_t keys = how.extent[4], cuts[] = {0, first_cut, second_cut, keys};
  const std::int64_t queries = how.extent[1], heads = how.extent[2], head = how.extent[3];
  meshloom::vector<double> out(all.made.results[0].memory.size()), logsum(all.made.results[1].memory.size(), -INFINITY);
  meshloom::plain arithmetic;
  for (int part = 2; part >= 0; --part) {
    const auto with = window(all.made.with, cuts[part], cuts[part + 1]);
    meshloom::kernel_of<attention<1, true>>::run<double>(arithmetic, with);
    for (std::int64_t row = 0; row < how.extent[0] * queries * heads; ++row) {  // [batch, seq, heads]
      const std::int64_t query = row / heads % queries, other = row / heads / queries * heads + row % heads;
      double& sum = logsum[static_cast<std::size_t>(other * queries + query)];
      const double more = all.made.result(1, other * queries + query), top = std::max(sum, more);
      const double both = std::isinf(top) ? top : top + std::log(std::exp(sum - top) + std::exp(more - top));
      for (std::int64_t i = row * head; i < (row + 1) * head && !std::isinf(top); ++i) {
        double& mixed = out[static_cast<std::size_t>(i)];
        mixed = mixed * std::exp(sum - both) + all.made.result(0, i) * std::exp(more - both);
      }
      sum = both;
    }
  }
  all.made.results[0].memory = out;
  all.made.results[1].memory = logsum;
  all.made.connect(how, {});
  return law::checker<attention<1, true>, double>{how}.same_results(all.made, all.expected);
}

/// Runs a kernel in rounds, from the last block of index `Key` to the first; true if that is what the reference makes
/// of all. `Forgets`: every round is taken for the first.
template <class Operator, class Element, int Key, bool Forgets = false>
bool in_rounds(const law::trial& how, std::int64_t parts) {
  static meshloom::plain arithmetic;
  constexpr auto& op = Operator::signature;
  law::case_of_call made = law::checker<Operator, Element>{how}.whole(), expected = made;
  expected.connect(how, {});
  meshloom::reference::run<Operator>(expected.with);
  for (std::size_t k = 0; k < op.result_count; ++k) {  // what the rank that has a block makes of it comes first
    if (op.travels(op.results[k]))
      std::fill_n(made.with.result[k].template as<Element>(), made.with.result[k].count(), Element(0));
  }
  for (std::int64_t round = 0; round < parts; ++round) {
    meshloom::call with = made.with;
    const meshloom::interval block = meshloom::balanced_part({0, how.extent[Key]}, parts, parts - 1 - round);
    const auto narrow = [&](const meshloom::index_list& axes, meshloom::view& whole) {
      if (!op.travels(axes)) return;
      whole.data = whole.as<Element>() + block.origin * whole.stride[axes.find(Key)];
      whole.origin[axes.find(Key)] = block.origin;
      whole.extent[axes.find(Key)] = block.extent;
    };
    for (std::size_t k = 0; k < op.operand_count; ++k) narrow(op.operands[k], with.operand[k]);
    for (std::size_t k = 0; k < op.result_count; ++k) narrow(op.results[k], with.result[k]);
    with.round = Forgets ? 0 : static_cast<std::int32_t>(round);
    meshloom::kernel_of<Operator>::template run<Element>(arithmetic, with);
  }
  return law::checker<Operator, Element>{how}.same_results(made, expected);
}

/// The query of a shard taken for a later one, by `ahead`.
template <int Queries, std::int64_t Ahead>
constexpr auto off_by = [](meshloom::call& with) { with.operand[Queries].origin[1] += Ahead; };

template <int Operand>
constexpr auto without_origin = [](meshloom::call& with) { with.operand[Operand].origin[1] = 0; };

}  // namespace

TEST_CASE("attention equals the reference, whole and on uneven shards, with and without a causal mask") {
  check_attention<0, false>();
  check_attention<1, false>();
  check_attention<2, false>();
}

TEST_CASE("grouped attention equals the reference, whole and on uneven shards, with and without a causal mask") {
  check_attention<0, true>();
  check_attention<1, true>();
}

TEST_CASE("attention of numbers of 16 bits equals the reference, whole and on uneven shards") {
  check_rounded_attention<meshloom::bf16>();
  check_rounded_attention<meshloom::f16>();
#if defined(TEST_WITH_ONEDNN)
  check_rounded_attention<meshloom::bf16, meshloom::onednn>();
#endif
}

TEST_CASE("attention in many blocks equals the reference") {
  CHECK(attention_holds<attention<1, true>, double>(many_blocks));
  CHECK(attention_holds<attention<1, false>, float>(many_blocks));
  CHECK(attention_holds<attention<1, false, true>, double>(many_grouped_blocks));
  CHECK(attention_holds<attention_gradient<1, true>, double>(many_blocks));
  CHECK(attention_holds<attention_gradient<1, false>, double>(many_blocks));
  CHECK(attention_holds<attention_gradient<1, true, true>, double>(many_grouped_blocks));
}

#if defined(TEST_WITH_CBLAS)
TEST_CASE("attention on CBLAS equals the reference") {
  const law::trial some{.extent = {2, 70, 3, 16, 90}, .attributes = {0.25}};
  CHECK(attention_holds<attention<1, true>, float, meshloom::cblas>(some));
  CHECK(attention_holds<attention_gradient<1, true>, double, meshloom::cblas>(some));
  CHECK(attention_holds<attention<1, true>, double, meshloom::cblas>(many_blocks));
  CHECK(attention_holds<attention<1, true, true>, double, meshloom::cblas>(many_grouped_blocks));
}
#endif

TEST_CASE("windows of the keys merge by out and logsum, also where some queries see none of them") {
  CHECK(windows_merge(many_blocks, 100, 400));
  CHECK(windows_merge(many_blocks, 0, 149));
  CHECK(windows_merge({.extent = {1, 9, 2, 4, 7}, .attributes = {1.5}}, 3, 3));
}

TEST_CASE("rounds on blocks of the keys, in any order, some of them empty, make what all keys make") {
  const auto check = []<bool Causal, bool Grouped, class Element>(law::trial how, std::int64_t parts) {
    how.slack = std::is_same_v<Element, float> ? 20 : 1;  // random logsums give shares far beyond 1
    constexpr int key = Grouped ? 5 : 4;
    CHECK(in_rounds<attention<1, Causal, Grouped>, Element, key>(how, parts));
    CHECK(in_rounds<attention_gradient<1, Causal, Grouped>, Element, key>(how, parts));
  };
  const law::trial small{.extent = {1, 9, 2, 4, 7}, .attributes = {0.7}};
  for (const std::int64_t parts : {2, 3, 4, 9}) {
    check.operator()<true, false, double>(small, parts);
    check.operator()<false, false, double>(small, parts);
    check.operator()<true, false, float>(many_blocks, parts);
    check.operator()<true, true, double>(many_grouped_blocks, parts);
    CHECK_FALSE(in_rounds<attention<1, true>, double, 4, true>(small, parts));
    CHECK_FALSE(in_rounds<attention_gradient<1, true>, double, 4, true>(small, parts));
  }
}

TEST_CASE("a query without keys makes nothing") {
  const law::trial none{.extent = {1, 3, 2, 4, 0}, .attributes = {1.0}};
  CHECK(attention_holds<attention<1, false>, float>(none));
  forward_case all(none);
  meshloom::plain arithmetic;
  meshloom::kernel_of<attention<1, true>>::run<double>(arithmetic, all.made.with);
  for (std::int64_t i = 0; i < 24; ++i) CHECK(all.made.result(0, i) == 0);
  for (std::int64_t i = 0; i < 6; ++i) CHECK(all.made.result(1, i) == -INFINITY);
}

TEST_CASE("scores of any size give shares, never NaN") {
  for (const double scale : {0.0, 1e4, -1e4, 1e30, -1e30}) {
    const law::trial how{.extent = {1, 5, 1, 2, 5}, .attributes = {scale}};
    if (std::abs(scale) < 1e30) CHECK(attention_holds<attention<1, true>, double>(how));  // beyond, rounding chooses
    law::case_of_call single = law::checker<attention<1, true>, float>{how}.whole();
    meshloom::plain arithmetic;
    meshloom::kernel_of<attention<1, true>>::run<float>(arithmetic, single.with);
    for (std::int64_t i = 0; i < 10; ++i) CHECK(std::isfinite(single.result(0, i)));
  }
}

TEST_CASE("an arithmetic has scratch for two blocks of either element") {
  constexpr auto needed =
      static_cast<std::size_t>(2 * meshloom::detail::queries_at_once * meshloom::detail::keys_at_once);
  CHECK(meshloom::plain{}.scratch<double>().size() >= needed);
  CHECK(meshloom::plain{}.scratch<float>().size() >= needed);
#if defined(TEST_WITH_CBLAS)
  CHECK(meshloom::cblas{}.scratch<double>().size() >= needed);
#endif
}

TEST_CASE("the law rejects a causal mask that is off by one, or forgets where its shard lies") {
  const law::trial how{.extent = {2, 6, 2, 3, 6}, .attributes = {1.0}};
  CHECK(attention_holds<attention<1, true>, double>(how));
  CHECK_FALSE(attention_holds<attention<1, true>, double>(how, off_by<0, 1>));
  CHECK_FALSE(attention_holds<attention<1, true>, double>(how, off_by<0, -1>));
  CHECK_FALSE(attention_holds<attention<1, true>, double>(how, without_origin<0>));
  CHECK(attention_holds<attention<1, false>, double>(how, off_by<0, 1>));  // nothing is masked
  CHECK(attention_holds<attention_gradient<1, true>, double>(how));
  CHECK_FALSE(attention_holds<attention_gradient<1, true>, double>(how, off_by<1, 1>));
  CHECK_FALSE(attention_holds<attention_gradient<1, true>, double>(how, off_by<1, -1>));
  CHECK_FALSE(attention_holds<attention_gradient<1, true>, double>(how, without_origin<1>));
  CHECK_FALSE(attention_holds<attention_gradient<1, true>, double>(how, without_origin<2>));
}
