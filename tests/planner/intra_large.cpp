// SPDX-License-Identifier: Apache-2.0
// planner/intra_large.hpp: whatever it is stopped by, its assignment is legal and its bound below the optimum; with
// work enough it finds the optimum of small problems; equal seeds give equal answers.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_ladder.hpp>
#include <meshloom/planner/intra_large.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

TEST_CASE("the search in large networks finds the optimum of small ones, and never claims more") {
  int found_best = 0, posed_with_limit = 0;
  for (std::uint32_t seed = 1; seed < 120; ++seed) {
    CAPTURE(seed);
    const ml::intra_problem posed = small_problem(seed);
    const truth all = try_all(posed);
    if (!posed.limit || !all.best) continue;
    ++posed_with_limit;
    const ml::intra::network net = ml::intra::network_of(posed);
    ml::intra_options limits;
    limits.most_work = 300'000;
    limits.seed = seed;
    ml::intra::large_search search(net, limits, {}, ml::intra::climbed), again(net, limits, {}, ml::intra::climbed);
    search.run();
    again.run();
    CHECK(search.best() == again.best());
    CHECK(search.bound() == again.bound());
    CHECK(search.bound() <= all.best->count << net.shift);
    if (search.best().empty()) continue;
    CHECK(ml::evaluate(posed, search.best()).allowed);
    found_best += ml::evaluate(posed, search.best()).cost == *all.best;
  }
  CHECK(found_best * 10 > posed_with_limit * 9);
}

TEST_CASE("a user's time ends the search") {
  ml::intra_problem posed = ladder(3, 200, 3, 6);
  posed.limit = ml::evaluate(posed, ml::vector<std::int32_t>(posed.choices.size(), 0)).peak;
  const ml::intra::network net = ml::intra::network_of(posed);
  int asked = 0;
  ml::intra_options limits;
  limits.stop = [&] { return ++asked > 200; };
  ml::intra::large_search search(net, limits, {}, ml::intra::climbed);
  search.run();
  CHECK(asked > 200);
  CHECK(asked < 2000);
}
