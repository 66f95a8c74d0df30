// SPDX-License-Identifier: Apache-2.0
// A stretch of the elements of a dense tensor: the task of a team that does the same to each. Law: the stretches of a
// tensor have all its elements once.
#pragma once

#include <meshloom/kernel/kernel.hpp>

namespace meshloom::detail {

struct stretch {
  static constexpr std::int64_t length = 8192;
  std::int64_t first, count;

  MESHLOOM_DEVICE stretch(const view& tensor, std::int64_t which)
      : first(which * length), count(tensor.count() - first) {
    if (count > length) count = length;
  }
  MESHLOOM_DEVICE static std::int64_t number_of(const view& tensor) { return (tensor.count() + length - 1) / length; }
};

}  // namespace meshloom::detail
