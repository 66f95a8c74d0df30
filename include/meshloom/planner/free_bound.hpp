// SPDX-License-Identifier: Apache-2.0
// What a plan by hand is measured against: the bound of the same model on the same cluster with nothing said but by the
// model itself. Law: no plan of the free space (planner/space.hpp) takes less, whatever constraints it keeps to.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/space.hpp>
#include <meshloom/planner/watch.hpp>

namespace meshloom {

/// The bound, or why even the free space has no plan. It takes as long as planning does, or as the watch lets it.
result<picoseconds> free_bound(const problem& posed, const intra_options& limits = {},
                               const planning_watch& watch = {});

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/free_bound.inl>
#endif
