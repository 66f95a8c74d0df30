// SPDX-License-Identifier: Apache-2.0
// LAMB in two passes: the moments with the square sums, which are one team's work, stretch by stretch, added up in
// double; then the step, a team per stretch. With `all_parts` one team does both.
// Law: all views of a call are dense and have the same extents; result k is the memory of the operand it replaces.
#pragma once

#include <meshloom/kernel/update.hpp>
#include <meshloom/op/lamb.hpp>

namespace meshloom {

namespace detail {

/// One stretch of a parameter, its gradient and its moments.
template <class Element>
struct lamb_stretch {
  Element *p, *m, *v;
  const Element* g;
  std::int64_t count;
  Element keep1, take1, keep2, take2, unbias1, unbias2, epsilon, decay;

  MESHLOOM_DEVICE lamb_stretch(const call& with, std::int64_t which) {
    const stretch part(with.result[0], which);
    p = with.result[0].as<Element>() + part.first;
    m = with.result[1].as<Element>() + part.first;
    v = with.result[2].as<Element>() + part.first;
    g = with.operand[1].as<const Element>() + part.first;
    count = part.count;
    const double beta1 = with.attribute[1], beta2 = with.attribute[2];
    keep1 = static_cast<Element>(beta1), take1 = static_cast<Element>(1 - beta1);
    keep2 = static_cast<Element>(beta2), take2 = static_cast<Element>(1 - beta2);
    unbias1 = static_cast<Element>(1 / (1 - power(beta1, with.step + 1)));
    unbias2 = static_cast<Element>(1 / math::sqrt(1 - power(beta2, with.step + 1)));
    epsilon = static_cast<Element>(with.attribute[3]), decay = static_cast<Element>(with.attribute[4]);
  }

  MESHLOOM_DEVICE Element direction(std::int64_t i) const {
    return unbias1 * m[i] / (math::sqrt(v[i]) * unbias2 + epsilon) + decay * p[i];
  }

  template <class Team>
  MESHLOOM_DEVICE void move_moments(Team team) const {
    team.for_each(count, [here = *this](std::int64_t i) {
      const Element slope = here.g[i];
      here.m[i] = here.keep1 * here.m[i] + here.take1 * slope;
      here.v[i] = here.keep2 * here.v[i] + here.take2 * (slope * slope);
    });
  }

  template <class Team>
  MESHLOOM_DEVICE void step(Team team, double pace) const {
    team.for_each(count, [here = *this, pace = static_cast<Element>(pace)](std::int64_t i) {
      here.p[i] -= pace * here.direction(i);
    });
  }
};

}  // namespace detail

struct lamb_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return with.part == 1 ? detail::stretch::number_of(with.result[0]) : 1;
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    Element* const exchanged = with.exchanged[0].as<Element>();
    if (with.part == 1)
      return detail::lamb_stretch<Element>(with, which).step(team, pace(with, exchanged[0], exchanged[1]));
    double weights = 0, directions = 0;
    const std::int64_t stretches = detail::stretch::number_of(with.result[0]);
    for (std::int64_t at = 0; at < stretches; ++at) {
      const detail::lamb_stretch<Element> part(with, at);
      part.move_moments(team);
      const auto square_sum = [&](auto of) {
        return static_cast<double>(
            team.template reduce<Element>(part.count, 0, addition{}, [of](std::int64_t i) { return of(i) * of(i); }));
      };
      weights += square_sum([p = part.p](std::int64_t i) { return p[i]; });
      directions += square_sum([part](std::int64_t i) { return part.direction(i); });
    }
    if (with.part == 0) {
      if (team.leader()) exchanged[0] = static_cast<Element>(weights), exchanged[1] = static_cast<Element>(directions);
      return;
    }
    for (std::int64_t at = 0; at < stretches; ++at)
      detail::lamb_stretch<Element>(with, at).step(team, pace(with, weights, directions));
  }

 private:
  MESHLOOM_DEVICE static double pace(const call& with, double weights, double directions) {
    const double ratio = weights > 0 && directions > 0 ? math::sqrt(weights) / math::sqrt(directions) : 1;
    return with.attribute[0] * with.rate * ratio;
  }
};

template <int Rank>
struct kernel_of<op::lamb<Rank>> : lamb_kernel {};

}  // namespace meshloom
