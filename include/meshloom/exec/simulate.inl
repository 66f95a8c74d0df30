// SPDX-License-Identifier: Apache-2.0
#include <meshloom/exec/box.hpp>
#include <meshloom/exec/simulate.hpp>
#include <meshloom/program/rotation.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// Bytes of the largest shard of a buffer: that of the first member, unless members hold windows, which end at the
/// edges.
inline bytes largest_shard_of(const stage_program& stage, buffer_id id) {
  const buffer& what = stage.buffers[id];
  std::int64_t most = 0;
  for (std::int32_t member = 0; member < (what.widened.empty() ? 1 : stage.mesh.ranks()); ++member)
    most = std::max(most, shard_view(stage, what, member).count());
  return {most * size_of(what.type)};
}

/// Bytes that the member which lacks most of its windows receives.
inline bytes largest_halo_of(const stage_program& stage, const instruction& what) {
  const buffer &from = stage.buffers[what.operands[0]], &to = stage.buffers[what.results[0]];
  std::int64_t most = 0;
  for (std::int32_t member = 0; member < stage.mesh.ranks(); ++member) {
    const box held = box_of(shard_view(stage, from, member)), wanted = box_of(shard_view(stage, to, member));
    most = std::max(most, count(wanted) - count(overlap(held, wanted)));
  }
  return {most * size_of(to.type)};
}

/// Memory read and written: an operator's operands and results, as the planner counts them; what is loaded or stored on
/// both sides; a sum and its summand, and the sum again.
inline bytes moved_by(const stage_program& stage, const instruction& what) {
  bytes read, written;
  for (const buffer_id id : what.operands) read += largest_shard_of(stage, id);
  for (const buffer_id id : what.results) written += largest_shard_of(stage, id);
  if (what.kind == instruction::load) read = written;
  if (what.kind == instruction::store) written = read;
  if (what.kind == instruction::accumulate) read += written;
  if (what.kind == instruction::redistribute) read = written;  // a slice reads the part it keeps
  return read + written;
}

/// Points of the operator's index space that the largest shards leave to one rank, in one round.
inline double local_points(const stage_program& stage, const instruction& what) {
  std::array<std::int64_t, max_indices> extents{};
  const auto see = [&](const index_list& axes, buffer_id id) {
    const view shard = shard_view(stage, stage.buffers[id], 0);
    for (int axis = 0; axis < axes.count; ++axis) {
      extents[static_cast<std::size_t>(axes.at[static_cast<std::size_t>(axis)])] = shard.extent[axis];
    }
  };
  for (std::size_t k = 0; k < what.operands.size(); ++k) see(what.op->op.operands[k], what.operands[k]);
  for (std::size_t k = 0; k < what.results.size(); ++k) see(what.op->op.results[k], what.results[k]);
  double points = 1;
  for (int index = 0; index < what.op->op.index_count; ++index) {
    points *= points_along(what.op->op, what.attributes, index, extents[static_cast<std::size_t>(index)]);
  }
  return points;
}

/// Prices of the instructions of a stage, per pass.
using body_prices = std::array<vector<picoseconds>, pass_count>;

/// A stage on its way through its actions.
struct stage_walk {
  vector<action> actions;
  std::size_t at = 0;
  std::size_t instruction = 0;  ///< of the body that it is in
  picoseconds now, busy;
  body_prices prices;
  vector<event> events;  ///< of one rank

  bool over() const { return at == actions.size(); }
};

inline bool is_total(const instruction& what) { return what.kind == instruction::total; }

inline stage_walk start_walk(const stage_program& stage, const cluster& machine) {
  stage_walk walk;
  walk.actions = expand(stage.schedule);
  const mesh_links links = links_of(machine, stage.mesh, stage.first_rank);
  const device& on = device_of(machine, stage.first_rank);
  for (std::size_t body = 0; body < stage.bodies.size(); ++body) {
    for (const instruction& each : stage.bodies[body]) {
      const dtype type = is_total(each) ? stage.buffers[each.results[0]].type : dtype::f32;
      walk.prices[body].push_back(is_total(each) ? total_price(machine, type) : price(stage, each, on, links));
    }
  }
  return walk;
}

/// The next instruction of the body that a stage is in begins when all who take part have come to it.
inline void walk_instruction(stage_walk& walk, picoseconds begin) {
  const action& now = walk.actions[walk.at];
  const picoseconds time = walk.prices[static_cast<std::size_t>(now.index)][walk.instruction];
  walk.events.push_back({0, action::run, now.index, now.micro_batch, static_cast<std::int32_t>(walk.instruction++),
                         walk.now, begin + time});
  walk.now = begin + time;
  walk.busy += time;
}

/// True if a stage is at an instruction for which all stages meet.
inline bool stands_at_total(const stage_program& stage, const stage_walk& walk) {
  if (walk.over() || walk.actions[walk.at].kind != action::run) return false;
  const auto& body = stage.bodies[static_cast<std::size_t>(walk.actions[walk.at].index)];
  return walk.instruction < body.size() && is_total(body[walk.instruction]);
}

/// Goes on to the end of a body, or to where all stages meet; true if it came to the end.
inline bool walk_body(const stage_program& stage, stage_walk& walk) {
  const auto body = static_cast<std::size_t>(walk.actions[walk.at].index);
  while (walk.instruction < walk.prices[body].size()) {
    if (stands_at_total(stage, walk)) return false;
    walk_instruction(walk, walk.now);
  }
  walk.instruction = 0;
  ++walk.at;
  return true;
}

/// Takes all stages through a total together, if all have come to one.
inline bool meet(const program& whole, vector<stage_walk>& walks) {
  picoseconds last;
  for (std::size_t s = 0; s < walks.size(); ++s) {
    if (!stands_at_total(whole.stages[static_cast<stage_id>(s)], walks[s])) return false;
    last = std::max(last, walks[s].now);
  }
  for (stage_walk& each : walks) walk_instruction(each, last);
  return !walks.empty();
}

/// Both stages leave the message when it has crossed; each came to it at its own time.
inline void walk_message(stage_walk& from, stage_walk& to, picoseconds time) {
  const picoseconds end = std::max(from.now, to.now) + time;
  for (stage_walk* each : {&from, &to}) {
    const action& now = each->actions[each->at++];
    each->events.push_back({0, now.kind, now.index, now.micro_batch, 0, each->now, end});
    each->now = end;
  }
}

/// Goes on with a stage until it ends or waits; true if it moved.
inline bool advance(const program& whole, vector<stage_walk>& walks, std::size_t s,
                    const vector<picoseconds>& messages) {
  const auto place = [&] { return std::pair(walks[s].at, walks[s].instruction); };
  const auto before = place();
  while (!walks[s].over()) {
    const action now = walks[s].actions[walks[s].at];
    if (now.kind == action::run) {
      if (!walk_body(whole.stages[static_cast<stage_id>(s)], walks[s])) break;
      continue;
    }
    const auto number = static_cast<std::size_t>(now.index);
    stage_walk& from = walks[static_cast<std::size_t>(whole.transfers[number].route.from_stage)];
    stage_walk& to = walks[static_cast<std::size_t>(whole.transfers[number].route.to_stage)];
    const auto stands_at = [&](const stage_walk& walk, action::kind_type kind) {
      return !walk.over() && walk.actions[walk.at] == action{kind, now.index, now.micro_batch};
    };
    if (!stands_at(from, action::send) || !stands_at(to, action::receive)) break;
    walk_message(from, to, messages[number]);
  }
  return place() != before;
}

}  // namespace detail

MESHLOOM_INLINE bytes bytes_of_collective(const stage_program& stage, const instruction& what) {
  if (what.kind == instruction::exchange) return detail::largest_shard_of(stage, what.exchanged[0]);
  const bytes from = detail::largest_shard_of(stage, what.operands[0]),
              to = detail::largest_shard_of(stage, what.results[0]);
  const std::int64_t ranks = stage.mesh.size[static_cast<std::size_t>(what.mesh_axis)];
  switch (what.how) {
    case collective::all_gather:
      return from * ranks;
    case collective::reduce_scatter:
      return to * ranks;
    case collective::all_to_all:
      return std::max(from, to) * ranks;
    case collective::halo:
      return detail::largest_halo_of(stage, what);
    default:
      return from;
  }
}

MESHLOOM_INLINE picoseconds rotation_price(const stage_program& stage, const instruction& what,
                                           const mesh_links& links) {
  picoseconds time;
  for (const traveller& each : travellers_of(stage, what)) {
    time += passes_of(each.is_result, each.ranks) * price(collective::rotate, each.ranks,
                                                          detail::largest_shard_of(stage, each.home),
                                                          links.axis[static_cast<std::size_t>(what.mesh_axis)]);
  }
  return time;
}

MESHLOOM_INLINE bytes bytes_of_message(const program& whole, const transfer& moved) {
  const stage_program& from = whole.stages[static_cast<stage_id>(moved.route.from_stage)];
  const stage_program& to = whole.stages[static_cast<stage_id>(moved.route.to_stage)];
  return std::max(detail::largest_shard_of(from, moved.from), detail::largest_shard_of(to, moved.to));
}

MESHLOOM_INLINE picoseconds price(const stage_program& stage, const instruction& what, const device& on,
                                  const mesh_links& links) {
  const double moving =
      static_cast<double>(detail::moved_by(stage, what).count) / static_cast<double>(on.bytes_per_second);
  if (what.kind == instruction::compute) {
    const double computing = detail::local_points(stage, what) * what.op->flops_per_point /
                             rate_of(*what.op, compute_type_of(stage, what, dtype::f32), on);
    const int parts = what.part < 0 ? 1 : what.op->op.statistic_count + 1;
    const std::int32_t rounds = rounds_of(stage, what);
    return from_seconds(std::max(computing, moving) * rounds / parts) + on.launch * rounds +
           rotation_price(stage, what, links);
  }
  const bool collects =
      what.kind == instruction::exchange || (what.kind == instruction::redistribute && what.how != collective::slice);
  if (!collects) return from_seconds(moving) + on.launch;
  const auto axis = static_cast<std::size_t>(what.mesh_axis);
  return price(what.how, stage.mesh.size[axis], bytes_of_collective(stage, what), links.axis[axis]);
}

MESHLOOM_INLINE picoseconds price(const program& whole, const transfer& moved, const cluster& machine) {
  const stage_program& from = whole.stages[static_cast<stage_id>(moved.route.from_stage)];
  const stage_program& to = whole.stages[static_cast<stage_id>(moved.route.to_stage)];
  const meshloom::link over =
      message_link(machine, {from.first_rank, from.mesh.ranks()}, {to.first_rank, to.mesh.ranks()});
  return transfer_price(bytes_of_message(whole, moved), over);
}

MESHLOOM_INLINE simulation simulate(const program& whole, const cluster& machine) {
  if (machine.ranks() < whole.ranks) {
    throw error("simulate: the program runs on " + std::to_string(whole.ranks) + " ranks, the cluster has " +
                std::to_string(machine.ranks()));
  }
  vector<detail::stage_walk> walks;
  for (const stage_program& stage : whole.stages) walks.push_back(detail::start_walk(stage, machine));
  vector<picoseconds> messages;
  for (const transfer& each : whole.transfers) messages.push_back(price(whole, each, machine));
  for (bool moved = true; moved;) {
    moved = detail::meet(whole, walks);
    for (std::size_t s = 0; s < walks.size(); ++s) moved = detail::advance(whole, walks, s, messages) || moved;
  }
  simulation made;
  for (std::size_t s = 0; s < walks.size(); ++s) {
    const stage_program& stage = whole.stages[static_cast<stage_id>(s)];
    if (!walks[s].over()) throw error("simulate: the stages wait for each other; check(program) says where");
    made.step = std::max(made.step, walks[s].now);
    made.busy_per_stage.push_back(walks[s].busy);
    for (std::int32_t member = 0; member < stage.mesh.ranks(); ++member) {
      for (event each : walks[s].events) {
        each.rank = stage.first_rank + member;
        made.events.push_back(each);
      }
    }
  }
  return made;
}

}  // namespace meshloom
