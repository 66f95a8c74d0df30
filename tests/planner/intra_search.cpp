// SPDX-License-Identifier: Apache-2.0
// planner/intra_search.hpp: no move makes an assignment worse, and the running sums are the true ones.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_search.hpp>

#include <doctest/doctest.h>

#include <tuple>

namespace ml = meshloom;
using namespace intra_cases;

namespace {

/// Bytes beyond the room and price, counted anew; what the search says of itself must agree.
std::tuple<bool, ml::intra::wide, std::int64_t> counted(const ml::intra::network& net,
                                                        const ml::intra::local_search& search) {
  const std::int64_t price = ml::intra::price_of(net, search.options());
  const ml::intra::wide excess = ml::intra::excess(net, ml::intra::held(net, search.options()));
  REQUIRE(price == search.price());
  REQUIRE((excess == search.excess()));
  return {price >= ml::intra::never, excess, price};
}

}  // namespace

TEST_CASE("descents and neighbourhoods only improve, and often find the optimum") {
  int optima = 0, fits = 0;
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    dice roll(seed);
    const ml::intra_problem posed = small_problem(seed);
    const ml::intra::network net = ml::intra::network_of(posed);
    ml::intra::assignment from;
    for (const auto& variable : net.variables)
      from.push_back(roll(0, static_cast<std::int32_t>(variable.options()) - 1));
    ml::intra::local_search search(net, seed, INT64_MAX);
    search.start(from);
    const auto before = counted(net, search);
    search.descend();
    const auto down = counted(net, search);
    CHECK(down <= before);
    search.widen(4, 20, ml::intra::multipliers(net.room.size()));
    search.widen(4, 20, ml::intra::multipliers(net.room.size(), 1 << 16));
    const auto wide = counted(net, search);
    CHECK(wide <= down);
    CHECK(search.work() > 0);
    const truth all = try_all(posed);
    if (!all.best) continue;
    ++fits;
    optima += std::get<1>(wide) == 0 && search.price() == all.best->count << net.shift;
  }
  CHECK(optima > fits * 3 / 4);
}

TEST_CASE("neighbourhoods find the optimum of a ladder that is one, and equal seeds search equally") {
  const ml::intra_problem posed = ladder(5, 5, 4, 6);
  const ml::intra::network net = ml::intra::network_of(posed);
  const std::int64_t optimum = ml::intra::elimination::plan(net, 1 << 20)->run(ml::intra::own_prices(net)).price;
  ml::intra::local_search search(net, 7, INT64_MAX), twin(net, 7, INT64_MAX);
  for (ml::intra::local_search* each : {&search, &twin}) {
    each->start(ml::intra::assignment(net.variables.size(), 0));
    each->widen(net.variables.size(), 1, {});
  }
  CHECK(search.price() == optimum);
  CHECK(search.options() == twin.options());
  CHECK(search.work() == twin.work());
  ml::intra::local_search idle(net, 7, 0);
  idle.start(ml::intra::assignment(net.variables.size(), 0));
  idle.descend();
  idle.widen(net.variables.size(), 1, {});
  CHECK(idle.work() == 0);
}
