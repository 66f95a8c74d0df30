// SPDX-License-Identifier: Apache-2.0
// The rows of a tensor: what all its axes but the last count. Norms, softmax and cross-entropy run one team per row.
// Law: elements of a row are contiguous; rows may lie at any strides.
#pragma once

#include <meshloom/kernel/kernel.hpp>

namespace meshloom {

/// The number of rows of a tensor of at least one axis, also of one whose rows are empty.
MESHLOOM_DEVICE inline std::int64_t row_count(const view& tensor) {
  std::int64_t rows = 1;
  for (int axis = 0; axis + 1 < tensor.rank; ++axis) rows *= tensor.extent[axis];
  return rows;
}

/// Where one row of `tensor` is, in any view that has the same row axes.
struct row_index {
  std::int64_t at[max_rank];
  int axes;

  MESHLOOM_DEVICE row_index(const view& tensor, std::int64_t which) : axes(tensor.rank - 1) {
    for (int axis = axes - 1; axis > 0; --axis) {
      at[axis] = which % tensor.extent[axis];
      which /= tensor.extent[axis];
    }
    at[0] = which;
  }

  /// The first element of the row, or its only one in a view that has the row axes alone.
  template <class Element>
  MESHLOOM_DEVICE Element* in(const view& other) const {
    std::int64_t offset = 0;
    for (int axis = 0; axis < axes; ++axis) offset += at[axis] * other.stride[axis];
    return other.as<Element>() + offset;
  }
};

/// Writes what all members of the team know.
template <class Element, class Team>
MESHLOOM_DEVICE void write_once(Team team, Element* to, Element value) {
  if (team.leader()) *to = value;
}

}  // namespace meshloom
