// SPDX-License-Identifier: Apache-2.0
// The order of tasks on a pipeline stage: which body runs on which micro-batch, one after the other. The planner prices
// the order that the program runs, so it is made here once.
// Law: every micro-batch runs forward once and, unless forward only, backward once and later; both ascend. The
// micro-batches in flight are therefore consecutive, and micro-batch k may keep its activations in slot
// k mod `slots_in_flight`.
// Source: GPipe (Huang et al. 2019); 1F1B, called PipeDream-flush there (Narayanan et al. 2021).
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/base/error.hpp>
#include <meshloom/base/units.hpp>
#include <meshloom/base/vector.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace meshloom {

/// Which body a task runs: forward and backward once per micro-batch; reduce (finish what is summed over micro-batches)
/// and update once per step, as micro-batch 0.
enum class pass : std::uint8_t { forward, backward, reduce, update };
inline constexpr int pass_count = 4;

struct task {
  pass what = pass::forward;
  std::int32_t micro_batch = 0;
  constexpr bool operator==(const task&) const = default;
};

enum class schedule_kind : std::uint8_t { forward_only, gpipe, one_f_one_b };

constexpr std::string_view name_of(pass what) {
  constexpr std::string_view names[] = {"forward", "backward", "reduce", "update"};
  return names[static_cast<int>(what)];
}

constexpr std::string_view name_of(schedule_kind kind) {
  constexpr std::string_view names[] = {"forward", "gpipe", "1f1b"};
  return names[static_cast<int>(kind)];
}

/// The schedule of that name, if there is one.
constexpr std::optional<schedule_kind> schedule_named(std::string_view name) {
  for (const auto kind : {schedule_kind::forward_only, schedule_kind::gpipe, schedule_kind::one_f_one_b}) {
    if (name_of(kind) == name) return kind;
  }
  return std::nullopt;
}

/// How many micro-batches hold a kept slot at once on `stage` of `stages`: all of them under GPipe, at most one per
/// stage from here to the last under 1F1B, and one where nothing is kept for a backward.
constexpr int slots_in_flight(schedule_kind kind, int stages, int stage, int micro_batches) {
  if (kind == schedule_kind::forward_only) return 1;
  return kind == schedule_kind::gpipe ? micro_batches : std::min(micro_batches, stages - stage);
}

/// The share of a step in which a stage idles, for equal stages and free transfers; the same for all schedules.
constexpr double bubble(int stages, int micro_batches) {
  return static_cast<double>(stages - 1) / static_cast<double>(micro_batches + stages - 1);
}

/// The tasks of `stage` in order. Throws unless 0 <= stage < stages and there is a micro-batch.
vector<task> order_of(schedule_kind kind, int stages, int stage, int micro_batches);

/// What one micro-batch costs a stage.
struct stage_times {
  picoseconds forward;
  picoseconds backward;
};

/// What the messages of one micro-batch take between two neighbours.
struct transfer_times {
  picoseconds forward;   ///< on to the next stage
  picoseconds backward;  ///< and back from it
  bool operator==(const transfer_times&) const = default;
};

/// From the first forward to the end of the last task of a micro-batch. `transfers[s]` is between the stages s and
/// s + 1; a transfer delays its reader but keeps no stage busy. Reduce and update are not in it. Once the stages keep
/// pace, more micro-batches are no more work. Throws unless there is a stage, a micro-batch and a transfer between
/// every two neighbours.
picoseconds makespan(schedule_kind kind, std::span<const stage_times> stages, std::span<const transfer_times> transfers,
                     int micro_batches);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/schedule/order.inl>
#endif
