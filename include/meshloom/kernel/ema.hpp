// SPDX-License-Identifier: Apache-2.0
// Averages of parameters over steps, a team per stretch of elements.
// Law: all views of a call are dense and have the same extents; the result is the memory of operand 0.
#pragma once

#include <meshloom/kernel/stretch.hpp>
#include <meshloom/op/ema.hpp>

namespace meshloom {

struct ema_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return detail::stretch::number_of(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const detail::stretch part(with.result[0], which);
    Element* const average = with.result[0].as<Element>() + part.first;
    const Element* const p = with.operand[1].as<const Element>() + part.first;
    if (with.step == 0) return team.for_each(part.count, [=](std::int64_t i) { average[i] = p[i]; });
    const Element take = static_cast<Element>(1 - with.attribute[0]);
    team.for_each(part.count, [=](std::int64_t i) { average[i] += take * (p[i] - average[i]); });
  }
};

template <int Rank>
struct kernel_of<op::ema<Rank>> : ema_kernel {};

}  // namespace meshloom
