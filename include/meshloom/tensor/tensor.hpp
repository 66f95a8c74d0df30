// SPDX-License-Identifier: Apache-2.0
// A typed tensor: the axes are in the type, the value is an entry of the graph being traced. Shape errors are compile
// errors; nothing is computed while a model is traced.
#pragma once

#include <meshloom/base/ids.hpp>
#include <meshloom/tensor/axis.hpp>

namespace meshloom {

/// A floating-point tensor with the given axes, row-major. Its element type is the training's precision.
template <class... Axis>
struct tensor {
  static_assert(all_distinct<axes<Axis...>>,
                "meshloom: tensor: one axis comes twice; give the second an axis of its own, or read it as keys<axis>");
  using axes_type = axes<Axis...>;
  value_id id = value_id::none;
};

/// A tensor of integers: tokens, class labels.
template <class... Axis>
struct integers {
  using axes_type = axes<Axis...>;
  value_id id = value_id::none;
};

/// `tensor` of a list of axes.
template <class List>
struct tensor_of_list;
template <class... Axis>
struct tensor_of_list<axes<Axis...>> {
  using type = tensor<Axis...>;
};
template <class List>
using tensor_of = typename tensor_of_list<List>::type;

/// The same value with one axis read under another tag of the same size: `rename<seq, keys<seq>>(k)`.
template <class From, class To, class... Axis>
constexpr auto rename(tensor<Axis...> value) {
  static_assert(has_axis<axes<Axis...>, From>,
                "meshloom: rename<From, To>: the tensor does not have the axis From; rename an axis that it has");
  static_assert(std::is_same_v<sized_as<From>, sized_as<To>>,
                "meshloom: rename<From, To>: both tags must have the same size; use keys<From>");
  return tensor<std::conditional_t<std::is_same_v<Axis, From>, To, Axis>...>{value.id};
}

}  // namespace meshloom
