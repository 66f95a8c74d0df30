// SPDX-License-Identifier: Apache-2.0
// Manual plans: constraints in the same language as the model. `split_all<batch, mesh::data>(4)` splits an axis
// everywhere (Mesh-TensorFlow, Shazeer et al. 2018); `zero` says how parameters are kept (ZeRO, Rajbhandari et al.
// 2020); `pipeline` cuts stages; `recompute` trades time for memory; `&` combines them. What they leave open, `solve`
// fills in.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/base/vector.hpp>
#include <meshloom/schedule/order.hpp>
#include <meshloom/tensor/axis.hpp>

#include <cstdint>
#include <string>

namespace meshloom {

struct mesh_axis_size {
  std::string name;
  std::int32_t size = 1;
  bool operator==(const mesh_axis_size&) const = default;
};

/// Every operator that can splits tensor axis `axis` over mesh axis `mesh_axis`. Of several rules of one mesh axis the
/// first that an operator can keep binds it.
struct axis_rule {
  std::string axis;  ///< one `*` stands for any letters: "high_by_*"
  std::string mesh_axis;
  bool aligned = false;  ///< only operators of which every operand and result has the axis, and each part stands alone
  bool around = false;   ///< where an operator can meet blocks that go around, it does
  bool operator==(const axis_rule&) const = default;
};

/// True if a rule speaks of an axis of this name.
bool names(const axis_rule& rule, std::string_view axis);

/// How parameters are kept along a mesh axis that splits the batch: level 1 splits optimizer state and update, 2 the
/// gradients as well, 3 the parameters too.
struct zero_rule {
  std::string mesh_axis;
  std::int32_t level = 0;
  bool operator==(const zero_rule&) const = default;
};

/// The result of one operator, by its name in the graph: `mesh_axis` splits `axis`, or (empty) leaves it whole.
struct path_pin {
  std::string path;
  std::string mesh_axis;
  std::string axis;
  bool operator==(const path_pin&) const = default;
};

/// A layer that does not keep its activations for backward, but computes them again there.
struct recompute_rule {
  std::string layer;       ///< by its name in the graph; empty: every repeated or grouped one
  std::int32_t first = 0;  ///< copies of it from this one
  std::int32_t end = -1;   ///< up to, but not with, this one; −1: to the last
  bool operator==(const recompute_rule&) const = default;
};

/// What is said is kept to. What is not said is the planner's to choose if the plan is `automatic`; otherwise there is
/// one stage, and one micro-batch.
struct manual {
  bool automatic = false;
  vector<mesh_axis_size> mesh = {};  ///< of every stage; the last is the fastest; of size 0: any, stage by stage
  vector<axis_rule> rules = {};
  vector<zero_rule> zero = {};
  vector<path_pin> pins = {};
  vector<recompute_rule> recompute = {};
  std::int32_t stages = 0;               ///< 0: not said
  vector<std::int32_t> cuts = {};        ///< the first block of stages 1, 2, …; empty: cut evenly
  std::int32_t micro_batches = 0;        ///< 0: not said
  vector<schedule_kind> schedules = {};  ///< each that was asked for; none: 1F1B

  std::int32_t ranks() const;
  bool operator==(const manual&) const = default;
};

/// Both sets of constraints. Sizes of a mesh axis named twice must agree, and so must schedules (checked by `solve`).
manual operator&(manual left, const manual& right);

/// Everything that is not said otherwise is chosen by the planner, on mesh axes `outer` and `inner` of any size.
manual automatic();

/// Splits an axis over a mesh axis of `ranks` ranks, everywhere.
template <class Axis, class MeshAxis>
manual split_all(std::int32_t ranks) {
  return {.mesh = {{std::string(name_of<MeshAxis>()), ranks}},
          .rules = {{std::string(name_of<Axis>()), std::string(name_of<MeshAxis>())}}};
}

/// The batch over mesh axis `data`; parameters whole.
manual data_parallel(std::int32_t ranks);

/// Data parallelism with ZeRO of level 1, 2 or 3.
manual zero(std::int32_t level, std::int32_t ranks);

/// Heads, hidden units and vocabulary over mesh axis `tensor` (Megatron-LM, Shoeybi et al. 2019); in a convolutional
/// network the channels inside its blocks.
manual megatron(std::int32_t ranks);

/// The experts over mesh axis `data`, which splits the batch of all other operators: tokens change places by all-to-all
/// (GShard, Lepikhin et al. 2021).
manual expert_parallel(std::int32_t ranks);

/// The rows of images over mesh axis `space`; neighbours exchange the edges that convolutions read.
manual spatial(std::int32_t ranks);

/// The sequence over mesh axis `context`: keys and values go around the ranks that share the queries (ring attention,
/// Liu, Zaharia and Abbeel 2023).
manual context_parallel(std::int32_t ranks);

/// `stages` pipeline stages; without a schedule, the one that the rest of the plan asks for.
manual pipeline(std::int32_t stages);
manual pipeline(std::int32_t stages, schedule_kind schedule);

/// The cut in front of named blocks: `stage(3)` starts a stage at block 3. Combine several.
manual stage(std::int32_t first_block);

/// Every repeated or grouped layer recomputes its activations in backward (Chen et al. 2016), or one layer, or some
/// copies of it: from `first` up to, but not with, `end`.
manual recompute();
manual recompute(std::string layer);
manual recompute(std::string layer, std::int32_t first, std::int32_t end);

/// Binds the result of one operator.
template <class Axis, class MeshAxis>
manual pin_result(std::string path) {
  return {.pins = {{std::move(path), std::string(name_of<MeshAxis>()), std::string(name_of<Axis>())}}};
}

/// Reads "auto", "data", "zero2", "expert", "space", "context", "tensor=4", "data=2,tensor=2,pipeline=2": one word per
/// preset, with its ranks; a single word without a number takes all `ranks`.
result<manual> parse_manual(std::string_view text, std::int32_t ranks);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/manual.inl>
#endif
