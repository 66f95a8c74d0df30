// SPDX-License-Identifier: Apache-2.0
// Where a step goes: the time of every stage by kind of work, read from a simulated step, and the memory of its ranks
// by what lies in it.
// Law: kinds of work add up to the step on every stage, parts of memory to the arena that is allocated, exactly.
#pragma once

#include <meshloom/cluster/cluster.hpp>
#include <meshloom/graph/graph.hpp>
#include <meshloom/program/program.hpp>
#include <meshloom/report/text_table.hpp>

namespace meshloom {

/// What a stage spends time on.
enum class work : std::uint8_t {
  products,         ///< of matrices, forward and backward: contractions of named axes, attention
  other_operators,  ///< every other operator that is not an update
  recomputed,       ///< operators of forward that run again in backward, products or not
  updates,
  all_reduce,  ///< with the statistics that operators exchange
  all_gather,
  reduce_scatter,
  all_to_all,
  broadcast,
  halo,      ///< what neighbours read of each other's parts
  rotation,  ///< blocks that go around while an operator runs
  copies,    ///< within a rank: inputs and results, slices, sums over micro-batches
  messages,  ///< to and from other stages, once both ends have come to them
  waiting,   ///< for the other end of a message, and for the last stage to end
};
inline constexpr std::size_t work_count = 14;

constexpr std::string_view name_of(work kind) {
  constexpr std::string_view names[] = {"products",   "other operators", "recomputed", "updates",   "all_reduce",
                                        "all_gather", "reduce_scatter",  "all_to_all", "broadcast", "halo",
                                        "rotation",   "copies",          "messages",   "waiting"};
  return names[static_cast<int>(kind)];
}

/// The kind of work of one instruction; what blocks that go around take of it is `rotation`.
work work_of(const instruction& what, pass when);

/// Times of a step by kind of work.
struct work_times {
  std::array<picoseconds, work_count> of = {};

  picoseconds& operator[](work kind) { return of[static_cast<std::size_t>(kind)]; }
  picoseconds operator[](work kind) const { return of[static_cast<std::size_t>(kind)]; }
  bool operator==(const work_times&) const = default;
};

/// One stage, or rather each of its ranks, which do alike.
struct stage_breakdown {
  std::int32_t ranks = 1;
  work_times times = {};
  bytes parameters = {};
  bytes state = {};      ///< of the optimizer
  bytes sums = {};       ///< over micro-batches: gradients, and results
  bytes kept = {};       ///< for the backward of one micro-batch, in each of `slots`
  bytes transient = {};  ///< while a body runs
  std::int32_t slots = 1;

  bytes peak() const { return parameters + state + sums + kept * slots + transient; }
};

struct breakdown {
  picoseconds step = {};  ///< simulated
  table<stage_id, stage_breakdown> stages = {};
};

/// The breakdown of a program of `whole` that `check` accepts. Throws meshloom::error if the cluster has too few ranks.
breakdown breakdown_of(const graph& whole, const program& lowered, const cluster& machine);

/// What the average rank spends its step on; rounded down.
work_times mean_times(const breakdown& parts);

/// One column per kind of work that there is, one row per stage, and below them the share of the step in the average
/// rank.
text_table work_table(const breakdown& parts);

/// One row per stage: what lies in the arena of each of its ranks.
text_table memory_table(const breakdown& parts, const vector<bytes>& memory);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/breakdown.inl>
#endif
