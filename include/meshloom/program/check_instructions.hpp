// SPDX-License-Identifier: Apache-2.0
// The part of `check` that looks at instructions one by one: operators against their tables, and collectives.
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

/// One sentence per fault:
/// - operands and results that do not match the operator's signature, in number, shape or type;
/// - sums over micro-batches in a type that rounds each of them;
/// - layouts that no choice per mesh axis explains; a pending sum where the operator is not linear;
/// - statistics exchanged where nothing splits them, or not exchanged where something does;
/// - a reshard that is not its collective along its mesh axis, or changes the tensor;
/// - inputs and results that are not parts of the caller's.
vector<std::string> check_instructions(const program& whole);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/check_instructions.inl>
#endif
