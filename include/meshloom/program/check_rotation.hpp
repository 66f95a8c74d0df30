// SPDX-License-Identifier: Apache-2.0
// The part of `check` that looks at blocks that go around, by passing them on paper, round by round: every rank meets
// every block once, no block is overwritten before it is passed on, and results come home. Law: shares no code with
// `lower` and the backends (program/rotation.hpp).
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

/// What is wrong with a compute instruction whose operator asks for blocks to go around mesh axis `around` (−1: for
/// none to); empty if nothing is.
std::string rotation_fault(const stage_program& stage, const instruction& at, int around);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/check_rotation.inl>
#endif
