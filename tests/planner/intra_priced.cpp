// SPDX-License-Identifier: Apache-2.0
// planner/intra_priced.hpp: at every price of a byte the answer is the cheapest assignment, whatever was asked before,
// but for what rounding loses; and no assignment costs less than the bound, however dear a byte is.
#include "intra_cases.hpp"

#include <meshloom/planner/intra_priced.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace intra_cases;

namespace {

__extension__ using wide = __int128;

/// A problem without a limit, and what is paid for: some choices hold nothing.
struct priced_case {
  ml::intra_problem posed;
  ml::vector<ml::vector<ml::bytes>> paid;

  explicit priced_case(std::uint32_t seed) : posed(small_problem(seed)) {
    dice roll(seed);
    posed.limit.reset();
    for (const ml::intra_choice& each : posed.choices) {
      paid.emplace_back(each.size.size());
      const bool holds = !roll.one_in(4);
      for (ml::bytes& held : paid.back()) held.count = holds ? roll(0, 40) : 0;
    }
  }

  ml::bytes held(const ml::vector<std::int32_t>& options) const {
    ml::bytes sum;
    for (std::size_t c = 0; c < options.size(); ++c) sum += paid[c][static_cast<std::size_t>(options[c])];
    return sum;
  }

  /// What an assignment costs with its bytes, rounded down; `forbidden` if it cannot be.
  std::int64_t cost(const ml::vector<std::int32_t>& options, const ml::byte_price& each) const {
    const ml::picoseconds own = ml::evaluate(posed, options).cost;
    if (own >= ml::forbidden) return ml::forbidden.count;
    const wide with = wide{held(options).count} * each.cost.count / each.per.count;
    return own.count + static_cast<std::int64_t>(std::min<wide>(with, ml::forbidden.count));
  }

  std::int64_t least(const ml::byte_price& each) const {
    std::int64_t best = ml::forbidden.count;
    for_each_assignment(posed, [&](const auto& options) { best = std::min(best, cost(options, each)); });
    return best;
  }
};

}  // namespace

TEST_CASE("at every price the answer is the cheapest, but for rounding, and its bound holds") {
  int answered = 0, refused = 0, other = 0;
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    const priced_case one(seed);
    const auto lost = static_cast<std::int64_t>(one.posed.choices.size());
    ml::priced_intra solver(one.posed, one.paid);
    ml::vector<std::int32_t> before;
    for (const ml::byte_price each :
         {ml::byte_price{{0}, {1}}, {{1}, {7}}, {{50}, {3}}, {{100'000}, {1}}, {{2}, {1}}}) {
      const auto found = solver.solve(each, {});
      const std::int64_t optimum = one.least(each);
      REQUIRE(found.has_value() == (optimum < ml::forbidden.count));
      if (!found) {
        ++refused;
        continue;
      }
      ++answered;
      CHECK(found->closed());
      CHECK(found->bound.count <= optimum);
      const std::int64_t says = one.cost(found->options, each);
      CHECK(says >= optimum);
      CHECK(says - optimum <= lost);
      CHECK(found->cost.count <= says);
      CHECK(says - found->cost.count <= lost);
      if (each.cost.count == 0) CHECK(found->cost.count == optimum);
      other += !before.empty() && before != found->options ? 1 : 0;
      before = found->options;
    }
  }
  CHECK(answered > 500);
  CHECK(refused > 20);
  CHECK(other > 200);
}

TEST_CASE("where bytes are too dear to be added up, what is left out is not undercut by the bound") {
  int above = 0, cut = 0;
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    const priced_case one(seed);
    ml::priced_intra solver(one.posed, one.paid);
    const ml::byte_price dear{{std::int64_t{1} << 52}, {1}};
    const auto found = solver.solve(dear, {});
    if (!found) continue;
    CHECK(found->bound.count <= one.least(dear));
    CHECK(one.cost(found->options, dear) >= one.least(dear));
    above += found->bound > ml::picoseconds{} ? 1 : 0;
    cut += found->bound < found->cost ? 1 : 0;
  }
  CHECK(above > 100);
  CHECK(cut > 10);
}
