// SPDX-License-Identifier: Apache-2.0
// planner/watch.hpp: whoever only looks changes nothing; a search that is ended has a sound plan with a bound that
// holds, or says that it has none.
#include <meshloom/base/vector.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/report/evaluate.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace ml = meshloom;

namespace {

/// On ranks whose memory is scarce or not.
ml::vector<ml::problem> problems() {
  ml::vector<ml::problem> made;
  for (const std::int32_t ranks : {2, 4}) made.push_back(ml::formulate(models::vectors(), models::near_ranks(ranks)));
  made.push_back(made.front());
  made.back().cluster.device.memory = {24'000};
  ml::cluster hosts = models::near_ranks(2);
  hosts.hosts = 2;
  made.push_back(ml::formulate(models::vectors({.layers = 2, .samples = 12}), hosts));
  return made;
}

/// Ends the search when it asks for the n-th time, counted from 0.
ml::result<ml::plan> ended_at(const ml::problem& posed, int n) {
  return ml::solve(posed, {}, {.proceed = [&n](const ml::planning_progress&) { return n-- > 0; }});
}

/// Everything that a whole search tells.
ml::vector<ml::planning_progress> told(const ml::problem& posed, ml::plan& made) {
  ml::vector<ml::planning_progress> all;
  made = ml::solve(posed, {},
                   {.proceed =
                        [&](const ml::planning_progress& now) {
                          all.push_back(now);
                          return true;
                        }})
             .value();
  return all;
}

}  // namespace

TEST_CASE("watching changes nothing, and what is told gets no worse") {
  for (const ml::problem& posed : problems()) {
    const ml::plan alone = ml::solve(posed).value();
    ml::plan made;
    const auto all = told(posed, made);
    CHECK(made == alone);
    CHECK(ml::solve(posed, {}, {.seconds = 1e12}).value() == alone);
    REQUIRE(all.size() > 2);
    CHECK(!all.front().best);
    CHECK(all.front().promise);
    CHECK(all.front().racing > 1);
    CHECK(all.back().best);
    CHECK(*all.back().best >= made.predicted);
    CHECK(all.back().racing == 0);
    for (std::size_t n = 1; n < all.size(); ++n) {
      CHECK(all[n].work >= all[n - 1].work);
      if (all[n - 1].best) CHECK(all[n].best.value() <= *all[n - 1].best);
      CHECK(all[n].promise.has_value() == (all[n].racing > 0));
    }
  }
}

TEST_CASE("a search that is ended has the best plan so far, and a bound that holds") {
  int ended = 0, worse = 0;
  for (const ml::problem& posed : problems()) {
    ml::plan best;
    const auto all = told(posed, best);
    ml::picoseconds before;
    for (int n = 0; n <= static_cast<int>(all.size()); n += 1 + static_cast<int>(all.size()) / 12) {
      CAPTURE(n);
      const auto made = ended_at(posed, n);
      const bool known = n == static_cast<int>(all.size()) || all[static_cast<std::size_t>(n)].best.has_value();
      REQUIRE(static_cast<bool>(made) == known);
      if (!made) continue;
      const ml::plan& early = made.value();
      const auto violations = ml::evaluate(posed, early).violations;
      CHECK_MESSAGE(violations.empty(), violations.front());
      CHECK(early.bound.count > 0);
      CHECK(early.bound <= best.predicted);
      CHECK(early.predicted >= best.predicted);
      if (n < static_cast<int>(all.size())) CHECK(early.predicted == *all[static_cast<std::size_t>(n)].best);
      if (before.count > 0) CHECK(early.predicted <= before);
      before = early.predicted;
      ++ended;
      worse += early.predicted > best.predicted ? 1 : 0;
    }
  }
  CHECK(ended > 20);
  CHECK(worse > 0);
}

TEST_CASE("a search that is ended before there is a plan says so, and what to do") {
  const ml::problem posed = problems().front();
  for (const auto& made : {ended_at(posed, 0), ml::solve(posed, {}, {.seconds = 1e-9})}) {
    REQUIRE(!made);
    CHECK(made.error().starts_with("the search was ended before it had found any plan"));
    CHECK(made.error().find("; let it go on for longer, or ") != std::string::npos);
  }
}

TEST_CASE("a search that is told to end asks no more") {
  int asked = 0;
  ml::solve(problems().front(), {}, {.proceed = [&](const ml::planning_progress&) { return ++asked < 30; }});
  CHECK(asked == 30);
}

TEST_CASE("a plan by hand takes no search") {
  const ml::problem posed = models::posed(models::vectors(), "data", 2);
  CHECK(ended_at(posed, 0).value() == ml::solve(posed).value());
}

TEST_CASE("a first plan is found long before the search ends, and soon one that is nearly the best") {
  ml::cluster hosts = models::near_ranks(8);
  hosts.hosts = 2;
  ml::plan made;
  const auto all = told(ml::formulate(models::gpt({.layers = 16, .samples = 64}), hosts), made);
  const auto first = std::find_if(all.begin(), all.end(), [](const ml::planning_progress& now) { return !!now.best; });
  REQUIRE(first != all.end());
  CHECK(first->work <= all.back().work / 3);
  const auto near = std::find_if(first, all.end(), [&](const ml::planning_progress& now) {
    return now.best->count <= made.predicted.count + made.predicted.count / 100;
  });
  REQUIRE(near != all.end());
  CHECK(near->work <= all.back().work / 2);
}
