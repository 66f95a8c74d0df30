// SPDX-License-Identifier: Apache-2.0
// A scaled loss trains like the loss: in f32 a power of 2 changes no bit of it; in f16 a scale that overflows is
// lowered until gradients are finite, and until then nothing is updated, under any plan.
#include "comparison.hpp"

namespace {

namespace ml = meshloom;

constexpr ml::gpt_shape shape{
    .name = "scaled", .vocab = 50, .seq = 8, .batch = 8, .embed = 16, .layers = 4, .heads = 4};

template <class Precision>
auto training_of(Precision precision, const ml::loss_scaling& scaling, double clip = ml::no_clip) {
  return ml::training{.model = ml::gpt(shape.layers),
                      .loss = ml::cross_entropy<ml::axis::vocab>{},
                      .optimizer = ml::adamw{.rate = 1e-2, .clip = clip},
                      .sizes = ml::gpt_sizes(shape),
                      .precision = precision,
                      .scaling = scaling};
}

template <class Training>
ml::host_run start(const Training& task, const char* plan, int ranks) {
  return ml::start(ml::host{}, runs::program_of(ml::trace(task), {plan, ranks, 2}), task, 7);
}

runs::numbers kept_by(const ml::host_run& run) {
  runs::numbers kept;
  for (const std::string& name : run.names()) kept[name] = run.read(name);
  return kept;
}

}  // namespace

TEST_CASE("in f32 a scale that is a power of 2 changes no bit, clipped or not") {
  for (const double clip : {1.0, 0.01}) {
    auto plain = start(training_of(float{}, {}, clip), "zero2=2,pipeline=2", 4);
    auto scaled = start(training_of(float{}, {.initial = 1024, .patience = 3}, clip), "zero2=2,pipeline=2", 4);
    for (unsigned step = 0; step < 8; ++step) {
      const auto& [input, target] = runs::draw(shape, step);
      const ml::step_result one = plain.step({input, target}), other = scaled.step({input, target});
      CHECK(one.loss == other.loss);
      CHECK(one.gradient_norm == other.gradient_norm);
      CHECK_FALSE(other.skipped);
    }
    CHECK(scaled.scale() == 4096);
    CHECK(plain.scale() == 1);
    CHECK(runs::difference(kept_by(scaled), kept_by(plain)) == 0);
  }
}

TEST_CASE("in f64 a scale may be beyond what f32 holds") {
  auto plain = start(training_of(double{}, {}, 1.0), "data=2", 2);
  auto scaled = start(training_of(double{}, {.initial = 0x1p100}, 1.0), "data=2", 2);
  for (unsigned step = 0; step < 3; ++step) {
    const auto& [input, target] = runs::draw(shape, step);
    CHECK(plain.step({input, target}).loss == scaled.step({input, target}).loss);
  }
  CHECK(scaled.steps() == 3);
  CHECK(runs::difference(kept_by(scaled), kept_by(plain)) == 0);
}

TEST_CASE("in f16 a scale that overflows is lowered, and until then nothing is updated") {
  for (const char* plan : {"data=4", "zero3=2,tensor=2", "tensor=2,pipeline=2"}) {
    CAPTURE(plan);
    auto run = start(training_of(ml::f16{}, {.initial = 0x1p40}), plan, 4);
    const runs::numbers first = kept_by(run);
    const auto& [input, target] = runs::draw(shape, 0);
    int skipped = 0;
    double loss = 0;
    for (ml::step_result step = run.step({input, target}); step.skipped; step = run.step({input, target}), ++skipped) {
      CHECK(runs::difference(kept_by(run), first) == 0);
      CHECK(run.steps() == 0);
      CHECK((skipped == 0 || step.loss == loss));
      loss = step.loss;
      REQUIRE(skipped < 40);
    }
    CHECK(skipped > 2);
    CHECK(run.steps() == 1);
    CHECK(run.scale() == std::ldexp(1.0, 40 - skipped));
    CHECK(runs::difference(kept_by(run), first) > 0);
    double last = loss;
    for (int step = 0; step < 20; ++step) last = run.step({input, target}).loss;
    CHECK(last < 0.8 * loss);
  }
}

TEST_CASE("f16 scales its loss unless told otherwise, other types do not") {
  const auto scaling_of = [](auto precision) {
    return ml::trace(ml::training{.model = ml::gpt(1),
                                  .loss = ml::cross_entropy<ml::axis::vocab>{},
                                  .optimizer = ml::sgd{},
                                  .sizes = ml::gpt_sizes(shape),
                                  .precision = precision})
        .scaling;
  };
  CHECK(scaling_of(ml::f16{}).initial == 65536);
  CHECK_FALSE(scaling_of(ml::bf16{}).scales());
  CHECK_FALSE(scaling_of(float{}).scales());
}

TEST_CASE("a scaling that means nothing is refused") {
  const auto faults = ml::check(ml::trace(training_of(float{}, {.initial = 2, .factor = 0})));
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].find("scaling of its loss") != std::string::npos);
}
