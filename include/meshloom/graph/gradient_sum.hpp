// SPDX-License-Identifier: Apache-2.0
// A sum of gradients: what differentiation has made of the gradient of a parameter that several operators of one region
// read. Where the region falls into layers, each layer keeps the sum of its own parts, and the update adds these, as it
// does for a parameter that several regions read: no gradient of a parameter then crosses a cut with every micro-batch.
// Law: the same number of additions under the same names, of the same sum.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/graph/graph.hpp>

namespace meshloom {

struct gradient_sum {
  std::size_t parameter = 0;  ///< in `graph::parameters`
  value_id value = value_id::none;
  vector<value_id> parts = {};
  vector<node_id> additions = {};  ///< the k-th adds part k + 1 to the sum of the parts before it
};

/// The sums outside of repeated regions that may be taken apart: of gradients that one parameter has and only its
/// update reads, and of parts that are no gradient of another one.
vector<gradient_sum> gradient_sums(const graph& whole);

/// Takes the sums apart by the regions in which their parts are made: additions within a region go there, those of
/// sums of different regions into the update, in front of all others.
void add_by_region(graph& whole, const vector<gradient_sum>& sums);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/gradient_sum.inl>
#endif
