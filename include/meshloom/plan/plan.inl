// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/plan.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE bool trains(const graph& whole) {
  return std::any_of(whole.nodes.begin(), whole.nodes.end(), [](const node& at) { return at.when != phase::forward; });
}

MESHLOOM_INLINE schedule_kind schedule_of(const graph& whole, const plan& made) {
  return trains(whole) ? made.schedule : schedule_kind::forward_only;
}

MESHLOOM_INLINE size_table micro_batch_sizes(const graph& whole, std::int32_t micro_batches) {
  size_table sizes = whole.sizes;
  sizes[whole.micro_batched].extent /= micro_batches;
  const std::string read_again = sizes[whole.micro_batched].name + "_keys";
  const axis_id again = find_axis(sizes, read_again);
  if (again != axis_id::none) sizes[again].extent = sizes[whole.micro_batched].extent;
  return sizes;
}

MESHLOOM_INLINE spec operand_spec_in(const graph& whole, const stage_plan& stage, node_id id, std::size_t operand) {
  const record& op = *whole.nodes[id].op;
  return operand_spec(op.op, op.choices, stage.mesh.rank, stage.strategies[id], static_cast<int>(operand));
}

MESHLOOM_INLINE spec result_spec_in(const graph& whole, const stage_plan& stage, node_id id, std::size_t result) {
  const record& op = *whole.nodes[id].op;
  return result_spec(op.op, op.choices, stage.mesh.rank, stage.strategies[id], static_cast<int>(result));
}

MESHLOOM_INLINE stage_id stage_of(const plan& made, std::int32_t block) {
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const auto id = static_cast<stage_id>(s);
    if (block >= made.stages[id].first_block && block < made.stages[id].end_block) return id;
  }
  return stage_id::none;
}

MESHLOOM_INLINE spec state_spec(const graph& whole, const parameter& of, value_id state, const spec& how) {
  const auto &all = whole.values[of.value].axes, &own = whole.values[state].axes;
  spec layout;
  for (const cut& each : how.cuts()) {
    const auto at = std::find(own.begin(), own.end(), all[static_cast<std::size_t>(each.axis)]);
    if (at == own.end()) continue;
    layout = layout.with(each.mesh_axis, {placement::split, static_cast<std::int8_t>(at - own.begin())});
  }
  return layout;
}

MESHLOOM_INLINE std::int32_t block_number(const graph& whole, const block& which) {
  std::int32_t before = 0;
  for (std::size_t r = 0; r < index_of(which.region); ++r) before += whole.regions[static_cast<region_id>(r)].count;
  return before + which.copy;
}

namespace detail {

MESHLOOM_INLINE bool holds_part_of(const stage_plan& stage, const graph& whole, region_id area) {
  const std::int32_t first = block_number(whole, {area, 0});
  return first < stage.end_block && stage.first_block < first + whole.regions[area].count;
}

}  // namespace detail

MESHLOOM_INLINE bool reads(const graph& whole, const stage_plan& stage, const parameter& which) {
  return std::any_of(whole.nodes.begin(), whole.nodes.end(), [&](const node& at) {
    if (at.when == phase::update || !detail::holds_part_of(stage, whole, at.region)) return false;
    const auto observed = which.observed_by == nullptr ? value_id::none : which.gradients.front();
    return std::find(at.operands.begin(), at.operands.end(), which.value) != at.operands.end() ||
           std::find(at.results.begin(), at.results.end(), observed) != at.results.end();
  });
}

MESHLOOM_INLINE bool recomputes(const stage_plan& stage) {
  return std::find(stage.recompute.begin(), stage.recompute.end(), true) != stage.recompute.end();
}

MESHLOOM_INLINE bool runs(const graph& whole, const stage_plan& stage, node_id id) {
  const node& at = whole.nodes[id];
  if (at.when != phase::update) return detail::holds_part_of(stage, whole, at.region);
  const auto updated = updated_by(whole, at);
  return updated && reads(whole, stage, whole.parameters[*updated]);
}

MESHLOOM_INLINE bool updates_in(const graph& whole, const stage_plan& stage, const node& at, const block& here) {
  const auto updated = updated_by(whole, at);
  if (!updated || !stage.parameters[*updated].used) return false;
  const std::int32_t number = block_number(whole, here);
  return !whole.regions[at.region].repeated || (number >= stage.first_block && number < stage.end_block);
}

MESHLOOM_INLINE vector<std::int8_t> shared_cuts(const choice_table& choices, int mesh_rank, const strategy& how) {
  const auto row = [&](int axis) { return how.row[static_cast<std::size_t>(axis)]; };
  vector<std::int8_t> shared;
  for (const std::int8_t axis : cut_orders[how.order]) {
    if (axis >= mesh_rank || choices.rows[row(axis)].kind != choice::split) continue;
    int alike = 0;
    for (int other = 0; other < mesh_rank; ++other)
      alike += cut_alike(choices.rows[row(other)], choices.rows[row(axis)]) ? 1 : 0;
    if (alike > 1) shared.push_back(axis);
  }
  return shared;
}

namespace detail {

/// What is wrong with the mesh of one stage; empty if nothing is.
inline std::string mesh_fault(const stage_plan& stage, std::int32_t ranks) {
  const mesh_shape& mesh = stage.mesh;
  if (mesh.rank < 0 || mesh.rank > max_mesh_rank) {
    return "its mesh has " + std::to_string(mesh.rank) + " axes; a mesh has 0 to " + std::to_string(max_mesh_rank);
  }
  const auto& names = stage.mesh_axes;
  if (names.size() != static_cast<std::size_t>(mesh.rank)) return "its mesh axes are not named once each";
  std::int64_t product = 1;
  for (std::size_t axis = 0; axis < names.size(); ++axis) {
    if (names[axis].empty()) return "a mesh axis has no name";
    if (std::count(names.begin(), names.end(), names[axis]) > 1) return "two mesh axes are named " + names[axis];
    if (mesh.size[axis] < 1) {
      return "mesh axis " + names[axis] + " has size " + std::to_string(mesh.size[axis]) + "; give it 1 or more";
    }
    product *= mesh.size[axis];
    if (product > ranks) return "its mesh has more ranks than the plan, which has " + std::to_string(ranks);
  }
  return {};
}

inline void check_ranks(const plan& made, vector<std::string>& faults) {
  vector<std::pair<std::int64_t, std::int64_t>> runs_of_ranks;
  for (const stage_plan& stage : made.stages) {
    runs_of_ranks.push_back({stage.first_rank, std::int64_t{stage.first_rank} + stage.mesh.ranks()});
  }
  std::sort(runs_of_ranks.begin(), runs_of_ranks.end());
  std::int64_t next = 0;
  for (const auto& [first, end] : runs_of_ranks) {
    if (first < 0 || end > made.ranks) {
      return faults.push_back("a stage uses ranks " + std::to_string(first) + " to " + std::to_string(end - 1) +
                              " of " + std::to_string(made.ranks));
    }
    if (first > next) faults.push_back("rank " + std::to_string(next) + " is in no stage");
    if (first < next) faults.push_back("rank " + std::to_string(first) + " is in two stages");
    next = std::max(next, end);
  }
  if (next < made.ranks) faults.push_back("rank " + std::to_string(next) + " is in no stage");
}

inline void check_blocks(const graph& whole, const plan& made, vector<std::string>& faults) {
  std::int32_t next = 0;
  for (const stage_plan& stage : made.stages) {
    const std::int32_t least = trains(whole) ? 1 : 0;  // without a loss, the stage of the loss alone has nothing to do
    if (stage.first_block != next || stage.end_block < stage.first_block + least) {
      return faults.push_back("stages do not follow each other block by block");
    }
    if (stage.recompute.size() != static_cast<std::size_t>(stage.end_block - stage.first_block)) {
      faults.push_back("a stage: recompute is not said once per block");
    }
    next = stage.end_block;
  }
  if (next != static_cast<std::int32_t>(blocks_of(whole).size())) {
    faults.push_back("stages do not cover the model's blocks");
  }
}

inline bool fits(const spec& layout, const mesh_shape& mesh, std::size_t tensor_rank) {
  std::uint8_t seen = static_cast<std::uint8_t>(layout.partial_sum() | layout.partial_max());
  if (layout.partial_sum() & layout.partial_max()) return false;
  for (const cut& c : layout.cuts()) {
    if (c.mesh_axis < 0 || c.mesh_axis >= mesh.rank || c.axis < 0 || static_cast<std::size_t>(c.axis) >= tensor_rank) {
      return false;
    }
    if (seen >> c.mesh_axis & 1) return false;
    seen = static_cast<std::uint8_t>(seen | 1 << c.mesh_axis);
  }
  return seen >> mesh.rank == 0;
}

inline void check_parameters(const graph& whole, const stage_plan& stage, vector<std::string>& faults) {
  if (stage.parameters.size() != whole.parameters.size()) {
    return faults.push_back("a stage: parameters are not said once each");
  }
  for (std::size_t p = 0; p < stage.parameters.size(); ++p) {
    const value& entry = whole.values[whole.parameters[p].value];
    const parameter_plan& kept = stage.parameters[p];
    const bool wanted = reads(whole, stage, whole.parameters[p]);
    if (wanted && !kept.used) faults.push_back("parameter " + entry.name + ": a stage reads it but does not keep it");
    if (!wanted && kept.used) faults.push_back("parameter " + entry.name + ": a stage keeps it but does not read it");
    if (!kept.used) continue;
    const std::size_t rank = entry.axes.size();
    if (!fits(kept.stored, stage.mesh, rank) || !fits(kept.state, stage.mesh, rank) || kept.stored.has_partial() ||
        kept.state.has_partial()) {
      faults.push_back("parameter " + entry.name + ": stored or updated in a layout that is no sharding of it");
    }
    if (kept.accumulated.size() != whole.parameters[p].gradients.size()) {
      faults.push_back("parameter " + entry.name + ": a gradient has no accumulator");
    }
    for (const spec& layout : kept.accumulated) {
      if (!fits(layout, stage.mesh, rank)) {
        faults.push_back("parameter " + entry.name + ": accumulated in a layout that does not fit the mesh");
      }
    }
  }
}

/// Of the orders that cut alike, a table has the first.
inline bool is_first_order(const choice_table& choices, int mesh_rank, const strategy& how) {
  const auto cuts = shared_cuts(choices, mesh_rank, how);
  strategy earlier = how;
  for (earlier.order = 0; earlier.order < how.order; ++earlier.order) {
    if (shared_cuts(choices, mesh_rank, earlier) == cuts) return false;
  }
  return true;
}

inline void check_strategies(const graph& whole, const stage_plan& stage, vector<std::string>& faults) {
  if (stage.strategies.size() != whole.nodes.size()) {
    return faults.push_back("a stage: strategies are not said once per operator");
  }
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const node& at = whole.nodes[static_cast<node_id>(n)];
    const strategy& how = stage.strategies[static_cast<node_id>(n)];
    bool known = true;
    for (int axis = 0; axis < max_mesh_rank; ++axis) {
      known = known && how.row[static_cast<std::size_t>(axis)] < (axis < stage.mesh.rank ? at.op->choices.count : 1);
    }
    const int crowded = known ? crowded_index(at.op->choices, stage.mesh.rank, how) : -1;
    if (!known) {
      faults.push_back("operator " + at.name + ": its strategy is not in its table");
    } else if (crowded >= 0) {
      faults.push_back("operator " + at.name + ": two mesh axes split " +
                       whole.sizes[at.indices[static_cast<std::size_t>(crowded)]].name + ", which " +
                       std::string(why_crowded(at.op->choices, crowded)) + "; leave it to one of them");
    } else if (how.order >= cut_orders.size() || !is_first_order(at.op->choices, stage.mesh.rank, how)) {
      faults.push_back("operator " + at.name + ": its order of cuts is not in its table");
    }
  }
}

/// Whether every pending sum that something takes was left pending by whoever makes it.
class pending_check {
 public:
  pending_check(const graph& whole, const stage_plan& stage, vector<std::string>& faults)
      : whole_(whole), stage_(stage), faults_(faults) {}

  void run() {
    const auto blocks = blocks_of(whole_);
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const node& at = whole_.nodes[node_id(n)];
      if (!takes_pending(node_id(n))) continue;
      for (const block& here : blocks) {
        if (here.region != at.region) continue;
        const bool run_here = at.when == phase::update ? updates_in(whole_, stage_, at, here) : holds(here);
        if (run_here && !check_operands(node_id(n), here)) break;
      }
    }
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      if (stage_.parameters[p].used) check_accumulators(p);
    }
  }

 private:
  bool holds(const block& here) const {
    const std::int32_t number = block_number(whole_, here);
    return number >= stage_.first_block && number < stage_.end_block;
  }

  /// True if a copy of the node reads something that pends.
  bool takes_pending(node_id id) const {
    for (std::size_t k = 0; k < whole_.nodes[id].operands.size(); ++k) {
      if (operand_spec_in(whole_, stage_, id, k).has_partial()) return true;
    }
    return false;
  }

  /// The first mesh axis over which `wanted` pends and `made` does not; −1 if there is none.
  static int unmade(const spec& wanted, const spec& made) {
    for (int axis = 0; axis < max_mesh_rank; ++axis) {
      const bool pends = (wanted.partial_sum() | wanted.partial_max()) >> axis & 1;
      if (pends && wanted.on(axis) != made.on(axis)) return axis;
    }
    return -1;
  }

  /// What the stage makes of an instance; whole if it comes from elsewhere, for nothing comes pending.
  spec made(const instance& what) const {
    const value& entry = whole_.values[what.value];
    if (entry.kind != value_kind::activation) return {};
    const node& maker = whole_.nodes[entry.producer];
    if (maker.when != phase::update && !holds(maker_of(whole_, what))) return {};
    const auto which = std::find(maker.results.begin(), maker.results.end(), what.value) - maker.results.begin();
    return result_spec_in(whole_, stage_, entry.producer, static_cast<std::size_t>(which));
  }

  /// What an update in block `here` finds: gradients as they were accumulated.
  spec summed(const instance& what, const block& here) const {
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      const parameter& each = whole_.parameters[p];
      for (std::size_t g = 0; g < each.gradients.size() && stage_.parameters[p].used; ++g) {
        const bool is_it = resolve(whole_, each.gradients[g], here) == what;
        if (is_it && holds(maker_of(whole_, what))) return stage_.parameters[p].accumulated[g];
      }
    }
    return made(what);
  }

  bool check_operands(node_id id, const block& here) {
    const node& at = whole_.nodes[id];
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const spec wanted = operand_spec_in(whole_, stage_, id, k);
      if (!wanted.has_partial()) continue;
      const instance what = resolve(whole_, at.operands[k], here);
      const int axis = unmade(wanted, at.when == phase::update ? summed(what, here) : made(what));
      if (axis < 0) continue;
      faults_.push_back("operator " + at.name + ": takes " + whole_.values[what.value].name +
                        " as a pending sum over " + name_of_axis(axis) +
                        ", which nothing in its stage leaves so; change its strategy, or that of "
                        "the operator that makes the operand");
      return false;
    }
    return true;
  }

  void check_accumulators(std::size_t p) {
    const parameter& each = whole_.parameters[p];
    const region_id home = whole_.values[each.value].region;
    for (std::size_t g = 0; g < each.gradients.size(); ++g) {
      for (std::int32_t copy = 0; copy < whole_.regions[home].count; ++copy) {
        const instance what = resolve(whole_, each.gradients[g], {home, copy});
        const int axis = unmade(stage_.parameters[p].accumulated[g], made(what));
        if (axis < 0 || !holds(maker_of(whole_, what))) continue;
        faults_.push_back("parameter " + whole_.values[each.value].name +
                          ": a gradient is accumulated as a pending sum over " + name_of_axis(axis) +
                          ", but not made as one; accumulate it as it is made");
        return;
      }
    }
  }

  std::string name_of_axis(int axis) const { return "mesh axis " + stage_.mesh_axes[static_cast<std::size_t>(axis)]; }

  const graph& whole_;
  const stage_plan& stage_;
  vector<std::string>& faults_;
};

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check(const graph& whole, const plan& made) {
  vector<std::string> faults;
  if (made.model != hash_of(whole)) faults.push_back("the plan belongs to another model");
  if (made.sizes != whole.sizes) faults.push_back("the plan belongs to other sizes");
  const std::int64_t batch = whole.sizes[whole.micro_batched].extent;
  if (made.micro_batches < 1 || batch % made.micro_batches != 0) {
    faults.push_back(std::to_string(made.micro_batches) + " micro-batches do not divide a batch of " +
                     std::to_string(batch));
  }
  if (trains(whole) && made.schedule == schedule_kind::forward_only) {
    faults.push_back("the plan runs forward only, but the model is trained; write schedule 1f1b or gpipe");
  }
  const picoseconds next = made.runner_up ? made.runner_up->predicted : picoseconds{};
  if (std::min({made.predicted, made.bound, next}) < picoseconds{}) faults.push_back("a time of the plan is negative");
  for (const stage_plan& stage : made.stages) {
    const std::string fault = detail::mesh_fault(stage, made.ranks);
    if (!fault.empty()) faults.push_back("a stage: " + fault);
  }
  if (!faults.empty()) return faults;
  detail::check_ranks(made, faults);
  detail::check_blocks(whole, made, faults);
  if (!faults.empty()) return faults;
  for (const stage_plan& stage : made.stages) {
    detail::check_parameters(whole, stage, faults);
    detail::check_strategies(whole, stage, faults);
  }
  if (!faults.empty()) return faults;
  for (const stage_plan& stage : made.stages) detail::pending_check(whole, stage, faults).run();
  return faults;
}

}  // namespace meshloom
