// SPDX-License-Identifier: Apache-2.0
// planner/intra_elimination.hpp: the optimum and the best price with each option are those of every assignment.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_elimination.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

TEST_CASE("elimination is exact, for prices that change as well") {
  int possible = 0, impossible = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    dice roll(seed);
    ml::intra::network net = ml::intra::network_of(small_problem(seed));
    net.constant = roll(0, 9);
    auto eliminate = ml::intra::elimination::plan(net, 1 << 20);
    REQUIRE(eliminate);
    CHECK(eliminate->work() > 0);
    for (int again = 0; again < 2; ++again) {
      ml::vector<std::int64_t> bounds(ml::intra::numbering(net).back(), ml::intra::never);
      for_each_assignment(net, [&](const ml::intra::assignment& options) {
        const std::int64_t price = ml::intra::price_of(net, options);
        for (std::size_t v = 0; v < options.size(); ++v) {
          auto& bound = bounds[ml::intra::numbering(net)[v] + static_cast<std::size_t>(options[v])];
          bound = std::min(bound, price);
        }
      });
      const ml::vector<std::int64_t> prices = ml::intra::own_prices(net);
      const ml::intra::optimum found = eliminate->run(prices);
      CHECK(found.price == *std::min_element(bounds.begin(), bounds.end()));
      if (found.price < ml::intra::never) CHECK(ml::intra::price_of(net, found.options) == found.price);
      CHECK(eliminate->bounds(prices) == bounds);
      ++(found.price < ml::intra::never ? possible : impossible);
      for (auto& variable : net.variables) {
        for (std::int64_t& cost : variable.cost) cost = roll.one_in(9) ? ml::intra::never : roll(0, 1000);
      }
    }
  }
  CHECK(possible > 300);
  CHECK(impossible > 8);
}

TEST_CASE("a network that is too wide is refused") {
  ml::intra_problem clique;
  for (std::int32_t c = 0; c < 6; ++c) {
    clique.choices.push_back({ml::vector<ml::picoseconds>(10), ml::vector<ml::bytes>(10), 0, 0});
    for (std::int32_t other = 0; other < c; ++other)
      clique.couplings.push_back({other, c, ml::vector<ml::picoseconds>(100)});
  }
  const auto net = ml::intra::network_of(clique);
  CHECK(!ml::intra::elimination::plan(net, 111110));
  const auto fits = ml::intra::elimination::plan(net, 111111);  // 10^5 + 10^4 + … + 1
  REQUIRE(fits);
  CHECK(!ml::intra::elimination::plan(net, 111111, fits->work() - 1));
  CHECK(ml::intra::elimination::plan(net, 111111, fits->work()));
}
