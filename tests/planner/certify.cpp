// SPDX-License-Identifier: Apache-2.0
// planner/certify.hpp: what it makes passes the checker; for small problems it proves the optimum, and with few nodes a
// bound that is no higher.
#include "intra_cases.hpp"

#include <meshloom/planner/certify.hpp>
#include <meshloom/planner/intra.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

TEST_CASE("the optimum of small problems is certified") {
  int trees = 0, limited = 0;
  for (std::uint32_t seed = 0; seed < 600; ++seed) {
    CAPTURE(seed);
    const ml::intra_problem posed = small_problem(seed);
    const truth all = try_all(posed);
    if (!all.best) continue;
    const ml::intra_answer answer = ml::solve_intra(posed).value();
    const ml::intra_certificate proof = certify(posed, answer);
    CHECK(check(posed, proof) == ml::vector<std::string>{});
    CHECK(proof.bound == *all.best);
    trees += proof.nodes.size() > 1;
    ml::certify_options few;
    few.nodes = 1;
    const ml::intra_certificate weaker = certify(posed, answer, few);
    CHECK(check(posed, weaker).empty());
    CHECK(weaker.bound <= proof.bound);
    limited += weaker.bound < proof.bound;
  }
  CHECK(trees > 20);
  CHECK(limited > 0);
}

TEST_CASE("ladders with tight memory are certified as far as they are proven") {
  for (std::uint32_t seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    ml::intra_problem posed = ladder(seed, 12, 2, 6);
    const ml::intra_answer free = ml::solve_intra(posed).value();
    posed.limit = ml::bytes{ml::evaluate(posed, free.options).peak.count * 9 / 10};
    const auto found = ml::solve_intra(posed);
    if (!found) continue;
    const ml::intra_certificate proof = certify(posed, found.value());
    CHECK(check(posed, proof).empty());
    CHECK(proof.bound <= found.value().bound);
    CHECK(proof.bound.count >= found.value().bound.count * 9 / 10);
  }
}
