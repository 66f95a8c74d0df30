// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/check_memory.hpp>
#include <meshloom/program/place.hpp>

#include <algorithm>
#include <limits>
#include <map>

namespace meshloom {
namespace detail {

/// A buffer that is alive from instruction `begin` up to, but not with, `end`.
struct alive {
  buffer_id id;
  std::size_t begin = 0;
  std::size_t end = std::numeric_limits<std::size_t>::max();
};

/// The memory of one stage.
class memory_referee {
 public:
  memory_referee(const program& whole, std::size_t s, vector<std::string>& faults)
      : whole_(whole),
        s_(s),
        stage_(whole.stages[static_cast<stage_id>(s)]),
        faults_(faults),
        known_(stage_.buffers.size()) {}

  void run() {
    for (std::size_t b = 0; b < stage_.buffers.size(); ++b) check_place(static_cast<buffer_id>(b));
    check_region(memory::fixed, stage_.fixed);
    check_region(memory::kept, stage_.kept);
    check_transient();
    for (const placed_value& each : stage_.placed_values) start(each);
    for (const pass now : all_passes) follow(now);
    check_updated();
    check_summed();
  }

 private:
  /// What is known of one buffer while the passes are followed in order.
  struct history {
    bool there = false;  ///< from the start: a parameter or state
    bool written = false;
    bool sums = false;  ///< over micro-batches
    bool visited = false;
    pass when = pass::forward;
  };

  template <class... Part>
  void fault(const Part&... part) {
    faults_.push_back(sentence({part...}));
  }
  std::string name_of_buffer(buffer_id id) const { return place_of(stage_, id); }

  // --- places --------------------------------------------------------------------------------------------------------

  /// Bytes of the largest shard: every cut leaves its first part no smaller than the others, but windows end at edges.
  std::int64_t exact_size(const buffer& what) const {
    std::int64_t size = size_of(what.type);
    for (int axis = 0; axis < what.rank; ++axis) {
      std::int64_t extent = what.global[static_cast<std::size_t>(axis)];
      for (const cut& each : what.layout.cuts()) {
        const std::int64_t parts = stage_.mesh.size[static_cast<std::size_t>(each.mesh_axis)];
        if (each.axis == axis) extent = (extent + parts - 1) / parts;
      }
      for (const halo& each : what.widened) {
        if (each.axis == axis) extent = widest_window(what, axis);
      }
      size *= extent;
    }
    return size;
  }

  std::int64_t widest_window(const buffer& what, int axis) const {
    std::int64_t most = 0;
    for (std::int32_t member = 0; member < stage_.mesh.ranks(); ++member)
      most = std::max(most, shard_view(stage_, what, member).extent[axis]);
    return most;
  }

  void check_place(buffer_id id) {
    const buffer& what = stage_.buffers[id];
    const std::int64_t exact = exact_size(what), region = region_size(what.where).count;
    const std::string here = place_of(s_) + ": " + name_of_buffer(id);
    if (what.size.count < exact || what.size.count >= exact + arena_alignment ||
        what.size.count % arena_alignment != 0) {
      fault(here, " has ", what.size.count, " bytes for a shard of ", exact);
    }
    if (!what.widened.empty() && what.where != memory::transient) {
      fault(here, " holds windows, but is not of one pass");
    }
    if (what.offset.count % arena_alignment != 0) fault(here, " begins at ", what.offset.count, ", off the alignment");
    if (what.offset.count < 0 || what.offset.count + what.size.count > region) {
      fault(here, " ends at ", what.offset.count + what.size.count, ", outside its region of ", region, " bytes");
    }
  }

  bytes region_size(memory where) const {
    return where == memory::fixed ? stage_.fixed : where == memory::kept ? stage_.kept : stage_.transient;
  }

  void check_region(memory where, bytes region) {
    vector<alive> lives;
    bytes used;
    for (std::size_t b = 0; b < stage_.buffers.size(); ++b) {
      const auto id = static_cast<buffer_id>(b);
      if (stage_.buffers[id].where != where) continue;
      lives.push_back({id});
      used += stage_.buffers[id].size;
    }
    check_apart(lives, sentence({"in the ", name_of(where), " region"}));
    check_filled(where, region, used);
  }

  void check_filled(memory where, bytes region, bytes used) {
    if (region != used) {
      fault(place_of(s_), ": the ", name_of(where), " region has ", region.count, " bytes, its buffers need ",
            used.count);
    }
  }

  /// Buffers enter in the order of time; those alive lie apart, so only neighbours can be in the way.
  void check_apart(vector<alive> lives, const std::string& where) {
    std::sort(lives.begin(), lives.end(),
              [](const alive& a, const alive& b) { return a.begin != b.begin ? a.begin < b.begin : a.id < b.id; });
    std::map<std::int64_t, alive> placed;  // by offset
    for (const alive& next : lives) {
      const buffer& what = stage_.buffers[next.id];
      if (what.size.count == 0) continue;
      auto other = placed.lower_bound(what.offset.count + what.size.count);
      while (other != placed.begin()) {
        --other;
        const buffer& before = stage_.buffers[other->second.id];
        if (other->second.end <= next.begin) {
          other = placed.erase(other);
          continue;
        }
        if (before.offset.count + before.size.count <= what.offset.count) break;
        fault(place_of(s_), ": ", name_of_buffer(other->second.id), " and ", name_of_buffer(next.id), " share memory ",
              where);
      }
      placed[what.offset.count] = next;
    }
  }

  void check_transient() {
    bytes used;
    for (const pass now : all_passes) {
      const vector<alive> lives = lives_in(now);
      for (const alive& each : lives) {
        used = std::max(used, stage_.buffers[each.id].offset + stage_.buffers[each.id].size);
      }
      check_apart(lives, sentence({"while both are alive in ", name_of(now)}));
    }
    check_filled(memory::transient, stage_.transient, used);
    if (stage_.transient_bound > stage_.transient) {
      fault(place_of(s_), ": no packing is said to need less than ", stage_.transient_bound.count,
            " bytes, but this one needs ", stage_.transient.count);
    }
  }

  /// From the first touch to the last, and to the end of the body if sent.
  vector<alive> lives_in(pass now) const {
    vector<alive> lives;
    vector<std::size_t> entry(stage_.buffers.size());  // one more than the place in `lives`
    const auto touch = [&](buffer_id id, std::size_t at) {
      if (stage_.buffers[id].where != memory::transient) return;
      std::size_t& known = entry[index_of(id)];
      if (known == 0) lives.push_back({id, at, at});
      if (known == 0) known = lives.size();
      lives[known - 1].end = at + 1;
    };
    const auto& instructions = body_of(stage_, now);
    for (std::size_t at = 0; at < instructions.size(); ++at) {
      for (const auto* list : {&instructions[at].operands, &instructions[at].results, &instructions[at].exchanged,
                               &instructions[at].visiting}) {
        for (const buffer_id id : *list) touch(id, at);
      }
    }
    for (const transfer& each : whole_.transfers) {
      if (each.route.from_stage == static_cast<std::int32_t>(s_) && each.route.from == now) {
        touch(each.from, instructions.size());
      }
    }
    return lives;
  }

  // --- reads and writes ----------------------------------------------------------------------------------------------

  void start(const placed_value& each) {
    if (stage_.buffers[each.buffer].where != memory::fixed) {
      fault(place_of(s_), ": parameter ", each.name, " does not lie in the fixed region");
    }
    if (known_[index_of(each.buffer)].there) {
      fault(place_of(s_), ": parameter ", each.name, " shares its buffer with another");
    }
    known_[index_of(each.buffer)].there = true;
  }

  void follow(pass now) {
    for (std::size_t t = 0; t < whole_.transfers.size(); ++t) {
      const message& route = whole_.transfers[t].route;
      if (route.to_stage == static_cast<std::int32_t>(s_) && route.to == now) land(t, now);
    }
    for (const instruction& at : body_of(stage_, now)) {
      const std::string here = place_of(s_, now, at);
      follow_reads(at, now, here);
      follow_writes(at, now, here);
    }
    for (std::size_t t = 0; t < whole_.transfers.size(); ++t) {
      const transfer& each = whole_.transfers[t];
      if (each.route.from_stage == static_cast<std::int32_t>(s_) && each.route.from == now) {
        check_read(each.from, now, place_of(t, each) + ": sends");
      }
    }
  }

  /// A message lands where the task that reads it looks: in the slot of its micro-batch, or once per step.
  void land(std::size_t number, pass now) {
    const transfer& each = whole_.transfers[number];
    const bool per_step = now >= pass::reduce;
    if (stage_.buffers[each.to].where != (per_step ? memory::fixed : memory::kept)) {
      fault(place_of(number, each), ": lands in the ", name_of(stage_.buffers[each.to].where), " region");
    }
    write(each.to, now, place_of(number, each) + ": lands on");
  }

  void follow_reads(const instruction& at, pass now, const std::string& here) {
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const bool updated = at.kind == instruction::compute && (at.op->reads_updated >> k & 1) != 0;
      check_read(at.operands[k], now, here + ": reads", updated);
    }
    const auto part = static_cast<std::size_t>(std::max(at.part, 0));
    const std::size_t earlier =
        at.kind == instruction::compute ? std::min(part, at.exchanged.size()) : at.exchanged.size();
    for (std::size_t k = 0; k < earlier; ++k) check_read(at.exchanged[k], now, here + ": reads");
  }

  void follow_writes(const instruction& at, pass now, const std::string& here) {
    const bool adds = at.kind == instruction::accumulate || at.adds;
    const auto part = static_cast<std::size_t>(std::max(at.part, 0));
    const bool ends = at.part < 0 || part == at.exchanged.size();  // until then an operator reads what it replaces
    for (std::size_t k = 0; k < at.results.size(); ++k) {
      if (adds) {
        sum(at.results[k], now, here);
      } else if (replaces(at, k)) {
        if (ends) replace(at.results[k], now, here);
      } else if (at.part <= 0) {
        write(at.results[k], now, here + ": overwrites");
      }
    }
    for (const buffer_id id : at.visiting) {
      write(id, now, here + ": lets blocks visit");
      known_[index_of(id)].visited = true;
    }
    if (at.kind == instruction::compute && at.part >= 0 && part < at.exchanged.size()) {
      write(at.exchanged[part], now, here + ": overwrites");
    }
  }

  static bool replaces(const instruction& at, std::size_t result) {
    if (at.kind != instruction::compute || !at.op->in_place || result >= max_results) return false;
    const auto operand = static_cast<std::size_t>(at.op->replaces[result]);
    return operand < at.operands.size() && at.operands[operand] == at.results[result];
  }

  /// `updated`: what is kept between steps is wanted as this step has left it, not as it began.
  void check_read(buffer_id id, pass now, const std::string& who, bool updated = false) {
    const history& past = known_[index_of(id)];
    const memory where = stage_.buffers[id].where;
    const bool own = where != memory::transient || past.when == now;
    const bool slot = where != memory::kept || now <= pass::backward;
    const bool ready = past.there || (past.written && own && slot);
    if (!ready) {
      return fault(who, " ", name_of_buffer(id), " before it is written",
                   past.written ? sentence({" in ", name_of(now)}) : "");
    }
    if (past.visited) fault(who, " ", name_of_buffer(id), ", where blocks of others come and go");
    if (past.there && past.written != updated)
      fault(who, " ", name_of_buffer(id), updated ? " before it is updated" : " after it was updated");
    if (past.sums && now <= pass::backward) {
      fault(who, " ", name_of_buffer(id), " before the sum over micro-batches is complete");
    }
  }

  void replace(buffer_id id, pass now, const std::string& here) {
    history& past = known_[index_of(id)];
    if (past.there && now != pass::update) {
      fault(here, ": replaces ", name_of_buffer(id), ", which only the update may change");
    }
    past.written = true;
  }

  void write(buffer_id id, pass now, const std::string& who) {
    history& past = known_[index_of(id)];
    const memory where = stage_.buffers[id].where;
    const bool update = past.there && now == pass::update;
    if (past.written || (past.there && !update)) fault(who, " ", name_of_buffer(id), ", which was written before");
    if (where == memory::fixed && now <= pass::backward) {
      fault(who, " ", name_of_buffer(id), " with every micro-batch, though no slot keeps it");
    }
    if (where == memory::kept && now >= pass::reduce) {
      fault(who, " ", name_of_buffer(id), ", whose slot belongs to a micro-batch");
    }
    past.written = true;
    past.when = now;
  }

  /// The first micro-batch sets a sum, so nobody else may add to it in the same pass.
  void sum(buffer_id id, pass now, const std::string& here) {
    history& past = known_[index_of(id)];
    if (past.there || now >= pass::reduce || stage_.buffers[id].where != memory::fixed) {
      fault(here, ": sums into ", name_of_buffer(id), ", which cannot hold a sum over micro-batches");
    }
    if (past.written) fault(here, ": sums into ", name_of_buffer(id), ", which another sum sets as well");
    past.written = past.sums = true;
    past.when = now;
  }

  // --- ends ----------------------------------------------------------------------------------------------------------

  void check_updated() {
    const bool trains = std::any_of(whole_.stages.begin(), whole_.stages.end(),
                                    [](const stage_program& each) { return !body_of(each, pass::update).empty(); });
    for (const placed_value& each : stage_.placed_values) {
      if (trains && !known_[index_of(each.buffer)].written) fault(place_of(s_), ": ", each.name, " is never updated");
    }
  }

  void check_summed() {
    for (const port& each : whole_.results) {
      if (each.batch_axis >= 0 || index_of(each.stage) != s_) continue;
      const history& past = known_[index_of(each.buffer)];
      const bool lasts = stage_.buffers[each.buffer].where == memory::fixed && past.written &&
                         (past.sums || past.when == pass::reduce);
      if (!lasts) {
        fault("result ", each.name, ": ", name_of_buffer(each.buffer), " does not hold it at the end of the step");
      }
    }
  }

  const program& whole_;
  std::size_t s_;
  const stage_program& stage_;
  vector<std::string>& faults_;
  vector<history> known_;
};

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check_memory(const program& whole) {
  vector<std::string> faults;
  for (std::size_t s = 0; s < whole.stages.size(); ++s) detail::memory_referee(whole, s, faults).run();
  return faults;
}

}  // namespace meshloom
