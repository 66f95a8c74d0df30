// SPDX-License-Identifier: Apache-2.0
// Programs to look at: a small GPT whose head shares the embedding's table, so that stages exchange gradients and one
// message skips stages. Nothing is executed here, so the batch may have a divisor for every number of micro-batches.
#pragma once

#include <meshloom/program/check.hpp>
#include <meshloom/program/lower.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <string_view>

namespace programs {

namespace ml = meshloom;

const ml::graph& gpt();          ///< training; blocks: embedding, positions, 6 × repeat, layer_norm, unembedding, loss
const ml::graph& gpt_in_bf16();  ///< the same training in mixed precision
const ml::graph& gpt_inference();  ///< the same model without its loss

/// The program of a manual plan, "data=2,tensor=2".
ml::program program_of(const std::string& plan, std::int32_t ranks, std::int32_t micro_batches,
                       const ml::graph& of = gpt());

/// Checks that the program is accepted as it is, and, once `plant` has changed it, rejected by a fault with this
/// sentence.
void rejects(ml::program whole, const std::function<void(ml::program&)>& plant, std::string_view sentence);

/// The schedule of a stage as one list of actions, to be changed.
ml::vector<ml::action>& actions_of(ml::program& whole, int stage);

inline ml::stage_program& stage_of(ml::program& whole, int stage) {
  return whole.stages[static_cast<ml::stage_id>(stage)];
}
inline ml::vector<ml::instruction>& body_of(ml::program& whole, int stage, ml::pass which) {
  return stage_of(whole, stage).bodies[static_cast<std::size_t>(which)];
}

/// The first instruction of a body that `wanted` picks; fails the test if there is none.
ml::instruction& find(ml::vector<ml::instruction>& body, const std::function<bool(const ml::instruction&)>& wanted);

/// The first message from a task of one stage to a task of another; fails the test if there is none.
ml::transfer& message(ml::program& whole, const ml::message& route);

}  // namespace programs
