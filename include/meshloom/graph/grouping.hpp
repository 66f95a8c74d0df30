// SPDX-License-Identifier: Apache-2.0
// A grouping of operators into layers, for models whose own layers are no good places to cut a pipeline: one large
// layer, a few of very unequal work, many branches. Regions that are not repeated fall into layers of balanced work
// that send each other little; repeated ones stay as they are.
// Law: the same operators, parameters and values under the same names; of the layers that are balanced enough, those
// that receive least; what is grouped is grouped. Source: Zheng et al. 2022 (Alpa), operator clustering, section 5.2.
#pragma once

#include <meshloom/graph/graph.hpp>

namespace meshloom {

/// How many layers, and how unequal they may be.
struct grouping {
  /// For the whole graph: its regions that are not repeated get as many as their part of the work is of all. A stage of
  /// a pipeline has one layer or more, and two to four are enough to balance it; the time to plan grows with the square
  /// of the number.
  std::int32_t layers = 16;
  /// A layer may have up to (1 + slack) times the average work, the first of `slack`, 2 (1 + slack) − 1, … for which
  /// there are layers. An operator of more than the average work counts as the average, for nobody can split it.
  double slack = 0.5;
};

/// Two layers for each rank, from 8 to 32: as many stages as make sense, and room to balance them.
grouping grouping_for(std::int32_t ranks);

/// The graph with its regions that are not repeated grouped anew, as "layer.0", "layer.1", …: consecutive forward
/// operators, with the backward operators that differentiate them, and the parameters that they are first to read.
/// Work is floating-point operations, forward and backward. Of all ways to make that many layers that are balanced
/// enough and keep repeated regions apart, it is one of those in which the layer that receives most bytes receives
/// least; of these, with the fewest layers of less than the average work divided by (1 + slack); of these, in which all
/// layers together receive least; of these, of which the squares of work sum up to least.
/// A layer receives every value once that its operators read and others make: activations and, where the graph is
/// differentiated, gradients; not the inputs of the graph. Takes a graph for which `check` finds no fault. Throws
/// meshloom::error if there are to be no layers or a negative slack.
graph group_operators(const graph& whole, const grouping& how = {});

/// Another graph of the same model (evaluation, generation) in the layers of one that is grouped: operators go where
/// those of their name are, others to their parameters or to the operator before them. A plan of the one can then be
/// adapted to the other.
graph group_alike(const graph& other, const graph& grouped);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/grouping.inl>
#endif
