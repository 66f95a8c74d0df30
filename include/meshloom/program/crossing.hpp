// SPDX-License-Identifier: Apache-2.0
// What a plan makes each stage run, and the values that cross from one stage to another: activations forward, gradients
// backward, and the gradients of parameters that several stages read.
// Law: a value crosses to a stage once, however many of its operators read it.
#pragma once

#include <meshloom/plan/plan.hpp>

namespace meshloom {

/// A value made in one stage and read in another.
struct crossing {
  instance what;
  stage_id from, to;
  pass from_pass, to_pass;
  spec wanted;  ///< by the first reader
};

/// Every crossing of a plan, in an order that depends on graph and plan only.
std::vector<crossing> find_crossings(const graph& whole, const plan& made);

/// True if a stage keeps the parameter that this update node belongs to, in this copy.
bool updates_in(const graph& whole, const stage_plan& stage, const node& at, const block& here);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/program/crossing.inl>
#endif
