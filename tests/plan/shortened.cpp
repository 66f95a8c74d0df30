// SPDX-License-Identifier: Apache-2.0
// plan/shortened.hpp: a shorter plan is a plan, and its blocks stand for all blocks. That it costs the same, and that
// one with copies left out at the ends does not, is the law of tests/plan/stage_price.cpp.
#include <meshloom/plan/recomputation.hpp>
#include <meshloom/plan/shortened.hpp>

#include "models.hpp"

#include <doctest/doctest.h>

#include <numeric>

namespace ml = meshloom;

namespace {

/// A layer whose backward reads what it makes: a copy that recomputes makes it again unless the next one, to do the
/// same, reads it. So every other copy does.
struct squash {
  static constexpr std::string_view name = "squash";
  auto operator()(auto& scope, const auto& x) const { return ml::softmax<ml::axis::embed>(scope, x); }
};

ml::graph by_turns() {
  using namespace ml::axis;
  return ml::trace(
      models::token_training(ml::embedding<vocab, embed>{} | ml::repeat(40, squash{}) | ml::linear<embed, vocab>{}));
}

}  // namespace

TEST_CASE("a deep plan becomes a short one whose blocks stand for all of its blocks") {
  const ml::graph graph = models::gpt({.layers = 120});
  for (const std::string preset : {"data=2,pipeline=1", "tensor=2,pipeline=3", "zero3=2,gpipe=4"}) {
    CAPTURE(preset);
    const std::int32_t ranks = preset.starts_with("data") ? 2 : preset.starts_with("tensor") ? 6 : 8;
    ml::plan made = models::planned(graph, preset, ranks, 2);
    for (const bool again : {false, true}) {
      for (ml::stage_plan& stage : made.stages)
        for (std::size_t b = 0; b < stage.recompute.size(); ++b) stage.recompute[b] = again && b > 4;
      const auto shorter = ml::shortened(graph, made);
      REQUIRE(shorter);
      CHECK(ml::check(shorter->whole).empty());
      CHECK(shorter->times.size() == ml::blocks_of(shorter->whole).size());
      CHECK(shorter->times.size() <= 5 + 10 * made.stages.size());
      const auto blocks = std::accumulate(shorter->times.begin(), shorter->times.end(), std::int64_t{0});
      CHECK(blocks == static_cast<std::int64_t>(ml::blocks_of(graph).size()));
      REQUIRE(shorter->made.stages.size() == made.stages.size());
      for (std::size_t s = 0; s < made.stages.size(); ++s) {
        const auto &before = made.stages[ml::stage_id(s)], &after = shorter->made.stages[ml::stage_id(s)];
        const auto times = [&](auto count) {
          return std::accumulate(shorter->times.begin() + after.first_block, shorter->times.begin() + count,
                                 std::int64_t{0});
        };
        CHECK(times(after.end_block) == before.end_block - before.first_block);
        CHECK(after.strategies == before.strategies);
        CHECK(after.parameters == before.parameters);
      }
    }
  }
}

TEST_CASE("a shallow one stays, and so does one whose copies recompute by turns") {
  const ml::graph shallow = models::gpt({.layers = 5});
  CHECK_FALSE(ml::shortened(shallow, models::planned(shallow, "pipeline=1", 1)));
  const ml::graph deep = models::gpt({.layers = 60});
  ml::plan made = models::planned(deep, "pipeline=1", 1);
  CHECK(ml::shortened(deep, made));
  auto& recompute = made.stages[ml::stage_id{0}].recompute;
  for (std::size_t b = 0; b < recompute.size(); ++b) recompute[b] = b % 2 == 0;
  CHECK_FALSE(ml::shortened(deep, made));
}

TEST_CASE("copies that recompute, but not alike, are not left out") {
  const ml::graph graph = by_turns();
  ml::plan made = models::planned(graph, "pipeline=1", 1);
  CHECK(ml::shortened(graph, made));
  ml::stage_plan& only = made.stages[ml::stage_id{0}];
  only.recompute.assign(only.recompute.size(), true);
  const ml::recomputation recomputed(graph, only);
  CHECK(recomputed.again(20) != recomputed.again(21));
  CHECK_FALSE(ml::shortened(graph, made));
}
