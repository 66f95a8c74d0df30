// SPDX-License-Identifier: Apache-2.0
// Reverse-mode differentiation: adds the backward operators of a scalar result to a graph, before anything is
// partitioned, so that a gradient is an ordinary value with a spec of its own. A repeated region is differentiated
// once. Law: for every parameter, `gradients` sum to d(result)/d(parameter). Source: Griewank and Walther, Evaluating
// Derivatives, ch. 3.
#pragma once

#include <meshloom/graph/build.hpp>
#include <meshloom/op/fill.hpp>
#include <meshloom/op/pointwise.hpp>

namespace meshloom {

namespace detail {

template <int Rank>
using add_of_rank = op::pointwise_gradient<op::add<op::operand<0>, op::operand<1>>, typename op::first<Rank>::list,
                                           typename op::first<Rank>::list, typename op::first<Rank>::list>;

}  // namespace detail

/// Differentiates `loss` (a scalar made in the last region) and the other results of `into.made`, the scalars that its
/// layers add to the loss, with respect to every parameter that is trained. Throws meshloom::error naming the operator
/// if one on the way has no gradient.
void differentiate(graph_builder& into, value_id loss);

/// Operators that differentiation itself adds, whatever the model.
using training_operators =
    operators<op::fill, detail::add_of_rank<0>, detail::add_of_rank<1>, detail::add_of_rank<2>, detail::add_of_rank<3>,
              detail::add_of_rank<4>, detail::add_of_rank<5>, detail::add_of_rank<6>>;

/// The operator `left + right` on tensors of a rank.
const record& addition_of_rank(std::size_t rank);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/differentiate.inl>
#endif
