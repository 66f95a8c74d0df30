// SPDX-License-Identifier: Apache-2.0
// report/fewest_recomputed.hpp: no smaller set of blocks makes a plan by hand fit, of all sets; what is said to be
// enough is.
#include <meshloom/planner/solve.hpp>
#include <meshloom/report/evaluate.hpp>
#include <meshloom/report/fewest_recomputed.hpp>
#include <meshloom/report/why_infeasible.hpp>

#include "../plan/measures.hpp"
#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace ml = meshloom;
using measures::peak_of;
using ml::bytes;

namespace {

bytes peak(const ml::problem& posed) { return peak_of(posed.graph, ml::solve(posed).value(), posed.cluster); }

/// The fewest blocks besides those of rules, by trying all sets; −1: even all are too few.
int tried(const ml::problem& posed) {
  const auto count = ml::blocks_of(posed.graph).size();
  const ml::vector<bool> given = ml::recomputed_by_rule(posed, 0, static_cast<std::int32_t>(count));
  ml::plan made = ml::solve(posed).value();
  int fewest = -1;
  for (unsigned set = 0; set < 1u << count; ++set) {
    int more = 0;
    for (ml::stage_plan& stage : made.stages) {
      for (std::size_t b = 0; b < stage.recompute.size(); ++b) {
        const std::size_t number = static_cast<std::size_t>(stage.first_block) + b;
        const bool chosen = (set >> number & 1u) != 0;
        stage.recompute[b] = given[number] || chosen;
        more += chosen ? 1 : 0;
      }
    }
    if (fewest >= 0 && more >= fewest) continue;
    if (peak_of(posed.graph, made, posed.cluster) <= posed.cluster.device.memory) fewest = more;
  }
  return fewest;
}

}  // namespace

TEST_CASE("as few blocks recompute as any set that makes the plan fit has") {
  int found = 0, several = 0, none = 0;
  const ml::graph vectors = models::vectors(), gpt = models::gpt({.layers = 2, .samples = 12});
  for (const auto* graph : {&vectors, &gpt}) {
    for (const char* plan : {"data=2", "pipeline=2", "gpipe=2"}) {
      for (const bool ruled : {false, true}) {
        CAPTURE(plan);
        ml::manual asked = ml::parse_manual(plan, 2).value();
        asked.micro_batches = 2;
        if (ruled) asked.recompute = {{"repeat", 0, 1}};
        ml::problem posed = ml::formulate(*graph, ml::local(2), asked);
        const bytes most = peak(posed),
                    least = peak(ml::recomputing(posed, ml::vector(ml::blocks_of(*graph).size(), true)));
        for (const int part : {0, 1, 2, 3}) {
          posed.cluster.device.memory = least + bytes{(most - least).count * part / 3};
          if (part == 0) posed.cluster.device.memory.count /= 2;
          CAPTURE(part);
          const auto again = ml::fewest_recomputed(posed);
          const int wanted = tried(posed);
          REQUIRE(again.has_value() == (wanted >= 0));
          if (!again) {
            ++none;
            continue;
          }
          CHECK(std::count(again->begin(), again->end(), true) == wanted);
          CHECK(peak(ml::recomputing(posed, *again)) <= posed.cluster.device.memory);
          ++found;
          several += wanted > 1 ? 1 : 0;
        }
      }
    }
  }
  CHECK(found > 20);
  CHECK(several > 5);
  CHECK(none > 5);
}

TEST_CASE("what recomputes besides is said in rules, next to those there are") {
  const ml::problem posed =
      ml::formulate(models::vectors(), ml::local(1), ml::data_parallel(1) & ml::recompute("loss"));
  const ml::vector<bool> blocks{true, false, true, true, false, true, false};  // norm, 4 copies, head, loss
  const ml::problem changed = ml::recomputing(posed, blocks);
  CHECK(changed.constraints.recompute.size() == 4);
  CHECK(ml::check(changed).empty());
  CHECK(ml::recomputed_by_rule(changed, 0, 7) == ml::vector<bool>{true, false, true, true, false, true, true});
}

TEST_CASE("a plan that does not fit is told which blocks are to recompute") {
  ml::problem posed = models::posed(models::vectors(), "data=2", 2);
  const bytes ample = peak(posed);
  posed.cluster.device.memory = ample - bytes{1};
  const auto why = ml::why_infeasible(posed);
  REQUIRE(why);
  const auto& all = why->relaxations;
  const auto told =
      std::find_if(all.begin(), all.end(), [](const auto& each) { return each.change.find("recompute ") == 0; });
  REQUIRE(told != all.end());
  CHECK(told->change.find("recompute 1 block: ") == 0);
  CHECK(told->posed.constraints.recompute.size() == 1);
  CHECK(peak(told->posed) <= posed.cluster.device.memory);
  const auto open = ml::formulate(posed.graph, posed.cluster);
  CHECK(!ml::fewest_recomputed(open));  // the planner is free to
}
