// SPDX-License-Identifier: Apache-2.0
// The timeline of a step as a Chrome trace, to be opened in Perfetto or chrome://tracing: a process per stage, a thread
// per rank, a slice per instruction and message. Recorded and simulated steps look alike.
// Source: Trace Event Format, Google 2016: complete events ("X") and metadata ("M").
#pragma once

#include <meshloom/exec/event.hpp>

#include <span>
#include <string>

namespace meshloom {

/// One JSON object; times in microseconds, exact to the picosecond.
std::string chrome_trace(const program& whole, std::span<const event> events);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/timeline.inl>
#endif
