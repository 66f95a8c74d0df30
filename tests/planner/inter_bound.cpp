// SPDX-License-Identifier: Apache-2.0
// What no plan beats is the least over an enumeration of all plans, and no schedule beats it.
#include "inter_cases.hpp"

#include <meshloom/planner/inter_bound.hpp>
#include <meshloom/schedule/order.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <optional>

namespace ml = meshloom;
using namespace inter_cases;

namespace {

std::int64_t slowest_of_any(const ml::inter_problem& posed) {
  std::int64_t slowest = 0;
  for (const ml::stage_candidate& each : posed.candidates)
    slowest = std::max(slowest, slowest_time(each, posed.micro_batches));
  return slowest;
}

/// By how much a stage that a micro-batch passes in so long makes those before it idle, where none is slower.
std::int64_t idle_behind(const ml::inter_problem& posed, const tried& plan, std::int64_t back, std::int64_t slowest) {
  const std::int64_t beyond = std::min(back, 2 * back - slowest);
  if (posed.schedule == ml::schedule_kind::forward_only) return 0;
  if (posed.schedule == ml::schedule_kind::gpipe) return back;
  if (posed.micro_batches > plan.most_stages) return beyond;
  return (beyond - (beyond % 2 != 0 && beyond < 0 ? 1 : 0)) / 2;
}

/// The bound of a plan of which it is not known how slow its stages are: as slow as any, or as plans that are worth it.
std::int64_t bound_of_any(const ml::inter_problem& posed, const tried& plan) {
  std::int64_t slowest = slowest_of_any(posed), bound = 0, idle = 0;
  if (posed.worth) slowest = std::min(slowest, posed.worth->count / posed.micro_batches + 1);
  for (auto part = plan.parts.rbegin(); part != plan.parts.rend(); ++part) {
    const auto [busy, back] = *part;
    bound = std::max(bound, busy + std::max<std::int64_t>(idle, 0));
    idle += idle_behind(posed, plan, back, slowest);
  }
  return bound;
}

/// False if it can be said of a plan that it takes more.
bool keeps_to(const ml::inter_problem& posed, const tried& plan, std::int64_t most) {
  if (most < 0 || (posed.schedule == ml::schedule_kind::one_f_one_b && plan.pace > most)) return false;
  const std::int64_t slowest = std::min(slowest_of_any(posed), most / posed.micro_batches + 1);
  std::int64_t before = 0;
  for (const tried::step& each : plan.steps) before += each.entering + each.time + each.leaving;
  std::int64_t idle = 0;
  for (auto each = plan.steps.rbegin(); each != plan.steps.rend(); ++each) {
    before -= each->time + each->leaving;
    const std::int64_t busy = posed.micro_batches * each->time + std::max<std::int64_t>(idle, 0);
    if (before + busy > most || busy + each->once > most) return false;
    before -= each->entering;
    idle += idle_behind(posed, plan, each->time + each->entering, slowest);
  }
  return true;
}

void compare(const ml::inter_problem& posed, const ml::vector<tried>& all) {
  ml::vector<tried> plans;
  std::copy_if(all.begin(), all.end(), std::back_inserter(plans),
               [&](const tried& each) { return !posed.limit || each.peak <= posed.limit->count; });
  std::optional<std::int64_t> least;
  if (posed.worth) least = posed.worth->count;
  for (const tried& plan : plans) {
    const std::int64_t here = bound_of_any(posed, plan);
    const bool beaten = posed.worth && plan.bound >= posed.worth->count;
    CHECK((beaten || here <= plan.bound));
    least = std::min(least.value_or(here), here);
  }
  const auto bound = ml::bound_of(posed);
  REQUIRE(bool(bound) == least.has_value());
  const auto found = ml::least_bound(posed);
  REQUIRE(bool(found) == least.has_value());
  if (!least) {
    CHECK(bound.error() == found.error());
    return;
  }
  CHECK(bound.value().count == *least);
  const auto any_keeps_to = [&](std::int64_t most) {
    return std::any_of(plans.begin(), plans.end(), [&](const tried& each) { return keeps_to(posed, each, most); });
  };
  const auto check = [&](const ml::inter_plan& plan, std::int64_t closeness, std::int64_t known) {
    const std::int64_t cost = plan.cost.count;
    CHECK((cost == known || !any_keeps_to(cost - 1)));
    const bool none = posed.worth && cost == posed.worth->count;
    CHECK(none == plan.candidates.empty());
    if (none) return;
    CHECK(any_keeps_to(cost + cost / closeness));
    CHECK(ml::evaluate(posed, plan.candidates));
  };
  check(found.value(), 4096, 0);
  const std::int64_t cost = found.value().cost.count;
  for (const std::int64_t known : {cost / 2, cost + 1}) {
    const auto again = ml::least_bound(posed, {known}, 100);
    CHECK(again.value().cost.count >= std::min(known, posed.worth ? posed.worth->count : known));
    check(again.value(), 100, known);
  }
}

}  // namespace

TEST_CASE("the least bound of all plans is that of an enumeration, under any limit and worth") {
  numbers from(12);
  int with_plan = 0, paced = 0, limited = 0;
  for (int trial = 0; trial < 2400; ++trial) {
    CAPTURE(trial);
    ml::inter_problem posed = trial % 2 == 0 ? random_problem(from) : random_problem_of_groups(from);
    if (trial % 3 == 0) posed.stops = random_stops(from, posed.blocks);
    const auto plans = enumeration(posed).plans;
    compare(posed, plans);
    if (plans.empty()) continue;
    ++with_plan;
    const ml::picoseconds alone = ml::bound_of(posed).value();
    paced += ml::least_bound(posed).value().cost > alone ? 1 : 0;
    for (int chosen = 0; chosen < 2; ++chosen) {
      const tried& plan = plans[static_cast<std::size_t>(draw(from, 0, static_cast<int>(plans.size()) - 1))];
      for (const std::int64_t worth : {plan.cost, plan.cost + 1, plan.bound, plan.bound + 1}) {
        posed.worth = {worth};
        compare(posed, plans);
      }
    }
    const auto [leanest, fullest] =
        std::minmax_element(plans.begin(), plans.end(), [](const tried& a, const tried& b) { return a.peak < b.peak; });
    set_limit(posed, draw(from, static_cast<int>(leanest->peak), static_cast<int>(fullest->peak)));
    if (least_limit(posed) < 0) continue;
    compare(posed, plans);
    ++limited;
  }
  CHECK(with_plan > 1200);
  CHECK(paced > 60);
  CHECK(limited > 900);
}

TEST_CASE("where there is too much to look at, waits are left out, and no plan takes less") {
  constexpr int count = 64;
  numbers from(13);
  ml::inter_problem posed{.blocks = count, .hosts = 8, .devices_per_host = 8, .micro_batches = 64};
  for (int first = 0; first < count; ++first) {
    for (int end = first + 1; end <= std::min(first + 8, count); ++end) {
      for (const int ranks : {1, 2, 4, 8}) {
        const std::int64_t work = 1000000 * (end - first) / ranks;
        posed.candidates.push_back(
            {first, end, ranks, {work + draw(from, 0, 300000)}, {draw(from, 0, 3000000)}, {}, {}});
      }
    }
  }
  posed.cut_within.resize(count);
  posed.cut_between.resize(count, {200000});
  std::int64_t work = 0;
  const auto found = ml::least_bound(posed, {}, 4096, &work);
  CHECK(work > 100'000);  // more than is looked at with waits
  const auto answer = ml::solve(posed).value();
  int compared = 0;
  for (const auto& each : answer.by_stages) {
    if (!each) continue;
    const auto price = ml::evaluate(posed, each->candidates).value();
    CHECK(ml::bound_of(posed).value() <= price.bound);
    CHECK(found.value().cost <= price.paced);
    ++compared;
  }
  CHECK(compared > 20);
}

TEST_CASE("no schedule beats the bound, however a stage's time is split") {
  numbers from(9);
  for (int trial = 0; trial < 300; ++trial) {
    CAPTURE(trial);
    const int count = draw(from, 1, 6);
    ml::inter_problem posed{.blocks = count, .hosts = 1, .devices_per_host = count, .micro_batches = draw(from, 1, 20)};
    posed.cut_within.resize(static_cast<std::size_t>(count));
    posed.cut_between = posed.cut_within;
    ml::vector<ml::stage_times> times;
    ml::vector<ml::transfer_times> transfers;
    ml::vector<std::int32_t> all;
    for (int s = 0; s < count; ++s) {
      times.push_back({{draw(from, 0, 100)}, {draw(from, 0, 100)}});
      posed.candidates.push_back({s, s + 1, 1, times.back().forward + times.back().backward, {}, {}, {}});
      all.push_back(s);
      if (s == 0) continue;
      transfers.push_back({{draw(from, 0, 50)}, {draw(from, 0, 50)}});
      posed.cut_within[static_cast<std::size_t>(s)] = transfers.back().forward + transfers.back().backward;
    }
    const auto bound = ml::evaluate(posed, all).value().bound;
    CHECK(bound >= ml::bound_of(posed).value());
    for (const auto kind : {ml::schedule_kind::gpipe, ml::schedule_kind::one_f_one_b}) {
      CHECK(ml::makespan(kind, times, transfers, posed.micro_batches) >= bound);
    }
    CHECK(ml::makespan(ml::schedule_kind::one_f_one_b, times, transfers, posed.micro_batches) >=
          ml::least_bound(posed).value().cost);
    for (auto& each : times) each = {each.forward + each.backward, {}};
    for (auto& each : transfers) each = {each.forward + each.backward, {}};
    CHECK(ml::makespan(ml::schedule_kind::forward_only, times, transfers, posed.micro_batches) >= bound);
  }
}

TEST_CASE("what is done once may be part of every micro-batch: the bound is none the higher for not knowing it") {
  numbers from(10);
  for (int trial = 0; trial < 300; ++trial) {
    CAPTURE(trial);
    const int count = draw(from, 2, 6);
    ml::inter_problem known{.blocks = count, .hosts = 1, .devices_per_host = count, .micro_batches = draw(from, 1, 20)};
    known.cut_within.resize(static_cast<std::size_t>(count));
    known.cut_between = known.cut_within;
    ml::inter_problem least = known;
    ml::vector<std::int32_t> all;
    for (int s = 0; s < count; ++s) {
      const std::int64_t time = draw(from, 0, 100), more = draw(from, 0, 100), once = draw(from, 0, 500);
      known.candidates.push_back({s, s + 1, 1, {time + more}, {once}, {}, {}});
      least.candidates.push_back({s, s + 1, 1, {time}, {once + more * known.micro_batches}, {}, {}});
      all.push_back(s);
    }
    const auto bound = ml::evaluate(known, all).value().bound;
    const auto paced = ml::least_bound(known).value().cost;
    CHECK(ml::bound_of(least).value() <= bound);
    CHECK(ml::least_bound(least).value().cost <= paced);
    least.worth = bound + ml::picoseconds{1};
    CHECK(ml::bound_of(least).value() <= bound);
    least.worth = paced + ml::picoseconds{1};
    CHECK(ml::least_bound(least).value().cost <= paced);
  }
}
