// SPDX-License-Identifier: Apache-2.0
// The plan of a training, for another graph of the same model (evaluation, generation, another batch size): the same
// stages, parameters and strategies, matched by the names of operators.
// Law: a parameter lies where the training put it, so one run can use the parameters of the other. What the training
// was predicted and proven to take says nothing of the other graph: an adapted plan predicts nothing.
#pragma once

#include <meshloom/plan/plan.hpp>

namespace meshloom {

/// The plan `made` of graph `training`, for graph `other`. It runs forward only.
plan adapt(const graph& training, const plan& made, const graph& other);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/adapt.inl>
#endif
