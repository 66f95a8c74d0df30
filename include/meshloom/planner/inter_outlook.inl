// SPDX-License-Identifier: Apache-2.0
// The bodies of inter_outlook.hpp.
#pragma once

#include <meshloom/planner/inter_outlook.hpp>

namespace meshloom::inter {

MESHLOOM_INLINE vector<remainder> survey(const lattice& grid, const vector<outlook>& before, std::int64_t& work) {
  vector<remainder> states(grid.states());
  if (!states.empty()) states.back() = {{}, {}, {}, {}};
  grid.for_each_state_back([&](std::size_t state, std::int32_t k, std::int32_t r) {
    remainder& here = states[state];
    if (before[state].sum == never) return;
    grid.for_each_move(k, r, [&](const choice& by, const move& to) {
      ++work;
      const remainder& rest = states[to.next];
      here.sum = std::min(here.sum, rest.sum + to.own);
      here.slowest = std::min(here.slowest, std::max(rest.slowest, by.rest));
      const picoseconds sum = rest.known_sum + to.own, slowest = std::max(rest.known_slowest, by.rest);
      const std::int32_t stages = rest.known_stages + 1;
      if (sum + slowest >= here.known_sum + here.known_slowest) return;
      if (stages < by.least_stages || stages > by.most_stages) return;
      here.known_sum = sum;
      here.known_slowest = slowest;
      here.known_stages = stages;
    });
  });
  return states;
}

}  // namespace meshloom::inter
