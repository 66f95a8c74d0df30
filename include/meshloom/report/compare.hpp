// SPDX-License-Identifier: Apache-2.0
// Two plans for one problem, side by side: what a step takes and on what it is spent, the memory of the fullest rank,
// the stages, and the operators and parameters that are split in another way.
// Law: what is alike in both is not among the differences, by whatever names their mesh axes go; a plan does not differ
// from itself.
#pragma once

#include <meshloom/plan/plan.hpp>
#include <meshloom/plan/problem.hpp>
#include <meshloom/report/evaluate.hpp>

#include <string>

namespace meshloom {

/// All tables below, under a heading each; no line is wider than `text_width`. What `evaluate` finds wrong with either
/// comes first, and alone if one of them cannot be lowered.
std::string compare(const problem& posed, const plan& a, const plan& b);

/// A row per time or number of bytes: in a, in b, and by which share b has more. Kinds of work are of the average rank,
/// memory of the fullest.
text_table cost_comparison(const plan& a, const breakdown& parts_a, const plan& b, const breakdown& parts_b);

/// One row per stage of either.
text_table stage_comparison(const graph& whole, const plan& a, const plan& b);

/// The forward and backward operators whose strategy differs in some copy; those of a layer that differ alike share a
/// row.
text_table operator_comparison(const graph& whole, const plan& a, const plan& b);

/// The parameters that are stored, updated or summed in another way, in the same form.
text_table parameter_comparison(const graph& whole, const plan& a, const plan& b);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/report/compare.inl>
#endif
