// SPDX-License-Identifier: Apache-2.0
// The part of `check` that looks at windows, position by position and tap by tap: what a rank's part of an operator
// reads lies in the operand that the rank has. Law: shares no code with `lower` beyond what a buffer holds
// (`shard_view`).
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

/// What is wrong with the windows of a compute instruction whose tensors have the axes of its operator; empty if
/// nothing is.
std::string windows_fault(const stage_program& stage, const instruction& at);

/// What is wrong with a halo, a redistribution of one operand to one result; empty if nothing is.
std::string halo_fault(const stage_program& stage, const instruction& at);

/// True if an operand or result holds windows.
bool has_windows(const stage_program& stage, const instruction& at);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/check_windows.inl>
#endif
