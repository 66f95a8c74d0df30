// SPDX-License-Identifier: Apache-2.0
// Builds a graph node by node. `trace` and `differentiate` use it; nothing else makes nodes.
// Law: equal operators on equal operands in one region are one node.
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
  std::int32_t streams = 0;  ///< of random numbers, handed out so far

  /// The id of an axis, entering it into the size table at first sight.
  axis_id axis(std::string_view name, std::int64_t extent);

  value_id add_input(std::string_view name, const std::vector<axis_id>& axes, dtype type);
  /// A parameter of the current layer. A `shared` one belongs to the model: the same name gives the same parameter.
  value_id add_parameter(std::string_view name, const std::vector<axis_id>& axes, const initial& start, bool shared);
  /// Makes a parameter a running statistic: once per step `update` (operands: it, the sum over micro-batches of what
  /// was observed) replaces it.
  void observe(value_id parameter, value_id observed, const record& update, const attribute_list& attributes);
  /// A value of a region that no node makes: what a carry brings in or leaves.
  value_id add_carried(std::string_view name, const std::vector<axis_id>& axes, region_id area);

  /// Adds a node to the current region and phase. `indices[i]` is the axis of the operator's index i.
  std::array<value_id, max_results> emit(const record& op, std::span<const value_id> operands,
                                         std::span<const axis_id> indices, const attribute_list& attributes);

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

  struct layer {
    std::string path;                   ///< with a trailing dot, empty at the top
    std::vector<std::string> children;  ///< the names of the layers in it so far
  };
  std::vector<layer> path_{{}};
  std::vector<std::string> names_;
  region_id region_ = region_id::none;
  phase when_ = phase::forward;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/build.inl>
#endif
