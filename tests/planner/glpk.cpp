// SPDX-License-Identifier: Apache-2.0
// planner/glpk.hpp: the integer program against every assignment, its bound when it is stopped, and its failures.
#include "intra_cases.hpp"

#include <meshloom/planner/glpk.hpp>
#include <meshloom/planner/intra.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

TEST_CASE("the integer program alone finds the optimum of small problems, and its bound is one") {
  const ml::glpk solver;
  int answers = 0, tight = 0;
  for (std::uint32_t seed = 0; seed < 500; ++seed) {
    CAPTURE(seed);
    const ml::intra_problem posed = small_problem(seed);
    const truth all = try_all(posed);
    const auto net = ml::intra::network_of(posed);
    const auto found = solver.solve(net, ml::intra::never);
    if (!all.best) {
      CHECK(found.options.empty());
      continue;
    }
    REQUIRE(!found.options.empty());
    const ml::intra_price price = ml::evaluate(posed, found.options);
    CHECK(price.allowed);
    CHECK(price.cost == *all.best);
    const std::int64_t optimum = all.best->count << net.shift;
    CHECK(found.bound <= optimum);
    ++answers;
    if (static_cast<double>(found.bound) >= 0.9999 * static_cast<double>(optimum)) ++tight;
  }
  CHECK(answers > 250);
  CHECK(tight > answers * 9 / 10);
}

TEST_CASE("the ladder closes with the integer program as its last rung") {
  const ml::glpk solver;
  ml::intra_options limits;
  limits.most_entries = limits.quick_entries = 0;  // nothing is eliminated
  limits.rounds = 1;
  limits.nodes = limits.neighbourhoods = 0;
  int asked = 0;
  for (std::uint32_t seed = 0; seed < 16; ++seed) {
    CAPTURE(seed);
    ml::intra_problem posed = ladder(seed, 6, 3, 4);
    const auto free = ml::solve_intra(posed);
    if (seed % 2 == 1) posed.limit = ml::bytes{ml::evaluate(posed, free.value().options).peak.count * 8 / 10};
    const ml::picoseconds optimum = ml::solve_intra(posed).value().cost;
    limits.exact = nullptr;
    const auto without = ml::solve_intra(posed, limits);
    limits.exact = &solver;
    const auto with = ml::solve_intra(posed, limits);
    REQUIRE(bool(with));
    CHECK(ml::evaluate(posed, with.value().options).allowed);
    CHECK(with.value().cost == optimum);
    CHECK(with.value().bound <= optimum);
    CHECK(ml::seconds(with.value().bound) >= 0.9999 * ml::seconds(optimum));
    asked += !without || !without.value().closed();
  }
  CHECK(asked > 5);
}

TEST_CASE("stopped by its counts, it still has a bound") {
  int stopped = 0;
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    CAPTURE(seed);
    ml::intra_problem posed = ladder(seed, 8, 3, 5);
    const auto free = ml::solve_intra(posed);
    posed.limit = ml::bytes{ml::evaluate(posed, free.value().options).peak.count * 7 / 10};
    const auto optimum = ml::solve_intra(posed);
    if (!optimum) continue;
    REQUIRE(optimum.value().closed());
    const auto net = ml::intra::network_of(posed);
    const auto whole = ml::glpk{}.solve(net, ml::intra::never);
    REQUIRE(!whole.options.empty());
    CHECK(ml::evaluate(posed, whole.options).cost == optimum.value().cost);
    CHECK(whole.bound <= optimum.value().cost.count << net.shift);
    for (const std::int32_t nodes : {1, 8, 20}) {
      const auto part = ml::glpk{{.nodes = nodes}}.solve(net, ml::intra::never);
      CHECK(part.bound > 0);
      CHECK(part.bound <= optimum.value().cost.count << net.shift);
      if (part.options.empty()) ++stopped;
    }
    const auto root = ml::glpk{{.pivots = 1}}.solve(net, ml::intra::never);
    CHECK(root.options.empty());
    CHECK(root.bound == net.constant);
  }
  CHECK(stopped > 0);
}

TEST_CASE("what GLPK refuses is an error with its words, and the next run is as good as ever") {
  const auto net = ml::intra::network_of(small_problem(1));
  const auto before = ml::glpk{}.solve(net, ml::intra::never);
  for (int again = 0; again < 3; ++again) {
    CHECK_THROWS_WITH_AS(ml::glpk{{.gap = -1}}.solve(net, ml::intra::never), doctest::Contains("mip_gap = -1"),
                         ml::error);
    const auto after = ml::glpk{}.solve(net, ml::intra::never);
    CHECK(after.options == before.options);
    CHECK(after.bound == before.bound);
  }
}
