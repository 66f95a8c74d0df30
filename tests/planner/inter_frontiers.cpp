// SPDX-License-Identifier: Apache-2.0
// What remains of the labels of a state is what no other covers, the first of equals, lane by lane.
#include <meshloom/base/vector.hpp>
#include <meshloom/planner/inter_frontiers.hpp>

#include <doctest/doctest.h>

#include <random>

namespace {

struct pair_label {
  int a = 0, b = 0, number = 0;
  std::size_t at = 0;

  std::size_t lane() const { return at; }
  bool covers(const pair_label& other) const { return a <= other.a && b <= other.b; }
  bool operator==(const pair_label&) const = default;
};

/// Those of a lane that none before covers, and none after beats.
meshloom::vector<pair_label> uncovered(const meshloom::vector<pair_label>& made, std::size_t lane) {
  meshloom::vector<pair_label> kept;
  for (const pair_label& each : made) {
    bool beaten = each.at != lane;
    for (const pair_label& other : made) {
      if (other.at != lane || other.number == each.number || !other.covers(each)) continue;
      beaten = beaten || !each.covers(other) || other.number < each.number;
    }
    if (!beaten) kept.push_back(each);
  }
  return kept;
}

}  // namespace

TEST_CASE("what no other label of the lane covers remains, state by state") {
  std::mt19937 random(5);
  const auto draw = [&](int least, int most) { return std::uniform_int_distribution<int>(least, most)(random); };
  constexpr std::size_t states = 200, lanes = 3;
  meshloom::inter::frontiers<pair_label> kept(states, lanes);
  meshloom::vector<meshloom::vector<pair_label>> expected(states);
  std::size_t dropped = 0;
  for (std::size_t state = states; state-- > 0;) {  // some of them without labels
    meshloom::vector<pair_label> made;
    for (int number = draw(0, 3) * 5; number > 0; --number)
      made.push_back({draw(0, 6), draw(0, 6), number, static_cast<std::size_t>(draw(0, 2))});
    for (std::size_t n = 0; n < made.size(); ++n) {
      made[n].number = static_cast<int>(n);
      kept.add(made[n]);
    }
    kept.close(state);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      for (const pair_label& each : uncovered(made, lane)) expected[state].push_back(each);
    }
    dropped += made.size() - expected[state].size();
  }
  for (std::size_t state = 0; state < states; ++state) {
    const auto found = kept.at(state);
    CHECK(meshloom::vector(found.begin(), found.end()) == expected[state]);
    for (const pair_label& each : found) CHECK(kept[kept.number_of(each)] == each);
  }
  CHECK(dropped > 200);
}
