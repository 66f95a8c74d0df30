// SPDX-License-Identifier: Apache-2.0
// planner/certificate.hpp: a certificate that is written by hand proves its bound, and whatever is changed in one that
// proves the optimum, it never proves more than the optimum: found by trying every assignment.
#include "intra_cases.hpp"

#include <meshloom/planner/certify.hpp>
#include <meshloom/planner/intra.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

namespace {

/// Two choices of two options; equal ones are forbidden; option 1 holds too much for both.
ml::intra_problem by_hand() {
  ml::intra_problem posed;
  posed.choices = {{{{5}, {1}}, {{1}, {4}}, 0, 1}, {{{7}, {2}}, {{1}, {4}}, 0, 1}};
  posed.couplings = {{0, 1, {ml::forbidden, {3}, {4}, ml::forbidden}}};
  posed.limit = ml::bytes{5};
  posed.end = 1;
  return posed;
}

/// One number of a certificate made another.
bool tamper(ml::intra_certificate& proof, dice& roll) {
  if (proof.nodes.empty()) return false;
  auto& node = proof.nodes[static_cast<std::size_t>(roll(0, static_cast<std::int32_t>(proof.nodes.size()) - 1))];
  const std::int64_t change = (std::int64_t{1} << roll(0, 62)) * (roll.one_in(2) ? 1 : -1);
  const auto any = [&](auto& numbers) -> auto& {
    return numbers[static_cast<std::size_t>(roll(0, static_cast<std::int32_t>(numbers.size()) - 1))];
  };
  switch (roll(0, 9)) {
    case 0:
      proof.bound.count += roll(1, 1000);
      return true;
    case 1:
      proof.shift += roll(-2, 40);
      return true;
    case 2:
      proof.grain += roll(-2, 40);
      return true;
    case 3:
      return !proof.joins.empty() && (any(proof.joins).coupling += roll(-2, 2), true);
    case 4:
      return !proof.joins.empty() && (any(proof.joins).left_stays ^= true, true);
    case 5:
      return !node.bytes.empty() && (any(node.bytes).price += change, true);
    case 6:
      return !node.moved.empty() && (any(node.moved) += change, true);
    case 7:
      return node.what = static_cast<ml::intra_certificate::fate>(roll(0, 2)), true;
    case 8:
      return !node.first.empty() && (any(node.first) += roll(-2, 2), true);
    default:
      return proof.nodes.pop_back(), true;
  }
}

}  // namespace

TEST_CASE("a certificate that is written by hand is believed as far as it proves") {
  const ml::intra_problem posed = by_hand();
  ml::intra_certificate proof;
  proof.bound = {10};
  proof.joins = {{0, true}};
  proof.nodes = {{ml::intra_certificate::fate::closed, {}, {}, 0, {}}};
  CHECK(check(posed, proof).empty());
  proof.bound = {11};
  CHECK(check(posed, proof) ==
        ml::vector<std::string>{"the certificate does not prove its bound: node 0 does not close its case"});
  proof.bound = {9};
  proof.joins = {{0, true}, {0, true}};
  CHECK(check(posed, proof).front().find("join 1 is none") != std::string::npos);
  proof.joins = {};
  CHECK(check(posed, proof).front().find("node 0 has prices that cannot be") != std::string::npos);
  proof.nodes[0].moved = {0, 0, 0, 0};
  CHECK(check(posed, proof).front().find("does not close") != std::string::npos);
  proof.bound = {5};
  CHECK(check(posed, proof).empty());
  proof.nodes.push_back(proof.nodes[0]);
  CHECK(check(posed, proof).front().find("node 1 is about no case") != std::string::npos);
  proof.nodes.clear();
  CHECK(check(posed, proof).front().find("1 cases are left open") != std::string::npos);
}

TEST_CASE("no change makes a certificate prove more than the optimum") {
  dice roll(11);
  int refused = 0, believed = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    const ml::intra_problem posed = small_problem(seed);
    const truth all = try_all(posed);
    const auto found = ml::solve_intra(posed);
    if (!all.best || !found) continue;
    const ml::intra_certificate proof = certify(posed, found.value());
    REQUIRE(check(posed, proof).empty());
    for (int round = 0; round < 20; ++round) {
      ml::intra_certificate changed = proof;
      if (!tamper(changed, roll) || changed == proof) continue;
      const bool proven = check(posed, changed).empty();
      if (proven) CHECK(changed.bound <= *all.best);
      if (changed.bound > *all.best) CHECK(!proven);
      (proven ? believed : refused) += 1;
    }
  }
  CHECK(refused > 500);
  CHECK(believed > 0);  // some numbers do not matter
}
