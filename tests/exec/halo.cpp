// SPDX-License-Identifier: Apache-2.0
// Models that read windows, trained on images that several ranks share: halos go to and fro in every step, forward and
// backward, and the ranks learn what one rank learns.
#include <meshloom/exec/simulate.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/program/check.hpp>
#include <meshloom/report/evaluate.hpp>
#include <meshloom/report/explain.hpp>

#include "../model/trial.hpp"
#include "stencil_training.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace stencils;

namespace {

constexpr int kinds = 3, steps = 5;

/// The losses of a few steps, and the parameters after them.
meshloom::vector<double> learnt(const shape& how, const manual& plan) {
  const auto task = training_of(how);
  host_run run = trials::started(task, plan);
  const trials::batch_of_numbers batch(run.executed(), kinds, 3);
  meshloom::vector<double> all;
  for (int step = 0; step < steps; ++step) all.push_back(run.step({batch[0], batch[1]}).loss);
  for (const std::string& name : run.names()) {
    for (const double each : run.read(name)) all.push_back(each);
  }
  CHECK(check(run.executed()) == meshloom::vector<std::string>{});
  for (const std::int64_t allocated : run.arena_bytes())
    CHECK(allocated == run.executed().stages[stage_id{0}].peak().count);
  return all;
}

bool same(const meshloom::vector<double>& left, const meshloom::vector<double>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](double a, double b) { return std::abs(a - b) < 1e-11 * std::max(1.0, std::abs(a)); });
}

int halos_in(const program& made) {
  int found = 0;
  for (const auto& body : made.stages[stage_id{0}].bodies) {
    for (const instruction& at : body) found += at.kind == instruction::redistribute && at.how == collective::halo;
  }
  return found;
}

/// Any strategies that a plan may have, drawn until they fit together.
plan random_plan(const graph& whole, plan made, std::mt19937_64& dice) {
  stage_plan& stage = made.stages[stage_id{0}];
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    if (whole.nodes[id].when == phase::update) continue;
    const strategy before = stage.strategies[id];
    meshloom::vector<strategy> all;
    for_each_strategy(whole.nodes[id].op->choices, stage.mesh.rank, [&](const strategy& how) { all.push_back(how); });
    stage.strategies[id] = all[dice() % all.size()];
    if (!check(whole, made).empty()) stage.strategies[id] = before;
  }
  return made;
}

/// What the simulator says of a stage, leaving out what only moves memory on a rank: that is in no stage_price.
picoseconds simulated(const stage_program& stage, const cluster& machine) {
  const mesh_links links = links_of(machine, stage.mesh, stage.first_rank);
  picoseconds sum;
  for (const auto& body : stage.bodies) {
    for (const instruction& at : body) {
      const bool moves = at.kind == instruction::load || at.kind == instruction::store ||
                         at.kind == instruction::accumulate ||
                         (at.kind == instruction::redistribute && at.how == collective::slice);
      if (!moves) sum += price(stage, at, machine.device, links);
    }
  }
  return sum;
}

program lowered(const shape& how, const manual& asked) {
  const auto task = training_of(how);
  const graph whole = trace(task);
  const cluster machine = local(asked.ranks());
  return lower(whole, solve(formulate(whole, machine, asked)).value(), machine);
}

}  // namespace

TEST_CASE("ranks that share an image learn what one rank learns") {
  for (const shape& how : {uneven, tiny, aligned}) {
    const auto alone = learnt(how, {});
    CHECK(alone[steps - 1] < alone[0]);
    for (const int ranks : {2, 3, 4, 5}) {
      CHECK(same(alone, learnt(how, split_high(ranks))));
      CHECK(same(alone, learnt(how, split_wide(ranks))));
    }
    for (const auto& [high, wide] : {std::pair{2, 2}, {3, 2}, {2, 3}})
      CHECK(same(alone, learnt(how, split_high(high) & split_wide(wide))));
    CHECK(same(alone, learnt(how, data_parallel(2) & split_high(3))));
    CHECK(same(alone, learnt(how, zero(3, 2) & split_wide(2))));
  }
}

TEST_CASE("halos are fetched where a rank lacks something, once per mesh axis that splits the image") {
  CHECK(halos_in(lowered(uneven, {})) == 0);
  // Each blur's image, its result's gradient, and the image again for the gradient of the taps; the first image has no
  // gradient.
  CHECK(halos_in(lowered(uneven, split_high(2))) == 5);
  CHECK(halos_in(lowered(uneven, split_high(2) & split_wide(2))) == 5 + 2);  // wide, the second blur has what it reads
  CHECK(halos_in(lowered(aligned, split_high(2) & split_wide(2))) == 0);
  CHECK(halos_in(lowered(aligned, split_high(3))) > 0);  // parts that do not go with the stride
}

TEST_CASE("under any strategies, steps learn the same, take what was planned and leave no fault") {
  std::mt19937_64 dice(11);
  int with_halos = 0, roundings = 0;
  for (const shape& how : {uneven, tiny}) {
    const auto task = training_of(how);
    const graph whole = trace(task);
    const auto alone = trials::losses(task, {}, 2, kinds);
    for (const manual& asked : {split_high(3), split_high(2) & split_wide(2), split_high(2) & split_wide(3)}) {
      const cluster machine = local(asked.ranks());
      const plan sound = solve(formulate(whole, machine, asked)).value();
      for (int round = 0; round < 25; ++round) {
        const plan made = random_plan(whole, sound, dice);
        const program steps_of = lower(whole, made, machine);
        REQUIRE(check(steps_of) == meshloom::vector<std::string>{});
        const stage_price paid = prices_of(whole, made, machine).front();
        const auto parts = std::abs(
            (simulated(steps_of.stages[stage_id{0}], machine) - paid.forward - paid.backward - paid.update).count);
        roundings += parts > 0 ? 1 : 0;
        CHECK(parts <= 3);  // an operator with statistics is rounded up part by part
        with_halos += halos_in(steps_of) > 0 ? 1 : 0;
        host_run run = start(host{}, steps_of, task, 7);
        const trials::batch_of_numbers batch(steps_of, kinds, 3);
        meshloom::vector<double> learnt_so;
        for (int step = 0; step < 2; ++step) learnt_so.push_back(run.step({batch[0], batch[1]}).loss);
        CHECK(same(alone, learnt_so));
      }
    }
  }
  CHECK(with_halos > 75);
}

TEST_CASE("the planner splits images by itself where that is best, and says what a step takes") {
  const graph whole = trace(training_of({.high = 4096,
                                         .wide = 512,
                                         .along_high = {stencil{3, 1, 1, 1}, stencil{3, 2, 1, 1}},
                                         .along_wide = {stencil{3, 1, 1, 1}, stencil{3, 2, 1, 1}}}));
  for (const std::int32_t ranks : {8, 16}) {  // the batch is of 4
    const problem posed = formulate(whole, local(ranks), automatic());
    const plan made = solve(posed).value();
    CHECK(check(whole, made) == meshloom::vector<std::string>{});
    const verdict judged = evaluate(posed, made);
    CHECK(judged.violations.empty());
    REQUIRE(judged.parts.has_value());
    CHECK(mean_times(*judged.parts)[work::halo] > picoseconds{});
    const program steps_of = lower(whole, made, posed.cluster);
    CHECK(check(steps_of) == meshloom::vector<std::string>{});
    CHECK(halos_in(steps_of) > 0);
    CHECK(explain(posed, made).find("\n  halo ") != std::string::npos);
  }
}
