// SPDX-License-Identifier: Apache-2.0
#include <meshloom/exec/simulate.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/program/place.hpp>
#include <meshloom/report/breakdown.hpp>
#include <meshloom/report/wording.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE work work_of(const instruction& what, pass when) {
  const bool copies = what.kind == instruction::redistribute && what.how == collective::slice;
  if (what.kind == instruction::compute) {
    if (when == pass::update) return work::updates;
    if (what.again) return work::recomputed;
    return what.op->products ? work::products : work::other_operators;
  }
  if (what.kind == instruction::total) return work::all_reduce;
  if (copies || (what.kind != instruction::exchange && what.kind != instruction::redistribute)) return work::copies;
  constexpr work kinds[] = {work::all_reduce, work::all_gather, work::reduce_scatter, work::all_to_all,
                            work::broadcast,  work::copies,     work::halo,           work::rotation};
  return kinds[static_cast<std::size_t>(what.how)];
}

namespace detail {

/// What lies in the arena of a stage, buffer by buffer.
inline stage_breakdown memory_of(const graph& whole, const stage_program& stage) {
  stage_breakdown made{.ranks = stage.mesh.ranks(),
                       .sums = stage.fixed,
                       .kept = stage.kept,
                       .transient = stage.transient,
                       .slots = stage.slots};
  for (const placed_value& each : stage.placed_values) {
    const bool trained = whole.values[each.what.value].kind == value_kind::parameter;
    const bytes size = stage.buffers[each.buffer].size;
    (trained ? made.parameters : made.state) += size;
    made.sums -= size;
  }
  return made;
}

/// Adds one event of a stage. A message waits until both ends have come to it, then crosses.
inline void add_event(const stage_program& stage, const event& now, const vector<picoseconds>& messages,
                      const mesh_links& links, work_times& times) {
  const auto index = static_cast<std::size_t>(now.index);
  if (now.kind == action::run) {
    const instruction& what = stage.bodies[index][static_cast<std::size_t>(now.instruction)];
    const picoseconds around = rotation_price(stage, what, links);
    times[work_of(what, static_cast<pass>(index))] += now.end - now.begin - around;
    times[work::rotation] += around;
  } else {
    times[work::messages] += messages[index];
    times[work::waiting] += now.end - now.begin - messages[index];
  }
}

}  // namespace detail

MESHLOOM_INLINE breakdown breakdown_of(const graph& whole, const program& lowered, const cluster& machine) {
  const simulation paper = simulate(lowered, machine);
  breakdown made{.step = paper.step};
  for (const stage_program& stage : lowered.stages) made.stages.add(detail::memory_of(whole, stage));
  vector<picoseconds> messages;
  for (const transfer& each : lowered.transfers) messages.push_back(price(lowered, each, machine));
  for (const event& now : paper.events) {
    const stage_id id = stage_of_rank(lowered, now.rank);
    const stage_program& stage = lowered.stages[id];
    if (now.rank != stage.first_rank) continue;
    detail::add_event(stage, now, messages, links_of(machine, stage.mesh, stage.first_rank), made.stages[id].times);
  }
  for (stage_breakdown& each : made.stages) {
    picoseconds ended;
    for (const picoseconds time : each.times.of) ended += time;
    each.times[work::waiting] += made.step - ended;
  }
  return made;
}

MESHLOOM_INLINE work_times mean_times(const breakdown& parts) {
  work_times mean;
  std::int64_t ranks = 0;
  for (const stage_breakdown& each : parts.stages) ranks += each.ranks;
  for (std::size_t kind = 0; kind < work_count; ++kind) {
    for (const stage_breakdown& each : parts.stages) mean.of[kind] += each.times.of[kind] * each.ranks;
    mean.of[kind].count /= std::max<std::int64_t>(ranks, 1);
  }
  return mean;
}

MESHLOOM_INLINE text_table work_table(const breakdown& parts) {
  const work_times mean = mean_times(parts);
  text_table table{{{"stage", true}}, {}};
  vector<std::string> shares{"share"};
  for (std::size_t s = 0; s < parts.stages.size(); ++s) table.rows.push_back({sentence({s})});
  for (std::size_t kind = 0; kind < work_count; ++kind) {
    const auto none = [&](const stage_breakdown& each) { return each.times.of[kind].count == 0; };
    if (std::all_of(parts.stages.begin(), parts.stages.end(), none)) continue;
    table.columns.push_back({std::string(name_of(static_cast<work>(kind))), true});
    for (std::size_t s = 0; s < parts.stages.size(); ++s) {
      table.rows[s].push_back(describe_time(parts.stages[static_cast<stage_id>(s)].times.of[kind]));
    }
    shares.push_back(describe_share(detail::share_of(mean.of[kind], parts.step)));
  }
  table.columns.push_back({"step", true});
  for (auto& row : table.rows) row.push_back(describe_time(parts.step));
  shares.push_back("100.0 %");
  table.rows.push_back(std::move(shares));
  return table;
}

MESHLOOM_INLINE text_table memory_table(const breakdown& parts, const vector<bytes>& memory) {
  text_table table{{}, {}};
  for (const char* heading :
       {"stage", "parameters", "state", "sums", "kept", "x slots", "transient", "peak", "of device"}) {
    table.columns.push_back({heading, true});
  }
  for (std::size_t s = 0; s < parts.stages.size(); ++s) {
    const stage_breakdown& each = parts.stages[static_cast<stage_id>(s)];
    const double share = static_cast<double>(each.peak().count) / static_cast<double>(memory[s].count);
    table.rows.push_back({sentence({s}), describe_bytes(each.parameters), describe_bytes(each.state),
                          describe_bytes(each.sums), describe_bytes(each.kept), sentence({each.slots}),
                          describe_bytes(each.transient), describe_bytes(each.peak()), describe_share(share)});
  }
  return table;
}

}  // namespace meshloom
