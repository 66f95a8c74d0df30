// SPDX-License-Identifier: Apache-2.0
// From tasks and messages to one blocking order of actions per stage, safe under the weakest promise of any backend: a
// send ends only when its receive is executed, and a stage has a single queue.
// Rule: between two consecutive tasks of a stage lies a gap. The sends of the task before it happen in it, because the
// results lie in transient memory; so do the receives of the task after it, because only then is its memory free.
// Law: no deadlock. All stages are simulated together; a message is exchanged when both its ends stand in its gap, and
// is then appended to both orders: they are one global order as each stage sees it. By induction over that order it can
// be executed: once all that comes before a message is done, its two ends stand at it and meet.
// Exception: where the rule leaves every stage waiting, a message between stages that are not neighbours (a skip
// connection) is received early, in whatever gap its receiver stands; `landing_slots` counts the memory for it.
#pragma once

#include <meshloom/schedule/order.hpp>

namespace meshloom {

/// For each micro-batch k: data that task (from, k) of `from_stage` makes and task (to, k) of `to_stage` needs. Reduce
/// and update have k = 0 only. A k without both tasks has no message.
struct message {
  std::int32_t from_stage = 0;
  pass from = pass::forward;
  std::int32_t to_stage = 0;
  pass to = pass::forward;
  constexpr bool operator==(const message&) const = default;
};

struct action {
  enum kind_type : std::uint8_t { run, send, receive } kind = run;
  std::int32_t index = 0;  ///< the pass that runs, or the number of the message
  std::int32_t micro_batch = 0;
  constexpr bool operator==(const action&) const = default;
};

/// The actions of every stage; the same input gives the same orders. Throws if a message names a stage that does not
/// exist or goes from a stage to itself, if a stage has a task twice, and if no order exists: the sentence then names
/// the stages and messages that wait for each other.
vector<vector<action>> linearise(const vector<vector<task>>& tasks_per_stage, std::span<const message> messages);

/// How many micro-batches of message `number` lie received and not yet read by its task, at most, on the stage that
/// executes `order`: 1 unless the message is received early.
int landing_slots(std::span<const action> order, std::span<const message> messages, std::int32_t number);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/schedule/rendezvous.inl>
#endif
