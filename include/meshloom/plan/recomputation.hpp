// SPDX-License-Identifier: Apache-2.0
// Recomputation: what the blocks of a stage that recompute do not keep for backward, and which of their forward
// operators run again, in the body of backward, to make it anew.
// Law: whatever backward reads is kept or made again, and nothing is made again that backward does not need. What
// another block reads is kept: a block that recomputes begins from what enters it.
// Source: Chen et al. 2016 (Training Deep Nets with Sublinear Memory Cost).
#pragma once

#include <meshloom/graph/instance_table.hpp>
#include <meshloom/plan/plan.hpp>

namespace meshloom {

class recomputation {
 public:
  recomputation(const graph& whole, const stage_plan& stage);

  /// The forward operators of a block of the stage that run again in front of its backward, in order.
  vector<node_id> again(std::int32_t block) const;

  /// True if backward cannot read what forward has made of a value.
  bool drops(const instance& what) const;

 private:
  /// True for those that are marked, of a block's own values.
  using own_values = table<value_id, bool>;

  bool is_of_forward(const instance& what) const;
  bool is_kept(const instance& what) const;
  /// What is summed over micro-batches as forward makes it is kept.
  void keep_sums();
  /// Notes what a node of block `here` reads of what forward makes: `own` values, and those of other blocks.
  void read(node_id id, const block& here, own_values& own);
  /// Those of the `forward` operators of block `here` that must make what is in `own`, directly or for one another.
  vector<node_id> makers_of(own_values& own, const block& here, const vector<node_id>& forward);

  const graph& whole_;
  const stage_plan& stage_;
  vector<vector<node_id>> again_;  ///< per block of the stage; empty if none recomputes
  instance_table<bool> kept_;      ///< what forward leaves all the same
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/recomputation.inl>
#endif
