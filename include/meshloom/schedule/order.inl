// SPDX-License-Identifier: Apache-2.0
#include <meshloom/schedule/order.hpp>

#include <string>

namespace meshloom {

MESHLOOM_INLINE vector<task> order_of(schedule_kind kind, int stages, int stage, int micro_batches) {
  if (stage < 0 || stage >= stages || micro_batches < 1) {
    throw error("order_of: no stage " + std::to_string(stage) + " of " + std::to_string(stages) + " with " +
                std::to_string(micro_batches) + " micro-batches; give 0 <= stage < stages and a micro-batch or more");
  }
  const bool trains = kind != schedule_kind::forward_only;
  const int ahead = trains ? slots_in_flight(kind, stages, stage, micro_batches) : micro_batches;
  vector<task> order;
  for (int k = 0; k < ahead; ++k) order.push_back({pass::forward, k});
  for (int k = 0; trains && k < micro_batches; ++k) {  // each backward frees the slot of the next forward
    order.push_back({pass::backward, k});
    if (k + ahead < micro_batches) order.push_back({pass::forward, k + ahead});
  }
  order.push_back({pass::reduce, 0});
  if (trains) order.push_back({pass::update, 0});
  return order;
}

namespace detail {

using pipeline_times = std::span<const stage_times>;
using pipeline_transfers = std::span<const transfer_times>;

/// Alike micro-batches that pass all stages, no stage turning to anything else: the slowest stage sets the pace.
inline picoseconds passage(pipeline_times stages, pipeline_transfers transfers, picoseconds stage_times::*task,
                           picoseconds transfer_times::*message, int micro_batches) {
  picoseconds first, slowest;
  for (const stage_times& each : stages) {
    first += each.*task;
    slowest = std::max(slowest, each.*task);
  }
  for (const transfer_times& each : transfers) first += each.*message;
  return first + slowest * (micro_batches - 1);
}

/// Under 1F1B: in round r of a pipeline of p stages, stage s runs the forward of micro-batch r, then the backward of
/// micro-batch r - (p - 1 - s). So it waits for the stage in front of it in the same round, and for the one behind it
/// in the round before.
class rounds {
 public:
  rounds(pipeline_times stages, pipeline_transfers transfers, int micro_batches)
      : stages_(stages), transfers_(transfers), micro_batches_(micro_batches), ends_(stages.size()) {}

  picoseconds run() {
    const int stages = static_cast<int>(stages_.size());
    for (int round = 0; round < micro_batches_ + stages - 1; ++round) {
      run_round(round);
      if (round >= stages - 1 && round < micro_batches_) round += leap(micro_batches_ - 1 - round);
    }
    return *std::max_element(ends_.begin(), ends_.end());
  }

 private:
  void run_round(int round) {
    picoseconds before;  // when the forward of the stage in front ends
    for (std::size_t s = 0; s < ends_.size(); ++s) {
      const bool is_last = s + 1 == ends_.size();
      picoseconds& end = ends_[s];
      if (round < micro_batches_) {
        if (s > 0) end = std::max(end, before + transfers_[s - 1].forward);
        before = end += stages_[s].forward;
      }
      const int back = round - static_cast<int>(ends_.size() - 1 - s);
      if (back < 0 || back >= micro_batches_) continue;
      if (!is_last) end = std::max(end, ends_[s + 1] + transfers_[s].backward);
      end += stages_[s].backward;
    }
  }

  /// In rounds in which every stage runs both, the ends of one follow from those of the round before by maxima and
  /// sums: what is added to all of them is added to all that follow. So where they are those of `period` rounds ago,
  /// all later by the same, they stay so. Skips as many of the `left` rounds as it can; returns how many.
  int leap(int left) {
    for (std::size_t period = 1; period <= past_.size(); ++period) {
      const auto& then = past_[past_.size() - period];
      const picoseconds later = ends_[0] - then[0];
      const auto is_as_late = [&](std::size_t s) { return ends_[s] - then[s] == later; };
      std::size_t alike = 1;
      while (alike < ends_.size() && is_as_late(alike)) ++alike;
      if (alike < ends_.size()) continue;
      const int times = left / static_cast<int>(period);
      for (picoseconds& end : ends_) end += later * times;
      past_.clear();
      return times * static_cast<int>(period);
    }
    if (past_.size() == ends_.size()) past_.erase(past_.begin());
    past_.push_back(ends_);
    return 0;
  }

  pipeline_times stages_;
  pipeline_transfers transfers_;
  int micro_batches_;
  vector<picoseconds> ends_;          ///< of what each stage has run so far
  vector<vector<picoseconds>> past_;  ///< what they were after the rounds before, the last one last
};

}  // namespace detail

MESHLOOM_INLINE picoseconds makespan(schedule_kind kind, std::span<const stage_times> stages,
                                     std::span<const transfer_times> transfers, int micro_batches) {
  if (stages.empty() || transfers.size() + 1 != stages.size()) {
    throw error("makespan: " + std::to_string(stages.size()) + " stages and " + std::to_string(transfers.size()) +
                " transfers; give a stage or more and one transfer between every two neighbours");
  }
  if (micro_batches < 1) throw error("makespan: " + std::to_string(micro_batches) + " micro-batches; give one or more");
  if (kind == schedule_kind::one_f_one_b) return detail::rounds(stages, transfers, micro_batches).run();
  const picoseconds forward =
      detail::passage(stages, transfers, &stage_times::forward, &transfer_times::forward, micro_batches);
  if (kind == schedule_kind::forward_only) return forward;
  return forward + detail::passage(stages, transfers, &stage_times::backward, &transfer_times::backward, micro_batches);
}

}  // namespace meshloom
