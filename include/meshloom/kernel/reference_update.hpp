// SPDX-License-Identifier: Apache-2.0
// The references of updates that look at whole tensors. As in kernel/reference.hpp: obviously right, in double, for
// whole tensors.
#pragma once

#include <meshloom/kernel/reference.hpp>
#include <meshloom/op/adafactor.hpp>
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

/// A step of Adafactor along u, where `at` is; `last` is the operand and the result of its averages.
template <class Operator, class Direction>
void adafactor_step(const space& s, point& at, bool averages, int last, Direction u) {
  const auto list = Operator::list::list;
  const double n = static_cast<double>(s.with.step + 1);
  const auto size = [&](auto of) {
    double count = 0;
    const double squares = s.sum(list, at, [&] { return ++count, of() * of(); });
    return count == 0 ? 0 : std::sqrt(squares / count);
  };
  double scale = s.attribute(0) * s.with.rate;
  if (s.attribute(7) > 0) {
    scale *= std::min(1.0, 1 / (s.attribute(7) * std::sqrt(n)));
    scale *= std::max(s.attribute(4), size([&] { return s.operand(0, at); }));
  }
  const double shorter = std::max(1.0, size(u) / s.attribute(5));
  s.over(list, at, [&] {
    double step = scale * u() / shorter;
    if (averages) {
      step = s.attribute(1) * s.operand(last + 1, at) + (1 - s.attribute(1)) * step;
      s.write(last, at, step);
    }
    s.write(0, at, s.operand(0, at) * (1 - scale * s.attribute(6)) - step);
  });
}

template <int Rank, bool Momentum>
struct rule<op::adafactor<Rank, Momentum>> {
  static void run(const space& s) {
    using o = op::adafactor<Rank, Momentum>;
    constexpr index_list row{1, {Rank - 2}}, column{1, {Rank - 1}};
    const double keep = 1 - std::pow(static_cast<double>(s.with.step + 1), -s.attribute(2));
    const auto square = [&](point& at) { return s.operand(1, at) * s.operand(1, at) + s.attribute(3); };
    const auto mean = [&](const index_list& along, point& at, auto of) {
      return s.sum(along, at, of) / static_cast<double>(s.extent(along.at[0]));
    };
    point at{};
    s.over(o::rows::list, at, [&] {
      s.write(1, at, keep * s.operand(2, at) + (1 - keep) * mean(column, at, [&] { return square(at); }));
    });
    s.over(o::columns::list, at,
           [&] { s.write(2, at, keep * s.operand(3, at) + (1 - keep) * mean(row, at, [&] { return square(at); })); });
    const auto u = [&] {
      point rows = at;
      const double all = mean(row, rows, [&] { return s.result(1, rows); });
      return s.operand(1, at) / std::sqrt(s.result(1, at) / all) / std::sqrt(s.result(2, at));
    };
    adafactor_step<o>(s, at, Momentum, 3, u);
  }
};

template <int Rank, bool Momentum>
  requires(Rank < 2)
struct rule<op::adafactor<Rank, Momentum>> {
  static void run(const space& s) {
    using o = op::adafactor<Rank, Momentum>;
    const double keep = 1 - std::pow(static_cast<double>(s.with.step + 1), -s.attribute(2));
    point at{};
    s.over(o::list::list, at, [&] {
      const double g = s.operand(1, at);
      s.write(1, at, keep * s.operand(2, at) + (1 - keep) * (g * g + s.attribute(3)));
    });
    adafactor_step<o>(s, at, Momentum, 2, [&] { return s.operand(1, at) / std::sqrt(s.result(1, at)); });
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
