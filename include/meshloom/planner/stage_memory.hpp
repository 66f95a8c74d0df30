// SPDX-License-Identifier: Apache-2.0
// What a rank of one stage allocates, and what it pays, before the stages around it are known: the stage is lowered,
// its neighbours standing on one rank each. Law: for a stage that runs everything, the memory of the program; in a
// pipeline the forms in which messages leave may differ by a reshard, and so may sums of gradients that stages share.
#pragma once

#include <meshloom/plan/problem.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/program/memories.hpp>

namespace meshloom {

/// `stage` may begin at any rank. What it keeps for every micro-batch in flight is said in less time alone.
stage_memory memory_of(const problem& posed, const stage_plan& stage, std::int32_t micro_batches);
bytes slot_of(const problem& posed, const stage_plan& stage, std::int32_t micro_batches);
stage_price price_of(const problem& posed, const stage_plan& stage, std::int32_t micro_batches);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/stage_memory.inl>
#endif
