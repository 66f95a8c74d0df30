// SPDX-License-Identifier: Apache-2.0
// planner/intra.hpp: the solver against every assignment, where there are few, and against its own bound elsewhere.
#include "intra_cases.hpp"

#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/intra_elimination.hpp>

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <utility>

namespace ml = meshloom;
using namespace intra_cases;

namespace {

/// What holds of every answer, whatever limits it was found under.
void check_answer(const ml::intra_problem& posed, const ml::intra_answer& answer) {
  const ml::intra_price price = ml::evaluate(posed, answer.options);
  CHECK(price.allowed);
  CHECK(price.cost == answer.cost);
  CHECK(answer.bound <= answer.cost);
  CHECK(answer.closed() == (answer.closed_by != ml::intra_rung::none));
}

/// What holds of every refusal of a problem none of whose assignments is allowed.
void check_refusal(const ml::intra_problem& posed, const truth& all, const std::string& why) {
  CAPTURE(why);
  if (!all.leanest) {
    CHECK(why == "the couplings forbid every assignment");
    return;
  }
  CHECK(why.find(std::to_string(posed.limit->count) + " bytes") != std::string::npos);
  CHECK(why.find("did not prove") == std::string::npos);
  if (const auto at = why.find("needs at least "); at != std::string::npos) {
    const std::int64_t needed = std::stoll(why.substr(at + 15));
    CHECK(needed <= all.leanest->count);
    CHECK(needed > posed.limit->count);
  }
}

/// A ladder whose limit is a share of what its best assignment without one needs.
ml::intra_problem tight_ladder(std::uint32_t seed, std::int32_t depth, std::int32_t most, std::int64_t percent) {
  ml::intra_problem posed = ladder(seed, depth, 2, most);
  const auto free = ml::solve_intra(posed);
  REQUIRE(bool(free));
  posed.limit = ml::bytes{ml::evaluate(posed, free.value().options).peak.count * percent / 100};
  return posed;
}

/// No rung does more than it must.
ml::intra_options starved() {
  ml::intra_options limits;
  limits.most_entries = limits.quick_entries = 0;
  limits.rounds = 1;
  limits.neighbourhoods = limits.nodes = 0;
  return limits;
}

class scripted final : public ml::integer_solver {
 public:
  explicit scripted(answer says) : says_(std::move(says)) {}
  answer solve(const ml::intra::network&, std::int64_t) const override { return says_; }

 private:
  answer says_;
};

}  // namespace

TEST_CASE("small problems: the optimum, proven, or a proof that there is none") {
  int answers = 0, refusals = 0, binding = 0;
  for (std::uint32_t seed = 0; seed < 1600; ++seed) {
    CAPTURE(seed);
    const ml::intra_problem posed = small_problem(seed);
    const truth all = try_all(posed);
    const auto found = ml::solve_intra(posed);
    REQUIRE(bool(found) == all.best.has_value());
    if (found) {
      check_answer(posed, found.value());
      CHECK(found.value().cost == *all.best);
      CHECK(found.value().closed());
    } else {
      check_refusal(posed, all, found.error());
    }
    ++(found ? answers : refusals);
    binding += found && *all.best_unlimited < *all.best;
  }
  CHECK(answers > 800);
  CHECK(refusals > 300);
  CHECK(binding > 150);
}

TEST_CASE("however little it may do, the optimum lies between bound and cost") {
  int open = 0, unproven = 0;
  for (std::uint32_t seed = 0; seed < 1600; ++seed) {
    CAPTURE(seed);
    const ml::intra_problem posed = small_problem(seed);
    const truth all = try_all(posed);
    const auto found = ml::solve_intra(posed, starved());
    if (!found) {
      if (all.best) CHECK(found.error().find("met no assignment") == 0);
      unproven += all.best.has_value();
      continue;
    }
    REQUIRE(all.best.has_value());
    check_answer(posed, found.value());
    CHECK(found.value().bound <= *all.best);
    CHECK(found.value().cost >= *all.best);
    open += !found.value().closed();
  }
  CHECK(open > 10);
  CHECK(unproven < 20);
}

TEST_CASE("ladders close, with memory that binds as well, each rung in its turn") {
  std::array<int, 6> closed{};
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    for (const std::int64_t percent : {100, 85, 75}) {
      CAPTURE(seed);
      CAPTURE(percent);
      const ml::intra_problem posed = tight_ladder(seed, 10, 6, percent);
      const auto found = ml::solve_intra(posed);
      REQUIRE(bool(found));
      check_answer(posed, found.value());
      CHECK(found.value().closed());
      ++closed[static_cast<std::size_t>(found.value().closed_by)];
      const auto again = ml::solve_intra(posed);
      CHECK(again.value().options == found.value().options);
      CHECK(again.value().work == found.value().work);

      ml::intra_options wide;  // nothing is narrow enough to be eliminated
      wide.most_entries = wide.quick_entries = 0;
      const auto other = ml::solve_intra(posed, wide);
      REQUIRE(bool(other));
      check_answer(posed, other.value());
      CHECK(other.value().bound <= found.value().cost);
      CHECK(other.value().cost >= found.value().bound);
    }
  }
  CHECK(closed[static_cast<std::size_t>(ml::intra_rung::elimination)] > 5);
  CHECK(closed[static_cast<std::size_t>(ml::intra_rung::branching)] > 2);
}

TEST_CASE("where memory does not matter, nothing that is left out is missed") {
  int narrowed = 0;
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    const ml::intra_problem posed = ladder(seed, 8, 12, 24);
    const ml::intra::network net = ml::intra::network_of(posed);
    auto exact = ml::intra::elimination::plan(net, 1 << 24);
    REQUIRE(exact);
    const auto found = ml::solve_intra(posed);
    REQUIRE(bool(found));
    check_answer(posed, found.value());
    CHECK(found.value().closed());
    CHECK(found.value().cost.count == exact->run(ml::intra::own_prices(net)).price >> net.shift);
    narrowed += 2 * found.value().work < exact->work();
  }
  CHECK(narrowed > 20);
}

TEST_CASE("where all choices are coupled and the best is met late, nothing that is left out is missed either") {
  ml::intra_options limits;
  limits.quick_entries = limits.most_entries = 0;
  limits.neighbourhoods = 0;
  int closed = 0;
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    dice roll(seed);
    ml::intra_problem posed;
    for (std::int32_t c = 0; c < 8; ++c) {
      posed.choices.push_back({ml::vector<ml::picoseconds>(5), ml::vector<ml::bytes>(5), 0, 0});
      for (std::int32_t other = 0; other < c; ++other) {
        ml::intra_coupling next{other, c, {}};
        for (int k = 0; k < 25; ++k) next.cost.push_back({roll(0, 1'000'000)});
        posed.couplings.push_back(next);
      }
    }
    const ml::intra::network net = ml::intra::network_of(posed);
    const std::int64_t best = ml::intra::elimination::plan(net, 1 << 20)->run(ml::intra::own_prices(net)).price;
    const auto found = ml::solve_intra(posed, limits);
    REQUIRE(bool(found));
    check_answer(posed, found.value());
    CHECK(found.value().bound.count <= best >> net.shift);
    CHECK(found.value().cost.count >= best >> net.shift);
    closed += found.value().closed();
  }
  CHECK(closed > 30);
}

TEST_CASE("little more work is done than is allowed, and what was met by then is bounded") {
  int open = 0, closed = 0;
  for (std::uint32_t seed = 0; seed < 6; ++seed) {
    for (const auto& [options, percent] : {std::pair{24, 1000}, std::pair{10, 80}}) {  // no limit, one that binds
      const ml::intra_problem posed = tight_ladder(seed, 12, options, percent);
      const ml::intra_answer best = ml::solve_intra(posed).value();
      std::int64_t entries = 0;
      for (const ml::intra_coupling& each : posed.couplings) entries += static_cast<std::int64_t>(each.cost.size());
      for (std::int64_t most = 1000; most <= 100'000'000; most *= 10) {
        CAPTURE(seed);
        CAPTURE(percent);
        CAPTURE(most);
        ml::intra_options limits;
        limits.most_work = most;
        limits.starts = {best.options};
        const auto found = ml::solve_intra(posed, limits);
        REQUIRE(bool(found));
        check_answer(posed, found.value());
        CHECK(found.value().bound <= best.cost);
        CHECK(found.value().cost == best.cost);
        CHECK(found.value().work <= most * 13 / 10 + 60 * entries);  // what is begun, say a node, ends
        ++(found.value().closed() ? closed : open);
      }
    }
  }
  CHECK(open > 10);
  CHECK(closed > 10);
}

TEST_CASE("a start is never lost, and one that is not legal is ignored") {
  const ml::intra_problem posed = tight_ladder(2, 10, 6, 75);
  const ml::intra_answer best = ml::solve_intra(posed).value();
  ml::intra_options limits = starved();
  const auto without = ml::solve_intra(posed, limits);
  CHECK((!without || without.value().cost > best.cost));
  limits.starts = {{}, ml::vector<std::int32_t>(posed.choices.size(), 99), best.options};
  const auto with = ml::solve_intra(posed, limits);
  REQUIRE(bool(with));
  check_answer(posed, with.value());
  CHECK(with.value().cost == best.cost);
}

TEST_CASE("an integer solver is asked last, and believed only in its bound") {
  const ml::intra_problem posed = tight_ladder(2, 10, 6, 75);
  const ml::intra_answer best = ml::solve_intra(posed).value();
  ml::intra_options limits = starved();
  limits.starts = {best.options};
  const auto alone = ml::solve_intra(posed, limits);
  REQUIRE(!alone.value().closed());
  const scripted knows({{}, ml::intra::never}), shrugs({{}, 0});
  limits.exact = &knows;
  CHECK(ml::solve_intra(posed, limits).value().closed_by == ml::intra_rung::integer_program);
  limits.exact = &shrugs;
  CHECK(ml::solve_intra(posed, limits).value().bound == alone.value().bound);
  limits.most_binaries = 1;
  limits.exact = &knows;
  CHECK(!ml::solve_intra(posed, limits).value().closed());
}

TEST_CASE("a problem with a fault is refused with it") {
  ml::intra_problem posed = small_problem(0);
  posed.choices[1].size.pop_back();
  const auto found = ml::solve_intra(posed);
  CHECK(!found);
  CHECK(found.error() == ml::check(posed).front());
  CHECK(ml::solve_intra({}).value().cost.count == 0);
}
