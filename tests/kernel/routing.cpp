// SPDX-License-Identifier: Apache-2.0
#include "law.hpp"

#include <doctest/doctest.h>

#include <numeric>

namespace {

using namespace meshloom;

/// Random lengths of rows, tokens, experts, slots and features, with slots that no two tokens share.
template <int Rows>
law::trial with_slots(int integers) {
  law::trial how = law::lengths(Rows + 4);
  how.integers = integers;
  how.range = op::routed_axes<Rows>::slot;
  how.apart = op::routed_axes<Rows>::token;
  return how;
}

template <int Rows, class Element>
void check_ways() {
  for (int round = 0; round < 20; ++round) {
    CHECK(law::holds<op::dispatch<Rows, false>, Element>(with_slots<Rows>(0)));
    CHECK(law::holds<op::dispatch<Rows, true>, Element>(with_slots<Rows>(1)));
    CHECK(law::holds<op::combine<Rows, false>, Element>(with_slots<Rows>(0)));
    CHECK(law::holds<op::combine<Rows, true>, Element>(with_slots<Rows>(1)));
    CHECK(law::holds<op::combine_gradient_weight<Rows>, Element>(with_slots<Rows>(1)));
  }
}

/// Random rows, groups and experts; `slot` is the operand of slots, `share` that of shares.
template <int Rows>
law::trial with_groups(int share, int slot = -1) {
  using lists = op::routed_axes<Rows>;
  law::trial how;
  for (int row = 0; row < Rows; ++row) how.extent[static_cast<std::size_t>(row)] = law::pick(0, 3);
  const std::int64_t size = law::pick(0, 9), groups = size == 0 ? law::pick(0, 9) : law::pick(0, 3);
  how.extent[lists::token] = size == 0 ? groups : size * groups;
  how.extent[lists::expert] = law::pick(0, 5);
  how.extent[lists::slot] = std::max<std::int64_t>(1, law::pick(0, 9));
  how.attributes = {static_cast<double>(size), static_cast<double>(law::pick(1, 5))};
  how.positive = 1u << share;
  if (slot >= 0) how.integers = slot, how.range = lists::slot, how.apart = lists::token;
  return how;
}

template <int Rows, int Choices, class Element>
void check_routes() {
  for (int round = 0; round < 50; ++round) {
    CHECK(law::holds<op::route<Rows, Choices>, Element>(with_groups<Rows>(0)));
    CHECK(law::holds<op::route_gradient<Rows, Choices, true>, Element>(with_groups<Rows>(2, 3)));
    CHECK(law::holds<op::route_gradient<Rows, Choices, false>, Element>(with_groups<Rows>(1, 2)));
  }
}

/// One row of tokens, routed.
struct routed {
  vector<double> weight;
  vector<std::int32_t> slot;
  double balance = 0;
  bool operator==(const routed&) const = default;
};

struct row_of_tokens {
  std::int64_t tokens, experts, size, capacity;
  vector<double> shares;

  double share(std::int64_t t, std::int64_t e) const { return shares[static_cast<std::size_t>(t * experts + e)]; }
};

/// As the definition says it, token by token, with nothing remembered.
template <int Choices>
routed by_definition(const row_of_tokens& of) {
  const auto first = [&](std::int64_t t) {
    std::int64_t best = 0;
    for (std::int64_t e = 1; e < of.experts; ++e) best = of.share(t, e) > of.share(t, best) ? e : best;
    return best;
  };
  const auto second = [&](std::int64_t t) {
    std::int64_t best = -1;
    for (std::int64_t e = 0; e < of.experts; ++e) {
      if (e != first(t) && (best < 0 || of.share(t, e) > of.share(t, best))) best = e;
    }
    return Choices == 2 ? best : -1;
  };
  routed made{vector<double>(of.shares.size()), vector<std::int32_t>(of.shares.size(), -1)};
  for (std::int64_t t = 0; t < of.tokens; ++t) {
    const std::int64_t group = t / of.size, begin = group * of.size, one = first(t), other = second(t);
    std::int64_t earlier = 0, later = 0, all = 0;
    for (std::int64_t u = begin; u < begin + of.size; ++u) {
      earlier += u < t && first(u) == one;
      later += u < t && other >= 0 && second(u) == other;
      all += first(u) == other;
      made.balance +=
          static_cast<double>(of.experts) / static_cast<double>(of.size * of.tokens) * of.share(t, first(u));
    }
    const std::int64_t behind = later + std::min(all, of.capacity);
    const double kept_one = earlier < of.capacity ? of.share(t, one) : 0,
                 kept_other = other >= 0 && behind < of.capacity ? of.share(t, other) : 0;
    const double sum = Choices == 1 ? 1 : kept_one + kept_other;
    const auto keep = [&](std::int64_t e, std::int64_t position, double share) {
      made.slot[static_cast<std::size_t>(t * of.experts + e)] =
          static_cast<std::int32_t>(group * of.capacity + position);
      made.weight[static_cast<std::size_t>(t * of.experts + e)] = share / sum;
    };
    if (kept_one > 0) keep(one, earlier, kept_one);
    if (kept_other > 0) keep(other, behind, kept_other);
  }
  return made;
}

/// What `run` makes of a row.
template <class Run>
routed by(const row_of_tokens& of, Run run) {
  row_of_tokens given = of;
  routed made{vector<double>(of.shares.size()), vector<std::int32_t>(of.shares.size())};
  call with;
  view grid{.extent = {1, of.tokens, of.experts}, .global = {1, of.tokens, of.experts}, .rank = 3, .type = dtype::f64};
  make_dense(grid);
  with.operand[0] = with.result[0] = with.result[1] = grid;
  with.result[2] = {.data = &made.balance, .extent = {1}, .stride = {1}, .global = {1}, .rank = 1, .type = dtype::f64};
  with.operand[0].data = given.shares.data();
  with.result[0].data = made.weight.data();
  with.result[1].data = made.slot.data();
  with.result[1].type = dtype::i32;
  with.attribute[0] = static_cast<double>(of.size);
  with.attribute[1] = static_cast<double>(of.capacity);
  run(with);
  return made;
}

template <int Choices>
routed by_kernel(const row_of_tokens& of) {
  return by(of, [](const call& with) { run_on_host<kernel_of<op::route<1, Choices>>, double>(with); });
}

/// Shares that sum to 1; coarse ones are often equal.
row_of_tokens random_row(bool coarse) {
  row_of_tokens made{0, law::pick(1, 6), law::pick(1, 12), law::pick(1, 6), {}};
  made.tokens = made.size * law::pick(1, 3);
  for (std::int64_t t = 0; t < made.tokens; ++t) {
    vector<double> shares;
    for (std::int64_t e = 0; e < made.experts; ++e)
      shares.push_back(coarse ? static_cast<double>(law::pick(1, 3)) : static_cast<double>(law::pick(1, 1'000'000)));
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (const double each : shares) made.shares.push_back(each / sum);
  }
  return made;
}

bool alike(const routed& made, const routed& expected) {
  bool close = std::abs(made.balance - expected.balance) < 1e-12;
  for (std::size_t at = 0; at < expected.weight.size(); ++at)
    close = close && std::abs(made.weight[at] - expected.weight[at]) < 1e-12;
  return close && made.slot == expected.slot;
}

/// What is wrong with slots and weights whatever the shares are; "" if nothing is.
template <int Choices>
std::string fault(const row_of_tokens& of, const routed& made) {
  vector<int> taken(static_cast<std::size_t>(of.experts * of.tokens / of.size * of.capacity));
  for (std::int64_t t = 0; t < of.tokens; ++t) {
    double sum = 0;
    int kept = 0;
    for (std::int64_t e = 0; e < of.experts; ++e) {
      const auto at = static_cast<std::size_t>(t * of.experts + e);
      const std::int64_t slot = made.slot[at], group = t / of.size;
      sum += made.weight[at];
      if (slot < 0 && made.weight[at] != 0) return "a token without a slot counts";
      if (slot < 0) continue;
      ++kept;
      if (slot / of.capacity != group) return "a slot of another group is taken";
      if (++taken[static_cast<std::size_t>(e * of.tokens / of.size * of.capacity + slot)] > 1)
        return "two tokens take one slot";
    }
    if (kept > Choices) return "a token has more slots than choices";
    if (of.capacity >= of.size && kept < std::min<std::int64_t>(Choices, of.experts)) return "a token is dropped";
    if (Choices == 2 && std::abs(sum - (kept > 0 ? 1 : 0)) > 1e-12) return "weights do not sum to 1 or 0";
  }
  return "";
}

template <int Choices>
void check_rows() {
  for (int round = 0; round < 500; ++round) {
    row_of_tokens row = random_row(round % 2 == 0);
    if (round % 5 == 0) row.capacity = row.size;
    const routed made = by_kernel<Choices>(row);
    CHECK(alike(made, by_definition<Choices>(row)));
    CHECK(alike(by(row, [](const call& with) { reference::run<op::route<1, Choices>>(with); }), made));
    CHECK(fault<Choices>(row, made) == "");
  }
}

/// Takes the first slot and expert of its shard for those of the tensor.
struct without_origin : dispatch_kernel<false> {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, call with) {
    for (std::int64_t& origin : with.result[0].origin) origin = 0;
    dispatch_kernel<false>::run<Element>(team, which, with);
  }
};

/// Forgets how many slots there are.
struct without_limit : route_kernel<2> {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, call with) {
    with.attribute[1] = 1000;
    route_kernel<2>::run<Element>(team, which, with);
  }
};

/// Takes a row for one group.
struct without_groups : route_gradient_kernel<2, true> {
  template <class Element, class Team>
  static void run(Team team, std::int64_t which, call with) {
    with.attribute[0] = 0;
    route_gradient_kernel<2, true>::run<Element>(team, which, with);
  }
};

}  // namespace

TEST_CASE("the ways to slots and back equal the reference, whole and on uneven shards") {
  check_ways<1, float>();
  check_ways<1, double>();
  check_ways<2, double>();
  check_ways<0, float>();
  check_ways<1, bf16>();
  check_ways<2, f16>();
}

TEST_CASE("more slots than one team fills, and rows wider than a team") {
  const law::trial how{.extent = {2, 150, 2, 200, 300}, .integers = 0, .range = 3, .apart = 1};
  CHECK(law::holds<op::dispatch<1, false>, float>(how));
  CHECK(law::holds<op::combine<1, false>, float>(how));
  const law::trial less{.extent = {1, 70, 2, 80, 300}, .integers = 0, .range = 3, .apart = 1};
  CHECK(law::holds<op::dispatch<1, false>, bf16>(less));
  CHECK(law::holds<op::combine<1, false>, bf16>(less));
}

TEST_CASE("slots find their tokens however many there are, also where elements have 16 bits") {
  // The tenth expert takes tokens beyond 65536.
  const law::trial how{.extent = {70000, 10, 3, 1}, .integers = 0, .range = 2, .apart = 0};
  CHECK(law::holds<op::dispatch<0, false>, bf16>(how));
}

TEST_CASE("routes and their gradients equal the reference, with no tokens and no experts too") {
  check_routes<1, 1, float>();
  check_routes<1, 2, float>();
  check_routes<1, 2, double>();
  check_routes<2, 1, double>();
  check_routes<2, 2, float>();
}

TEST_CASE("routing is what its definition says, with ties, one expert and capacities of 1") {
  check_rows<1>();
  check_rows<2>();
}

TEST_CASE("tokens that want one expert: first choices go first, then the order of tokens decides") {
  const row_of_tokens row{3, 2, 3, 2, {0.4, 0.6, 0.6, 0.4, 0.6, 0.4}};
  const routed made = by_kernel<2>(row);
  CHECK(made.slot == vector<std::int32_t>{-1, 0, 0, 1, 1, -1});
  CHECK(made.weight == vector<double>{0, 1, 0.6, 0.4, 1, 0});
  CHECK(made.balance == doctest::Approx(2 * (2.0 / 3 * 1.6 / 3 + 1.0 / 3 * 1.4 / 3)));
}

TEST_CASE("a share of zero that alone was kept weighs nothing, and its gradient is a number") {
  const row_of_tokens row{2, 2, 2, 1, {1, 0, 1, 0}};
  const routed made = by_kernel<2>(row);
  CHECK(made.slot == vector<std::int32_t>{0, 0, -1, -1});
  const row_of_tokens alone{2, 3, 2, 1, {1, 0, 0, 1, 0, 0}};
  for (const double weight : by_kernel<2>(alone).weight) CHECK(weight == weight);
}

TEST_CASE("the checks reject kernels that forget origins, capacities or groups, and routes that break the rules") {
  const law::trial way{.extent = {2, 12, 2, 9, 3}, .integers = 0, .range = 3, .apart = 1};
  CHECK(law::holds<op::dispatch<1, false>, float>(way));
  CHECK_FALSE(law::holds<op::dispatch<1, false>, float, without_origin>(way));
  const law::trial route{.extent = {2, 12, 2}, .attributes = {6, 2}, .positive = 1};
  CHECK(law::holds<op::route<1, 2>, float>(route));
  CHECK_FALSE(law::holds<op::route<1, 2>, float, without_limit>(route));
  const law::trial slope{
      .extent = {2, 12, 2, 12}, .attributes = {6, 2}, .integers = 3, .range = 3, .apart = 1, .positive = 4};
  CHECK(law::holds<op::route_gradient<1, 2, true>, double>(slope));
  CHECK_FALSE(law::holds<op::route_gradient<1, 2, true>, double, without_groups>(slope));

  const row_of_tokens row{2, 2, 2, 2, {0.6, 0.4, 0.6, 0.4}};
  const routed good = by_kernel<2>(row);
  CHECK(fault<2>(row, good) == "");
  routed twice = good, lost = good, heavy = good;
  twice.slot[2] = twice.slot[0];
  lost.slot[0] = -1, lost.weight[0] = 0, lost.weight[1] = 1;
  heavy.weight[0] += 0.1;
  CHECK(fault<2>(row, twice) == "two tokens take one slot");
  CHECK(fault<2>(row, lost) == "a token is dropped");
  CHECK(fault<2>(row, heavy) == "weights do not sum to 1 or 0");
}
