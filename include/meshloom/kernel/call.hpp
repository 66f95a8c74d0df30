// SPDX-License-Identifier: Apache-2.0
// What a kernel is told: its operands and results as views of this rank's shards, the node's attributes, and where in
// the run it is. Plain data of fixed size; a CUDA kernel takes it by value.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom {

/// Which part of an operator with statistics a call computes. An operator whose statistic axes are whole on this rank
/// is called once with `all_parts`; otherwise with 0, 1, … and the statistics are exchanged between the calls.
inline constexpr std::int32_t all_parts = -1;

struct call {
  view operand[max_operands];
  view result[max_results];
  view exchanged[max_statistics];  ///< statistics: the rows' axes, then one axis of `statistic::values` numbers
  double attribute[max_attributes] = {};
  std::uint64_t seed = 0;  ///< of the run
  std::uint64_t step = 0;  ///< optimizer steps done before this one
  double rate = 1;         ///< the part of an update's rate, attribute 0, that its schedule leaves in this step
  double scale = 1;        ///< what the loss is multiplied by in this step, and with it every gradient
  std::uint64_t micro_batch = 0;
  std::uint64_t micro_batches = 1;  ///< of the step: micro-batch k is the k-th of as many equal parts of the batch
  std::uint64_t number = 0;  ///< of the operator in the model, stable, times 2^copy_bits, plus the copy of its layer
  std::int32_t part = all_parts;
  std::int32_t round = 0;   ///< of an operator whose blocks go around: after round 0 results go on from what they hold
  bool accumulate = false;  ///< add to the results instead of overwriting them (kernels that say so)
};

}  // namespace meshloom
