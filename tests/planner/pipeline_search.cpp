// SPDX-License-Identifier: Apache-2.0
// planner/pipeline_search.hpp: what it enters is as fast as the fastest of all pipelines of the ways there are, holds
// no more than a device has, and is not below the bound; where there is no plan, it says why.
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/planner/pipeline_search.hpp>

#include "../plan/measures.hpp"
#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <optional>
#include <string>

namespace ml = meshloom;
namespace axis = ml::axis;
using measures::peak_of;
using ml::picoseconds;

namespace {

/// Every pipeline of every way to run its stages, under both schedules.
class enumeration {
 public:
  enumeration(const ml::problem& posed, std::int32_t micro_batches) : posed_(posed), search_(posed, micro_batches, {}) {
    search_.reach(posed.cluster.ranks());
    search_.refine_all();
    made_.model = ml::hash_of(posed.graph);
    made_.sizes = posed.graph.sizes;
    made_.ranks = posed.cluster.ranks();
    made_.micro_batches = micro_batches;
    extend(0, 0);
  }

  std::optional<picoseconds> best;  ///< of those that fit

 private:
  void extend(std::int32_t block, std::int32_t rank) {
    const std::int32_t host = posed_.cluster.devices_per_host;
    if (block == static_cast<std::int32_t>(ml::blocks_of(posed_.graph).size()) && rank == made_.ranks) return look();
    for (std::size_t number = 0; number < search_.candidates().size(); ++number) {
      const ml::stage_candidate& each = search_.candidates()[number];
      const bool here = block >= each.first_block && block <= each.first_block + each.shifts;
      if (!here || rank + each.ranks > made_.ranks) continue;
      const bool one_host = rank / host == (rank + each.ranks - 1) / host;
      if (!one_host && (rank % host != 0 || each.ranks % host != 0)) continue;
      const auto before = made_.stages;
      made_.stages.add(search_.plan_of(static_cast<std::int32_t>(number), block, rank));
      extend(block + each.end_block - each.first_block, rank + each.ranks);
      made_.stages = before;
    }
  }

  void look() {
    for (const ml::schedule_kind kind : {ml::schedule_kind::one_f_one_b, ml::schedule_kind::gpipe}) {
      made_.schedule = kind;
      const picoseconds time = ml::predict(posed_.graph, made_, posed_.cluster);
      if (best && time >= *best) continue;
      if (peak_of(posed_.graph, made_, posed_.cluster) <= posed_.cluster.device.memory) best = time;
    }
  }

  const ml::problem& posed_;
  ml::stage_search search_;
  ml::plan made_;
};

/// What a search has entered.
ml::contest searched(ml::pipeline_search& search, const ml::problem& posed,
                     std::int64_t most_work = std::numeric_limits<std::int64_t>::max()) {
  ml::contest plans;
  search.reach(posed.cluster.ranks());
  while (search.promise(plans)) {
    search.step(plans);
    if (search.work() > most_work) search.close();
  }
  search.finish(plans);
  return plans;
}

/// Along the copies of a layer ways are as near as that to the best there are.
constexpr std::int64_t thousandths_missed = 1;

constexpr ml::picoseconds forever{std::int64_t{1} << 58};

/// Searches, beside the enumeration of all there is; returns what the best plan holds.
ml::bytes compare(const ml::problem& posed, std::int32_t micro_batches) {
  ml::pipeline_search search(posed, micro_batches, {});
  const ml::contest plans = searched(search, posed);
  const enumeration tried(posed, micro_batches);
  REQUIRE(plans.best().has_value() == tried.best.has_value());
  if (!tried.best) return {};
  const ml::plan& best = *plans.best();
  CHECK(ml::check(posed.graph, best).empty());
  CHECK(best.predicted == ml::predict(posed.graph, best, posed.cluster));
  CHECK(search.bound(forever) <= *tried.best);
  while (search.tighten(forever, forever, std::int64_t{1} << 50).more) {}
  CHECK(search.bound(forever) <= *tried.best);
  ml::pipeline_search cut_short(posed, micro_batches, {});
  searched(cut_short, posed, 0);
  CHECK(cut_short.bound(forever) <= *tried.best);
  CHECK(cut_short.work() <= search.work());
  const std::int64_t slower = best.predicted.count * 1000 / tried.best->count - 1000;
  CHECK(slower <= thousandths_missed);
  return peak_of(posed.graph, best, posed.cluster);
}

/// With ample memory, then with less and less.
void compare_all(const ml::graph& graph, const ml::cluster& machine, std::int32_t micro_batches) {
  CAPTURE(machine.ranks());
  CAPTURE(micro_batches);
  ml::problem posed = ml::formulate(graph, machine);
  const ml::bytes ample = compare(posed, micro_batches);
  for (const std::int64_t percent : {95, 80, 65, 50}) {
    posed.cluster.device.memory.count = ample.count * percent / 100;
    CHECK(compare(posed, micro_batches) <= posed.cluster.device.memory);
  }
}

std::string why(const ml::problem& posed) {
  ml::pipeline_search search(posed, 2, {});
  REQUIRE(!searched(search, posed).best());
  return search.why();
}

}  // namespace

TEST_CASE("no pipeline of the ways there are is faster, as far as it fits, and none is below the bound") {
  const ml::graph graph = models::stack({.layers = 2});
  for (const std::int32_t ranks : {1, 2, 3, 4}) {
    for (const std::int32_t parts : {1, 4}) {
      compare_all(graph, models::near_ranks(ranks), parts);
      compare_all(graph, ml::local(ranks), parts);
    }
  }
}

TEST_CASE("what skips stages does not wait at every cut, and the bound does not say so") {
  ml::cluster machine = ml::local(1);
  machine.hosts = 4;
  machine.between_hosts.bytes_per_second /= 100'000;
  const ml::manual asked = ml::automatic() & ml::stage(1) & ml::stage(2) & ml::stage(3);
  for (const std::int32_t parts : {1, 4}) {
    const ml::problem posed = ml::formulate(models::bypassed(), machine, asked);
    ml::pipeline_search search(posed, parts, {});
    const ml::contest plans = searched(search, posed);
    REQUIRE(plans.best().has_value());
    CHECK(search.bound(forever).count <= plans.best()->predicted.count);
    CHECK(search.bound(forever).count * 2 > plans.best()->predicted.count);
  }
}

TEST_CASE("why there is no plan is said") {
  const ml::graph graph = models::stack({.layers = 2});
  ml::problem small = ml::formulate(graph, ml::local(2));
  small.cluster.device.memory = ml::bytes{1000};
  CHECK(why(small).find("no plan keeps to the limit of 1000 bytes per rank: the leanest, of ") == 0);
  const auto uneven = ml::automatic() & ml::manual{.mesh = {{"outer", 3}}};
  CHECK(
      why(ml::formulate(graph, ml::local(4), uneven)) ==
      "the model's 4 blocks cannot be run as stages of mesh outer=3 on 1 host of 4 devices: a stage takes an even part "
      "of a host, or whole hosts, here 1, 2 or 4 devices, and every device is in one stage; leave the sizes of mesh "
      "axes open");
  CHECK(
      why(ml::formulate(graph, ml::local(3), ml::automatic() & ml::pipeline(2))) ==
      "the model's 4 blocks cannot be run as 2 stages on 1 host of 3 devices: a stage takes an even part of a host, or "
      "whole hosts, here 1 or 3 devices, and every device is in one stage; ask for 3 stages, or leave the number of "
      "stages open");
  CHECK(why(ml::formulate(graph, ml::local(2), ml::automatic() & ml::pipeline(3))).find("ask for 2 stages, or") !=
        std::string::npos);
  CHECK(why(ml::formulate(graph, ml::local(1), ml::automatic() & ml::pipeline(2))).find("1 host of 1 device: ") !=
        std::string::npos);
  CHECK(why(ml::formulate(models::stack(), ml::local(9), ml::automatic() & ml::pipeline(4)))
            .find("ask for 3 or 5 stages") != std::string::npos);
  const auto apart = ml::pin_result<axis::mlp, ml::mesh::tensor>("repeat.linear.dot");  // no stage of a rank has it
  CHECK(
      why(ml::formulate(graph, ml::local(2), ml::automatic() & ml::pipeline(2) & apart)) ==
      "no plan keeps to the limit of 4294967296 bytes per rank and to the constraints: stages that do cannot together "
      "run the model; raise the limit, or leave a constraint out");
  ml::manual pinned = ml::automatic() & ml::manual{.mesh = {{"outer", 2}}};
  pinned.pins = {{"repeat.linear.dot", "outer", "vocab"}};  // not an axis of the result
  CHECK(why(ml::formulate(graph, ml::local(2), pinned)) ==
        "operator repeat.linear.dot has no strategy that meets its pins; remove one, or pin an axis it can split");
}

TEST_SUITE("all") {
  TEST_CASE("no pipeline of the ways there are is faster, in any number of micro-batches, between hosts") {
    ml::cluster hosts = models::near_ranks(2);
    hosts.hosts = 2;
    for (const ml::graph& graph : {models::stack({.layers = 3}), models::vectors({.layers = 1})}) {
      for (const std::int32_t parts : {1, 2, 3, 8}) {
        for (const ml::cluster& machine : {models::near_ranks(3), ml::local(3), hosts})
          compare_all(graph, machine, parts);
      }
    }
  }
}
