// SPDX-License-Identifier: Apache-2.0
// planner/intra_network.hpp: the solver's form says of every assignment what the referee says.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_network.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

TEST_CASE("every assignment has the price of the problem, and fits where it does") {
  int fit = 0, over = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    const ml::intra_problem posed = small_problem(seed);
    const ml::intra::network net = ml::intra::network_of(posed);
    for_each_assignment(posed, [&](const ml::vector<std::int32_t>& options) {
      const ml::intra_price price = ml::evaluate(posed, options);
      const std::int64_t found = ml::intra::price_of(net, options);
      REQUIRE((found >= ml::intra::never) == (price.cost >= ml::forbidden));
      if (price.cost < ml::forbidden) REQUIRE(found == price.cost.count << net.shift);
      const bool fits = ml::intra::excess(net, ml::intra::held(net, options)) == 0;
      REQUIRE(fits == (!posed.limit || price.peak <= *posed.limit));
      ++(fits ? fit : over);
    });
  }
  CHECK(fit > 1000);
  CHECK(over > 1000);
}

TEST_CASE("only the fullest times are moments, and one pair has one edge") {
  ml::intra_problem posed;
  for (const auto& [first, end] : ml::vector<std::pair<int, int>>{{0, 4}, {1, 3}, {2, 6}, {5, 8}, {7, 7}}) {
    posed.choices.push_back({{{0}, {0}}, {{1}, {2}}, first, end});
  }
  posed.couplings = {{0, 1, {{1}, {2}, {3}, {4}}}, {1, 0, {{10}, {20}, {30}, {40}}}, {2, 2, {{5}, {6}, {7}, {8}}}};
  posed.end = 9;
  posed.limit = ml::bytes{100};
  const ml::intra::network net = ml::intra::network_of(posed);
  CHECK(net.times == ml::vector<std::int32_t>{2, 5});
  CHECK(net.variables[4].parts.empty());
  REQUIRE(net.edges.size() == 1);
  const std::int64_t one = std::int64_t{1} << net.shift;
  CHECK(net.edges[0].cost == ml::vector<std::int64_t>{11 * one, 32 * one, 23 * one, 44 * one});
  CHECK(net.variables[2].cost == ml::vector<std::int64_t>{5 * one, 8 * one});
  const auto from_right = ml::intra::seen_from(net, 1, net.edges[0]);
  CHECK(from_right(1, 0) == 32 * one);
}

TEST_CASE("prices are made finer only while they stay exact") {
  ml::intra_problem posed;
  posed.choices.push_back({{{1}}, {{0}}, 0, 0});
  CHECK(ml::intra::network_of(posed).shift == 16);
  posed.choices[0].cost[0].count = (std::int64_t{1} << 59) / 2 - 1;
  CHECK(ml::check(posed).empty());
  CHECK(ml::intra::network_of(posed).shift == 0);
}
