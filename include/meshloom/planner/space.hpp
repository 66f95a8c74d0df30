// SPDX-License-Identifier: Apache-2.0
// The space that `solve` searches, of which a bound speaks: what constraints leave open of micro-batches, schedules and
// what stages stand on. (What they leave open within a stage is in planner/allowed.hpp.) The search goes through it,
// and a report says it, so that no word is more than what was done.
#pragma once

#include <meshloom/plan/plan.hpp>
#include <meshloom/plan/problem.hpp>
#include <meshloom/sharding/meshes.hpp>

namespace meshloom {

/// The numbers of micro-batches: the one that is asked for, or all that divide the batch, rising.
vector<std::int32_t> micro_batch_counts(const problem& posed);

/// The schedules of a pipeline: those that are asked for, or 1F1B and GPipe; of what does not train, forward only.
vector<schedule_kind> schedules_of(const problem& posed);

/// The submeshes that stages stand on: those of the cluster. Of many hosts, where constraints say nothing of stages and
/// meshes: no parts of a host where there would be more than 128 of them, and of numbers of hosts, those up to 8, those
/// that divide all hosts, and of the others powers of two and three times those. Of several groups of hosts, those on
/// the first.
vector<submesh> submeshes_for(const problem& posed);
vector<submesh> submeshes_for(const manual& asked, const cluster& machine);

/// The blocks that stages may begin with: all, or where constraints name cuts, those. Where repeated layers are so deep
/// that there are more than 160, of their copies only every 2nd, 4th, 8th, …, so that there are no more than 128 and
/// those that are not copies.
vector<std::int32_t> stops_of(const problem& posed);

/// The logical meshes of a stage on a submesh: its mesh axes in the order of the constraints, those of one rank left
/// out. Where all links are alike and nothing names the axes, of several orders of the same sizes there is one.
vector<stage_plan> meshes_on(const problem& posed, const submesh& place);

/// The problem without constraints, but for those of the model itself.
problem freed(const problem& posed);

/// True if the constraints leave all of that space open.
bool is_free(const problem& posed);

namespace detail {

/// True if constraints or the model name a mesh axis: then it matters which of two is called so.
bool is_named(const problem& posed, const std::string& mesh_axis);

/// Calls `visit(sizes)` with every way to give the free axes sizes whose product with the others is `ranks`.
template <class Visit>
void for_each_size(const vector<mesh_axis_size>& axes, std::int32_t ranks, std::size_t axis,
                   vector<std::int32_t>& sizes, const Visit& visit) {
  if (axis == axes.size()) {
    if (ranks == 1) visit(sizes);
    return;
  }
  for (std::int32_t size = 1; size <= ranks; ++size) {
    if (ranks % size != 0 || (axes[axis].size > 0 && axes[axis].size != size)) continue;
    sizes.push_back(size);
    for_each_size(axes, ranks / size, axis + 1, sizes, visit);
    sizes.pop_back();
  }
}

}  // namespace detail

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/space.inl>
#endif
