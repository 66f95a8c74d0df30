// SPDX-License-Identifier: Apache-2.0
// planner/intra_multipliers.hpp: prices of memory never make a bound that is too high, and raise it where memory binds.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_multipliers.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

TEST_CASE("any multipliers give a bound, for the whole and for each option") {
  int checked = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    dice roll(seed);
    const ml::intra_problem posed = small_problem(seed);
    const ml::intra::network net = ml::intra::network_of(posed);
    const auto number = ml::intra::numbering(net);
    for (const std::int64_t entries : {std::int64_t{1} << 20, std::int64_t{0}}) {
      ml::intra::relaxation inner(net, entries);
      CHECK(inner.exact() == (entries > 0));
      ml::intra::multipliers at;
      for (std::size_t m = 0; m < net.room.size(); ++m)
        at.push_back(roll.one_in(2) ? 0 : std::int64_t{roll(0, 1 << 20)} << roll(0, 20));
      const auto prices = ml::intra::prices_with(net, at);
      const std::int64_t paid_back = ml::intra::refund(net, at), bound = inner.run(prices).price - paid_back;
      const auto bounds = inner.bounds(prices);
      for_each_assignment(net, [&](const ml::intra::assignment& options) {
        const std::int64_t price = ml::intra::price_of(net, options);
        if (price >= ml::intra::never || ml::intra::excess(net, ml::intra::held(net, options)) > 0) return;
        REQUIRE(bound <= price);
        for (std::size_t v = 0; v < options.size(); ++v) {
          REQUIRE(bounds[number[v] + static_cast<std::size_t>(options[v])] - paid_back <= price);
        }
        ++checked;
      });
    }
  }
  CHECK(checked > 10'000);
}

TEST_CASE("an ascent only raises the bound, and towards the optimum where memory binds") {
  int binding = 0, raised = 0;
  for (std::uint32_t seed = 0; seed < 600; ++seed) {
    CAPTURE(seed);
    const ml::intra_problem posed = small_problem(seed);
    const truth all = try_all(posed);
    const ml::intra::network net = ml::intra::network_of(posed);
    ml::intra::relaxation inner(net, 1 << 20);
    int visits = 0;
    const auto visit = [&](const ml::intra::assignment& met) {
      CHECK(met.size() == net.variables.size());
      ++visits;
      return ml::intra::never;
    };
    const ml::intra::multipliers none(net.room.size());
    const ml::intra::ascent first = ml::intra::ascend(net, inner, none, 1, visit);
    const ml::intra::ascent up = ml::intra::ascend(net, inner, none, 60, visit);
    CHECK(visits == (first.bound >= ml::intra::never ? 0 : first.rounds + up.rounds));
    CHECK(up.rounds <= 60);
    CHECK(up.bound >= first.bound);
    if (!all.best) continue;
    const std::int64_t optimum = all.best->count << net.shift;
    CHECK(up.bound <= optimum);
    CHECK(first.bound == all.best_unlimited->count << net.shift);
    const auto again = inner.run(ml::intra::prices_with(net, up.at)).price - ml::intra::refund(net, up.at);
    CHECK(again == up.bound);
    if (*all.best == *all.best_unlimited) continue;
    ++binding;
    raised += 2 * (up.bound - first.bound) > optimum - first.bound;
  }
  CHECK(binding > 60);
  CHECK(raised > binding / 2);
}

TEST_CASE("an ascent ends as soon as the bound closes, and says what cannot be") {
  const ml::intra_problem posed = ladder(3, 6, 2, 4);
  const ml::intra::network net = ml::intra::network_of(posed);
  ml::intra::relaxation inner(net, 1 << 20);
  const auto up = ml::intra::ascend(net, inner, {}, 50, [&](const auto& met) { return ml::intra::price_of(net, met); });
  CHECK(up.rounds == 1);
  CHECK(ml::intra::closes(net, up.bound, up.bound));
  CHECK(ml::intra::closes(net, up.bound + 1, up.bound + (std::int64_t{1} << net.shift)));
  CHECK(!ml::intra::closes(net, up.bound, up.bound + (std::int64_t{1} << net.shift)));
  CHECK(!ml::intra::closes(net, up.bound, ml::intra::never));
  ml::intra_problem none = posed;
  for (ml::picoseconds& price : none.couplings[0].cost) price = ml::forbidden;
  const ml::intra::network empty = ml::intra::network_of(none);
  ml::intra::relaxation proof(empty, 1 << 20);
  CHECK(ml::intra::ascend(empty, proof, {}, 50, [](const auto&) { return ml::intra::never; }).bound ==
        ml::intra::never);
}

TEST_CASE("multipliers are carried by time") {
  CHECK(ml::intra::carried({1, 4, 7, 9}, {10, 40, 70, 90}, {0, 4, 9}) == ml::intra::multipliers{0, 40, 90});
}
