// SPDX-License-Identifier: Apache-2.0
// How parameters are kept along each mesh axis, derived from the rules of a manual plan: an axis rule splits what has
// the axis, a ZeRO rule splits state, gradients or the parameter itself along an axis that has room. Law: the update's
// spec refines the stored spec, so that storing an updated parameter takes all-gathers only.
#pragma once

#include <meshloom/plan/plan.hpp>
#include <meshloom/plan/problem.hpp>

namespace meshloom {

/// What mesh axis `mesh_axis` does to a parameter by the axis rules alone.
placement ruled_placement(const problem& posed, const std::string& mesh_axis, const value& entry);

/// The placements of one parameter in one stage, before strategies are known: `stored` and `state`.
parameter_plan storage_of(const problem& posed, const stage_plan& stage, const value& entry);

/// The spec in which a gradient made as `made` is accumulated: as it is made, or, from ZeRO level 2 on, split like the
/// state along that mesh axis, if the state is split.
spec accumulated_as(const problem& posed, const stage_plan& stage, const spec& made, const spec& state);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/plan/storage.inl>
#endif
