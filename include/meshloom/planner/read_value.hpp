// SPDX-License-Identifier: Apache-2.0
// The values that the operators of a stage read or make, with their readers; operators that run again read in backward,
// too. Instances that the same operators read are one value, counted: so a repeated layer is looked at once, however
// many copies it has. Law: every reading of every instance is in exactly one of them.
#pragma once

#include <meshloom/plan/recomputation.hpp>

#include <map>
#include <tuple>

namespace meshloom {

/// One operand of a node.
struct reading {
  node_id node = node_id::none;
  std::int8_t operand = 0;
  auto operator<=>(const reading&) const = default;
};

/// A value that a stage's operators read, and who reads it: one for all instances that the same operators read.
struct read_value {
  value_id value = value_id::none;
  bool made_here = false;                       ///< by a node of the stage; else a parameter, or from another stage
  bool leaves = false;                          ///< another stage reads it
  bool is_result = false;                       ///< of the step
  bool made_again = false;                      ///< for those who read it in backward: what forward made is dropped
  vector<reading> forward = {}, backward = {};  ///< by pass; a forward operator that runs again reads in both
  std::int32_t copies = 0;                      ///< how many instances there are
  bool operator==(const read_value&) const = default;
};

/// One reading of one instance, or its leaving the step.
struct instance_use {
  instance what;
  std::int32_t made_in = -1;    ///< the block whose node makes it; −1: none does
  phase pass = phase::forward;  ///< of a parameter's reading; parameters are looked at pass by pass
  phase when = phase::forward;  ///< it is read
  reading by = {};
  std::int32_t read_in = -1;  ///< the block; −1: it leaves the step
};

/// Every reading of every block of a graph, for the lists of many stages.
class value_uses {
 public:
  /// Keeps a reference to the graph.
  explicit value_uses(const graph& whole);

  /// Every value that the operators of the stage's blocks read or make, inputs and states apart. Parameters are listed
  /// once per pass that reads them. Stages with as many copies of every region, all or none of which recompute, have
  /// like lists, wherever they begin.
  vector<read_value> in(const stage_plan& stage, const recomputation& recomputed) const;

  /// The same, found once for all stages of these blocks of which the same ones recompute.
  const vector<read_value>& known_in(const stage_plan& stage, const recomputation& recomputed);

 private:
  /// What a list depends on: the blocks, and which of them recompute.
  using blocks_run = std::tuple<std::int32_t, std::int32_t, vector<bool>>;

  /// What nodes of a block read in one pass.
  void find(const vector<node_id>& nodes, std::int32_t block, phase when, vector<instance_use>& uses) const;
  vector<instance_use> with_again(const stage_plan& stage, const recomputation& recomputed) const;

  const graph& whole_;
  vector<block> blocks_;
  vector<instance_use> uses_;  ///< in order
  std::map<blocks_run, vector<read_value>> known_;
};

/// The list of one stage.
vector<read_value> values_read(const graph& whole, const stage_plan& stage);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/read_value.inl>
#endif
