// SPDX-License-Identifier: Apache-2.0
// planner/intra_presolve.hpp and planner/intra_reduction.hpp: the optimum survives, and lifting finds it again.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_presolve.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

namespace {

/// The least price of an assignment of a network that fits, among the options kept; `never` if there is none.
std::int64_t least(const ml::intra::network& net, const ml::vector<std::uint8_t>& keep = {}) {
  std::int64_t best = ml::intra::never;
  const auto number = ml::intra::numbering(net);
  for_each_assignment(net, [&](const ml::intra::assignment& options) {
    for (std::size_t v = 0; v < options.size(); ++v) {
      if (!keep.empty() && !keep[number[v] + static_cast<std::size_t>(options[v])]) return;
    }
    if (ml::intra::excess(net, ml::intra::held(net, options)) == 0)
      best = std::min(best, ml::intra::price_of(net, options));
  });
  return best;
}

}  // namespace

TEST_CASE("the optimum of what is left is the optimum, and every assignment lifts to its own price") {
  int impossible = 0, left = 0;
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    dice roll(seed);
    const ml::intra::network net = ml::intra::network_of(small_problem(seed));
    ml::vector<std::uint8_t> keep;
    for (std::size_t n = 0; n < ml::intra::numbering(net).back(); ++n) keep.push_back(seed % 2 == 0 || !roll.one_in(6));
    const ml::intra::reduction made = ml::intra::presolve(net, keep, seed % 3 == 0 ? 0 : 1 << 16);
    const std::int64_t optimum = least(net, keep);
    if (!made.possible) {
      CHECK(optimum >= ml::intra::never);
      ++impossible;
      continue;
    }
    CHECK(least(made.net) == optimum);
    left += made.net.variables.size() > 2;
    for_each_assignment(made.net, [&](const ml::intra::assignment& options) {
      const std::int64_t price = ml::intra::price_of(made.net, options);
      const ml::intra::assignment all = ml::intra::lift(made, options);
      REQUIRE(ml::intra::lower(made, all) == options);
      if (price >= ml::intra::never) return;
      REQUIRE(ml::intra::price_of(net, all) == price);
      const bool fits = ml::intra::excess(made.net, ml::intra::held(made.net, options)) == 0;
      REQUIRE(fits == (ml::intra::excess(net, ml::intra::held(net, all)) == 0));
    });
  }
  CHECK(impossible > 20);
  CHECK(left > 30);
}

TEST_CASE("a reduced network that loses options is reduced as if all of it were looked at again") {
  int smaller = 0, same = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    dice roll(seed);
    const auto posed = seed % 2 == 0 ? small_problem(seed) : ladder(seed, 8, 2, 6);
    const ml::intra::network once = ml::intra::presolve(ml::intra::network_of(posed), {}, 0).net;
    if (once.variables.empty()) continue;
    CHECK(once.reduced);
    ml::vector<std::uint8_t> keep;
    for (std::size_t n = 0; n < ml::intra::numbering(once).back(); ++n) keep.push_back(!roll.one_in(8));
    ml::intra::network anew = once;
    anew.reduced = false;
    const ml::intra::reduction made = ml::intra::presolve(once, keep, 0), truly = ml::intra::presolve(anew, keep, 0);
    REQUIRE(made.possible == truly.possible);
    CHECK(made.variable_of == truly.variable_of);
    CHECK(made.option_of == truly.option_of);
    CHECK(made.net.room == truly.net.room);
    CHECK(made.net.constant == truly.net.constant);
    CHECK(ml::intra::own_prices(made.net) == ml::intra::own_prices(truly.net));
    REQUIRE(made.net.edges.size() == truly.net.edges.size());
    for (std::size_t e = 0; e < made.net.edges.size(); ++e) REQUIRE(made.net.edges[e].cost == truly.net.edges[e].cost);
    const ml::intra::reduction rest = ml::intra::presolve(once, {}, 0);
    CHECK(rest.net.variables.size() == once.variables.size());
    CHECK(ml::intra::own_prices(rest.net) == ml::intra::own_prices(once));
    ++(made.net.variables.size() < once.variables.size() ? smaller : same);
  }
  CHECK(smaller > 30);
  CHECK(same > 30);
}

TEST_CASE("each step does what it is for") {
  const auto f = ml::forbidden;
  SUBCASE("a chain without memory is eliminated, a star too") {
    ml::intra_problem posed = ladder(1, 4, 3, 3);
    posed.couplings.resize(7);  // the chain
    CHECK(ml::intra::presolve(ml::intra::network_of(posed)).net.variables.empty());
    for (std::int32_t c = 0; c < 7; ++c)
      posed.couplings[static_cast<std::size_t>(c)].left = 7, posed.couplings[static_cast<std::size_t>(c)].right = c;
    CHECK(ml::intra::presolve(ml::intra::network_of(posed)).net.variables.empty());
  }
  // two choices that matter to each other and to memory
  ml::intra_problem posed;
  posed.end = 4;
  posed.limit = ml::bytes{12};
  posed.choices = {{{{5}, {3}, {1}}, {{1}, {5}, {9}}, 0, 2}, {{{7}, {4}, {2}}, {{2}, {6}, {9}}, 1, 3}};
  SUBCASE("must-match makes one variable, and what does not fit leaves one option") {
    posed.couplings = {{0, 1, {f, {0}, f, {1}, f, f, f, f, {2}}}};
    const auto fits = ml::intra::presolve(ml::intra::network_of(posed));
    CHECK(fits.net.variables.empty());
    CHECK(ml::intra::lift(fits, {}) == ml::intra::assignment{0, 1});
    posed.limit = ml::bytes{18};
    CHECK(ml::intra::lift(ml::intra::presolve(ml::intra::network_of(posed)), {}) == ml::intra::assignment{2, 2});
  }
  SUBCASE("matched variables beside others hold the bytes of both") {
    posed.couplings = {{0, 1, {f, {5}, f, {1}, f, f, f, f, {2}}}};
    posed.choices[1].size[1] = {4};
    posed.choices.push_back({{{9}, {0}}, {{0}, {6}}, 0, 3});
    const auto made = ml::intra::presolve(ml::intra::network_of(posed));
    REQUIRE(made.variable_of == ml::vector<std::int32_t>{0, 2});
    CHECK(ml::intra::held(made.net, {0, 1}) == ml::vector<std::int64_t>{11});
    CHECK(ml::intra::held(made.net, {1, 0}) == ml::vector<std::int64_t>{7});
    CHECK(ml::intra::lift(made, {1, 0}) == ml::intra::assignment{1, 0, 0});
  }
  SUBCASE("options that do not fit beside the leanest of all others go") {
    posed.limit = ml::bytes{9};
    const auto made = ml::intra::presolve(ml::intra::network_of(posed));
    CHECK(made.option_of == ml::vector<ml::vector<std::int32_t>>{{0, 1}, {0, 1}});
  }
  SUBCASE("without a limit that binds, nothing is left") {
    posed.limit = ml::bytes{18};
    CHECK(ml::intra::presolve(ml::intra::network_of(posed)).net.variables.empty());
  }
  SUBCASE("an option without a partner goes, and so do those that only it would meet") {
    posed.couplings = {{0, 1, {f, f, f, {1}, {2}, f, {1}, {1}, f}}};
    const auto made = ml::intra::presolve(ml::intra::network_of(posed));
    CHECK(made.option_of == ml::vector<ml::vector<std::int32_t>>{{1, 2}, {0, 1}});
  }
  SUBCASE("an option that is larger and never cheaper goes") {
    posed.choices[0].cost = {{5}, {5}, {1}};
    const auto made = ml::intra::presolve(ml::intra::network_of(posed));
    CHECK(made.option_of[0] == ml::vector<std::int32_t>{0, 2});
  }
  SUBCASE("a coupling that says nothing about pairs is folded away") {
    posed.couplings = {{0, 1, {{1}, {2}, {3}, {11}, {12}, {13}, {21}, {22}, {23}}}};
    const auto made = ml::intra::presolve(ml::intra::network_of(posed));
    CHECK(made.net.edges.empty());
  }
  SUBCASE("what cannot be is said") {
    posed.limit = ml::bytes{2};
    CHECK(!ml::intra::presolve(ml::intra::network_of(posed)).possible);
    posed.limit.reset();
    posed.couplings = {{0, 1, ml::vector<ml::picoseconds>(9, f)}};
    CHECK(!ml::intra::presolve(ml::intra::network_of(posed)).possible);
  }
}
