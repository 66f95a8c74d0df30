// SPDX-License-Identifier: Apache-2.0
// Clipping by the global norm (Pascanu et al. 2013): the square sum of each gradient, and each gradient scaled by what
// all of them add up to. `Rank` is the rank of the gradient. Law: shards of a gradient have parts of its square sum, so
// it may be split in any way.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// Σ g². Operand: g. Result: a scalar.
template <int Rank>
struct square_sum {
  using list = typename first<Rank>::list;
  static constexpr auto signature =
      describe("square_sum").operands<list>().template results<at<>>().is(role::contracted, list::list).made;
  static constexpr double flops_per_point = 2;
  using gradient = operators<>;
};

/// g · min(1, limit / √squares), for gradients of the loss itself: where it is scaled, g and √squares are divided by the
/// scale first. Operands: g, squares. Result: the gradient, clipped. Attribute: limit.
template <int Rank>
struct clip {
  using list = typename first<Rank>::list;
  static constexpr auto signature = describe("clip").operands<list, at<>>().template results<list>().made;
  using gradient = operators<>;
};

}  // namespace meshloom::op
