// SPDX-License-Identifier: Apache-2.0
// A Wide-ResNet trains under every plan like one rank, running statistics included. Images are 9 × 7, 5 × 4 and 3 × 2
// pixels: uneven on 2 and 4 ranks, and too few rows for 8.
#include "parity.hpp"

#include <meshloom/model/wide_resnet.hpp>

namespace {

namespace ml = meshloom;
using namespace ml::axis;

struct images {
  ml::wide_resnet_shape<3> shape{
      .high = 9, .wide = 7, .classes = 10, .batch = 16, .base = 3, .widening = 2, .depth = {2, 3, 1}};
  std::size_t steps = 3;

  template <class Precision>
  auto training() const {
    const auto task = ml::wide_resnet_training(shape, ml::sgd{.rate = 0.005, .momentum = 0.9, .decay = 1e-4});
    return ml::training{.model = task.model,
                        .loss = task.loss,
                        .optimizer = task.optimizer,
                        .sizes = task.sizes,
                        .input = task.input,
                        .target = task.target,
                        .precision = Precision{}};
  }

  /// Noise about a level per colour that says the class.
  template <class Precision>
  auto samples() const {
    std::mt19937 dice(1);
    std::normal_distribution<double> noise;
    runs::sample_of<Precision> made;
    for (std::int64_t image = 0; image < shape.batch; ++image) {
      made.target.push_back(static_cast<std::int32_t>(dice() % static_cast<unsigned>(shape.classes)));
      for (std::int64_t at = 0; at < shape.high * shape.wide * shape.colours; ++at) {
        const double level = std::cos(made.target.back() * static_cast<double>(1 + at % shape.colours));
        made.input.push_back(static_cast<Precision>(noise(dice) + level));
      }
    }
    return ml::vector(steps, made);
  }

  static runs::presets presets() { return {.splits = {"tensor", "space"}}; }
};

/// Two images with many channels.
const images many_channels{
    {.high = 8, .wide = 8, .classes = 10, .batch = 2, .base = 16, .widening = 2, .depth = {1, 1, 1}}};

/// What is said of automatic plans.
const ml::vector<ml::manual> rules{ml::spatial(0), ml::split_all<batch, ml::mesh::data>(0)};

/// Channels whose variance is next to nothing magnify what f32 rounds: what is kept is compared in f64.
const parity::tolerance single{2e-5, 0.05}, exact{1e-11, 1e-11};

}  // namespace

TEST_CASE("a Wide-ResNet trains like one rank, under one plan in thirteen") {
  parity::trainings<float, images> all({}, single);
  all.check_presets(3, 13);
  all.report("Wide-ResNet, f32");
}

TEST_CASE("a Wide-ResNet in double precision agrees to rounding, under one plan in seventeen") {
  parity::trainings<double, images> all({}, exact);
  all.check_presets(7, 17);
  all.report("Wide-ResNet, f64");
}

/// Batch norms over few values, and large logits, would magnify what is rounded in each of many layers.
TEST_CASE("a Wide-ResNet in bf16 stays near f32 on one rank, under one plan in thirteen") {
  const images larger{
      {.high = 12, .wide = 10, .classes = 10, .batch = 32, .base = 4, .widening = 2, .depth = {2, 3, 1}}};
  parity::trainings<ml::bf16, images> all(larger, {5e-3, 0.5, 0.05, false});
  all.check_presets(3, 13);
  all.report("Wide-ResNet, bf16");
}

TEST_CASE("where batch, rows, channels or layers are best split, they are, and a Wide-ResNet trains like one rank") {
  parity::trainings<double, images> small({}, exact);
  parity::trainings<double, images> large(many_channels, exact);
  CHECK(small.share_that_splits(small.check_automatic(parity::near_ranks(2)), "batch") > 0.9);
  CHECK(small.share_that_splits(small.check_automatic(parity::near_ranks(3)), "high") > 0.5);
  for (const std::int32_t ranks : {2, 3}) {
    CHECK(small.check_automatic(parity::far_ranks(ranks)).stages.size() == static_cast<std::size_t>(ranks));
    CHECK(large.share_that_splits(large.check_automatic(parity::joined_ranks(ranks)), "entry_channels_2") > 0.8);
  }
  parity::check_parts(small, parity::near_ranks(2), rules);
  small.report_automatic("Wide-ResNet, automatic, f64");
  large.report_automatic("many channels, automatic, f64");
}

TEST_SUITE("all") {
  TEST_CASE("a Wide-ResNet trains like one rank, under every plan") {
    parity::trainings<float, images> all({}, single);
    all.check_all_presets();
    all.report("Wide-ResNet, f32");
  }

  TEST_CASE("a Wide-ResNet in double precision agrees to rounding, under every plan") {
    parity::trainings<double, images> all({}, exact);
    all.check_all_presets();
    all.report("Wide-ResNet, f64");
  }

  TEST_CASE("automatic plans of a Wide-ResNet train like one rank, in both precisions") {
    parity::trainings<float, images> small({}, single);
    parity::check_all_automatic(small, rules);
    small.report_automatic("Wide-ResNet, automatic, f32");
    parity::trainings<double, images> wide(many_channels, exact);
    parity::check_all_automatic(wide, rules);
    wide.report_automatic("Wide-ResNet, many channels, automatic, f64");
  }
}
