// SPDX-License-Identifier: Apache-2.0
// planner/free_bound.hpp: no plan takes less than it, by hand or not; it is that of the plan without constraints, and
// knows the pins of the model.
#include <meshloom/model/pin.hpp>
#include <meshloom/planner/free_bound.hpp>
#include <meshloom/planner/solve.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

namespace ml = meshloom;
using namespace ml::axis;

TEST_CASE("no product of presets takes less than the bound of the free space") {
  for (const auto& graph : {models::vectors(), models::gpt({.layers = 2, .samples = 12})}) {
    const ml::cluster machine = models::near_ranks(4);
    const ml::picoseconds bound = ml::free_bound(ml::formulate(graph, machine)).value();
    CHECK(bound.count > 0);
    CHECK(bound == ml::solve(ml::formulate(graph, machine)).value().bound);
    int plans = 0;
    for (const std::string& preset : models::products(machine.ranks())) {
      CAPTURE(preset);
      ml::manual asked = ml::parse_manual(preset, machine.ranks()).value();
      asked.micro_batches = 2;
      const ml::problem posed = ml::formulate(graph, machine, asked);
      const auto made = ml::solve(posed);
      if (!made) continue;  // more stages than blocks
      CHECK(bound <= made.value().predicted);
      if (plans++ == 0) CHECK(ml::free_bound(posed).value() == bound);
    }
    CHECK(plans > 10);
  }
}

TEST_CASE("what constrains a plan does not move the bound, and pins of the model stay") {
  const ml::cluster machine = models::near_ranks(2);
  const auto problem_of = [&](const auto& model, const ml::manual& asked) {
    return ml::formulate(ml::trace(models::token_training(model)), machine, asked);
  };
  const auto with = [](const auto& layer) {
    return ml::embedding<vocab, embed>{} | layer | ml::gelu{} | ml::linear<mlp, vocab>{};
  };
  const auto free = with(ml::linear<embed, mlp>{});
  const auto pinned = with(ml::pinned(ml::linear<embed, mlp>{}, ml::split<seq, ml::mesh::tensor>{}));
  const ml::picoseconds bound = ml::free_bound(problem_of(free, ml::automatic())).value();
  ml::manual asked = ml::automatic() & ml::pipeline(2);
  asked.micro_batches = 24;
  CHECK(ml::free_bound(problem_of(free, asked)).value() == bound);
  CHECK(ml::solve(problem_of(free, asked)).value().bound > bound);
  const ml::problem open = problem_of(pinned, ml::automatic());
  CHECK(open.graph.pins.size() == 1);
  CHECK(ml::free_bound(problem_of(pinned, asked)).value() == ml::solve(open).value().bound);
}

TEST_CASE("without a plan in the free space there is no bound, and it says why") {
  ml::problem posed = models::posed(models::vectors(), "data", 2);
  posed.cluster.device.memory = {100};
  const auto found = ml::free_bound(posed);
  REQUIRE(!found);
  CHECK(found.error().find("no plan keeps to the limit of 100 bytes") == 0);
  CHECK(!ml::free_bound(models::posed(models::vectors(), "data", 2), {}, {.seconds = 1e-9}));
}
