// SPDX-License-Identifier: Apache-2.0
// planner/intra_neighbourhoods.hpp: what is legal around some variables is legal in the whole, and nothing else is; it
// differs as much in price.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_neighbourhoods.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

TEST_CASE("a neighbourhood is the whole with the others held") {
  int legal = 0, illegal = 0;
  for (std::uint32_t seed = 1; seed < 200; ++seed) {
    const ml::intra_problem posed = small_problem(seed);
    const ml::intra::network net = ml::intra::network_of(posed);
    const auto fits = [&](const ml::intra::network& in, const ml::intra::assignment& options) {
      return ml::intra::price_of(in, options) < ml::intra::never &&
             ml::intra::excess(in, ml::intra::held(in, options)) == 0;
    };
    ml::intra::assignment first;
    for_each_assignment(net, [&](const ml::intra::assignment& options) {
      if (first.empty() && fits(net, options)) first = options;
    });
    if (first.empty()) continue;
    ml::intra::neighbourhoods around(net, first, seed);
    const auto members = seed % 2 == 0 ? around.near_each_other(3) : around.alive_together(3);
    CHECK(!members.empty());
    CHECK(members.size() <= 3);
    const ml::intra::network part = around.around(members);
    const std::int64_t base = ml::intra::price_of(net, first) - ml::intra::price_of(part, around.chosen(members));
    for_each_assignment(part, [&](const ml::intra::assignment& options) {
      ml::intra::assignment all = first;
      for (std::size_t k = 0; k < members.size(); ++k) all[static_cast<std::size_t>(members[k])] = options[k];
      REQUIRE(fits(part, options) == fits(net, all));
      (fits(net, all) ? legal : illegal) += 1;
      if (fits(net, all)) CHECK(ml::intra::price_of(part, options) + base == ml::intra::price_of(net, all));
      if (!fits(net, all)) return;
      ml::intra::neighbourhoods moved = around;
      moved.choose(members, options);
      CHECK(moved.options() == all);
      CHECK(moved.around(members).room == part.room);
    });
  }
  CHECK(legal > 200);
  CHECK(illegal > 200);
}
