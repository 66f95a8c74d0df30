// SPDX-License-Identifier: Apache-2.0
// A view of one rank's shard of a tensor, as kernels see it: memory, local extents and element strides, and where the
// shard lies in the whole tensor. Law: origin[d] + extent[d] <= global[d]; an extent may be 0 (an empty shard).
// Plain data of fixed size: it travels to a CUDA kernel by value.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/tensor/dtype.hpp>

namespace meshloom {

/// The largest number of axes of a tensor.
inline constexpr int max_rank = 6;

struct view {
  void* data = nullptr;
  std::int64_t extent[max_rank] = {};  ///< elements of this shard per axis
  std::int64_t stride[max_rank] = {};  ///< distance of neighbours per axis, in elements
  std::int64_t global[max_rank] = {};  ///< elements of the whole tensor per axis
  std::int64_t origin[max_rank] = {};  ///< index in the whole tensor of the shard's first element
  std::int32_t rank = 0;
  dtype type = dtype::f32;

  template <class Element>
  MESHLOOM_DEVICE Element* as() const {
    return static_cast<Element*>(data);
  }

  MESHLOOM_DEVICE std::int64_t count() const {
    std::int64_t product = 1;
    for (int axis = 0; axis < rank; ++axis) product *= extent[axis];
    return product;
  }
};

/// Sets the strides of a view to those of a dense row-major tensor (the last axis is contiguous).
constexpr void make_dense(view& shard) {
  std::int64_t step = 1;
  for (int axis = shard.rank - 1; axis >= 0; --axis) {
    shard.stride[axis] = step;
    step *= shard.extent[axis];
  }
}

}  // namespace meshloom
