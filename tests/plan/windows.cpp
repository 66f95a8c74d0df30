// SPDX-License-Identifier: Apache-2.0
// Plans of models that read windows: one mesh axis splits an image, a second is refused wherever a plan may come from;
// and what the halos and the work of such an operator cost.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/cost/analytic.hpp>
#include <meshloom/plan/text.hpp>
#include <meshloom/planner/allowed.hpp>
#include <meshloom/planner/solve.hpp>

#include "../exec/stencil_training.hpp"
#include "models.hpp"

#include <doctest/doctest.h>

namespace ml = meshloom;

namespace {

const ml::graph& whole() {
  static const ml::graph made = ml::trace(stencils::training_of(stencils::uneven));
  return made;
}

/// A plan on a mesh of two axes, the first of which splits images along high.
const ml::plan& sound() {
  static const ml::plan made = [] {
    const ml::manual asked = ml::split_all<ml::axis::batch, ml::mesh::data>(2) & stencils::split_high(2);
    return ml::solve(ml::formulate(whole(), ml::local(4), asked)).value();
  }();
  return made;
}

/// The row that splits an index.
std::uint8_t row_of(const ml::node& at, int index) {
  std::uint8_t row = 0;
  while (at.op->choices.rows[row].kind != ml::choice::split || at.op->choices.rows[row].index != index) ++row;
  return row;
}

ml::node_id blur_node() {
  for (std::size_t n = 0; n < whole().nodes.size(); ++n) {
    if (whole().nodes[static_cast<ml::node_id>(n)].op->op.name == "blur") return static_cast<ml::node_id>(n);
  }
  return ml::node_id::none;
}

}  // namespace

TEST_CASE("two mesh axes that split one image along one axis are refused by check") {
  REQUIRE(ml::check(whole(), sound()).empty());
  ml::plan crowded = sound();
  const ml::node& at = whole().nodes[blur_node()];
  const std::uint8_t row = row_of(at, 3);
  crowded.stages[ml::stage_id{0}].strategies[blur_node()] = {{row, row, 0}, 0};
  CHECK(models::says(ml::check(whole(), crowded), "operator " + at.name +
                                                      ": two mesh axes split high_1, which reads windows; leave it to "
                                                      "one of them"));
}

TEST_CASE("and when a plan is read") {
  const std::string text = ml::to_text(whole(), sound());
  REQUIRE(ml::from_text(text, whole(), 4).value() == sound());
  const std::string before = "split batch | split high_1";
  const std::size_t line = text.find(before, text.find("operator " + whole().nodes[blur_node()].name));
  REQUIRE(line != std::string::npos);
  std::string crowded = text;
  crowded.replace(line, before.size(), "split high_1 | split high_1 | order data>rows");
  const auto read = ml::from_text(crowded, whole(), 4);
  REQUIRE_FALSE(read);
  CHECK(read.error().find("two mesh axes split 'high_1', which reads windows; leave it to one of them") !=
        std::string::npos);
}

TEST_CASE("and never proposed, also where rules ask for it") {
  const ml::problem free = ml::formulate(whole(), ml::local(4), ml::automatic());
  const ml::stage_plan& stage = sound().stages[ml::stage_id{0}];
  int seen = 0;
  for (std::size_t n = 0; n < whole().nodes.size(); ++n) {
    const ml::node& at = whole().nodes[static_cast<ml::node_id>(n)];
    if (at.when == ml::phase::update) continue;
    for (const ml::strategy& how : ml::allowed_strategies(free, stage, static_cast<ml::node_id>(n))) {
      CHECK(ml::is_legal(at.op->choices, stage.mesh.rank, how));
      ++seen;
    }
  }
  CHECK(seen > 100);
  const ml::manual asked = stencils::split_high(2) & ml::split_all<stencils::high_1, ml::mesh::data>(2);
  const auto made = ml::solve(ml::formulate(whole(), ml::local(4), asked));
  REQUIRE_FALSE(made);
  CHECK(made.error().find(whole().nodes[blur_node()].name) != std::string::npos);
}

TEST_CASE("an operator with windows costs its work and its halos") {
  ml::device slow = ml::local(4).device;
  slow.flops_per_second = 1000;  // work is all that counts
  const ml::link over{.latency = {1'000'000}, .bytes_per_second = 1'000'000'000};
  const ml::mesh_links links{{over, over, over}};
  const auto price = [&](ml::node_id id, const ml::mesh_shape& mesh, const ml::strategy& how) {
    return ml::price(whole(), whole().sizes, id, mesh, how, slow, links) - slow.launch;
  };
  const ml::node_id id = blur_node();  // 4 images of 11 x 9 under 3 x 2 taps, giving 11 x 7
  CHECK(price(id, {}, {}) == ml::from_seconds(4 * 11 * 7 * 3 * 2 * 2 / 1000.0));
  // Three ranks have 4, 4 and 3 rows of both; the one between two others lacks a row of 9 from each.
  const ml::picoseconds halo = ml::price(ml::collective::halo, 3, {2 * 4 * 9 * 8}, over);
  CHECK(halo.count == 2 * (1'000'000 + 4 * 9 * 8 * 1000));
  const ml::strategy rows{{row_of(whole().nodes[id], 3), 0, 0}, 0};
  CHECK(price(id, {1, {3}}, rows) == ml::from_seconds(4 * 4 * 7 * 3 * 2 * 2 / 1000.0) + halo);

  for (std::size_t n = 0; n < whole().nodes.size(); ++n) {
    const auto gradient = static_cast<ml::node_id>(n);
    if (whole().nodes[gradient].op->op.name != "blur_image_gradient") continue;
    // Strides of 2 and 3: only one tap in 2 x 3 meets an element of 11 x 7.
    CHECK(price(gradient, {}, {}) == ml::from_seconds(4 * (11 / 2.0) * (7 / 3.0) * 3 * 3 * 2 / 1000.0));
  }
}
