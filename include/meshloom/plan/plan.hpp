// SPDX-License-Identifier: Apache-2.0
// A plan: what was chosen. Stages, the mesh of each, a strategy per operator, how parameters are kept, micro-batches,
// schedule, and the price predicted. Plain data; made by `solve` or loaded, read by everything after.
// Law: `check(graph, plan)` finds nothing; a plan and its text say the same.
#pragma once

#include <meshloom/base/units.hpp>
#include <meshloom/graph/unroll.hpp>
#include <meshloom/schedule/order.hpp>

#include <optional>
#include <string>

namespace meshloom {

/// How one stage keeps one parameter.
struct parameter_plan {
  bool used = false;         ///< this stage reads the parameter
  spec stored;               ///< between steps, and while it is used; gathered by each operator that needs more
  spec state;                ///< the optimizer's state, and the update, see `state_spec`
  vector<spec> accumulated;  ///< each gradient, summed over micro-batches; one per region that reads the parameter
  bool operator==(const parameter_plan&) const = default;
};

struct stage_plan {
  std::int32_t first_rank = 0;  ///< the stage's ranks are contiguous
  vector<std::string> mesh_axes;
  mesh_shape mesh;
  std::int32_t first_block = 0;  ///< blocks [first_block, end_block) of `blocks_of(graph)`
  std::int32_t end_block = 0;
  vector<bool> recompute;               ///< per block: drop its activations and compute them again in backward
  table<node_id, strategy> strategies;  ///< per node; meaningful for nodes of the stage's blocks and parameters
  vector<parameter_plan> parameters;    ///< in the order of `graph::parameters`
  bool operator==(const stage_plan&) const = default;
};

/// Another plan of the searched space, in short.
struct alternative {
  std::string shape;      ///< for people, in one line: "2 stages on 1 rank, 8 micro-batches, 1f1b"
  picoseconds predicted;  ///< of its step
  bool operator==(const alternative&) const = default;
};

struct plan {
  static constexpr std::int32_t version = 1;

  std::uint64_t model = 0;  ///< hash_of(graph)
  size_table sizes;
  std::int32_t ranks = 1;
  std::int32_t micro_batches = 1;
  schedule_kind schedule = schedule_kind::one_f_one_b;
  table<stage_id, stage_plan> stages;
  picoseconds predicted;                      ///< one step, under the cost model that made the plan; 0: not predicted
  picoseconds bound;                          ///< no plan of the searched space is faster; 0: nothing was proven
  std::optional<alternative> runner_up = {};  ///< the next best that differs in shape, where others were weighed
  bool operator==(const plan&) const = default;
};

/// True if there is more than a forward in the graph.
bool trains(const graph& whole);

/// The schedule that a plan's program runs: whatever the plan says, a graph without a backward runs forward only.
schedule_kind schedule_of(const graph& whole, const plan& made);

/// The size table of one micro-batch.
size_table micro_batch_sizes(const graph& whole, std::int32_t micro_batches);

/// The spec of a node's operand or result in a stage.
spec operand_spec_in(const graph& whole, const stage_plan& stage, node_id id, std::size_t operand);
spec result_spec_in(const graph& whole, const stage_plan& stage, node_id id, std::size_t result);

/// The spec of a state whose parameter is updated as `how`: along the axes that it has, split like the parameter.
spec state_spec(const graph& whole, const parameter& of, value_id state, const spec& how);

/// The stage that holds a block.
stage_id stage_of(const plan& made, std::int32_t block);

/// The number of a block in `blocks_of(whole)`.
std::int32_t block_number(const graph& whole, const block& which);

/// True if a forward or backward operator of the stage reads the parameter, or makes what a running statistic takes in:
/// then the stage keeps it.
bool reads(const graph& whole, const stage_plan& stage, const parameter& which);

/// True if a block of the stage recomputes.
bool recomputes(const stage_plan& stage);

/// True if a stage keeps the parameter that this node of the update belongs to, in this copy.
bool updates_in(const graph& whole, const stage_plan& stage, const node& at, const block& here);

/// True if the stage runs the node: it belongs to one of its blocks, or updates a parameter that the stage reads.
bool runs(const graph& whole, const stage_plan& stage, node_id id);

/// The mesh axes that together split one index of an operator, outer cut first. Empty where no two do: there the order
/// of cuts changes nothing.
vector<std::int8_t> shared_cuts(const choice_table& choices, int mesh_rank, const strategy& how);

/// One sentence per fault: ranks used twice or not at all, blocks in no stage or two, strategies that are not in the
/// operator's table, sums taken as pending that nobody leaves so, parameters kept by a stage that does not read them or
/// in a spec that does not fit, micro-batches that do not divide the batch, another model or sizes. Shares no code with
/// `solve`.
vector<std::string> check(const graph& whole, const plan& made);

namespace detail {

/// True if the stage has a copy of the region.
bool holds_part_of(const stage_plan& stage, const graph& whole, region_id area);

}  // namespace detail

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/plan.inl>
#endif
