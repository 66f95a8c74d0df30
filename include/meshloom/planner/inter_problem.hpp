// SPDX-License-Identifier: Apache-2.0
// The inter-operator problem as pure data: ways to run ranges of blocks as pipeline stages on so many ranks, prices of
// the cuts between them, and a limit on what a rank holds. It knows neither graphs nor meshes. A plan is a sequence of
// candidates that covers all blocks and all ranks in order, each within one group of hosts. Law: `evaluate` is the
// referee; it shares no code with the solver. Source: Alpa (Zheng et al. 2022, section 5), with transfers, once-a-step
// costs, contiguous ranks and groups of hosts.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/base/result.hpp>
#include <meshloom/base/units.hpp>
#include <meshloom/base/vector.hpp>
#include <meshloom/schedule/order.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

namespace meshloom {

/// One way to run the blocks [first_block, end_block) as a stage on `ranks` ranks: on one host, or on whole hosts.
/// Where a layer is repeated, as many blocks from a later one on are run alike: one candidate says so of all of them.
struct stage_candidate {
  std::int32_t first_block = 0, end_block = 0, ranks = 0;
  picoseconds time;  ///< forward and backward of one micro-batch
  picoseconds once;  ///< per step: reduce and update
  bytes held;        ///< parameters, state, accumulators, and the largest transient
  bytes slot;        ///< more for every micro-batch in flight
  /// It runs [first_block + n, end_block + n) as well, for every n up to this.
  std::int32_t shifts = 0;
  picoseconds extra{};    ///< what it receives for a micro-batch takes so much longer than the cuts say
  std::int32_t kind = 0;  ///< of the groups of hosts on which it may stand
  bool operator==(const stage_candidate&) const = default;
};

/// Hosts that follow others in the order of ranks. A stage stands on ranks of one group. Groups of one kind have as
/// many devices per host and one limit.
struct inter_group {
  std::int32_t hosts = 0, devices_per_host = 0, kind = 0;
  vector<picoseconds> cut_within{}, cut_between{};  ///< as below, over the links of these hosts
  std::optional<bytes> limit{};
  bool operator==(const inter_group&) const = default;
};

struct inter_problem {
  std::int32_t blocks = 0, hosts = 0, devices_per_host = 0, micro_batches = 0;
  schedule_kind schedule = schedule_kind::one_f_one_b;
  vector<stage_candidate> candidates{};  ///< any number for the same blocks and ranks
  /// What a micro-batch's values cost to cross the cut in front of block b, forward and back, between stages that meet
  /// on one host and that do not; entry 0 is unused. Where groups of hosts meet, a stage's half is that over the links
  /// of its own, and the whole that over the slower ones.
  vector<picoseconds> cut_within{}, cut_between{};
  std::optional<bytes> limit{};        ///< of one rank; none: memory does not matter
  std::optional<picoseconds> worth{};  ///< plans that cost as much or more are not wanted; none: all are
  /// The groups of hosts after those above, which are of kind 0.
  vector<inter_group> others{};
  /// The blocks that stages may begin with, from 0 on, rising; none: all.
  vector<std::int32_t> stops{};
  bool operator==(const inter_problem&) const = default;
};

namespace inter {

/// Where a group of hosts lies, and its prices and limit.
struct group_place {
  std::int32_t hosts, devices_per_host, kind, first_rank, end_rank;
  const vector<picoseconds>*cut_within, *cut_between;
  const std::optional<bytes>* limit;
};

/// All groups in the order of ranks.
vector<group_place> places_of(const inter_problem& posed);

/// The group of a rank; the last where there is no such rank.
const group_place& group_at(const vector<group_place>& groups, std::int32_t rank);

/// The limit of the hosts on which a candidate of that kind may stand.
std::optional<bytes> limit_of(const inter_problem& posed, std::int32_t kind);

/// "2 hosts of 4 devices and 1 hosts of 8 devices"
std::string hosts_of(const inter_problem& posed);

}  // namespace inter

/// A stage's half of what crosses a cut beside it; its `hosts` carry it side by side.
constexpr picoseconds half_of_cut(picoseconds cut, std::int32_t hosts) { return {cut.count / (2 * hosts)}; }

/// How long the micro-batches after the first take to go around: under 1F1B as many are in flight as there are stages,
/// and the next begins when one comes back. `passing`: the stages and messages on the way of one.
constexpr picoseconds rounds_of(schedule_kind schedule, std::int64_t micro_batches, picoseconds passing,
                                std::int64_t stages) {
  const std::int64_t more = schedule == schedule_kind::one_f_one_b ? micro_batches - 1 : 0;
  return {passing.count / stages * more + passing.count % stages * more / stages};
}

/// What a stage may take for a micro-batch, where it is known at the least: some of what is said to be done once may be
/// part of that, and then it has so much less time to wait.
constexpr picoseconds longest_time(const stage_candidate& stage, std::int64_t micro_batches) {
  return {stage.time.count + stage.once.count / micro_batches + (stage.once.count % micro_batches > 0 ? 1 : 0)};
}

/// What a stage waits at least between its first forward and its last backward. The first micro-batch has to come back
/// from all `stages` behind, of which passing takes so long with its messages, and so has the last. Under 1F1B as many
/// others as there are stages behind run forward during the first wait and backward during the last; under GPipe the
/// first backward waits for the last forward to come back.
constexpr picoseconds idle_of(schedule_kind schedule, std::int64_t micro_batches, picoseconds time, picoseconds passing,
                              std::int64_t stages) {
  if (schedule == schedule_kind::forward_only) return {};
  if (schedule == schedule_kind::gpipe) return passing;
  const bool apart = micro_batches > stages + 1;  // the two waits
  const std::int64_t meanwhile = apart ? stages : micro_batches - 1;
  const std::int64_t idle = 2 * passing.count - meanwhile * time.count;
  return {std::clamp<std::int64_t>(apart ? idle : idle / 2, 0, passing.count)};
}

/// What a plan costs and holds. The bound: the first forward reaches a stage and the last backward leaves it through
/// all stages before it, and meanwhile the stage works on B micro-batches and waits for those behind it; so a step
/// takes at least, of every stage, B · time + idle + max(once, Σ time + Σ cuts before it).
struct inter_price {
  picoseconds cost;  ///< of a step: Σ (time + extra + half cuts) + max((B − 1) · time + once, rounds of all stages)
  picoseconds paced;       ///< as the cost, but of those stages in a row that are slowest, and with uneven messages
  picoseconds bound;       ///< no schedule takes less
  bytes peak;              ///< the most bytes that one rank holds
  std::int32_t where = 0;  ///< the first stage that holds them
};

/// One sentence per fault: candidates of no blocks or that fit no hosts, missing or negative prices, sums out of range.
vector<std::string> check(const inter_problem& posed);

/// The price of a sequence of candidates, or why it is no plan. `check` finds no fault in the problem.
result<inter_price> evaluate(const inter_problem& posed, const vector<std::int32_t>& candidates);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/inter_problem.inl>
#endif
