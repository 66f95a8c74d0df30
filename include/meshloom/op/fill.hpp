// SPDX-License-Identifier: Apache-2.0
// A scalar constant (attribute 0), times the scale of the loss: the seed of differentiation.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

struct fill {
  static constexpr auto signature = describe("fill").results<at<>>().made;
  using gradient = operators<>;
};

}  // namespace meshloom::op
