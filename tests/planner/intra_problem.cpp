// SPDX-License-Identifier: Apache-2.0
// planner/intra_problem.hpp: the referee by hand, every fault that it is told of, and what is left out where prices
// leave their range.
#include <meshloom/planner/intra_problem.hpp>

#include "intra_cases.hpp"

#include <doctest/doctest.h>

namespace ml = meshloom;

namespace {

/// Three choices; two couplings of one pair, turned round, and one of a choice with itself.
ml::intra_problem example() {
  ml::intra_problem made;
  made.choices = {{{{10}, {20}}, {{5}, {7}}, 0, 3},
                  {{{1}, {2}, {3}}, {{1}, {10}, {100}}, 2, 4},
                  {{{100}, ml::forbidden}, {{1000}, {0}}, 3, 3}};
  made.couplings = {{0, 1, {{1}, {2}, {3}, {4}, ml::forbidden, {6}}},
                    {1, 0, {{10}, {20}, {30}, {40}, {50}, {60}}},
                    {0, 0, {{1000}, {-0}, {0}, {2000}}}};
  made.end = 4;
  return made;
}

void check_fault(const ml::intra_problem& posed, const std::string& words) {
  CAPTURE(words);
  const auto found = ml::check(posed);
  REQUIRE(found.size() == 1);
  CHECK(found[0].find(words) != std::string::npos);
}

}  // namespace

TEST_CASE("the referee adds up prices, and bytes over time") {
  const ml::intra_problem posed = example();
  CHECK(ml::check(posed).empty());
  const ml::intra_price first = ml::evaluate(posed, {0, 0, 0});
  CHECK(first.cost.count == 10 + 1 + 100 + 1 + 10 + 1000);
  CHECK(first.peak.count == 5 + 1);
  CHECK(first.when == 2);
  CHECK(first.allowed);
  const ml::intra_price last = ml::evaluate(posed, {1, 2, 0});
  CHECK(last.cost.count == 20 + 3 + 100 + 6 + 60 + 2000);
  CHECK(last.peak.count == 107);
  CHECK(ml::evaluate(posed, {0, 2, 0}).cost.count == 10 + 3 + 100 + 3 + 50 + 1000);
}

TEST_CASE("what is forbidden, does not fit or is no assignment is not allowed") {
  ml::intra_problem posed = example();
  for (const ml::vector<std::int32_t>& options :
       {ml::vector{1, 1, 0}, {0, 0, 1}, {0, 0}, {0, 3, 0}, {0, -1, 0}, {0, 0, 0, 0}}) {
    CHECK(ml::evaluate(posed, options).cost == ml::forbidden);
    CHECK(!ml::evaluate(posed, options).allowed);
  }
  posed.limit = ml::bytes{6};
  CHECK(ml::evaluate(posed, {0, 0, 0}).allowed);  // exactly full
  posed.limit = ml::bytes{5};
  CHECK(!ml::evaluate(posed, {0, 0, 0}).allowed);
  CHECK(ml::evaluate(posed, {0, 0, 0}).cost.count == 1122);
}

TEST_CASE("every fault is found") {
  const ml::intra_problem sound = example();
  const auto with = [&](auto change) {
    ml::intra_problem posed = sound;
    change(posed);
    return posed;
  };
  check_fault(with([](auto& p) { p.choices[0].size.pop_back(); }), "2 prices and 1 sizes");
  check_fault(with([](auto& p) { p.choices[0].cost[1].count = -1; }), "negative price");
  check_fault(with([](auto& p) { p.choices[0].size[1].count = -1; }), "negative size");
  check_fault(with([](auto& p) { p.choices[0].first = -1; }), "from -1 to 3");
  check_fault(with([](auto& p) { p.choices[0].first = 4; }), "from 4 to 3");
  check_fault(with([](auto& p) { p.choices[1].end = 5; }), "outside the times 0 to 4");
  check_fault(with([](auto& p) { p.couplings[0].left = 3; }), "does not exist; there are 3");
  check_fault(with([](auto& p) { p.couplings[0].right = -1; }), "does not exist");
  check_fault(with([](auto& p) { p.couplings[0].cost.pop_back(); }), "has 5 prices; its two choices need 6");
  check_fault(with([](auto& p) { p.couplings[1].cost[0].count = -7; }), "coupling 1 has a negative price");
  check_fault(with([](auto& p) { p.choices[0].cost[0].count = std::int64_t{1} << 59; }), "2^59");
  check_fault(with([](auto& p) { p.choices[0].size[0].count = std::int64_t{1} << 60; }), "2^60");
  check_fault(with([](auto& p) { p.choices[0].size[0].count = INT64_MAX; }), "2^60");
  check_fault(with([](auto& p) { p.limit = ml::bytes{-1}; }), "limit is negative");
  const auto empty = ml::check(with([](auto& p) { p.choices.push_back({}); }));
  REQUIRE(empty.size() == 1);
  CHECK(empty[0].find("choice 3 has no option") != std::string::npos);
}

TEST_CASE("what is hopeless is left out; prices in range and the best assignment stay") {
  int left_out = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    const ml::intra_problem small = intra_cases::small_problem(seed);
    ml::intra_problem same = small;
    CHECK(ml::leave_out_hopeless(same) == ml::forbidden);
    CHECK(same == small);

    intra_cases::dice roll(seed);
    ml::intra_problem posed = small;
    const auto enlarge = [&](ml::vector<ml::picoseconds>& prices) {
      for (std::size_t k = 1; k < prices.size(); ++k) {  // one of each stays in range
        if (prices[k] < ml::forbidden && roll.one_in(4)) prices[k].count += std::int64_t{1} << roll(40, 59), ++left_out;
      }
    };
    for (ml::intra_choice& each : posed.choices) enlarge(each.cost);
    for (ml::intra_coupling& each : posed.couplings) enlarge(each.cost);
    ml::intra_problem kept = posed;
    const ml::picoseconds least = ml::leave_out_hopeless(kept);
    CHECK(ml::check(kept).empty());
    intra_cases::for_each_assignment(posed, [&](const ml::vector<std::int32_t>& options) {
      const ml::intra_price before = ml::evaluate(posed, options), after = ml::evaluate(kept, options);
      CHECK((after.cost == before.cost || after.cost == ml::forbidden));
      if (after.cost != before.cost) CHECK(before.cost >= least);
      if (before.cost.count < std::int64_t{1} << 50) CHECK(after.cost == before.cost);
      CHECK(after.peak == before.peak);
    });
  }
  CHECK(left_out > 300);
}

TEST_CASE("where all is dear, the cheapest of a table stays") {
  const ml::picoseconds dear{std::int64_t{1} << 57};
  ml::intra_problem posed = example();
  posed.choices[0].cost = {dear * 2, dear};
  ml::leave_out_hopeless(posed);
  CHECK(posed.choices[0].cost == ml::vector{ml::forbidden, dear});
  CHECK(posed.choices[1] == example().choices[1]);
  CHECK(posed.couplings == example().couplings);
}
