// SPDX-License-Identifier: Apache-2.0
// A program: what every rank executes, in two levels. Bodies are static lists of instructions, shared by all ranks of a
// stage with their coordinates as parameters; a schedule of loops says which body runs on which micro-batch, and when
// messages pass between stages. Its size grows neither with ranks nor with micro-batches.
// Memory is one arena per rank in three regions: fixed (parameters, state, accumulators), kept (one slot per
// micro-batch in flight) and transient (the largest packed body). Law: fixed + slots · kept + transient is what is
// allocated, exactly.
#pragma once

#include <meshloom/graph/halo.hpp>
#include <meshloom/graph/rotation.hpp>
#include <meshloom/plan/plan.hpp>
#include <meshloom/schedule/loops.hpp>
#include <meshloom/sharding/collective.hpp>

namespace meshloom {

enum class memory : std::uint8_t { fixed, kept, transient };

/// A place for one form of one value: sharded by `layout` over the stage's mesh.
struct buffer {
  std::string name;
  std::int32_t rank = 0;
  std::array<std::int64_t, max_rank> global{};  ///< extents of the whole tensor (of one micro-batch)
  dtype type = dtype::f32;
  spec layout = {};
  vector<halo> widened = {};  ///< along these axes ranks hold windows, for one operator to read
  memory where = memory::transient;
  bytes size = {};    ///< of the largest shard, rounded up to `arena_alignment`
  bytes offset = {};  ///< in its region
};

inline constexpr std::int64_t arena_alignment = 64;

struct instruction {
  enum kind_type : std::uint8_t {
    compute,       ///< runs a kernel: one part, or all, of `op`
    exchange,      ///< reduces statistics over one mesh axis, in place: `exchanged`
    redistribute,  ///< one collective (or slice) along one mesh axis: operand 0 → result 0
    load,          ///< this micro-batch's shard of input `port` → result 0
    accumulate,    ///< result 0 += operand 0; on the first micro-batch, result 0 = operand 0
    store,         ///< operand 0 → this micro-batch's part of the caller's output `port`
    total,  ///< all operands on all ranks of all stages, pending and split parts once each, added up → result 0
  } kind = compute;
  std::string name = {};  ///< of the node, or of the value moved
  const record* op = nullptr;
  attribute_list attributes = {};
  std::uint64_t number = 0;  ///< stable number of the operator and copy, for random numbers
  std::int32_t part = -1;    ///< of an operator with statistics; −1: all at once
  bool adds = false;         ///< add to the results, except on the first micro-batch
  bool again = false;        ///< of forward, recomputed in backward: by the same number, so with the same results
  vector<buffer_id> operands = {};
  vector<buffer_id> results = {};
  vector<buffer_id> exchanged = {};
  vector<buffer_id> visiting = {};  ///< of an operator whose blocks go around `mesh_axis`: see `travellers_of`
  collective how = collective::slice;
  std::int8_t mesh_axis = -1;
  reduction combine = reduction::sum;
  std::int32_t port = -1;
};

/// Where a parameter or state lies in a stage, and how it starts.
struct placed_value {
  instance what;
  std::string name;  ///< with the copy: "repeat[3].residual.linear.weight"
  buffer_id buffer = buffer_id::none;
  initial start = {};
  std::uint64_t number = 0;  ///< the same on every stage that has the value
};

/// One value sent from one stage to another.
struct transfer {
  std::string name;
  message route;
  buffer_id from = buffer_id::none;  ///< a buffer of the sending stage
  buffer_id to = buffer_id::none;    ///< a buffer of the receiving stage
};

struct stage_program {
  std::int32_t first_rank = 0;
  mesh_shape mesh = {};
  vector<std::string> mesh_axes = {};
  table<buffer_id, buffer> buffers = {};
  std::array<vector<instruction>, pass_count> bodies = {};
  vector<loop> schedule = {};
  vector<placed_value> placed_values = {};
  std::int32_t slots = 1;  ///< micro-batches in flight
  bytes fixed = {};
  bytes kept = {};  ///< of one slot
  bytes transient = {};
  bytes transient_bound = {};  ///< no packing of the bodies needs less

  bytes peak() const { return fixed + kept * slots + transient; }
};

/// What enters or leaves a program with every step.
struct port {
  std::string name;
  vector<std::int64_t> extents;  ///< of the whole batch
  std::int32_t batch_axis = -1;  ///< the axis that micro-batches cut; −1: summed over micro-batches
  dtype type = dtype::f32;
  stage_id stage = stage_id::none;     ///< of a summed result: where it is
  buffer_id buffer = buffer_id::none;  ///< and in which buffer, whole on every rank
};

struct program {
  std::int32_t ranks = 1;
  std::int32_t micro_batches = 1;
  dtype precision = dtype::f32;
  dtype compute = dtype::f32;  ///< of what operators may round
  loss_scaling scaling = {};
  rate_schedule rate = {};  ///< of all updates
  vector<port> inputs = {};
  vector<port> results = {};
  port squares = {};  ///< the total of the squares of all gradients, if they are clipped; as stage 0 has it
  table<stage_id, stage_program> stages = {};
  vector<transfer> transfers = {};
};

/// The stage of a rank.
stage_id stage_of_rank(const program& whole, std::int32_t rank);

/// The view of one rank's shard of a buffer; `data` is left null.
view shard_view(const stage_program& stage, const buffer& what, std::int32_t member);

/// The type that an operator computes in: that of what it may round; the precision if it may not.
dtype compute_type_of(const stage_program& stage, const instruction& at, dtype precision);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/program.inl>
#endif
