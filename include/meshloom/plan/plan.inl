// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/plan.hpp>

#include <algorithm>

namespace meshloom {

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

MESHLOOM_INLINE std::int32_t block_number(const graph& whole, const block& which) {
  std::int32_t before = 0;
  for (std::size_t r = 0; r < index_of(which.region); ++r) before += whole.regions[static_cast<region_id>(r)].count;
  return before + which.copy;
}

namespace detail {

inline void check_ranks(const plan& made, std::vector<std::string>& faults) {
  std::vector<int> used(static_cast<std::size_t>(std::max(made.ranks, 0)));
  for (const stage_plan& stage : made.stages) {
    if (stage.mesh_axes.size() != static_cast<std::size_t>(stage.mesh.rank)) faults.push_back("a stage: its mesh axes have no name each");
    for (std::int32_t rank = stage.first_rank; rank < stage.first_rank + stage.mesh.ranks(); ++rank) {
      if (rank < 0 || rank >= made.ranks) return faults.push_back("a stage uses rank " + std::to_string(rank) + " of " + std::to_string(made.ranks));
      ++used[static_cast<std::size_t>(rank)];
    }
  }
  for (std::size_t rank = 0; rank < used.size(); ++rank) {
    if (used[rank] == 0) faults.push_back("rank " + std::to_string(rank) + " is in no stage");
    if (used[rank] > 1) faults.push_back("rank " + std::to_string(rank) + " is in two stages");
  }
}

inline void check_blocks(const graph& whole, const plan& made, std::vector<std::string>& faults) {
  std::int32_t next = 0;
  for (const stage_plan& stage : made.stages) {
    if (stage.first_block != next || stage.end_block <= stage.first_block) faults.push_back("stages do not follow each other block by block");
    if (stage.recompute.size() != static_cast<std::size_t>(std::max(0, stage.end_block - stage.first_block))) {
      faults.push_back("a stage: recompute is not said once per block");
    }
    next = stage.end_block;
  }
  if (next != static_cast<std::int32_t>(blocks_of(whole).size())) faults.push_back("stages do not cover the model's blocks");
}

inline bool fits(const spec& layout, const mesh_shape& mesh, std::size_t tensor_rank) {
  std::uint8_t seen = static_cast<std::uint8_t>(layout.partial_sum() | layout.partial_max());
  if (layout.partial_sum() & layout.partial_max()) return false;
  for (const cut& c : layout.cuts()) {
    if (c.mesh_axis < 0 || c.mesh_axis >= mesh.rank || c.axis < 0 || static_cast<std::size_t>(c.axis) >= tensor_rank) return false;
    if (seen >> c.mesh_axis & 1) return false;
    seen = static_cast<std::uint8_t>(seen | 1 << c.mesh_axis);
  }
  return seen >> mesh.rank == 0;
}

inline void check_parameters(const graph& whole, const stage_plan& stage, std::vector<std::string>& faults) {
  if (stage.parameters.size() != whole.parameters.size()) return faults.push_back("a stage: parameters are not said once each");
  for (std::size_t p = 0; p < stage.parameters.size(); ++p) {
    const value& entry = whole.values[whole.parameters[p].value];
    const parameter_plan& kept = stage.parameters[p];
    if (!kept.used) continue;
    const std::size_t rank = entry.axes.size();
    if (!fits(kept.stored, stage.mesh, rank) || !fits(kept.state, stage.mesh, rank) || kept.stored.has_partial() || kept.state.has_partial()) {
      faults.push_back("parameter " + entry.name + ": stored or updated in a layout that is no sharding of it");
    }
    if (kept.accumulated.size() != whole.parameters[p].gradients.size()) faults.push_back("parameter " + entry.name + ": a gradient has no accumulator");
    for (const spec& layout : kept.accumulated) {
      if (!fits(layout, stage.mesh, rank)) faults.push_back("parameter " + entry.name + ": accumulated in a layout that does not fit the mesh");
    }
  }
}

inline void check_strategies(const graph& whole, const stage_plan& stage, std::vector<std::string>& faults) {
  if (stage.strategies.size() != whole.nodes.size()) return faults.push_back("a stage: strategies are not said once per operator");
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const node& at = whole.nodes[static_cast<node_id>(n)];
    const strategy& how = stage.strategies[static_cast<node_id>(n)];
    for (int axis = 0; axis < stage.mesh.rank; ++axis) {
      if (how.row[static_cast<std::size_t>(axis)] >= at.op->choices.count) faults.push_back("operator " + at.name + ": its strategy is not in its table");
    }
    if (how.order >= cut_orders.size()) faults.push_back("operator " + at.name + ": its strategy has no order of cuts");
  }
}

}  // namespace detail

MESHLOOM_INLINE std::vector<std::string> check(const graph& whole, const plan& made) {
  std::vector<std::string> faults;
  if (made.model != hash_of(whole)) faults.push_back("the plan belongs to another model");
  if (made.sizes != whole.sizes) faults.push_back("the plan belongs to other sizes");
  const std::int64_t batch = whole.sizes[whole.micro_batched].extent;
  if (made.micro_batches < 1 || batch % made.micro_batches != 0) {
    faults.push_back(std::to_string(made.micro_batches) + " micro-batches do not divide a batch of " + std::to_string(batch));
  }
  detail::check_ranks(made, faults);
  detail::check_blocks(whole, made, faults);
  for (const stage_plan& stage : made.stages) {
    detail::check_parameters(whole, stage, faults);
    detail::check_strategies(whole, stage, faults);
  }
  return faults;
}

}  // namespace meshloom
