// SPDX-License-Identifier: Apache-2.0
// planner/intra_messages.hpp: every state is a bound, for the whole and for each option.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_messages.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

TEST_CASE("no bound is above the best price, with any prices, after any number of sweeps") {
  int tight = 0, loose = 0, decoded = 0;
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    dice roll(seed);
    ml::intra::network net = ml::intra::network_of(small_problem(seed));
    auto eliminate = ml::intra::elimination::plan(net, 1 << 20);
    ml::vector<std::int64_t> prices = ml::intra::own_prices(net);
    ml::intra::messages pass(net);
    for (int sweep = 0; sweep < 12; ++sweep) {
      const std::int64_t optimum = eliminate->run(prices).price;
      const ml::vector<std::int64_t> exact = eliminate->bounds(prices), bounds = pass.bounds();
      CHECK(pass.bound() <= optimum);
      for (std::size_t n = 0; n < exact.size(); ++n) REQUIRE(bounds[n] <= exact[n]);
      if (sweep == 11 && optimum < ml::intra::never) {
        ++(pass.bound() > optimum - (std::int64_t{1} << net.shift) ? tight : loose);
        decoded += ml::intra::price_of(net, pass.decode()) < ml::intra::never;
      }
      if (sweep == 4) {
        for (std::int64_t& price : prices) price += price < ml::intra::never ? roll(0, 1000) : 0;
        std::size_t n = 0;
        for (auto& variable : net.variables) {
          for (std::int64_t& cost : variable.cost) cost = prices[n++];
        }
        pass.reprice(prices);
      }
      pass.sweep();
    }
  }
  CHECK(tight > 5 * loose);
  CHECK(decoded > 9 * (tight + loose) / 10);
}

TEST_CASE("a sweep makes the bound of a chain exact, and the assignment with it") {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    ml::intra_problem posed = ladder(seed, 20, 2, 9);
    posed.couplings.resize(39);
    const ml::intra::network net = ml::intra::network_of(posed);
    ml::intra::messages pass(net);
    pass.sweep();
    const std::int64_t optimum = ml::intra::elimination::plan(net, 1 << 20)->run(ml::intra::own_prices(net)).price;
    CHECK(pass.bound() == optimum);
    CHECK(ml::intra::price_of(net, pass.decode()) == optimum);
  }
}
