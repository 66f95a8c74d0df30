// SPDX-License-Identifier: Apache-2.0
// The values that the operators of a range of blocks read or make, with their readers. Instances that the same
// operators read are one value, counted: so a repeated layer is looked at once, however many copies it has. Law: every
// reading of every instance is in exactly one of them.
#pragma once

#include <meshloom/graph/unroll.hpp>

namespace meshloom {

/// One operand of a node.
struct reading {
  node_id node = node_id::none;
  std::int8_t operand = 0;
  auto operator<=>(const reading&) const = default;
};

/// A value that a stage's operators read, and who reads it: one for all instances that the same operators read.
struct read_value {
  value_id value = value_id::none;
  bool made_here = false;  ///< by a node of the stage; else a parameter, or from another stage
  bool leaves = false;     ///< another stage reads it
  bool is_result = false;  ///< of the step
  std::vector<reading> forward = {}, backward = {};
  std::int32_t copies = 0;  ///< how many instances there are
};

/// Every value that the operators of blocks [first_block, end_block) read or make, inputs and states apart. Parameters
/// are listed once per pass that reads them. Ranges with as many copies of every region have like lists, wherever they
/// begin.
std::vector<read_value> values_read(const graph& whole, std::int32_t first_block, std::int32_t end_block);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/read_value.inl>
#endif
