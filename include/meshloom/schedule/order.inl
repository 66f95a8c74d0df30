// SPDX-License-Identifier: Apache-2.0
#include <meshloom/schedule/order.hpp>

#include <string>

namespace meshloom {

MESHLOOM_INLINE std::vector<task> order_of(schedule_kind kind, int stages, int stage, int micro_batches) {
  if (stage < 0 || stage >= stages || micro_batches < 1) {
    throw error("order_of: no stage " + std::to_string(stage) + " of " + std::to_string(stages) + " with " +
                std::to_string(micro_batches) + " micro-batches; give 0 <= stage < stages and a micro-batch or more");
  }
  const bool trains = kind != schedule_kind::forward_only;
  const int ahead = trains ? slots_in_flight(kind, stages, stage, micro_batches) : micro_batches;
  std::vector<task> order;
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

/// When the forward and the backward of every micro-batch end on one stage, so far: the tasks of a pass end in order.
struct stage_clock {
  std::vector<task> order;
  std::size_t next = 0;
  picoseconds now;
  std::vector<picoseconds> ends[2];  // by pass, by micro-batch

  bool over() const { return next == order.size() || order[next].what > pass::backward; }
};

/// Runs the next task of stage `s` if its input has been made.
inline bool run_next(std::vector<stage_clock>& clocks, std::size_t s, const stage_times& times,
                     std::span<const transfer_times> transfers) {
  stage_clock& here = clocks[s];
  if (here.over()) return false;
  const task next = here.order[here.next];
  const bool forward = next.what == pass::forward;
  if (forward ? s > 0 : s + 1 < clocks.size()) {
    const auto& made = clocks[forward ? s - 1 : s + 1].ends[forward ? 0 : 1];
    const auto k = static_cast<std::size_t>(next.micro_batch);
    if (k >= made.size()) return false;
    here.now = std::max(here.now, made[k] + (forward ? transfers[s - 1].forward : transfers[s].backward));
  }
  here.now += forward ? times.forward : times.backward;
  here.ends[forward ? 0 : 1].push_back(here.now);
  ++here.next;
  return true;
}

}  // namespace detail

MESHLOOM_INLINE picoseconds makespan(schedule_kind kind, std::span<const stage_times> stages,
                                     std::span<const transfer_times> transfers, int micro_batches) {
  if (stages.empty() || transfers.size() + 1 != stages.size()) {
    throw error("makespan: " + std::to_string(stages.size()) + " stages and " + std::to_string(transfers.size()) +
                " transfers; give a stage or more and one transfer between every two neighbours");
  }
  std::vector<detail::stage_clock> clocks(stages.size());
  for (std::size_t s = 0; s < stages.size(); ++s) {
    clocks[s].order = order_of(kind, static_cast<int>(stages.size()), static_cast<int>(s), micro_batches);
  }
  for (bool progress = true; progress;) {
    progress = false;
    for (std::size_t s = 0; s < stages.size(); ++s) {
      while (detail::run_next(clocks, s, stages[s], transfers)) progress = true;
    }
  }
  picoseconds last;
  for (const auto& clock : clocks) last = std::max(last, clock.now);
  return last;
}

}  // namespace meshloom
