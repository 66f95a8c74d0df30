// SPDX-License-Identifier: Apache-2.0
// A LLaMA that drops trains under every plan like one rank: 3 heads of keys, each for 2 of queries, and 43 hidden units
// are uneven on any number of ranks.
#include "parity.hpp"

#include <meshloom/model/llama.hpp>

namespace {

namespace ml = meshloom;
using namespace ml::axis;

struct grouped {
  ml::llama_shape shape{.vocab = 50,
                        .seq = 10,
                        .batch = 12,
                        .embed = 24,
                        .layers = 5,
                        .heads = 6,
                        .key_heads = 3,
                        .mlp = 43,
                        .dropout = 0.15};
  double rate = 0.3;
  unsigned steps = 4;

  template <class Precision>
  auto training() const {
    return ml::training{.model = ml::llama(shape),
                        .loss = ml::cross_entropy<vocab>{},
                        .optimizer = ml::sgd{.rate = rate, .momentum = 0.9, .decay = 1e-4},
                        .sizes = ml::llama_sizes(shape),
                        .precision = Precision{}};
  }

  template <class>
  auto samples() const {
    return ml::vector(steps, runs::draw(shape, 0));
  }

  static runs::presets presets() { return {}; }
};

/// One short sample, matrices that are large beside it.
const grouped large_matrices{{.vocab = 96,
                              .seq = 4,
                              .batch = 1,
                              .embed = 96,
                              .layers = 2,
                              .heads = 24,
                              .key_heads = 12,
                              .mlp = 256,
                              .dropout = 0.1},
                             0.02};

/// What is said of automatic plans.
const ml::vector<ml::manual> rules{ml::split_all<heads, ml::mesh::tensor>(0), ml::split_all<seq, ml::mesh::data>(0)};

const parity::tolerance single{2e-5, 1e-4}, exact{1e-11, 1e-11};

}  // namespace

TEST_CASE("a LLaMA trains like one rank, under one plan in thirteen") {
  parity::trainings<float, grouped> all({}, single);
  all.check_presets(3, 13);
  all.report("LLaMA, f32");
}

TEST_CASE("a LLaMA in double precision agrees to rounding, under one plan in ten") {
  parity::trainings<double, grouped> all({}, exact);
  all.check_presets(2, 10);
  all.report("LLaMA, f64");
}

TEST_CASE("a LLaMA in bf16 stays near f32 on one rank, under one plan in thirteen") {
  parity::trainings<ml::bf16, grouped> all({}, parity::rounded);
  all.check_presets(3, 13);
  all.report("LLaMA, bf16");
}

TEST_CASE("where batch, hidden units or layers are best split, they are, and a LLaMA trains like one rank") {
  parity::trainings<float, grouped> small({}, single);
  parity::trainings<double, grouped> large(large_matrices, exact);
  for (const std::int32_t ranks : {2, 3}) {
    CHECK(small.share_that_splits(small.check_automatic(parity::near_ranks(ranks)), "batch") > 0.9);
    CHECK(small.check_automatic(parity::far_ranks(ranks)).stages.size() == static_cast<std::size_t>(ranks));
    CHECK(large.share_that_splits(large.check_automatic(parity::near_ranks(ranks)), "mlp") > 0.9);
  }
  parity::check_parts(small, parity::near_ranks(2), rules);
  small.report_automatic("LLaMA, automatic, f32");
  large.report_automatic("large matrices, automatic, f64");
}

TEST_SUITE("all") {
  TEST_CASE("a LLaMA trains like one rank, under every plan") {
    parity::trainings<float, grouped> all({}, single);
    all.check_all_presets();
    all.report("LLaMA, f32");
  }

  TEST_CASE("a LLaMA in double precision agrees to rounding, under every plan") {
    parity::trainings<double, grouped> all({}, exact);
    all.check_all_presets();
    all.report("LLaMA, f64");
  }

  TEST_CASE("automatic plans of a LLaMA train like one rank, in both precisions") {
    parity::trainings<float, grouped> small({}, single);
    parity::check_all_automatic(small, rules);
    small.report_automatic("LLaMA, automatic, f32");
    parity::trainings<double, grouped> wide(large_matrices, exact);
    parity::check_all_automatic(wide, rules);
    wide.report_automatic("LLaMA, large matrices, automatic, f64");
  }
}
