// SPDX-License-Identifier: Apache-2.0
// planner/intra_queue.hpp against enumeration: what comes, in what order, at what price, and what is left out.
#include <meshloom/planner/intra_queue.hpp>

#include "intra_cases.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

namespace ml = meshloom;

namespace {

constexpr std::int64_t plenty = 1 << 20;

ml::vector<ml::vector<ml::bytes>> sizes_of(const ml::intra_problem& posed) {
  ml::vector<ml::vector<ml::bytes>> sizes;
  for (const ml::intra_choice& each : posed.choices) sizes.push_back(each.size);
  return sizes;
}

/// What some choices cost and hold at the least, by their options.
struct cheapest {
  ml::picoseconds cost = ml::forbidden;
  ml::bytes held;
};

/// Every combination of listed choices that can be.
std::map<ml::vector<std::int32_t>, cheapest> enumerate(const ml::intra_problem& posed, const ml::vector<bool>& listed) {
  std::map<ml::vector<std::int32_t>, cheapest> found;
  intra_cases::for_each_assignment(posed, [&](const ml::vector<std::int32_t>& options) {
    const ml::picoseconds cost = ml::evaluate(posed, options).cost;
    if (cost >= ml::forbidden) return;
    ml::vector<std::int32_t> seen = options;
    ml::bytes held;
    for (std::size_t c = 0; c < listed.size(); ++c) {
      const auto& sizes = posed.choices[c].size;
      held += listed[c] ? sizes[static_cast<std::size_t>(options[c])] : *std::min_element(sizes.begin(), sizes.end());
      if (!listed[c]) seen[c] = -1;
    }
    cheapest& known = found[seen];
    known = {std::min(known.cost, cost), held};
  });
  return found;
}

}  // namespace

TEST_CASE("every combination that holds little enough comes once, cheapest first, at its least price") {
  std::size_t came = 0, heavy = 0;
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    intra_cases::dice roll(seed);
    const ml::intra_problem posed = intra_cases::small_problem(seed);
    ml::vector<bool> listed;
    for (std::size_t c = 0; c < posed.choices.size(); ++c) listed.push_back(!roll.one_in(3));
    auto expected = enumerate(posed, listed);
    const ml::bytes most{roll.one_in(2) ? 20 : 3'000'000'000};
    heavy += std::erase_if(expected, [&](const auto& each) { return each.second.held > most; });
    auto queue = ml::intra_queue::of(posed, listed, sizes_of(posed), plenty);
    REQUIRE(queue);
    ml::picoseconds before;
    while (const auto next = queue->next(most)) {
      CHECK(before <= next->cost);
      before = next->cost;
      REQUIRE(expected.count(next->options) == 1);
      CHECK(next->cost == expected[next->options].cost);
      CHECK(next->held == expected[next->options].held);
      expected.erase(next->options);
      ++came;
    }
    CHECK(expected.empty());
  }
  CHECK(came > 1000);
  CHECK(heavy > 100);
}

TEST_CASE("where tables would be too large there is none") {
  const ml::intra_problem posed = intra_cases::small_problem(1);
  const ml::vector<bool> all(posed.choices.size(), true);
  CHECK(!ml::intra_queue::of(posed, all, sizes_of(posed), 1));
  CHECK(ml::intra_queue::of(posed, all, sizes_of(posed), plenty));
}
