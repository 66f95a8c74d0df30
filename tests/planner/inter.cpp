// SPDX-License-Identifier: Apache-2.0
// The inter-operator solver equals the enumeration of all plans and Alpa's own dynamic program, and the referee refuses
// whatever is no plan.
#include "inter_cases.hpp"

#include <meshloom/planner/inter.hpp>
#include <meshloom/planner/inter_bound.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <string>

namespace ml = meshloom;
using namespace inter_cases;

namespace {

/// The answers are those of the plans that keep to the limit and are worth it.
void compare(const ml::inter_problem& posed, const ml::vector<tried>& plans) {
  const auto answer = ml::solve(posed);
  ml::vector<std::optional<std::int64_t>> least(static_cast<std::size_t>(posed.blocks) + 1);
  bool any = false;
  for (const tried& plan : plans) {
    if (posed.limit && plan.peak > posed.limit->count) continue;
    if (posed.worth && plan.cost >= posed.worth->count) continue;
    any = true;
    auto& here = least[static_cast<std::size_t>(plan.stages)];
    here = std::min(here.value_or(plan.cost), plan.cost);
  }
  REQUIRE(bool(answer) == any);
  const auto cheapest = ml::cheapest(posed);
  REQUIRE(bool(cheapest) == any);
  if (any) CHECK(cheapest.value().cost == answer.value().best.cost);
  if (!answer) {
    CHECK_FALSE(answer.error().empty());
    if (posed.worth)
      CHECK(answer.error() ==
            "no plan costs less than the " + std::to_string(posed.worth->count) + " ps that it is worth");
    else
      CHECK(answer.error() == ml::bound_of(posed).error());
    return;
  }
  const auto& found = answer.value();
  std::optional<ml::inter_plan> best;
  for (std::size_t n = 0; n < least.size(); ++n) {
    const auto plan = n < found.by_stages.size() ? found.by_stages[n] : std::nullopt;
    REQUIRE(plan.has_value() == least[n].has_value());
    if (!plan) continue;
    CHECK(plan->cost.count == *least[n]);
    CHECK(plan->candidates.size() == n);
    const auto price = ml::evaluate(posed, plan->candidates);
    CHECK_MESSAGE(price, price.error());
    CHECK(price.value().cost == plan->cost);
    if (!best || plan->cost < best->cost) best = plan;
  }
  CHECK(found.best == best);
}

/// Eight blocks of a GPT-like model on two hosts of four.
ml::inter_problem example() {
  ml::inter_problem posed{.blocks = 8, .hosts = 2, .devices_per_host = 4, .micro_batches = 16};
  for (int first = 0; first < 8; ++first) {
    for (int end = first + 1; end <= 8; ++end) {
      for (const int ranks : {1, 2, 4, 8}) {
        const std::int64_t work = (end - first) * 1000;
        posed.candidates.push_back(
            {first, end, ranks, {work / ranks + 10 * ranks}, {work / 10}, {work / ranks}, {work / ranks / 4}});
      }
    }
  }
  posed.cut_within.assign(8, {5});
  posed.cut_between.assign(8, {50});
  return posed;
}

/// The candidate of the example for these blocks and ranks.
std::int32_t find(const ml::inter_problem& posed, int first, int end, int ranks) {
  for (std::size_t c = 0; c < posed.candidates.size(); ++c) {
    const auto& each = posed.candidates[c];
    if (each.first_block == first && each.end_block == end && each.ranks == ranks) return static_cast<std::int32_t>(c);
  }
  return -1;
}

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

using optional_time = std::optional<std::int64_t>;

void keep_least(optional_time& least, std::int64_t time) { least = std::min(least.value_or(time), time); }

/// Alpa's dynamic program (section 5.2): for every slowest stage in turn, the least sum of stages that are no slower
/// and have no more successors than memory lets them. Ranks are counted in order, and every number of stages by itself.
class alpa {
 public:
  explicit alpa(const ml::inter_problem& posed) : posed_(posed), all_(posed.hosts * posed.devices_per_host) {}

  /// The optimum for n stages is entry n.
  ml::vector<optional_time> by_stages() const {
    std::set<std::int64_t> slowest_times;
    for (const auto& each : posed_.candidates) {
      slowest_times.insert(rest_of(each));
    }
    ml::vector<optional_time> best(static_cast<std::size_t>(posed_.blocks) + 1);
    for (const std::int64_t slowest : slowest_times) {
      sums ends(best.size(), ml::vector<optional_time>(static_cast<std::size_t>(all_) + 1));
      const sums none = ends;
      ends.back().back() = 0;
      for (std::size_t stages = 1; stages < best.size(); ++stages) {
        sums longer = none;
        for (const auto& each : posed_.candidates) {
          if (most_stages(each) >= static_cast<std::int64_t>(stages)) add(each, slowest, ends, longer);
        }
        ends = longer;
        const std::int64_t more = posed_.micro_batches - 1;
        if (const auto sum = ends[0][0])
          keep_least(best[stages], *sum + std::max(slowest, more * *sum / static_cast<std::int64_t>(stages)));
      }
    }
    return best;
  }

 private:
  using sums = ml::vector<ml::vector<optional_time>>;  // by first block and rank

  std::int64_t cut(int block, int rank) const {
    if (block == 0 || block == posed_.blocks) return 0;
    return (rank % posed_.devices_per_host != 0 ? posed_.cut_within
                                                : posed_.cut_between)[static_cast<std::size_t>(block)]
        .count;
  }

  std::int64_t rest_of(const ml::stage_candidate& each) const {
    return (posed_.micro_batches - 1) * each.time.count + each.once.count;
  }

  /// With itself.
  std::int64_t most_stages(const ml::stage_candidate& each) const {
    return (posed_.limit->count - each.held.count) / each.slot.count;
  }

  void add(const ml::stage_candidate& each, std::int64_t slowest, const sums& ends, sums& longer) const {
    const auto first = static_cast<std::size_t>(each.first_block), end = static_cast<std::size_t>(each.end_block);
    for (int rank = 0; rank + each.ranks <= all_; ++rank) {
      const int in_host = rank % posed_.devices_per_host;
      if (in_host != 0 && in_host + each.ranks > posed_.devices_per_host) continue;
      if (rest_of(each) > slowest) continue;
      const auto after = ends[end][static_cast<std::size_t>(rank + each.ranks)];
      // Alpa's, and what it leaves out: half of the messages around it.
      const auto half = [&](int block, int at) {
        return cut(block, at) / (2 * std::max(each.ranks / posed_.devices_per_host, 1));
      };
      const std::int64_t own = each.time.count + half(each.first_block, rank) + half(each.end_block, rank + each.ranks);
      if (after) keep_least(longer[first][static_cast<std::size_t>(rank)], *after + own);
    }
  }

  const ml::inter_problem& posed_;
  int all_;
};

/// Alpa's own random problems: costs that scale with ranks by one exponent, and so many successors at most. More
/// micro-batches than blocks make the memory of 1F1B what Alpa counts. `whole` adds what Alpa leaves out.
ml::inter_problem alpa_problem(numbers& from, int blocks, int hosts, int devices_per_host, bool whole) {
  ml::inter_problem posed{.blocks = blocks, .hosts = hosts, .devices_per_host = devices_per_host};
  posed.micro_batches = draw(from, 0, 1) ? 16 : 512;
  posed.limit = {100 * blocks};
  const double exponent = draw(from, -2.0, 2.0);
  for (int first = 0; first < posed.blocks; ++first) {
    for (int end = first + 1; end <= posed.blocks; ++end) {
      for (const int ranks : stage_sizes(posed.hosts, posed.devices_per_host)) {
        const double time = 1e9 * (end - first) * draw(from, 1.0, 2.0) * std::pow(ranks, exponent);
        const std::int64_t most_stages = draw(from, 0, posed.blocks), slot = draw(from, 1, 100);
        posed.candidates.push_back(
            {first, end, ranks, {static_cast<std::int64_t>(time)}, {}, {100 * blocks - slot * most_stages}, {slot}});
        if (whole) posed.candidates.back().once = {draw(from, 0, 1000000000)};
      }
    }
  }
  for (int b = 0; b < posed.blocks; ++b) {
    posed.cut_within.push_back({whole ? draw(from, 0, 100000000) : 0});
    posed.cut_between.push_back({whole ? draw(from, 0, 1000000000) : 0});
  }
  return posed;
}

}  // namespace

TEST_CASE("plans of every number of stages equal those of an enumeration, under any limit and worth") {
  numbers from(20220711);
  int limited = 0, without_plan = 0, of_groups = 0, with_stops = 0;
  const auto compare_by_worth = [&](ml::inter_problem posed, const ml::vector<tried>& plans) {
    compare(posed, plans);
    for (int chosen = 0; chosen < 2; ++chosen) {
      const tried& plan = plans[static_cast<std::size_t>(draw(from, 0, static_cast<int>(plans.size()) - 1))];
      for (const std::int64_t worth : {plan.cost, plan.cost + 1, plan.bound, plan.bound + 1}) {
        posed.worth = {worth};
        compare(posed, plans);
      }
    }
    if (const auto answer = (posed.worth.reset(), ml::solve(posed))) {
      for (const std::int64_t more : {0, 1}) {
        posed.worth = answer.value().best.cost + ml::picoseconds{more};
        compare(posed, plans);
      }
    }
  };
  for (int trial = 0; trial < 800; ++trial) {
    CAPTURE(trial);
    ml::inter_problem posed = trial % 2 == 0 ? random_problem(from) : random_problem_of_groups(from);
    if (trial % 3 == 0) posed.stops = random_stops(from, posed.blocks);
    const auto plans = enumeration(posed).plans;
    compare(posed, plans);
    if (plans.empty()) {
      ++without_plan;
      continue;
    }
    const auto [leanest, fullest] =
        std::minmax_element(plans.begin(), plans.end(), [](const tried& a, const tried& b) { return a.peak < b.peak; });
    compare_by_worth(posed, plans);
    with_stops += posed.stops.empty() ? 0 : 1;
    set_limit(posed, fullest->peak);
    compare(posed, plans);
    for (int binding = 0; binding < 3; ++binding) {
      set_limit(posed, draw(from, static_cast<int>(leanest->peak), static_cast<int>(fullest->peak)));
      compare_by_worth(posed, plans);
      ++limited;
    }
    set_limit(posed, leanest->peak - 1);
    if (least_limit(posed) < 0) continue;
    compare(posed, plans);
    const std::string more = "holds " + std::to_string(leanest->peak) + " bytes, 1 more";
    CHECK(mentions(ml::solve(posed).error(), posed.others.empty() ? more : "holds 1 bytes more per rank"));
    of_groups += posed.others.empty() ? 0 : 1;
  }
  CHECK(limited > 1000);
  CHECK(of_groups > 100);
  CHECK(with_stops > 100);
  CHECK(without_plan > 10);
}

TEST_CASE("the optima are those of Alpa's dynamic program on its own random costs, and with what it leaves out") {
  numbers from(1);
  int solved = 0, refused = 0;
  const auto compare_with_alpa = [&](const ml::inter_problem& posed) {
    const auto answer = ml::solve(posed);
    const auto expected = alpa(posed).by_stages();
    for (std::size_t n = 0; answer && n < expected.size(); ++n) {
      const auto& by_stages = answer.value().by_stages;
      const auto found = n < by_stages.size() ? by_stages[n] : std::nullopt;
      REQUIRE(found.has_value() == expected[n].has_value());
      if (found) CHECK(found->cost.count == *expected[n]);
    }
    const bool any = std::any_of(expected.begin(), expected.end(), [](auto cost) { return cost.has_value(); });
    REQUIRE_MESSAGE(bool(answer) == any, answer.error());
    ++(any ? solved : refused);
  };
  for (const int blocks : {4, 8}) {
    for (const int hosts : {1, 4}) {
      for (const int devices_per_host : {1, 4}) {
        for (int trial = 0; trial < 40; ++trial) {
          compare_with_alpa(alpa_problem(from, blocks, hosts, devices_per_host, trial % 2 == 1));
        }
      }
    }
  }
  CHECK(solved > 250);
  CHECK(refused > 10);
  for (int trial = 0; trial < 8; ++trial) compare_with_alpa(alpa_problem(from, 14, 3, 4, true));
}

TEST_CASE("four blocks of weight 1 2 3 4 that speed up by n^0.8 are cut as by Alpa") {
  ml::inter_problem posed{.blocks = 4, .hosts = 1, .devices_per_host = 4};
  for (int first = 0; first < 4; ++first) {
    for (int end = first + 1; end <= 4; ++end) {
      for (const int ranks : {1, 2, 4}) {
        const int weight = (end * (end + 1) - first * (first + 1)) / 2;
        posed.candidates.push_back({first, end, ranks, ml::from_seconds(weight / std::pow(ranks, 0.8)), {}, {}, {}});
      }
    }
  }
  posed.cut_within = posed.cut_between = ml::vector<ml::picoseconds>(4);
  for (const int batches : {1, 4, 16}) {
    posed.micro_batches = batches;
    const auto best = ml::solve(posed).value().best;
    CHECK(best.candidates == ml::vector{find(posed, 0, 4, 4)});
    CHECK(ml::seconds(best.cost) == doctest::Approx(3.2987698 * batches));
  }
  posed.micro_batches = 64;
  const auto best = ml::solve(posed).value().best;
  CHECK(best.candidates == ml::vector{find(posed, 0, 2, 1), find(posed, 2, 3, 1), find(posed, 3, 4, 2)});
  CHECK(ml::seconds(best.cost) == doctest::Approx(197.2973967));
}

TEST_CASE("the price of a plan, by hand") {
  const ml::inter_problem posed = example();
  const ml::vector plan{find(posed, 0, 3, 2), find(posed, 3, 5, 2), find(posed, 5, 8, 4)};
  const auto price = ml::evaluate(posed, plan).value();
  // times 1520, 1020, 790; once 300, 200, 300; cuts 5 on the first host and 50 to the second
  CHECK(price.cost.count == 1520 + 2 + 1020 + 27 + 790 + 25 + 15 * 1520 + 300);
  // the first and the last micro-batch come back while the first stage works on two others, for a 16th of 300 longer
  CHECK(price.bound.count == 16 * 1520 + 2 * (5 + 1020 + 50 + 790 - (1520 + 19)) + 300);
  CHECK(price.peak.count == 1500 + 3 * 375);
  CHECK(price.where == 0);
  // two stages of time 1040 and once 400: the second begins after the first, which waits for it and then updates
  const auto halves = ml::evaluate(posed, {find(posed, 0, 4, 4), find(posed, 4, 8, 4)}).value();
  CHECK(halves.cost.count == 1040 + 50 + 1040 + 15 * 1040 + 400);
  CHECK(halves.bound.count == 16 * 1040 + 50 + 1040 + 400);
}

TEST_CASE("stages in a row that wait for slow and uneven messages set the pace, by hand") {
  ml::inter_problem posed = example();
  posed.cut_between.assign(8, {4000});
  const auto price = ml::evaluate(posed, {find(posed, 0, 4, 4), find(posed, 4, 6, 2), find(posed, 6, 8, 2)}).value();
  // times 1040, 1020, 1020; 4000 between hosts, half of it once more as 2 ranks send to 4; 5 within
  const std::int64_t passing = 1040 + 2000 + 2000 + 1020 + 2 + 2 + 1020;
  CHECK(price.cost.count == passing + 15 * passing / 3);
  CHECK(price.paced.count == passing + 15 * (1040 + 4000 + 2000 + 1020) / 2);
}

TEST_CASE("the referee refuses what is no plan, and says why") {
  ml::inter_problem posed = example();
  const auto at = [&](int first, int end, int ranks) { return find(posed, first, end, ranks); };
  const auto why = [&](const ml::vector<std::int32_t>& plan) { return ml::evaluate(posed, plan).error(); };
  CHECK(why({at(0, 4, 4), at(4, 8, 4)}) == "");
  CHECK(why({at(0, 3, 4), at(4, 8, 4)}) == "stage 1 begins with block 4 where block 3 is next");
  CHECK(why({at(0, 5, 4), at(4, 8, 4)}) == "stage 1 begins with block 4 where block 5 is next");
  CHECK(why({at(4, 8, 4), at(0, 4, 4)}) == "stage 0 begins with block 4 where block 0 is next");
  CHECK(why({at(0, 4, 4), at(4, 7, 4)}) == "the stages end before block 7");
  CHECK(why({at(0, 4, 4), at(4, 8, 2)}) == "the stages leave rank 6 idle");
  CHECK(why({at(0, 4, 4), at(4, 8, 8)}) == "stage 1 needs 8 ranks from rank 4 on, more than there are");
  CHECK(mentions(why({at(0, 3, 1), at(3, 5, 4), at(5, 8, 2)}), "stage 1 of 4 ranks straddles hosts of 4 devices"));
  CHECK(mentions(why({at(0, 2, 1), at(2, 4, 2), at(4, 6, 2), at(6, 8, 2)}), "it begins with rank 3"));
  CHECK(why({at(0, 4, 4), 1000}) == "stage 1 is a candidate that does not exist");
  CHECK(why({at(0, 4, 4), -1}) == "stage 1 is a candidate that does not exist");
  CHECK(why({}) == "the stages end before block 0");
  posed.stops = {0, 3, 5};
  CHECK(why({at(0, 4, 4), at(4, 8, 4)}) == "stage 1 begins with block 4, which no stage may");
  posed.stops = {0, 3, 4};
  CHECK(why({at(0, 4, 4), at(4, 8, 4)}) == "");
  posed.stops.clear();
  posed.candidates[static_cast<std::size_t>(at(0, 4, 4))].shifts = 4;  // may stand for the second as well
  CHECK(why({at(0, 4, 4), at(0, 4, 4)}) == "");
  posed.candidates[static_cast<std::size_t>(at(0, 4, 4))].shifts = 3;
  CHECK(why({at(0, 4, 4), at(0, 4, 4)}) == "stage 1 begins with block 0 to 3 where block 4 is next");
  posed.candidates[static_cast<std::size_t>(at(0, 4, 4))].shifts = 0;
  posed.limit = {1499};  // the first of two stages holds 1000 + 2 · 250
  CHECK(why({at(0, 4, 4), at(4, 8, 4)}) == "stage 0 holds 1500 bytes, 1 more than the limit");
  posed.limit = {1500};
  CHECK(why({at(0, 4, 4), at(4, 8, 4)}) == "");
  posed.schedule = ml::schedule_kind::gpipe;
  CHECK(why({at(0, 4, 4), at(4, 8, 4)}) == "stage 0 holds 5000 bytes, 3500 more than the limit");
}

TEST_CASE("the price of a plan on two groups of hosts, by hand, and what is none") {
  ml::inter_problem posed = example();  // and a host of two devices behind the two of four
  posed.others.push_back({1, 2, 1, {}, {}, {{2000}}});
  posed.others[0].cut_within.assign(8, {7});
  posed.others[0].cut_between.assign(8, {90});
  const auto stage = static_cast<std::int32_t>(posed.candidates.size());
  posed.candidates.push_back({7, 8, 2, {600}, {80}, {1200}, {100}, 0, {}, 1});
  posed.candidates.push_back({7, 8, 2, {600}, {80}, {1200}, {100}, 0, {}, 0});
  posed.candidates.push_back({4, 7, 8, {600}, {80}, {1200}, {100}, 0, {}, 0});
  REQUIRE(ml::check(posed).empty());
  const ml::vector plan{find(posed, 0, 4, 4), find(posed, 4, 7, 4), stage};
  const auto price = ml::evaluate(posed, plan).value();
  CHECK(price.cost.count == 1040 + 25 + 25 + 790 + 25 + 45 + 600 + 15 * 1040 + 400);
  CHECK(price.peak.count == 1000 + 3 * 250);
  const auto slow = [&] {
    ml::inter_problem made = posed;
    made.others[0].cut_between.assign(8, {40000});
    return ml::evaluate(made, plan).value();
  };
  // half of 40000 once more, as two ranks meet four
  const std::int64_t passing = 1040 + 25 + 25 + 790 + 25 + 20000 + 600;
  CHECK(slow().paced.count == passing + 15 * (790 + 25 + 20000 + 20000 + 600) / 2);
  const auto why = [&](const ml::vector<std::int32_t>& other) { return ml::evaluate(posed, other).error(); };
  CHECK(why({plan[0], plan[1], stage + 1}) == "stage 2 is for hosts of kind 0, and rank 8 is on one of kind 1");
  CHECK(why({plan[0], stage + 2, stage}) == "stage 1 needs 8 ranks from rank 4 on, more than there are");
  posed.others[0].hosts = 2;
  CHECK(why({plan[0], stage + 2, stage}) ==
        "stage 1 of 8 ranks straddles groups of hosts: it begins with rank 4, and the next group with rank 8");
  posed.others[0].hosts = 1;
  CHECK(why({plan[0], plan[1]}) == "the stages end before block 7");
  posed.limit = {1749};
  CHECK(why(plan) == "stage 0 holds 1750 bytes, 1 more than the limit");
  posed.limit = {1750};
  CHECK(why(plan) == "");
  posed.others[0].limit = {1299};
  CHECK(why(plan) == "stage 2 holds 1300 bytes, 1 more than the limit");
}

TEST_CASE("a sentence names what rules out all plans") {
  const auto without = [](auto which) {
    ml::inter_problem posed = example();
    ml::erase_if(posed.candidates, which);
    return ml::solve(posed).error();
  };
  CHECK(mentions(without([](const auto& each) { return each.first_block == 3 || each.end_block > 3; }),
                 "end before block 3, where none begins"));
  CHECK(mentions(without([](const auto&) { return true; }), "end before block 0, where none begins"));
  CHECK(mentions(without([](const auto& each) { return each.ranks > 1 || each.end_block - each.first_block < 3; }),
                 "tile 2 hosts of 4 devices in order; they have 1 ranks"));
  ml::inter_problem posed = example();
  posed.limit = {999};
  CHECK(ml::solve(posed).error() ==
        "no plan keeps to the limit of 999 bytes per rank: the leanest, of 1 stage, holds 1250 bytes, 251 more; raise "
        "the limit or price leaner stages");
}

TEST_CASE("a faulty problem is refused with its fault") {
  const auto fault = [](auto plant) {
    ml::inter_problem posed = example();
    REQUIRE(ml::check(posed).empty());
    plant(posed);
    const auto found = ml::check(posed);
    REQUIRE(found.size() == 1);
    CHECK(ml::solve(posed).error() == found.front());
    CHECK(ml::bound_of(posed).error() == found.front());
    return found.front();
  };
  using problem = ml::inter_problem;
  CHECK(mentions(fault([](problem& p) { p.blocks = 0; }), "no blocks"));
  CHECK(mentions(fault([](problem& p) { p.micro_batches = 0; }), "no micro-batches"));
  CHECK(mentions(fault([](problem& p) { p.hosts = 0; }), "no devices"));
  CHECK(mentions(fault([](problem& p) { p.hosts = p.devices_per_host = 1 << 20; }), "2^31 devices"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].first_block = -1; }), "candidate 3 runs the blocks from -1"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].end_block = 0; }), "candidate 3 runs the blocks from 0 to 0"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].end_block = 9; }), "must run at least one of 8"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].shifts = -1; }), "candidate 3 is shifted by up to -1 blocks"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].shifts = 8; }), "shifted by up to 8 blocks; after it come 7"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].ranks = 0; }), "candidate 3 has 0 ranks"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].ranks = 6; }), "neither part of a host of 4"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].ranks = 12; }), "nor 1 to 2 whole ones"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].time = {-1}; }), "negative time"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].once = {-1}; }), "negative time"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].held = {-1}; }), "negative size"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].slot = {-1}; }), "negative size"));
  CHECK(mentions(fault([](problem& p) { p.cut_within.pop_back(); }),
                 "there are 7 prices of cuts within a host for 8 blocks"));
  CHECK(mentions(fault([](problem& p) { p.cut_between[2] = {-1}; }), "a cut between hosts has a negative price"));
  CHECK(mentions(fault([](problem& p) { p.limit = {-1}; }), "the limit is negative"));
  CHECK(mentions(fault([](problem& p) { p.worth = {-1}; }), "what a plan is worth is negative"));
  CHECK(
      mentions(fault([](problem& p) { p.stops = {1}; }), "block 1 is out of place among those that stages may begin"));
  CHECK(mentions(fault([](problem& p) { p.stops = {0, 4, 4}; }), "block 4 is out of place"));
  CHECK(mentions(fault([](problem& p) { p.stops = {0, 8}; }), "name some of the 8 blocks, from 0 on, rising"));
  const ml::vector<ml::picoseconds> cuts(8);
  const auto add = [&](problem& p, int hosts, int devices, int kind) {
    p.others.push_back({hosts, devices, kind, cuts, cuts, {}});
  };
  CHECK(mentions(fault([&](problem& p) { add(p, 0, 4, 0); }), "a group of hosts has no devices"));
  CHECK(mentions(fault([&](problem& p) { add(p, 1 << 20, 1 << 12, 1); }), "2^31 devices"));
  CHECK(mentions(fault([&](problem& p) { add(p, 1, 2, 0); }), "the hosts of group 1 have not as many devices"));
  CHECK(mentions(fault([&](problem& p) { p.limit = {9}, add(p, 1, 4, 0); }), "or another limit than others of kind 0"));
  CHECK(mentions(fault([](problem& p) { p.candidates[3].kind = 2; }), "hosts of kind 2, of which there are none"));
  CHECK(mentions(fault([&](problem& p) { add(p, 3, 4, 1), p.candidates[3].ranks = 12; }), "nor 1 to 2 whole ones"));
  CHECK(mentions(fault([&](problem& p) { add(p, 1, 4, 1), p.others[0].cut_within.pop_back(); }),
                 "there are 7 prices of cuts within a host of group 1"));
  CHECK(
      mentions(fault([&](problem& p) { add(p, 1, 4, 1), p.others[0].limit = {-1}; }), "limit of group 1 is negative"));
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  CHECK(mentions(fault([=](problem& p) { p.candidates[3].time = {most}; }), "2^60 ps"));
  CHECK(mentions(fault([=](problem& p) { p.candidates[3].time = {(std::int64_t{1} << 60) / 24}; }), "2^60 ps"));
  CHECK(mentions(fault([=](problem& p) { p.candidates[3].once = {most}; }), "2^60 ps"));
  CHECK(mentions(fault([=](problem& p) { p.cut_between[3] = {most / 8}; }), "2^60 ps"));
  CHECK(mentions(fault([=](problem& p) { p.candidates[3].held = {most}; }), "2^60 bytes"));
  CHECK(mentions(fault([=](problem& p) { p.candidates[3].slot = {most / 16}; }), "2^60 bytes"));
}

TEST_CASE("sums just below the largest are added exactly") {
  ml::inter_problem posed{.blocks = 2, .hosts = 1, .devices_per_host = 2, .micro_batches = 1};
  const std::int64_t most = (std::int64_t{1} << 60) / 3 - 3;
  posed.candidates = {{0, 1, 1, {most}, {}, {}, {}}, {1, 2, 1, {most}, {}, {}, {}}};
  posed.cut_within = posed.cut_between = {{}, {2}};
  REQUIRE(ml::check(posed).empty());
  CHECK(ml::solve(posed).value().best.cost.count == 2 * most + 2);
  CHECK(ml::bound_of(posed).value().count == 2 * most + 2);
}
