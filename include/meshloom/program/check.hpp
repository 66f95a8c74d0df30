// SPDX-License-Identifier: Apache-2.0
// The referee of programs: says what would go wrong if every rank did as it is told. It derives everything anew and
// shares no code with `lower` beyond plain data types.
// Law: a program without a fault ends under blocking sends and one queue per stage, reads nothing that was not written,
// overwrites nothing that is still needed, and allocates exactly what it uses.
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

/// One sentence per fault, with its place: first what names something that does not exist, and, only if there is no
/// such fault, those of the schedule, the memory and the instructions.
vector<std::string> check(const program& whole);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/check.inl>
#endif
