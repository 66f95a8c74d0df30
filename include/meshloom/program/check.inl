// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/check.hpp>
#include <meshloom/program/check_ends.hpp>
#include <meshloom/program/check_instructions.hpp>
#include <meshloom/program/check_memory.hpp>
#include <meshloom/program/check_schedule.hpp>
#include <meshloom/program/place.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// Whether everything that is named exists: the other referees index by it.
class reference_referee {
 public:
  explicit reference_referee(const program& whole) : whole_(whole) {}

  vector<std::string> run() {
    if (whole_.micro_batches < 1) fault("the program has no micro-batch");
    check_ranks();
    for (std::size_t s = 0; s < whole_.stages.size(); ++s) check_stage(s, whole_.stages[static_cast<stage_id>(s)]);
    for (std::size_t t = 0; t < whole_.transfers.size(); ++t) check_transfer(t);
    for (const port& each : whole_.results) check_result(each);
    return std::move(faults_);
  }

 private:
  template <class... Part>
  void fault(const Part&... part) {
    faults_.push_back(sentence({part...}));
  }

  void check_ranks() {
    vector<int> used(static_cast<std::size_t>(std::max(whole_.ranks, 0)));
    for (std::size_t s = 0; s < whole_.stages.size(); ++s) {
      const stage_program& stage = whole_.stages[static_cast<stage_id>(s)];
      if (stage.mesh.rank < 0 || stage.mesh.rank > max_mesh_rank) {
        return fault(place_of(s), ": a mesh of ", stage.mesh.rank, " axes");
      }
      for (int axis = 0; axis < stage.mesh.rank; ++axis) {
        const std::int32_t size = stage.mesh.size[static_cast<std::size_t>(axis)];
        if (size < 1) return fault(place_of(s), ": a mesh axis of ", size, " ranks");
      }
      for (std::int32_t member = 0; member < stage.mesh.ranks(); ++member) {
        const std::int32_t rank = stage.first_rank + member;
        if (rank < 0 || rank >= whole_.ranks) return fault(place_of(s), ": uses rank ", rank, " of ", whole_.ranks);
        ++used[static_cast<std::size_t>(rank)];
      }
    }
    for (std::size_t rank = 0; rank < used.size(); ++rank) {
      if (used[rank] != 1) fault("rank ", rank, " is in ", used[rank], " stages");
    }
  }

  void check_stage(std::size_t s, const stage_program& stage) {
    if (stage.mesh_axes.size() != static_cast<std::size_t>(stage.mesh.rank)) {
      fault(place_of(s), ": its mesh axes have no name each");
    }
    if (stage.slots < 1) fault(place_of(s), ": has ", stage.slots, " slots");
    for (const buffer& each : stage.buffers) check_buffer(s, stage, each);
    for (const pass now : all_passes) {
      for (const instruction& at : body_of(stage, now)) check_instruction(s, stage, now, at);
    }
    for (const placed_value& each : stage.placed_values) {
      if (!stage.buffers.holds(each.buffer)) {
        fault(place_of(s), ": parameter ", each.name, " lies in a buffer that does not exist");
      }
    }
    for (const loop& each : stage.schedule) check_loop(s, each);
  }

  void check_buffer(std::size_t s, const stage_program& stage, const buffer& what) {
    const std::string name = place_of(s) + ": buffer " + what.name;
    if (what.rank < 0 || what.rank > max_rank) return fault(name, " has ", what.rank, " axes");
    int seen = what.layout.partial_sum() | what.layout.partial_max();
    bool fits = (what.layout.partial_sum() & what.layout.partial_max()) == 0;
    for (const cut& each : what.layout.cuts()) {
      fits =
          fits && each.mesh_axis >= 0 && each.axis >= 0 && each.axis < what.rank && (seen >> each.mesh_axis & 1) == 0;
      if (fits) seen |= 1 << each.mesh_axis;
    }
    if (!fits || seen >> stage.mesh.rank != 0) fault(name, " has a layout that does not fit its shape and mesh");
    for (int axis = 0; axis < what.rank; ++axis) {
      if (what.global[static_cast<std::size_t>(axis)] < 0) fault(name, " has a negative extent");
    }
    for (const halo& each : what.widened) {
      const stencil& with = each.shape;
      const bool split = each.axis >= 0 && each.mesh_axis >= 0 && each.mesh_axis < stage.mesh.rank &&
                         what.layout.on(each.mesh_axis) == placement{placement::split, each.axis};
      const auto cuts = what.layout.cuts();
      const auto same = [&](const auto& other) { return other.axis == each.axis; };
      const bool once = std::count_if(cuts.begin(), cuts.end(), same) == 1 &&
                        std::count_if(what.widened.begin(), what.widened.end(), same) == 1;
      const bool sound = with.taps > 0 && with.stride > 0 && with.dilation > 0 && with.padding >= 0;
      if (!split || !once) fault(name, " holds windows along an axis that is not split once");
      if (!sound || each.readers < 0) fault(name, " holds windows that no index reads");
    }
  }

  void check_instruction(std::size_t s, const stage_program& stage, pass now, const instruction& at) {
    const auto here = [&] { return place_of(s, now, at); };
    for (const auto* list : {&at.operands, &at.results, &at.exchanged, &at.visiting}) {
      for (const buffer_id id : *list) {
        if (!stage.buffers.holds(id)) fault(here(), ": names buffer ", static_cast<int>(id), ", which does not exist");
      }
    }
    if (at.kind > instruction::total) fault(here(), ": is no kind of instruction");
    if (at.kind == instruction::compute && at.op == nullptr) fault(here(), ": computes no operator");
    const bool around = at.kind == instruction::compute && (at.mesh_axis != -1 || !at.visiting.empty());
    const bool grouped = around || at.kind == instruction::exchange || at.kind == instruction::redistribute;
    if (grouped && (at.mesh_axis < 0 || at.mesh_axis >= stage.mesh.rank)) {
      fault(here(), ": its group lies along mesh axis ", at.mesh_axis, " of ", stage.mesh.rank);
    }
    const auto& ports = at.kind == instruction::load ? whole_.inputs : whole_.results;
    const bool ported = at.kind == instruction::load || at.kind == instruction::store;
    if (ported && (at.port < 0 || static_cast<std::size_t>(at.port) >= ports.size())) {
      fault(here(), ": port ", at.port, " does not exist");
    }
  }

  void check_loop(std::size_t s, const loop& each) {
    if (each.count < 1 || (each.count > 1 && each.advance < 1)) {
      fault(place_of(s), ": a loop of ", each.count, " rounds that advance by ", each.advance);
    }
    for (const action& now : each.body) {
      const std::size_t known = now.kind == action::run ? pass_count : whole_.transfers.size();
      const std::int64_t last = now.micro_batch + std::int64_t{each.count - 1} * each.advance;
      if (now.kind > action::receive || now.index < 0 || static_cast<std::size_t>(now.index) >= known) {
        fault(place_of(s), ": its schedule names body or message ", now.index, ", which does not exist");
      }
      if (now.micro_batch < 0 || last >= whole_.micro_batches) {
        fault(place_of(s), ": its schedule names micro-batch ", last, " of ", whole_.micro_batches);
      }
    }
  }

  void check_transfer(std::size_t number) {
    const transfer& moved = whole_.transfers[number];
    const auto stages = static_cast<std::int32_t>(whole_.stages.size());
    const auto [low, high] = std::minmax(moved.route.from_stage, moved.route.to_stage);
    if (low < 0 || high >= stages || low == high) {
      return fault(place_of(number, moved), ": does not go from one stage to another");
    }
    const bool from = whole_.stages[static_cast<stage_id>(moved.route.from_stage)].buffers.holds(moved.from);
    const bool to = whole_.stages[static_cast<stage_id>(moved.route.to_stage)].buffers.holds(moved.to);
    if (!from || !to) {
      fault(place_of(number, moved), ": has no buffer at its ", (from ? "receiving" : "sending"), " end");
    }
  }

  void check_result(const port& each) {
    if (each.batch_axis >= 0) return;
    const bool exists = whole_.stages.holds(each.stage) && whole_.stages[each.stage].buffers.holds(each.buffer);
    if (!exists) fault("result ", each.name, ": lies in a buffer that does not exist");
  }

  const program& whole_;
  vector<std::string> faults_;
};

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check(const program& whole) {
  vector<std::string> faults = detail::reference_referee(whole).run();
  if (!faults.empty()) return faults;
  for (const auto part : {check_schedule, check_memory, check_instructions, check_ends}) {
    const auto found = part(whole);
    faults.insert(faults.end(), found.begin(), found.end());
  }
  return faults;
}

}  // namespace meshloom
