// SPDX-License-Identifier: Apache-2.0
// planner/intra_settling.hpp: what is known stays, and of all ways to settle the rest none costs less.
#include <meshloom/planner/intra_settling.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace ml = meshloom;

namespace {

/// A problem whose choices from `known` on are coupled with any known ones, and once with one of each other at the
/// most.
ml::intra_problem random_problem(std::mt19937& random, std::size_t known, std::size_t open) {
  ml::intra_problem posed{.choices = {}, .couplings = {}, .limit = {}, .end = 1};
  const auto price = [&] {
    return random() % 9 == 0 ? ml::forbidden : ml::picoseconds{static_cast<std::int64_t>(random() % 50)};
  };
  for (std::size_t n = 0; n < known + open; ++n) {
    const std::size_t options = 1 + random() % 3;
    posed.choices.push_back({.cost = {}, .size = ml::vector<ml::bytes>(options), .first = 0, .end = 1});
    for (std::size_t o = 0; o < options; ++o) posed.choices.back().cost.push_back(price());
  }
  const auto couple = [&](std::size_t a, std::size_t b) {
    if (random() % 2 == 0) std::swap(a, b);
    posed.couplings.push_back({static_cast<std::int32_t>(a), static_cast<std::int32_t>(b), {}});
    for (std::size_t e = 0; e < posed.choices[a].cost.size() * posed.choices[b].cost.size(); ++e)
      posed.couplings.back().cost.push_back(price());
  };
  for (std::size_t n = known; n < known + open; ++n) {
    for (std::size_t k = 0; k < known; ++k) couple(n, k);
    if (n > known && random() % 4 > 0) couple(n, known + random() % (n - known));
  }
  return posed;
}

/// The least that an assignment costs that begins with these options.
ml::picoseconds least_of_all(const ml::intra_problem& posed, ml::vector<std::int32_t> options) {
  if (options.size() == posed.choices.size()) return ml::evaluate(posed, options).cost;
  ml::picoseconds least = ml::forbidden;
  const auto count = static_cast<std::int32_t>(posed.choices[options.size()].cost.size());
  options.push_back(0);
  for (std::int32_t& last = options.back(); last < count; ++last) least = std::min(least, least_of_all(posed, options));
  return least;
}

}  // namespace

TEST_CASE("no way to settle what is open costs less, and what is known stays") {
  std::mt19937 random(11);
  int allowed = 0, refused = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::size_t known = random() % 3, open = 1 + random() % 5;
    const ml::intra_problem posed = random_problem(random, known, open);
    ml::vector<std::int32_t> options;
    for (std::size_t n = 0; n < known; ++n)
      options.push_back(static_cast<std::int32_t>(random() % posed.choices[n].cost.size()));
    const ml::picoseconds least = least_of_all(posed, options);
    auto given = options;
    given.resize(known + open, -1);
    const auto settled = ml::settle(posed, given);
    CHECK(std::equal(options.begin(), options.end(), settled.begin()));
    CHECK(std::min(ml::evaluate(posed, settled).cost, ml::forbidden) == least);
    ++(least < ml::forbidden ? allowed : refused);
  }
  CHECK(allowed > 300);
  CHECK(refused > 300);
}

TEST_CASE("of what costs the same, what is smaller is taken") {
  const ml::intra_problem posed{.choices = {{.cost = {{1}, {1}, {2}}, .size = {{8}, {4}, {1}}, .first = 0, .end = 1}},
                                .couplings = {},
                                .limit = {},
                                .end = 1};
  CHECK(ml::settle(posed, {-1}) == ml::vector<std::int32_t>{1});
}
