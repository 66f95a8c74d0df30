// SPDX-License-Identifier: Apache-2.0
// The references of updates that look at whole tensors. As in kernel/reference.hpp: obviously right, in double, for
// whole tensors.
#pragma once

#include <meshloom/kernel/reference.hpp>
#include <meshloom/op/ema.hpp>
#include <meshloom/op/lamb.hpp>

namespace meshloom::reference {

template <int Rank>
struct rule<op::lamb<Rank>> {
  static void run(const space& s) {
    const auto list = op::lamb<Rank>::list::list;
    const double beta1 = s.attribute(1), beta2 = s.attribute(2), steps = static_cast<double>(s.with.step + 1);
    point at{};
    s.over(list, at, [&] {
      const double g = s.operand(1, at);
      s.write(1, at, beta1 * s.operand(2, at) + (1 - beta1) * g);
      s.write(2, at, beta2 * s.operand(3, at) + (1 - beta2) * g * g);
    });
    const auto direction = [&] {
      const double first = s.operand(2, at) / (1 - std::pow(beta1, steps)),
                   second = s.operand(3, at) / (1 - std::pow(beta2, steps));
      return first / (std::sqrt(second) + s.attribute(3)) + s.attribute(4) * s.operand(0, at);
    };
    const double weight = std::sqrt(s.sum(list, at, [&] { return s.operand(0, at) * s.operand(0, at); }));
    const double size = std::sqrt(s.sum(list, at, [&] { return direction() * direction(); }));
    const double ratio = weight > 0 && size > 0 ? weight / size : 1;
    s.over(list, at, [&] { s.write(0, at, s.operand(0, at) - s.attribute(0) * s.with.rate * ratio * direction()); });
  }
};

template <int Rank>
struct rule<op::ema<Rank>> {
  static void run(const space& s) {
    const double decay = s.with.step == 0 ? 0 : s.attribute(0);
    point at{};
    s.over(op::ema<Rank>::list::list, at,
           [&] { s.write(0, at, decay * s.operand(0, at) + (1 - decay) * s.operand(1, at)); });
  }
};

}  // namespace meshloom::reference
