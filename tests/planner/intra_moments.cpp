// SPDX-License-Identifier: Apache-2.0
// planner/intra_moments.hpp: at a few moments the same is held as at those moments of the whole; overfull moments are
// the fullest of their runs; and a problem with hundreds of moments is solved as if it had few.
#include "intra_cases.hpp"

#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/intra_moments.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

namespace {

/// Small problems side by side in time, under one limit: each needs moments of its own.
ml::intra_problem side_by_side(const ml::intra_problem& one, std::int32_t copies) {
  ml::intra_problem made{{}, {}, one.limit, one.end * copies};
  for (std::int32_t copy = 0; copy < copies; ++copy) {
    const auto first = static_cast<std::int32_t>(made.choices.size());
    for (ml::intra_choice each : one.choices) {
      each.first += copy * one.end, each.end += copy * one.end;
      made.choices.push_back(std::move(each));
    }
    for (ml::intra_coupling each : one.couplings) {
      each.left += first, each.right += first;
      made.couplings.push_back(std::move(each));
    }
  }
  return made;
}

}  // namespace

TEST_CASE("a few moments hold what they hold in the whole") {
  for (std::uint32_t seed = 1; seed < 200; ++seed) {
    const ml::intra_problem posed = small_problem(seed);
    const ml::intra::network net = ml::intra::network_of(posed);
    ml::vector<std::int32_t> moments;
    for (std::size_t m = seed % 2; m < net.room.size(); m += 2) moments.push_back(static_cast<std::int32_t>(m));
    const ml::intra::network few = ml::intra::at_moments(net, moments);
    dice roll(seed);
    ml::intra::assignment options;
    for (const auto& each : net.variables) options.push_back(roll(0, static_cast<std::int32_t>(each.options()) - 1));
    const auto all = ml::intra::held(net, options), some = ml::intra::held(few, options);
    REQUIRE(some.size() == moments.size());
    for (std::size_t k = 0; k < moments.size(); ++k) CHECK(some[k] == all[static_cast<std::size_t>(moments[k])]);
    CHECK(ml::intra::price_of(few, options) == ml::intra::price_of(net, options));
  }
}

TEST_CASE("of each run of overfull moments the first of the fullest is named") {
  ml::intra::network net;
  net.room = {5, 5, 5, 5, 5, 5, 5};
  CHECK(ml::intra::overfull(net, {6, 8, 8, 5, 9, 4, 7}) == ml::vector<std::int32_t>{1, 4, 6});
  CHECK(ml::intra::overfull(net, {5, 5, 5, 0, 0, 5, 5}).empty());
  ml::vector<std::int32_t> known{2, 5};
  CHECK(ml::intra::add_moments(known, {1, 5, 6}));
  CHECK(known == ml::vector<std::int32_t>{1, 2, 5, 6});
  CHECK(!ml::intra::add_moments(known, {2, 6}));
}

TEST_CASE("a problem with hundreds of moments costs what its parts cost") {
  int tight = 0, closed = 0, asked = 0;
  for (std::uint32_t seed = 1; seed < 60; ++seed) {
    CAPTURE(seed);
    const ml::intra_problem one = small_problem(seed);
    const truth all = try_all(one);
    if (!one.limit || !all.best) continue;
    constexpr std::int32_t copies = 70;
    const ml::intra_problem posed = side_by_side(one, copies);
    const auto found = ml::solve_intra(posed);
    REQUIRE(bool(found));
    CHECK(ml::evaluate(posed, found.value().options).allowed);
    CHECK(found.value().cost == *all.best * copies);
    CHECK(found.value().bound <= found.value().cost);
    closed += found.value().closed();
    ++asked;
    tight += *all.best != *all.best_unlimited;
  }
  CHECK(tight > 3);
  CHECK(closed * 10 >= asked * 9);
}
