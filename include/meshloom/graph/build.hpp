// SPDX-License-Identifier: Apache-2.0
// Builds a graph node by node. `trace` and `differentiate` use it; nothing else makes nodes. Where a training computes
// in fewer bits than its precision, every node gets its operands in the type that its operator may read, converted
// where they come in the other one; a parameter is kept in the type in which it is first read. Law: equal operators on
// equal operands in one region are one node.
#pragma once

#include <meshloom/base/error.hpp>
#include <meshloom/graph/graph.hpp>

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace meshloom {

class graph_builder {
 public:
  graph made;
  bool trains = false;  ///< the model is traced as it trains: with dropout, statistics of the batch, losses of layers
  bool exact = false;   ///< what is emitted stays in the precision, products as well
  node_id differentiated = node_id::none;  ///< what is emitted belongs to the gradient of this node
  std::int32_t streams = 0;                ///< of random numbers, handed out so far

  /// The id of an axis, entering it into the size table at first sight.
  axis_id axis(std::string_view name, std::int64_t extent);

  value_id add_input(std::string_view name, const vector<axis_id>& axes, dtype type);
  /// A parameter of the current layer. A `shared` one belongs to the model: the same name gives the same parameter.
  value_id add_parameter(std::string_view name, const vector<axis_id>& axes, const initial& start, bool shared);
  /// Makes a parameter a running statistic: once per step `update` (operands: it, the sum over micro-batches of what
  /// was observed) replaces it.
  void observe(value_id parameter, value_id observed, const record& update, const attribute_list& attributes);
  /// A value of a region that no node makes: what a carry brings in or leaves.
  value_id add_carried(std::string_view name, const vector<axis_id>& axes, region_id area, dtype type);

  /// Adds a node to the current region and phase. `indices[i]` is the axis of the operator's index i.
  std::array<value_id, max_results> emit(const record& op, std::span<const value_id> values,
                                         std::span<const axis_id> indices, const attribute_list& attributes);

  /// The same numbers in another element type, the compute type or the precision: converted, if they are not in it.
  value_id as_type(value_id id, dtype type);
  /// A fresh gradient in the precision: left unrounded by its operator if that can, and if nobody has read it yet.
  value_id unrounded(value_id id);
  /// What a value was before it was converted to the precision; itself, if it was not.
  value_id before_widening(value_id id) const;

  /// Layers nest; the path of names becomes part of the names of nodes and parameters.
  void enter(std::string_view layer);
  void leave();

  /// Regions do not nest.
  void open_region(std::string_view name, std::int32_t count, bool repeated);
  void close_region();
  region_id current_region() const { return region_; }

  /// Puts the nodes that follow into this phase and region; their names start with `prefix`.
  void resume(phase when, region_id area, std::string prefix);

 private:
  std::string unique(std::string wanted);
  dtype type_of_node(const record& op, std::span<const value_id> operands) const;
  value_id read_as(value_id id, dtype type);
  bool is_undecided(value_id id) const;

  struct layer {
    std::string path;              ///< with a trailing dot, empty at the top
    vector<std::string> children;  ///< the names of the layers in it so far
  };
  vector<layer> path_{{}};
  vector<std::string> names_;
  region_id region_ = region_id::none;
  phase when_ = phase::forward;
  vector<value_id> undecided_;  ///< parameters that nobody has read
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/build.inl>
#endif
