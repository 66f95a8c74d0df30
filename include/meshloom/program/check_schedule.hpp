// SPDX-License-Identifier: Apache-2.0
// The part of `check` that looks at schedules: tasks, messages, slots, and whether the stages ever wait for each other.
#pragma once

#include <meshloom/program/program.hpp>

namespace meshloom {

/// One sentence per fault:
/// - a task that runs twice, never, or out of order: forward and backward ascend by micro-batch, a backward follows its
///   forward, reduce follows both, update is last;
/// - a message without both its ends, sent before it is made or after its memory is used again, received after it is
/// read;
/// - more or fewer slots than the micro-batches in flight need: one is in flight from the first receive into the kept
///   region, or its forward, to the end of its backward;
/// - stages that wait for each other for ever, where a send ends only with its receive.
vector<std::string> check_schedule(const program& whole);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/check_schedule.inl>
#endif
