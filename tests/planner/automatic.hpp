// SPDX-License-Identifier: Apache-2.0
// What every automatic plan must be: sound by every referee, bounded from below, and no slower than any product of
// presets.
#pragma once

#include <meshloom/planner/solve.hpp>
#include <meshloom/report/evaluate.hpp>

#include "../plan/measures.hpp"
#include "../plan/models.hpp"

#include <doctest/doctest.h>

namespace automatic {

namespace ml = meshloom;

/// The plan, once it is seen to be sound.
inline ml::plan solved(const ml::graph& graph, const ml::cluster& machine, const ml::manual& asked = ml::automatic()) {
  const ml::problem posed = ml::formulate(graph, machine, asked);
  const auto made = ml::solve(posed);
  REQUIRE_MESSAGE(made, made.error());
  const auto faults = ml::check(graph, made.value());
  CHECK_MESSAGE(faults.empty(), faults.front());
  const auto violations = ml::evaluate(posed, made.value()).violations;
  CHECK_MESSAGE(violations.empty(), violations.front());
  CHECK(made.value().bound > ml::picoseconds{});
  CHECK(made.value().bound <= made.value().predicted);
  return made.value();
}

/// Checks that no preset under the same rules that fits is faster, in any number of micro-batches.
inline void compare_with(const ml::vector<std::string>& presets, const ml::graph& graph, const ml::cluster& machine,
                         const ml::manual& rules = {}) {
  const ml::plan made = solved(graph, machine, ml::automatic() & rules);
  const std::int64_t samples = graph.sizes[graph.micro_batched].extent;
  for (const std::string& preset : presets) {
    for (std::int32_t parts = 1; parts <= samples; ++parts) {
      if (samples % parts != 0) continue;
      CAPTURE(preset);
      CAPTURE(parts);
      ml::manual asked = ml::parse_manual(preset, machine.ranks()).value() & rules;
      asked.micro_batches = parts;
      const auto other = ml::solve(ml::formulate(graph, machine, asked));
      if (!other) continue;  // more stages than blocks
      if (measures::peak_of(graph, other.value(), machine) > machine.device.memory) continue;
      CHECK(made.predicted.count <= other.value().predicted.count);
      CHECK(made.bound <= other.value().predicted);
    }
  }
}

inline void compare_with_presets(const ml::graph& graph, const ml::cluster& machine) {
  compare_with(models::products(machine.ranks()), graph, machine);
}

}  // namespace automatic
