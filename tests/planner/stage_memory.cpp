// SPDX-License-Identifier: Apache-2.0
// planner/stage_memory.hpp: a stage that runs everything holds what its program holds; a stage of a pipeline does but
// for the forms in which its messages leave.
#include <meshloom/planner/stage_memory.hpp>
#include <meshloom/planner/stage_search.hpp>
#include <meshloom/program/lower.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <random>

namespace ml = meshloom;

namespace {

ml::stage_memory memory_in(const ml::stage_program& stage) { return {stage.fixed, stage.kept, stage.transient}; }

/// The bytes of the messages that a stage sends or receives, as it holds them: those of gradients that stages add up
/// between micro-batches and update, or the others.
ml::bytes messages_of(const ml::program& whole, ml::stage_id which, bool once) {
  const auto here = static_cast<std::int32_t>(which);
  const auto& buffers = whole.stages[which].buffers;
  ml::bytes sum;
  for (const ml::transfer& each : whole.transfers) {
    if ((each.route.from == ml::pass::reduce) != once) continue;
    if (each.route.from_stage == here) sum += buffers[each.from].size;
    if (each.route.to_stage == here) sum += buffers[each.to].size;
  }
  return sum;
}

std::int64_t apart(ml::bytes a, ml::bytes b) { return std::abs(a.count - b.count); }

/// Pipelines of any stages: of several ways to run each range of blocks.
class pipelines {
 public:
  pipelines(const ml::problem& posed, std::int32_t micro_batches)
      : posed_(posed), micro_batches_(micro_batches), search_(posed, micro_batches, {}) {
    search_.refine_all();
  }

  ml::plan draw(std::mt19937& from) const {
    for (;;) {
      ml::plan made;
      made.model = ml::hash_of(posed_.graph);
      made.sizes = posed_.graph.sizes;
      made.ranks = posed_.cluster.ranks();
      made.micro_batches = micro_batches_;
      const auto blocks = static_cast<std::int32_t>(ml::blocks_of(posed_.graph).size());
      std::int32_t block = 0, rank = 0;
      while (block < blocks && rank < made.ranks) {
        const auto number = static_cast<std::int32_t>(from() % search_.candidates().size());
        const ml::stage_candidate& each = search_.candidates()[static_cast<std::size_t>(number)];
        if (block < each.first_block || block > each.first_block + each.shifts) continue;
        made.stages.add(search_.plan_of(number, block, rank));
        block += each.end_block - each.first_block;
        rank += each.ranks;
      }
      if (block == blocks && rank == made.ranks && made.stages.size() > 1) return made;
    }
  }

 private:
  const ml::problem& posed_;
  std::int32_t micro_batches_;
  ml::stage_search search_;
};

/// Checks that a plan's only stage holds what its program holds.
void check_alone(const ml::problem& posed, const ml::plan& made) {
  REQUIRE(made.stages.size() == 1);
  const ml::stage_id only{0};
  const ml::program whole = ml::lower(posed.graph, made, posed.cluster);
  CHECK(ml::memory_of(posed, made.stages[only], made.micro_batches) == memory_in(whole.stages[only]));
}

}  // namespace

TEST_CASE("a stage of all blocks holds what its program holds") {
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    for (const std::int32_t ranks : {1, 2, 4}) {
      for (const std::string& preset : models::products(ranks)) {
        CAPTURE(preset);
        if (preset.find("pipeline=1") == std::string::npos) continue;
        ml::problem posed = models::posed(graph, preset, ranks, ranks);
        check_alone(posed, ml::solve(posed).value());
        posed.constraints = posed.constraints & ml::recompute();
        check_alone(posed, ml::solve(posed).value());
      }
    }
    for (const std::int32_t ranks : {1, 2, 3}) {
      const ml::problem posed = ml::formulate(graph, models::near_ranks(ranks), ml::automatic() & ml::pipeline(1));
      check_alone(posed, ml::solve(posed).value());
    }
  }
}

TEST_CASE("a stage of a pipeline of presets holds what its program holds") {
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    for (const std::string preset : {"tensor=2,pipeline=3", "zero3=2,pipeline=3", "data=2,pipeline=3"}) {
      ml::problem posed = models::posed(graph, preset, 6, 4);
      if (preset.starts_with("data")) posed.constraints = posed.constraints & ml::recompute();
      const ml::plan made = ml::solve(posed).value();
      const ml::program whole = ml::lower(graph, made, posed.cluster);
      for (std::size_t s = 0; s < made.stages.size(); ++s) {
        const auto which = static_cast<ml::stage_id>(s);
        CHECK(ml::memory_of(posed, made.stages[which], 4) == memory_in(whole.stages[which]));
      }
    }
  }
}

TEST_CASE("a stage of any pipeline does, but for the forms in which its messages leave") {
  int stages = 0, unlike = 0;
  std::mt19937 from(7);
  for (const auto& [name, graph] : models::all()) {
    CAPTURE(name);
    const ml::problem posed = ml::formulate(graph, models::near_ranks(4));
    const pipelines all(posed, 4);
    for (int round = 0; round < 60; ++round) {
      const ml::plan made = all.draw(from);
      const ml::program whole = ml::lower(graph, made, posed.cluster);
      for (std::size_t s = 0; s < made.stages.size(); ++s) {
        const auto which = static_cast<ml::stage_id>(s);
        const ml::stage_memory alone = ml::memory_of(posed, made.stages[which], 4);
        const ml::stage_memory there = memory_in(whole.stages[which]);
        CHECK(alone.slot == there.slot);
        CHECK(apart(alone.fixed, there.fixed) <= messages_of(whole, which, true).count);
        CHECK(apart(alone.transient, there.transient) <= messages_of(whole, which, false).count);
        ++stages;
        unlike += alone == there ? 0 : 1;
      }
    }
  }
  CHECK(unlike > 0);
  CHECK(unlike < stages / 4);
}
