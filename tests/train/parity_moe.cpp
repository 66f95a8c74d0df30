// SPDX-License-Identifier: Apache-2.0
// A mixture of experts trains under every plan like one rank. Experts are uneven: 5 of them on 2, 3, 4 and 8 ranks.
#include "parity.hpp"

#include <meshloom/model/moe.hpp>

namespace {

namespace ml = meshloom;
using namespace ml::axis;

struct mixture {
  ml::moe_shape shape{{.vocab = 50, .seq = 10, .batch = 12, .embed = 16, .layers = 8, .heads = 4}, 5, 24};
  double rate = 0.3;
  unsigned steps = 4;

  template <class Precision>
  auto training() const {
    return ml::training{.model = ml::moe_gpt(shape.gpt.layers),
                        .loss = ml::cross_entropy<vocab>{},
                        .optimizer = ml::sgd{.rate = rate, .momentum = 0.9, .decay = 1e-4},
                        .sizes = ml::moe_sizes(shape),
                        .precision = Precision{}};
  }

  template <class>
  auto samples() const {
    return ml::vector(steps, runs::draw(shape.gpt, 0));
  }

  static runs::presets presets() { return {.spreads = {"data", "zero1", "zero2", "zero3", "expert"}}; }
};

/// One short sample, experts that are large beside it.
const mixture large_experts{{{.vocab = 20, .seq = 8, .batch = 1, .embed = 64, .layers = 2, .heads = 8}, 8, 128}, 0.02};

/// What is said of automatic plans.
const ml::vector<ml::manual> rules{ml::expert_parallel(0), ml::split_all<expert_mlp, ml::mesh::tensor>(0)};

const parity::tolerance single{2e-5, 1e-4}, exact{1e-11, 1e-11};

}  // namespace

TEST_CASE("a mixture of experts trains like one rank, under one plan in thirteen") {
  parity::trainings<float, mixture> all({}, single);
  all.check_presets(3, 13);
  all.report("experts, f32");
}

TEST_CASE("a mixture of experts in double precision agrees to rounding, under one plan in seventeen") {
  parity::trainings<double, mixture> all({}, exact);
  all.check_presets(7, 17);
  all.report("experts, f64");
}

/// A token whose two best experts are nearly as good may go to the other one: many tokens, so that few of them matter.
TEST_CASE("a mixture of experts in bf16 stays near f32 on one rank, under one plan in thirteen") {
  const mixture many_tokens{{{.vocab = 50, .seq = 20, .batch = 24, .embed = 32, .layers = 4, .heads = 4}, 5, 24}, 0.1};
  parity::trainings<ml::bf16, mixture> all(many_tokens, {5e-3, 0.5, 0.3});
  all.check_presets(3, 13);
  all.report("experts, bf16");
}

TEST_CASE("where batch, experts, hidden units or layers are best split, they are, and experts train like one rank") {
  parity::trainings<float, mixture> small({}, single);
  parity::trainings<double, mixture> large(large_experts, exact);
  for (const std::int32_t ranks : {2, 3}) {
    CHECK(small.share_that_splits(small.check_automatic(parity::near_ranks(ranks)), "batch") > 0.9);
    CHECK(small.check_automatic(parity::far_ranks(ranks)).stages.size() == static_cast<std::size_t>(ranks));
    CHECK(large.share_that_splits(large.check_automatic(parity::far_ranks(ranks)), "expert") > 0.4);
    CHECK(large.share_that_splits(large.check_automatic(parity::joined_ranks(ranks)), "mlp") > 0.9);
  }
  parity::check_parts(small, parity::near_ranks(2), rules);
  small.report_automatic("experts, automatic, f32");
  large.report_automatic("large experts, automatic, f64");
}

TEST_SUITE("all") {
  TEST_CASE("a mixture of experts trains like one rank, under every plan") {
    parity::trainings<float, mixture> all({}, single);
    all.check_all_presets();
    all.report("experts, f32");
  }

  TEST_CASE("a mixture of experts in double precision agrees to rounding, under every plan") {
    parity::trainings<double, mixture> all({}, exact);
    all.check_all_presets();
    all.report("experts, f64");
  }

  TEST_CASE("automatic plans of a mixture of experts train like one rank, in both precisions") {
    parity::trainings<float, mixture> small({}, single);
    parity::check_all_automatic(small, rules);
    small.report_automatic("experts, automatic, f32");
    parity::trainings<double, mixture> wide(large_experts, exact);
    parity::check_all_automatic(wide, rules);
    wide.report_automatic("experts, large experts, automatic, f64");
  }
}
