// SPDX-License-Identifier: Apache-2.0
// Updates in place: one pass over parameter, gradient and state, a team per stretch of elements.
// Law: all views of a call are dense and have the same extents; result k is the memory of the operand it replaces.
#pragma once

#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/stretch.hpp>
#include <meshloom/op/update.hpp>

namespace meshloom {

namespace detail {

/// base to a whole power, by repeated squaring.
MESHLOOM_DEVICE constexpr double power(double base, std::uint64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base) {
    if (exponent % 2 == 1) result *= base;
  }
  return result;
}

}  // namespace detail

struct sgd_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return detail::stretch::number_of(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const detail::stretch part(with.result[0], which);
    Element* const p = with.result[0].as<Element>() + part.first;
    const Element* const g = with.operand[1].as<const Element>() + part.first;
    Element* const v = with.result[1].as<Element>() + part.first;
    const Element rate = static_cast<Element>(with.attribute[0] * with.rate),
                  momentum = static_cast<Element>(with.attribute[1]);
    const Element decay = static_cast<Element>(with.attribute[2]);
    if (with.attribute[3] != 0) {
      return team.for_each(part.count, [=](std::int64_t i) {
        const Element slope = g[i] + decay * p[i], velocity = momentum * v[i] + slope;
        v[i] = velocity;
        p[i] -= rate * (slope + momentum * velocity);
      });
    }
    team.for_each(part.count, [=](std::int64_t i) {
      const Element velocity = momentum * v[i] + (g[i] + decay * p[i]);
      v[i] = velocity;
      p[i] -= rate * velocity;
    });
  }
};

struct adamw_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return detail::stretch::number_of(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const detail::stretch part(with.result[0], which);
    Element* const p = with.result[0].as<Element>() + part.first;
    const Element* const g = with.operand[1].as<const Element>() + part.first;
    Element* const m = with.result[1].as<Element>() + part.first;
    Element* const v = with.result[2].as<Element>() + part.first;
    const double rate = with.attribute[0] * with.rate, beta1 = with.attribute[1], beta2 = with.attribute[2];
    const double bias1 = 1 - detail::power(beta1, with.step + 1), bias2 = 1 - detail::power(beta2, with.step + 1);
    const Element keep1 = static_cast<Element>(beta1), take1 = static_cast<Element>(1 - beta1);
    const Element keep2 = static_cast<Element>(beta2), take2 = static_cast<Element>(1 - beta2);
    const Element epsilon = static_cast<Element>(with.attribute[3]);
    const Element shrink = static_cast<Element>(1 - rate * with.attribute[4]);
    const Element pace = static_cast<Element>(rate / bias1), grow = static_cast<Element>(1 / math::sqrt(bias2));
    team.for_each(part.count, [=](std::int64_t i) {
      const Element slope = g[i];
      const Element first = keep1 * m[i] + take1 * slope;
      const Element second = keep2 * v[i] + take2 * (slope * slope);
      m[i] = first;
      v[i] = second;
      p[i] = shrink * p[i] - pace * first / (math::sqrt(second) * grow + epsilon);
    });
  }
};

/// Of the one row of a micro-batch the variance is 0, and no correction makes it more.
struct moving_average_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return detail::stretch::number_of(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const detail::stretch part(with.result[0], which);
    Element* const p = with.result[0].as<Element>() + part.first;
    const Element* const observed = with.operand[1].as<const Element>() + part.first;
    const double batches = static_cast<double>(with.micro_batches), rows = with.attribute[1] / batches;
    const double correction = rows > 1 ? rows / (rows - 1) : 1;
    const Element momentum = static_cast<Element>(with.attribute[0]);
    const Element scale = static_cast<Element>(correction / batches);
    team.for_each(part.count, [=](std::int64_t i) { p[i] += momentum * (observed[i] * scale - p[i]); });
  }
};

template <int Rank>
struct kernel_of<op::moving_average<Rank>> : moving_average_kernel {};
template <int Rank>
struct kernel_of<op::sgd<Rank>> : sgd_kernel {};
template <int Rank>
struct kernel_of<op::adamw<Rank>> : adamw_kernel {};

}  // namespace meshloom
