// SPDX-License-Identifier: Apache-2.0
// Trainings that recompute: bit by bit those that keep all activations, in the memory that their program predicts.
#include "allocations.hpp"
#include "runs.hpp"

#include <meshloom/plan/text.hpp>
#include <meshloom/program/check.hpp>

#include <doctest/doctest.h>

namespace {

namespace ml = meshloom;

constexpr ml::gpt_shape shape{
    .name = "recompute", .vocab = 50, .seq = 16, .batch = 24, .embed = 32, .layers = 4, .heads = 4};
constexpr unsigned steps = 3;

const ml::vector<runs::request> requests{{"data=1", 1, 1},
                                         {"data=1", 1, 4},
                                         {"data=2", 2, 2},
                                         {"zero2=3", 3, 4},
                                         {"zero3=2", 2, 2},
                                         {"tensor=2", 2, 1},
                                         {"tensor=3", 3, 2},
                                         {"pipeline=2", 2, 4},
                                         {"gpipe=4", 4, 4},
                                         {"pipeline=3", 3, 8},
                                         {"zero2=2,tensor=2,pipeline=2", 8, 4}};

/// Which blocks recompute.
enum class share { all, repeated, one };

ml::plan recomputing(const ml::graph& whole, ml::plan made, share which) {
  const auto blocks = ml::blocks_of(whole);
  for (ml::stage_plan& stage : made.stages) {
    for (std::size_t k = 0; k < stage.recompute.size(); ++k) {
      const ml::block& here = blocks[static_cast<std::size_t>(stage.first_block) + k];
      const bool repeated = whole.regions[here.region].repeated;
      stage.recompute[k] = which == share::all || (repeated && (which == share::repeated || here.copy == 2));
    }
  }
  return made;
}

ml::vector<std::int64_t> peaks_of(const ml::program& made) {
  ml::vector<std::int64_t> peaks;
  for (const ml::stage_program& stage : made.stages)
    peaks.insert(peaks.end(), static_cast<std::size_t>(stage.mesh.ranks()), stage.peak().count);
  return peaks;
}

}  // namespace

TEST_CASE("a training that recomputes leaves the same bits as one that keeps, and allocates what it predicts") {
  const auto task = ml::gpt_training(shape, ml::adamw{.rate = 1e-3});
  const ml::graph whole = ml::trace(task);
  const auto samples = runs::draw_all(shape, steps);
  for (const runs::request& asked : requests) {
    CAPTURE(name_of(asked));
    const ml::plan keeping = runs::plan_of(whole, asked);
    auto kept = ml::start(ml::host{}, ml::lower(whole, keeping, ml::local(asked.ranks)), task, 7);
    const runs::outcome expected = runs::train(kept, samples);
    for (const share which : {share::all, share::repeated, share::one}) {
      ml::program made = ml::lower(whole, recomputing(whole, keeping, which), ml::local(asked.ranks));
      CHECK(ml::check(made).empty());
      const auto predicted = peaks_of(made);
      const allocations::aligned_sizes asked_for;
      auto run = ml::start(ml::host{}, std::move(made), task, 7);
      CHECK(run.arena_bytes() == predicted);
      const auto seen = asked_for.seen();
      if (allocations::counted()) CHECK(std::count(seen.begin(), seen.end(), predicted[0]) > 0);
      if (which != share::one) CHECK(predicted[0] < kept.arena_bytes()[0]);
      const runs::outcome left = runs::train(run, samples);
      CHECK(left.losses == expected.losses);
      CHECK(left.kept == expected.kept);
    }
  }
}

TEST_CASE("a plan by hand that recomputes trains so, and its text says which blocks do") {
  const auto task = ml::gpt_training(shape, ml::sgd{.rate = 0.05});
  const ml::graph whole = ml::trace(task);
  const auto samples = runs::draw_all(shape, steps);
  ml::manual asked = ml::data_parallel(2) & ml::pipeline(2);
  asked.micro_batches = 4;
  const auto planned = [&](const ml::manual& constraints) {
    return ml::solve(ml::formulate(whole, ml::local(4), constraints)).value();
  };
  const auto trained = [&](const ml::plan& made) {
    auto run = ml::start(ml::host{}, ml::lower(whole, made, ml::local(4)), task, 7);
    return runs::train(run, samples);
  };
  const runs::outcome expected = trained(planned(asked));
  for (const ml::manual& how : {ml::recompute(), ml::recompute("blocks", 1, 4), ml::recompute("loss")}) {
    const ml::plan made = planned(asked & how);
    const ml::plan read = ml::from_text(ml::to_text(whole, made), whole, 4).value();
    CHECK(read == made);
    const runs::outcome left = trained(read);
    CHECK(left.losses == expected.losses);
    CHECK(left.kept == expected.kept);
  }
}
