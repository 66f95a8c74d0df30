// SPDX-License-Identifier: Apache-2.0
// The rounds of an instruction whose blocks go around, as a rank sees them: whose block it holds, and where. Law: a
// round's block and the next one's never lie in one place, and after the last round results are home.
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

/// True if blocks go around while an instruction runs: along `mesh_axis`, by way of `visiting`.
inline bool rotates(const instruction& what) { return what.kind == instruction::compute && what.mesh_axis >= 0; }

/// The number of ranks around which blocks go, and of rounds; 1 if none do.
inline std::int32_t rounds_of(const stage_program& stage, const instruction& what) {
  return rotates(what) ? stage.mesh.size[static_cast<std::size_t>(what.mesh_axis)] : 1;
}

/// The member whose block `member` holds in a round.
inline std::int32_t host_of_visitor(const mesh_shape& mesh, int mesh_axis, std::int32_t member, std::int32_t round) {
  mesh_coordinates at = coordinates_of(mesh, member);
  std::int32_t& place = at[static_cast<std::size_t>(mesh_axis)];
  const std::int32_t ranks = mesh.size[static_cast<std::size_t>(mesh_axis)];
  place = (place + ranks - round % ranks) % ranks;
  return rank_at(mesh, at);
}

/// An operand or result whose blocks go around.
struct traveller {
  bool is_result = false;
  std::size_t which = 0;  ///< of the operands or results
  buffer_id home = buffer_id::none;
  std::array<buffer_id, 2> places{};  ///< of blocks that visit
  std::int32_t ranks = 1;

  /// Where the block of a round lies; of a result, round `ranks` is home.
  buffer_id in_round(std::int32_t round) const {
    if (is_result) return (ranks - round) % 2 == 0 ? home : places[0];
    return round == 0 ? home : places[static_cast<std::size_t>((round - 1) % 2)];
  }
};

/// In the order of `visiting`: operands, then results.
inline vector<traveller> travellers_of(const stage_program& stage, const instruction& what) {
  vector<traveller> found;
  if (!rotates(what)) return found;
  std::size_t next = 0;
  const auto add = [&](const index_list& axes, bool is_result, std::size_t which, buffer_id home) {
    if (!what.op->op.travels(axes)) return;
    traveller each{is_result, which, home, {}, rounds_of(stage, what)};
    for (int k = 0; k < visiting_places(is_result, each.ranks); ++k)
      each.places[static_cast<std::size_t>(k)] = what.visiting[next++];
    found.push_back(each);
  };
  for (std::size_t k = 0; k < what.operands.size(); ++k) add(what.op->op.operands[k], false, k, what.operands[k]);
  for (std::size_t k = 0; k < what.results.size(); ++k) add(what.op->op.results[k], true, k, what.results[k]);
  return found;
}

}  // namespace meshloom
