// SPDX-License-Identifier: Apache-2.0
// What happened when: one event per executed instruction and message of a rank. The host records them, the simulator
// predicts them; their order must agree.
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

struct event {
  std::int32_t rank = 0;
  action::kind_type kind = action::run;
  std::int32_t index = 0;  ///< the pass of the body, or the number of the transfer
  std::int32_t micro_batch = 0;
  std::int32_t instruction = 0;  ///< within the body
  picoseconds begin = {};        ///< since the beginning of the step
  picoseconds end = {};

  /// The same work, whenever it was done.
  friend bool same_work(const event& a, const event& b) {
    return a.rank == b.rank && a.kind == b.kind && a.index == b.index && a.micro_batch == b.micro_batch &&
           a.instruction == b.instruction;
  }
};

/// What an event did, in words.
inline const std::string& name_of(const program& whole, const event& what) {
  if (what.kind != action::run) return whole.transfers[static_cast<std::size_t>(what.index)].name;
  const stage_program& stage = whole.stages[stage_of_rank(whole, what.rank)];
  return stage.bodies[static_cast<std::size_t>(what.index)][static_cast<std::size_t>(what.instruction)].name;
}

}  // namespace meshloom
