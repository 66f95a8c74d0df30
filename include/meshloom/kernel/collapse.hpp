// SPDX-License-Identifier: Apache-2.0
// Fewer and longer loops over several tensors at once: axes of one element go, and neighbouring axes that lie
// contiguously in every tensor become one. Host only, once per call.
// Law: the same elements meet, in the same order.
#pragma once

#include <meshloom/kernel/call.hpp>

#include <initializer_list>
#include <span>

namespace meshloom {

/// `shard` with the axes of `to` instead of those of `from`: axes in another order, stride 0 where it has no such axis.
/// Extents are those of `pattern`, which has the axes of `to`.
constexpr view realigned(const view& shard, const index_list& from, const index_list& to, const view& pattern) {
  view made = shard;
  made.rank = to.count;
  for (int axis = 0; axis < to.count; ++axis) {
    const int old = from.find(to.at[static_cast<std::size_t>(axis)]);
    made.extent[axis] = pattern.extent[axis];
    made.stride[axis] = old < 0 ? 0 : shard.stride[old];
    made.global[axis] = made.extent[axis];
    made.origin[axis] = 0;
  }
  return made;
}

/// Collapses axes `first` … `last - 1` of views of equal extents; later axes move up. Returns how many axes remain of
/// the range.
constexpr int collapse(std::span<view* const> tensors, int first, int last) {
  const view& pattern = *tensors[0];
  const int rank = pattern.rank;
  int kept = first;
  for (int axis = first; axis < last; ++axis) {
    if (pattern.extent[axis] == 1) continue;
    bool merges = kept > first;
    for (const view* tensor : tensors) {
      merges = merges && tensor->stride[kept - 1] == tensor->stride[axis] * pattern.extent[axis];
    }
    const std::int64_t extent = merges ? pattern.extent[kept - 1] * pattern.extent[axis] : pattern.extent[axis];
    if (!merges) ++kept;
    for (view* tensor : tensors) {
      tensor->extent[kept - 1] = extent;
      tensor->stride[kept - 1] = tensor->stride[axis];
    }
  }
  for (view* tensor : tensors) {
    for (int axis = last; axis < rank; ++axis) {
      tensor->extent[kept + axis - last] = tensor->extent[axis];
      tensor->stride[kept + axis - last] = tensor->stride[axis];
    }
    tensor->rank = rank - (last - kept);
  }
  return kept - first;
}

/// Adds a first axis of one element, so that every tensor has an axis to loop over.
constexpr void add_axis_if_none(view& tensor) {
  if (tensor.rank > 0) return;
  tensor.rank = 1;
  tensor.extent[0] = 1;
  tensor.stride[0] = 1;
}

}  // namespace meshloom
