// SPDX-License-Identifier: Apache-2.0
// planner/inter_pace.hpp: the pipelines that are found keep to the limit and cost what the referee says, and of all
// that there are the first is the steadiest.
#include "inter_cases.hpp"

#include <meshloom/planner/inter_pace.hpp>

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace inter_cases;

namespace {

/// What the steadiest plan that keeps to the limit takes; none if there is none.
std::optional<std::int64_t> least_paced(const ml::inter_problem& posed, const ml::vector<tried>& plans) {
  std::optional<std::int64_t> least;
  for (const tried& plan : plans) {
    if (!posed.limit || plan.peak <= posed.limit->count) least = std::min(least.value_or(plan.paced), plan.paced);
  }
  return least;
}

/// True if the first plan found is the steadiest, to one part in 256, or none is where none is worth it.
bool is_steadiest(const ml::inter_problem& posed, const ml::vector<tried>& plans) {
  const auto least = least_paced(posed, plans);
  const auto found = ml::steadiest(posed);
  for (std::size_t n = 0; n < found.size(); ++n) {
    const auto price = ml::evaluate(posed, found[n].candidates);
    if (!price || price.value().paced != found[n].cost) return false;
    if (posed.worth && found[n].cost >= *posed.worth) return false;
    if (n > 0 && found[n - 1].cost >= found[n].cost) return false;
  }
  if (!least) return found.empty();
  const std::int64_t close = *least + *least / 255 + 1;
  if (found.empty()) return posed.worth && posed.worth->count <= close;
  return found.front().cost.count >= *least && found.front().cost.count <= close;
}

}  // namespace

TEST_CASE("the steadiest pipeline is that of an enumeration, under any limit and worth") {
  numbers from(19);
  int steadier = 0, limited = 0;
  for (int trial = 0; trial < 800; ++trial) {
    CAPTURE(trial);
    ml::inter_problem posed = trial % 2 == 0 ? random_problem(from) : random_problem_of_groups(from);
    if (trial % 3 == 0) posed.stops = random_stops(from, posed.blocks);
    const auto plans = enumeration(posed).plans;
    CHECK(is_steadiest(posed, plans));
    if (plans.empty()) continue;
    const auto [leanest, fullest] =
        std::minmax_element(plans.begin(), plans.end(), [](const tried& a, const tried& b) { return a.peak < b.peak; });
    for (int binding = 0; binding < 3; ++binding) {
      set_limit(posed, draw(from, static_cast<int>(leanest->peak), static_cast<int>(fullest->peak)));
      if (least_limit(posed) < 0) continue;
      posed.worth.reset();
      CHECK(is_steadiest(posed, plans));
      const auto least = least_paced(posed, plans);
      if (!least) continue;
      ++limited;
      if (const auto cheapest = ml::cheapest(posed))
        steadier += ml::evaluate(posed, cheapest.value().candidates).value().paced.count > *least ? 1 : 0;
      for (const std::int64_t worth : {*least, *least + 1, *least + *least / 4}) {
        posed.worth = {worth};
        CHECK(is_steadiest(posed, plans));
      }
    }
  }
  CHECK(limited > 1000);
  CHECK(steadier > 20);
}
