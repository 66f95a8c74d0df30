// SPDX-License-Identifier: Apache-2.0
// The part of `check` that looks at memory: where buffers lie, when they are alive, and what is read before it is
// written.
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

/// One sentence per fault:
/// - a buffer of the wrong size, off its alignment or outside its region; a region larger than its buffers need;
/// - two buffers that share memory while both are alive: always in the fixed region and in a slot, in a body from the
///   first touch to the last, and to the end of the body if they are sent;
/// - a value read before it is written. Parameters and states are there from the start; sums over micro-batches only
///   after the last; what a slot keeps, in forward and backward; what is transient, in its own body;
/// - a value written twice, unless in place or to sum; a parameter that the update leaves as it was.
vector<std::string> check_memory(const program& whole);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/check_memory.inl>
#endif
