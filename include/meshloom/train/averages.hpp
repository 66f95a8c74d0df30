// SPDX-License-Identifier: Apache-2.0
// Evaluation with averaged weights: an optimizer that is wrapped in `ema` keeps them, and a run of another program of
// the same model (evaluation, generation), under the same plan or another one, takes them over.
#pragma once

#include <meshloom/exec/host_run.hpp>

namespace meshloom {

/// Gives every parameter of `into` its average in `from`, or, if none is kept of it (running statistics), its value.
/// Throws meshloom::error if the two runs share parameters: start the other one without those of the first.
void take_averages(const host_run& from, host_run& into);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/train/averages.inl>
#endif
