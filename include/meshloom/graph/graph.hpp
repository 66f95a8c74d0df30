// SPDX-License-Identifier: Apache-2.0
// The graph: what is to be computed, as plain vectors. Forward, backward and update operators; every node belongs to a
// region, one region per top-level layer of the model, in order. A repeated layer is one region with a count: its nodes
// and parameters stand for all its copies.
// Law: nodes are in an order that can be executed; every value has one producer; `check(graph)` holds.
#pragma once

#include <meshloom/base/table.hpp>
#include <meshloom/base/vector.hpp>
#include <meshloom/graph/loss_scaling.hpp>
#include <meshloom/graph/rate_schedule.hpp>
#include <meshloom/op/record.hpp>
#include <meshloom/tensor/dtype.hpp>
#include <meshloom/tensor/sizes.hpp>

#include <optional>
#include <string>

namespace meshloom {

/// When a node runs: forward and backward once per micro-batch, update once per step.
enum class phase : std::uint8_t { forward, backward, update };

enum class value_kind : std::uint8_t {
  input,       ///< given with every micro-batch
  parameter,   ///< trained; kept between steps
  state,       ///< of the optimizer; kept between steps
  activation,  ///< the result of a node
  carried,     ///< what enters one copy of a repeated region: the result of the copy before
  total,       ///< see `total`
};

/// How a parameter or state starts. Drawn by global index, so that every sharding starts from the same numbers.
struct initial {
  enum kind_type : std::uint8_t { constant, normal } kind = constant;
  double value = 0;  ///< the constant, or the standard deviation
  bool operator==(const initial&) const = default;
};

struct value {
  std::string name;
  vector<axis_id> axes = {};
  dtype type = dtype::f32;
  value_kind kind = value_kind::activation;
  node_id producer = node_id::none;  ///< none for inputs, parameters, states and carried values
  region_id region = region_id::none;
  initial start = {};                  ///< of parameters and states
  value_id gradient = value_id::none;  ///< of activations, once the graph is differentiated
  bool operator==(const value&) const = default;
};

/// A constraint on one value, written into the model: mesh axis `mesh_axis` splits tensor axis `axis`, or (−1) leaves
/// it whole.
struct pin {
  value_id value = value_id::none;
  std::string mesh_axis;
  std::int8_t axis = -1;
  bool gradient = false;  ///< binds the gradient of the value instead
  bool operator==(const pin&) const = default;
};

struct node {
  const record* op = nullptr;
  std::string name;  ///< unique; the path of its layer, then the operator
  phase when = phase::forward;
  region_id region = region_id::none;
  vector<value_id> operands = {};
  vector<value_id> results = {};
  vector<axis_id> indices = {};  ///< the axis of each index of the operator
  attribute_list attributes{};
  node_id differentiates = node_id::none;  ///< of backward nodes, if it is known: the forward node whose gradient it is
  bool operator==(const node&) const = default;
};

/// What flows through the copies of a repeated region, in one direction. Copy 0 (the last copy, in backward) reads
/// `outer_in`; every other copy reads what its neighbour left in `body_out`; `outer_out` is what the last one left.
struct carry {
  value_id outer_in = value_id::none;
  value_id body_in = value_id::none;
  value_id body_out = value_id::none;
  value_id outer_out = value_id::none;
  bool operator==(const carry&) const = default;
};

struct region {
  std::string name;
  std::int32_t count = 1;
  bool repeated = false;
  carry forward = {};    ///< if repeated
  carry backward = {};   ///< if repeated and differentiated
  bool grouped = false;  ///< a layer that `group_operators` has made
  bool operator==(const region&) const = default;
};

/// The layers that one may have recompute without naming them, and that the planner may: copies, and groups.
constexpr bool may_recompute(const region& area) { return area.repeated || area.grouped; }

/// What is kept between steps and changed by each: a trained parameter, its gradient summed over one step and the
/// optimizer's state beside it; or a running statistic, which takes in what the forward observes and has no state.
struct parameter {
  value_id value = value_id::none;
  vector<value_id> gradients = {};  ///< one per region that reads it; summed by the update. Or what is observed
  vector<value_id> states = {};
  const record* observed_by = nullptr;  ///< the update of a running statistic; null: trained, by the optimizer
  attribute_list attributes{};          ///< of that update
  bool operator==(const parameter&) const = default;
};

/// A scalar of the whole step: the sum of scalars that updates make, each once per copy of its region. Whoever holds
/// some of them, all ranks have the same total.
struct total {
  value_id value = value_id::none;
  vector<value_id> parts = {};
  bool operator==(const total&) const = default;
};

struct graph {
  size_table sizes;                       ///< of the whole batch
  axis_id micro_batched = axis_id::none;  ///< the axis that micro-batches cut
  dtype precision = dtype::f32;           ///< of parameters' updates, statistics, losses, and of what is not rounded
  dtype compute = dtype::f32;             ///< of the operands of products and what follows from them, see `rounding`
  table<value_id, value> values;
  table<node_id, node> nodes;
  table<region_id, region> regions;
  vector<value_id> inputs;
  vector<parameter> parameters;
  vector<pin> pins;
  total squares;             ///< of the elements of all gradients, if they are clipped by their norm or scaled
  loss_scaling scaling;      ///< of the loss, and so of gradients until updates read them
  rate_schedule rate;        ///< of all updates: each step takes a part of the rate in their attributes
  vector<value_id> results;  ///< what leaves a step: the loss, then losses that layers add to it; or an output
  bool operator==(const graph&) const = default;
};

/// The extent of each axis of a value, under a size table.
vector<std::int64_t> extents_of(const size_table& sizes, const vector<axis_id>& axes);

/// The type that a node computes in: of the operands and results that its operator may round.
dtype compute_type_of(const graph& whole, const node& at);

/// The parameter, by its number in `graph::parameters`, that a node of the update belongs to: it updates the parameter,
/// or reads states or gradients of it or what such a node makes of them. Nothing for other nodes.
std::optional<std::size_t> updated_by(const graph& whole, const node& at);

/// `updated_by` of every node, found at once; −1 for nothing.
table<node_id, std::int32_t> parameters_updated(const graph& whole);

/// One sentence per fault. Where there is none, whoever reads the graph can rely on this: axes, operators, regions and
/// values that are named exist; shapes agree with signatures; a value has one producer and is made before it is read;
/// what a copy of a repeated region makes leaves it through a carry only, and carries are complete; gradients have the
/// shape of their parameter, states some of its axes in order; what is read as updated is; element types are those that
/// `rounding` allows; results and the parts of a total are made; the schedule of the rate is sound, and so is the
/// scaling of the loss, which needs that total; names of regions, nodes and parameters are unique. Shares no code with
/// `trace`.
vector<std::string> check(const graph& whole);

/// A number that changes when the model changes in what a plan depends on: names, axes, layers, operators, what they
/// compute and read; not with sizes, nor with attributes, which sizes enter. The same under every compiler.
std::uint64_t hash_of(const graph& whole);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/graph.inl>
#endif
