// SPDX-License-Identifier: Apache-2.0
// Every preset and product of presets trains like one rank. Shards are uneven and empty on purpose: 3 ranks for 4
// heads, 8 for 4 heads and for 6 rows, 50 words over anything.
#include "comparison.hpp"

namespace {

namespace ml = meshloom;

/// Small, deep enough for 8 stages.
constexpr ml::gpt_shape shape{
    .name = "parity", .vocab = 50, .seq = 16, .batch = 24, .embed = 32, .layers = 8, .heads = 4};
constexpr unsigned steps = 8;

template <class Optimizer, class Precision>
auto training_of(const Optimizer& with, Precision precision, int layers = shape.layers) {
  return ml::training{.model = ml::gpt(layers),
                      .loss = ml::cross_entropy<ml::axis::vocab>{},
                      .optimizer = with,
                      .sizes = ml::gpt_sizes(shape),
                      .precision = precision};
}

const ml::sgd momentum{.rate = 0.05, .momentum = 0.9, .decay = 1e-4};

/// AdamW divides a gradient by its own size: where it is zero but for rounding (the keys' bias) or nearly so, rounding
/// decides the step. Ten times this rate takes losses 4e-5 apart in f32 within 8 steps, and 1e-13 in f64.
const ml::adamw adamw{.rate = 1e-3};

template <class Optimizer, class Precision>
auto comparison_of(const Optimizer& with, Precision precision) {
  return runs::comparison(training_of(with, precision), runs::draw_all(shape, steps));
}

/// Trains in 16 bits beside f32 on one rank.
template <class Optimizer, class Half>
auto rounded_comparison_of(const Optimizer& with, Half precision) {
  return runs::comparison(training_of(with, precision), runs::draw_all(shape, steps), training_of(with, float{}));
}

/// The program without the reshard at `which` of its update: whoever read the result reads the operand.
ml::program without_reshard(ml::program made, std::size_t which) {
  auto& update = made.stages[ml::stage_id{0}].bodies[3];
  const ml::buffer_id from = update[which].operands[0], to = update[which].results[0];
  update.erase(update.begin() + static_cast<std::ptrdiff_t>(which));
  for (ml::instruction& each : update) std::replace(each.operands.begin(), each.operands.end(), to, from);
  return made;
}

}  // namespace

TEST_CASE("every plan trains like one rank, micro-batches and optimizers in turn") {
  auto by_sgd = comparison_of(momentum, float{});
  auto by_adamw = comparison_of(adamw, float{});
  int turn = 0;
  runs::for_each_plan([&](const std::string& text, int ranks) {
    const runs::request asked{text, ranks, runs::micro_batch_counts[turn % 3]};
    if (turn / 3 % 2 == 0) {
      by_sgd.check(asked, 2e-5);
    } else {
      by_adamw.check(asked, 2e-5);
    }
    ++turn;
  });
  by_sgd.report("SGD with momentum, f32");
  by_adamw.report("AdamW, f32");
}

TEST_CASE("in double precision losses, parameters and states agree to rounding, under every fourth plan") {
  auto exact = comparison_of(adamw, double{});
  int turn = 0;
  runs::for_each_plan([&](const std::string& text, int ranks) {
    if (turn % 4 == 0) exact.check({text, ranks, runs::micro_batch_counts[turn / 4 % 3]}, 1e-12);
    ++turn;
  });
  exact.report("AdamW, f64");
  CHECK(exact.largest_kept < 1e-9);
}

TEST_CASE("in bf16 and f16 losses stay within 5e-3 of f32 on one rank, under every fifth plan") {
  auto by_bf16 = rounded_comparison_of(adamw, ml::bf16{});
  auto by_f16 = rounded_comparison_of(momentum, ml::f16{});
  int turn = 0;
  runs::for_each_plan([&](const std::string& text, int ranks) {
    const runs::request asked{text, ranks, runs::micro_batch_counts[turn / 5 % 3]};
    if (turn % 5 == 0) by_bf16.check(asked, 5e-3);
    if (turn % 5 == 2) by_f16.check(asked, 5e-3);
    ++turn;
  });
  by_bf16.describe("AdamW, bf16");
  by_f16.describe("SGD with momentum, f16");
}

TEST_CASE("a gradient that is not summed over ranks is found, whichever it is") {
  const auto task = training_of(momentum, double{}, 2);
  const auto samples = runs::draw_all(shape, 2);
  const ml::program sound = runs::program_of(ml::trace(task), {"data=2", 2, 2});
  const auto kept_by = [&](const ml::program& made) {
    auto run = ml::start(ml::host{}, made, task);
    return runs::train(run, samples).kept;
  };
  const auto expected = kept_by(sound);
  const auto& update = sound.stages[ml::stage_id{0}].bodies[3];
  int planted = 0;
  for (std::size_t at = 0; at < update.size(); ++at) {
    // Softmax does not see what a bias adds to all keys alike: its gradient is zero on every rank.
    const bool zero = update[at].name.find("key.pointwise") != std::string::npos;
    if (update[at].kind != ml::instruction::redistribute || zero) continue;
    CAPTURE(update[at].name);
    CHECK(runs::difference(kept_by(without_reshard(sound, at)), expected) > 1e-6);
    ++planted;
  }
  CHECK(planted == 35);
}

TEST_CASE("every plan trains like one rank, with all micro-batches and optimizers" * doctest::test_suite("all")) {
  auto by_sgd = comparison_of(momentum, float{});
  auto by_adamw = comparison_of(adamw, float{});
  auto exact = comparison_of(adamw, double{});
  runs::for_each_plan([&](const std::string& text, int ranks) {
    for (const int micro_batches : runs::micro_batch_counts) {
      by_sgd.check({text, ranks, micro_batches}, 2e-5);
      by_adamw.check({text, ranks, micro_batches}, 2e-5);
      exact.check({text, ranks, micro_batches}, 1e-12);
    }
  });
  by_sgd.report("SGD with momentum, f32");
  by_adamw.report("AdamW, f32");
  exact.report("AdamW, f64");
  CHECK(exact.largest_kept < 1e-9);
}
