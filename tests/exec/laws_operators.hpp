// SPDX-License-Identifier: Apache-2.0
// Collects operators with their kernels in both precisions and in 16 bits, so that the law can be tried on them.
#pragma once

#include "laws.hpp"

#include <meshloom/kernel/kernels.hpp>

namespace laws {

/// A visitor of operator types: see `for_each_operator`.
class collector {
 public:
  template <class Operator>
  void operator()(operators<Operator> which) {
    in_bf16_(which);
    in_f64_(which);
  }

  /// An operator and what its differentiation creates.
  template <class Operator>
  void add() {
    (*this)(operators<Operator>{});
    add_all(typename Operator::gradient{});
  }

  meshloom::vector<subject> subjects() const {
    meshloom::vector<subject> made;
    for (const kernel_entry& each : in_bf16_.made) {  // an operator's kernel in 16 bits, if any, follows the other one
      if (each.type == dtype::bf16)
        made.back().in_bf16 = each.run;
      else
        made.push_back(subject_of(each, in_f64_.made[made.size()]));
    }
    return made;
  }

 private:
  template <class... Operator>
  void add_all(operators<Operator...>) {
    ((*this)(operators<Operator>{}), ...);
  }

  static subject subject_of(const kernel_entry& single, const kernel_entry& twice) {
    subject made{.op = *single.op, .in_f32 = single.run, .in_f64 = twice.run};
    const signature& op = made.op.op;
    const auto choose = [&made](int operand, const index_list& of, int axis) {
      made.integers = operand;
      made.chosen = of.at[static_cast<std::size_t>(axis)];
    };
    if (op.name == "attention") made.rounded_within = 1;           // of shares in units that other keys change
    if (op.name == "attention_gradient") made.rounded_within = 7;  // of the scores' gradient
    if (op.name == "lookup") choose(0, op.operands[1], 0);
    if (op.name == "lookup_gradient") choose(0, op.results[0], 0);
    if (op.name == "cross_entropy") choose(1, op.operands[0], op.operands[0].count - 1);
    if (op.name == "cross_entropy_gradient") choose(2, op.operands[1], op.operands[1].count - 1);
    if (op.name == "max_pool_gradient") choose(1, op.operands[1], 3);  // the number of a tap, if there are as many
    if (op.name == "batch_norm_gradient" || op.name == "batch_norm_inference") made.positive = 1 << 4;  // the variance
    if (op.name == "batch_norm_inference_gradient_input") made.positive = 1 << 2;
    if (op.name == "batch_norm_inference_gradient_weights") made.positive = 1 << 3;
    if (op.name == "adamw" || op.name == "lamb") made.positive = 1 << 3;  // the second moment
    if (op.name == "adafactor") {                                         // the second moment, or what is kept of it
      made.positive = op.operands[2] == op.operands[0] ? 1 << 2 : 3 << 2;
      made.attributes = {0.3, 0.9, 0.8, 1e-3, 0.5, 0.1, 0.2, 1};
    }
    if (op.name == "clip") made.positive = 1 << 1;  // the sum of squares
    prepare_routing(made);
    return made;
  }

  /// Shares are positive, slots are taken by one token each; the tokens of a row compete for two slots.
  static void prepare_routing(subject& made) {
    const signature& op = made.op.op;
    const bool way = op.name == "dispatch" || op.name == "combine", gradient = op.name == "route_gradient";
    const int token = op.operands[0].count - 2, slot = token + 2;
    if (op.name == "route" || gradient) made.attributes = {0, 2};
    if (op.name == "route") made.positive = 1;
    if (gradient) made.positive = 1u << (op.operand_count - 2);
    if (!way && !gradient && op.name != "combine_gradient_weight") return;
    made.integers = way ? op.operand_count - 2 : gradient ? op.operand_count - 1 : 1;
    made.chosen = gradient ? token : slot;
    made.apart = token;
  }

  kernel_collector<bf16, plain> in_bf16_;  ///< and in f32
  kernel_collector<double, plain> in_f64_;
};

/// Every operator of the library, in the patterns that models use.
meshloom::vector<subject> all_subjects();

}  // namespace laws
