// SPDX-License-Identifier: Apache-2.0
// planner/stage_search.hpp: every range of blocks has a candidate on every mesh, priced as if it had been solved alone,
// holding what its program holds; what is open takes no more than it will cost.
#include <meshloom/planner/stage_memory.hpp>
#include <meshloom/planner/stage_search.hpp>
#include <meshloom/sharding/meshes.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <tuple>

namespace ml = meshloom;
using namespace ml::axis;
using ml::picoseconds;

namespace {

/// How many thousandths the best way found along the copies of a layer may be from the best there is.
constexpr std::int64_t closeness = 1;

/// Everything that can be priced and measured.
std::unique_ptr<ml::stage_search> priced(const ml::problem& posed, std::int32_t micro_batches) {
  auto search = std::make_unique<ml::stage_search>(posed, micro_batches, ml::intra_options{});
  search->reach(posed.cluster.ranks());
  search->refine_all();
  CHECK(search->stuck().empty());
  return search;
}

/// The best way to run a range on so many ranks.
struct best_way {
  ml::stage_plan stage;
  picoseconds time{std::numeric_limits<std::int64_t>::max()};
};
using range_on_ranks = std::tuple<std::int32_t, std::int32_t, std::int32_t>;

/// Checks that the best way costs what the best of the range's own problems costs, whatever the mesh.
void check_price(const ml::problem& posed, std::int32_t micro_batches, const best_way& found) {
  const std::int32_t ranks = found.stage.mesh.ranks();
  ml::intra_answer best;
  best.bound = best.cost = {std::numeric_limits<std::int64_t>::max()};
  for (std::int32_t outer = 1; outer <= ranks; ++outer) {
    if (ranks % outer != 0) continue;
    ml::stage_plan on = found.stage;
    on.mesh_axes = {"outer", "inner"};
    on.mesh = {2, {outer, ranks / outer}};
    if (outer == 1 || outer == ranks) {
      on.mesh_axes = {"outer"};
      on.mesh = {1, {ranks}};
    }
    if (ranks == 1) on.mesh_axes = {}, on.mesh = {};
    const ml::stage_choices choices(posed, on, micro_batches, 1, {});
    const ml::intra_answer alone = ml::solve_intra(choices.made()).value();
    best.bound = std::min(best.bound, alone.bound);
    best.cost = std::min(best.cost, alone.cost);
  }
  CHECK(found.time >= best.bound);
  CHECK(found.time.count - best.cost.count <= best.cost.count * closeness / 1000);
}

/// Checks every way to run a range; returns how many ranges × numbers of ranks there are.
int check_alone(const ml::problem& posed, std::int32_t micro_batches) {
  const auto search = priced(posed, micro_batches);
  std::map<range_on_ranks, best_way> best;
  for (std::size_t k = 0; k < search->candidates().size(); ++k) {
    const ml::stage_candidate& each = search->candidates()[k];
    CAPTURE(each.first_block);
    CAPTURE(each.end_block);
    CAPTURE(each.ranks);
    CHECK(!search->is_open(static_cast<std::int32_t>(k)));
    for (std::int32_t n = 0; n <= each.shifts; ++n) {
      const ml::stage_plan stage = search->plan_of(static_cast<std::int32_t>(k), each.first_block + n, 0);
      CHECK(stage.first_block == each.first_block + n);
      CHECK(stage.end_block == each.end_block + n);
      CHECK(stage.mesh.ranks() == each.ranks);
      const ml::stage_memory memory = ml::memory_of(posed, stage, micro_batches);
      CHECK(each.slot == memory.slot);
      CHECK(each.held == memory.fixed + memory.transient);
      const picoseconds time = micro_batches * each.time + each.once;
      best_way& known = best[{stage.first_block, stage.end_block, each.ranks}];
      if (time < known.time) known = {stage, time};
    }
  }
  for (const auto& [where, found] : best) check_price(posed, micro_batches, found);
  std::size_t bounds = 0;
  for (const ml::stage_candidate& each : search->bounds()) {
    for (std::int32_t n = 0; n <= each.shifts; ++n, ++bounds)
      CHECK(micro_batches * each.time + each.once <=
            best.at({each.first_block + n, each.end_block + n, each.ranks}).time);
  }
  CHECK(bounds == best.size());
  return static_cast<int>(best.size());
}

/// What ranges of blocks have candidates, by ranks.
std::set<std::tuple<std::int32_t, std::int32_t, std::int32_t>> ranges_of(const ml::problem& posed) {
  ml::stage_search search(posed, 1, {});
  search.reach(posed.cluster.ranks());
  std::set<std::tuple<std::int32_t, std::int32_t, std::int32_t>> found;
  for (const ml::stage_candidate& each : search.candidates()) {
    for (std::int32_t n = 0; n <= each.shifts; ++n)
      CHECK(found.insert({each.first_block + n, each.end_block + n, each.ranks}).second);
  }
  return found;
}

}  // namespace

TEST_CASE("the price of every candidate is that of its own problem, for any number of copies") {
  const ml::graph graph = models::vectors({.layers = 6});
  CHECK(check_alone(ml::formulate(graph, models::near_ranks(4)), 1) == 89);
  CHECK(check_alone(ml::formulate(graph, models::near_ranks(4)), 4) == 89);
  CHECK(check_alone(ml::formulate(graph, ml::local(4)), 2) == 89);
}

TEST_CASE("the same where rules have blocks recompute: every copy of a layer, or some") {
  const ml::graph graph = models::vectors({.layers = 6});
  for (const ml::manual& rule : {ml::recompute(), ml::recompute("repeat", 0, 3), ml::recompute("repeat", 2, 4),
                                 ml::recompute("repeat", 1, 2) & ml::recompute("repeat", 4, 6) & ml::recompute("loss")})
    CHECK(check_alone(ml::formulate(graph, models::near_ranks(4), ml::automatic() & rule), 2) == 89);
}

TEST_CASE("a model that begins with its repeated layer is priced copy by copy") {
  const auto layer = ml::linear<embed, mlp>{} | ml::gelu{} | ml::linear<mlp, embed>{};
  const ml::graph graph = ml::trace(
      ml::training{.model = ml::repeat(5, layer) | ml::linear<embed, vocab>{},
                   .loss = ml::cross_entropy<vocab>{},
                   .optimizer = ml::sgd{},
                   .sizes = ml::sizes{ml::size<batch>{2}, ml::size<embed>{64}, ml::size<mlp>{64}, ml::size<vocab>{10}},
                   .input = ml::tensor<batch, embed>{},
                   .target = ml::integers<batch>{}});
  CHECK(check_alone(ml::formulate(graph, models::near_ranks(4)), 2) == 55);
}

TEST_CASE("every range has a candidate on every submesh, all blocks on all ranks alone") {
  const ml::graph graph = models::vectors();
  for (const ml::cluster& machine : {ml::local(1), ml::local(2), ml::local(6), ml::p3_16xlarge(1)}) {
    const auto blocks = static_cast<std::int32_t>(ml::blocks_of(graph).size());
    std::set<std::tuple<std::int32_t, std::int32_t, std::int32_t>> expected;
    for (const ml::submesh& each : ml::submeshes_of(machine)) {
      for (std::int32_t first = 0; first < blocks; ++first) {
        for (std::int32_t end = first + 1; end <= blocks; ++end) {
          if ((end - first == blocks) == (each.ranks() == machine.ranks())) expected.insert({first, end, each.ranks()});
        }
      }
    }
    ml::manual asked = ml::automatic();
    asked.mesh = {{"outer", 0}};
    CHECK(ranges_of(ml::formulate(graph, machine, asked)) == expected);
  }
}

TEST_CASE("constraints leave the ranges that keep to them") {
  const ml::graph graph = models::vectors();  // 7 blocks
  const auto ranges = [&](const ml::manual& asked, std::int32_t ranks) {
    ml::manual one_axis = ml::automatic() & asked;
    if (one_axis.mesh.empty()) one_axis.mesh = {{"outer", 0}};
    return ranges_of(ml::formulate(graph, ml::local(ranks), one_axis));
  };
  using expected = std::set<std::tuple<std::int32_t, std::int32_t, std::int32_t>>;
  CHECK(ranges(ml::pipeline(1), 2) == expected{{0, 7, 2}});
  CHECK(ranges(ml::stage(3), 2) == expected{{0, 3, 1}, {3, 7, 1}});
  CHECK(ranges(ml::stage(3) & ml::stage(4), 3) == expected{{0, 3, 1}, {3, 4, 1}, {4, 7, 1}});
  CHECK(ranges(ml::data_parallel(2), 2) == expected{{0, 7, 2}});  // a stage of one rank has no axis of two
  CHECK(ranges(ml::pipeline(2), 2).count({0, 7, 2}) == 0);
}

TEST_CASE("what is open takes no more than any way, and is priced when asked for") {
  const ml::problem posed = ml::formulate(models::vectors({.layers = 6}), models::near_ranks(4));
  ml::stage_search search(posed, 2, {});
  const ml::vector<ml::stage_candidate> open = search.candidates();
  CHECK(open == search.bounds());
  CHECK(search.work() == 0);
  const auto all = priced(posed, 2);
  for (const ml::stage_candidate& each : all->candidates()) {
    const auto same = std::find_if(open.begin(), open.end(), [&](const ml::stage_candidate& other) {
      return other.first_block == each.first_block && other.end_block == each.end_block && other.ranks == each.ranks;
    });
    REQUIRE(same != open.end());
    CHECK(same->time <= each.time);
    CHECK(same->once <= each.once);
    CHECK(same->held + same->slot <= each.held + each.slot);
    CHECK(same->slot <= each.slot);
  }
  search.refine({0});
  CHECK(search.work() > 0);
  CHECK(search.work() < all->work() / 4);
  search.close();
  for (std::size_t k = 0; k < search.candidates().size(); ++k)
    CHECK(search.plan_of(static_cast<std::int32_t>(k), 0, 0).mesh.ranks() == open.front().ranks);
}

TEST_CASE("what is said of the time of a micro-batch alone holds of every way, and more is known then") {
  int raised = 0;
  for (const ml::graph& graph : {models::vectors({.layers = 6}), models::gpt({.layers = 4})}) {
    const ml::problem posed = ml::formulate(graph, models::near_ranks(4));
    constexpr std::int32_t batches = 2;
    const auto search = priced(posed, batches);
    const ml::vector<ml::stage_candidate> before = search->bounds();
    constexpr std::int64_t all = std::int64_t{1} << 50;
    CHECK_FALSE(search->find_times(before, search->work()));
    CHECK(search->find_times(before, all));
    CHECK_FALSE(search->find_times(before, all));
    const ml::vector<ml::stage_candidate> after = search->bounds();
    for (const ml::stage_candidate& way : search->candidates()) {
      const auto is_of = [&](const ml::stage_candidate& each) {
        return each.first_block == way.first_block && each.end_block == way.end_block && each.ranks == way.ranks;
      };
      const auto known = [&](const ml::vector<ml::stage_candidate>& bounds, picoseconds wait) {
        picoseconds least{std::numeric_limits<std::int64_t>::max()};
        for (const ml::stage_candidate& each : bounds) {
          if (is_of(each)) least = std::min(least, batches * each.time + std::max(each.once, wait));
        }
        return least;
      };
      for (const std::int64_t times : {0, 1, 10}) {
        const picoseconds wait = way.time * times;  // for the stages before
        CHECK(known(after, wait) >= known(before, wait));
        CHECK(known(after, wait) <= batches * way.time + std::max(way.once, wait));
        raised += known(after, wait) > known(before, wait) ? 1 : 0;
      }
    }
  }
  CHECK(raised > 100);
}

TEST_CASE("what is known of larger micro-batches is a bound for smaller ones, if a whole number of these is one") {
  const ml::problem posed = ml::formulate(models::vectors({.layers = 6}), models::near_ranks(4));
  const auto of_four = priced(posed, 4), of_three = priced(posed, 3);
  ml::stage_search one(posed, 1, {}), three(posed, 3, {}, &one), four(posed, 4, {}, &three);
  const ml::stage_search without_three(posed, 4, {}, &one);
  const auto known = [](const ml::stage_search& search, const ml::stage_candidate& like) {
    for (const ml::stage_candidate& each : search.bounds()) {
      if (each.first_block == like.first_block && each.end_block == like.end_block && each.ranks == like.ranks)
        return each;
    }
    return ml::stage_candidate{};
  };
  const auto total = [](const ml::stage_candidate& each, std::int32_t batches) {
    return batches * each.time + each.once;
  };
  three.reach(4);
  three.refine_all();
  const ml::vector<ml::stage_candidate> open = four.bounds();
  CHECK(without_three.bounds() == open);  // 3 does not divide 4
  one.reach(4);
  one.refine_all();
  int raised = 0;
  for (const ml::stage_candidate& each : of_four->candidates()) {
    CHECK(total(known(four, each), 4) <= total(each, 4));
  }
  for (std::size_t n = 0; n < open.size(); ++n) raised += total(four.bounds()[n], 4) > total(open[n], 4) ? 1 : 0;
  for (const ml::stage_candidate& each : of_three->candidates()) CHECK(total(known(three, each), 3) <= total(each, 3));
  CHECK(raised > 20);
}

TEST_CASE("what is asked for its bound is priced among everything, and then nothing is left to know") {
  const ml::problem posed = ml::formulate(models::gpt({.layers = 6}), models::near_ranks(4));
  constexpr std::int64_t all = std::numeric_limits<std::int64_t>::max();
  ml::stage_search search(posed, 2, {});
  search.reach(4);
  const auto whole = priced(posed, 2);
  const ml::vector<ml::stage_candidate> some{search.bounds().front(), search.bounds().back()};
  CHECK_FALSE(search.tighten(some, 0));
  CHECK(search.work() == 0);
  while (search.tighten(some, all)) {}
  for (const ml::stage_candidate& each : some) {
    const auto least_of = [&](const ml::vector<ml::stage_candidate>& found) {
      picoseconds least{std::numeric_limits<std::int64_t>::max()};
      for (const ml::stage_candidate& other : found) {
        const bool alike =
            other.first_block == each.first_block && other.end_block == each.end_block && other.ranks == each.ranks;
        if (alike) least = std::min(least, 2 * other.time + other.once);
      }
      return least;
    };
    CHECK(least_of(search.bounds()) <= least_of(whole->candidates()));
    CHECK(least_of(search.bounds()).count * 100 >= least_of(whole->candidates()).count * 99);
  }
}

TEST_CASE("stages reach as far as they may") {
  ml::cluster machine = ml::local(2);
  machine.hosts = 2;
  const ml::problem posed = ml::formulate(models::vectors(), machine);
  ml::stage_search search(posed, 2, {});
  const auto most = [&] {
    std::int32_t ranks = 0;
    for (const ml::stage_candidate& each : search.candidates()) ranks = std::max(ranks, each.ranks);
    return ranks;
  };
  CHECK(most() == 2);
  search.reach(4);
  CHECK(most() == 4);
}

TEST_CASE("where the best way to run a range does not fit, leaner ones are there too") {
  ml::problem posed = ml::formulate(models::vectors(), models::near_ranks(2));
  posed.constraints.stages = 1;
  const auto ample = priced(posed, 2);
  const auto time = [](const ml::stage_candidate& each) { return 2 * each.time + each.once; };
  const auto faster = [&](const auto& a, const auto& b) { return time(a) < time(b); };
  const ml::stage_candidate best = *std::min_element(ample->candidates().begin(), ample->candidates().end(), faster);
  posed.cluster.device.memory = ml::bytes{(best.held + best.slot).count * 85 / 100};
  const auto tight = priced(posed, 2);
  const auto fits = [&](const ml::stage_candidate& each) {
    return each.held + each.slot <= posed.cluster.device.memory;
  };
  CHECK(std::find(tight->candidates().begin(), tight->candidates().end(), best) != tight->candidates().end());
  const auto lean = std::find_if(tight->candidates().begin(), tight->candidates().end(), fits);
  REQUIRE(lean != tight->candidates().end());
  CHECK(time(*lean) > time(best));
}

TEST_CASE("where a slow stage fits in no way, bounds stay small enough to be added up") {
  ml::problem posed = ml::formulate(models::vectors(), models::near_ranks(2));
  posed.constraints.stages = 1;
  const auto whole = priced(posed, 2);
  ml::bytes leanest{std::numeric_limits<std::int64_t>::max()};
  picoseconds fastest{std::numeric_limits<std::int64_t>::max()};
  for (const ml::stage_candidate& each : whole->candidates()) {
    leanest = std::min(leanest, each.held + each.slot);
    fastest = std::min(fastest, each.time);
  }
  constexpr std::int64_t slow = std::int64_t{1} << 54, largest = std::int64_t{1} << 56;
  const double slower = static_cast<double>(fastest.count) / static_cast<double>(slow);
  ml::device& device = posed.cluster.device;
  device.flops_per_second *= slower;
  bool tight = false;
  for (const std::int64_t share : {95, 90, 80, 70, 60, 50}) {
    CAPTURE(share);
    device.memory = ml::bytes{leanest.count * share / 100};
    const auto none = priced(posed, 2);
    for (const ml::stage_candidate& each : none->bounds()) {
      CHECK((each.time * 2 + each.once).count <= largest);
      tight = tight || (each.time * 2 + each.once).count == largest;
    }
  }
  CHECK(tight);
}

TEST_CASE("an operator that no strategy is allowed for is named") {
  ml::manual asked = ml::automatic();
  asked.mesh = {{"outer", 0}};
  asked.stages = 1;
  asked.pins = {{"positions.pointwise", "outer", "mlp"}};  // not an axis of the result
  const ml::problem posed = ml::formulate(models::all()[0].graph, ml::local(2), asked);
  ml::stage_search search(posed, 1, {});
  search.refine_all();
  CHECK(search.stuck() == "positions.pointwise");
  CHECK(search.candidates().empty());
}

TEST_SUITE("all") {
  TEST_CASE("the price of every candidate is that of its own problem: attention, and two mesh axes") {
    CHECK(check_alone(ml::formulate(models::gpt({.layers = 6}), models::near_ranks(4)), 2) == 131);
    CHECK(check_alone(ml::formulate(models::tied({.layers = 6}), ml::local(3)), 4) == 66);
    CHECK(check_alone(ml::formulate(models::vectors({.layers = 6}), models::near_ranks(8)), 2) == 133);
  }
}
