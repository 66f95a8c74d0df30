// SPDX-License-Identifier: Apache-2.0
// How a sentence about a program says where: a stage, an instruction, a message, a buffer.
#pragma once

#include <meshloom/base/sentence.hpp>
#include <meshloom/program/program.hpp>

namespace meshloom {

inline constexpr std::array<pass, pass_count> all_passes{pass::forward, pass::backward, pass::reduce, pass::update};

/// The instructions of one pass.
inline const vector<instruction>& body_of(const stage_program& stage, pass which) {
  return stage.bodies[static_cast<std::size_t>(which)];
}

/// "stage 2"
inline std::string place_of(std::size_t stage) { return sentence({"stage ", stage}); }

/// "stage 2, backward, repeat[3].linear.dot"
inline std::string place_of(std::size_t stage, pass when, const instruction& at) {
  return sentence({"stage ", stage, ", ", name_of(when), ", ", at.name});
}

/// "message 4 (embedding, stage 0 to 1)"
inline std::string place_of(std::size_t number, const transfer& moved) {
  return sentence(
      {"message ", number, " (", moved.name, ", stage ", moved.route.from_stage, " to ", moved.route.to_stage, ")"});
}

/// "buffer 7 (linear.dot)"
inline std::string place_of(const stage_program& stage, buffer_id id) {
  return sentence({"buffer ", index_of(id), " (", stage.buffers[id].name, ")"});
}

/// "forward of micro-batch 3"
inline std::string name_of(const task& what) {
  return sentence({name_of(what.what), " of micro-batch ", what.micro_batch});
}

constexpr std::string_view name_of(memory where) {
  constexpr std::string_view names[] = {"fixed", "kept", "transient"};
  return names[static_cast<int>(where)];
}

}  // namespace meshloom
