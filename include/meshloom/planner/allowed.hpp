// SPDX-License-Identifier: Apache-2.0
// What the constraints of a problem leave open in a stage: the strategies that an operator may take, and the ways in
// which a parameter may be kept. Law: with every mesh axis ruled, parameters have no choice; with no constraint, every
// row of an operator's table is one.
#pragma once

#include <meshloom/plan/storage.hpp>

namespace meshloom {

/// How a parameter is kept: `stored` between steps and while it is used, `state` for the optimizer and its update.
struct storage {
  spec stored, state;
  bool operator==(const storage&) const = default;
};

/// The strategies that rules and pins allow a forward or backward operator on the mesh of `stage`, in the order of its
/// table; cuts of one axis by several mesh axes in the order of the mesh axes.
vector<strategy> allowed_strategies(const problem& posed, const stage_plan& stage, node_id id);

/// How a parameter may be kept: along a mesh axis that a rule names as the rule says, along any other whole, or split
/// for its state alone, or split throughout.
vector<storage> allowed_storages(const problem& posed, const stage_plan& stage, const value& entry);

/// The strategy of a node of the update whose parameter's state lies as `state`.
strategy update_strategy(const node& at, const mesh_shape& mesh, const spec& state);

/// The mesh axes that pins split a result of the node over: a stage that runs it has them all.
vector<std::string> pinned_axes(const problem& posed, const node& at);

namespace detail {

/// True if a rule says what lies along a mesh axis, of parameters at least.
bool is_ruled(const problem& posed, const std::string& mesh_axis);

}  // namespace detail

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/allowed.inl>
#endif
