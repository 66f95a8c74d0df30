// SPDX-License-Identifier: Apache-2.0
// Clipping by the global norm: a square sum is one team's work, stretch by stretch, added up in double; scaling is a
// team per stretch. Law: all views of a call are dense; gradients of a scaled loss come out as those of the loss.
#pragma once

#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/stretch.hpp>
#include <meshloom/op/clip.hpp>

namespace meshloom {

struct square_sum_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call&) {
    return 1;
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t, const call& with) {
    const view& gradient = with.operand[0];
    double sum = 0;
    for (std::int64_t which = 0; which < detail::stretch::number_of(gradient); ++which) {
      const detail::stretch part(gradient, which);
      const Element* const g = gradient.as<const Element>() + part.first;
      sum += static_cast<double>(
          team.template reduce<Element>(part.count, 0, addition{}, [=](std::int64_t i) { return g[i] * g[i]; }));
    }
    if (team.leader()) *with.result[0].as<Element>() = static_cast<Element>(sum);
  }
};

struct clip_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return detail::stretch::number_of(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const detail::stretch part(with.result[0], which);
    const Element* const g = with.operand[0].as<const Element>() + part.first;
    Element* const clipped = with.result[0].as<Element>() + part.first;
    const double norm = math::sqrt(static_cast<double>(*with.operand[1].as<const Element>())) / with.scale;
    const double kept = norm > with.attribute[0] ? with.attribute[0] / norm : 1;
    const Element scale = static_cast<Element>(kept / with.scale);
    team.for_each(part.count, [=](std::int64_t i) { clipped[i] = scale * g[i]; });
  }
};

template <int Rank>
struct kernel_of<op::square_sum<Rank>> : square_sum_kernel {};
template <int Rank>
struct kernel_of<op::clip<Rank>> : clip_kernel {};

}  // namespace meshloom
