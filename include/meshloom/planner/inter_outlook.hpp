// SPDX-License-Identifier: Apache-2.0
// What lies before and after the states of a lattice, at the least: the sum of the stages and of the messages between
// them, and the slowest stage. A solver drops what cannot become a plan that is worth it with what must come besides.
// Law: no plan through a state takes less of either.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/planner/inter_lattice.hpp>

#include <algorithm>

namespace meshloom::inter {

/// What the stages before a state take at least: in all, with their messages, and the slowest; `never` where none lead
/// to it.
struct outlook {
  picoseconds sum = never, slowest = never;
};

/// By state, as far as it is `wanted`. `cuts`: messages are those of the cuts before, or else half of all around.
template <class Wanted>
vector<outlook> look_back(const lattice& grid, bool cuts, const Wanted& wanted) {
  vector<outlook> states(grid.states());
  if (!states.empty()) states.front() = {{}, {}};
  grid.for_each_state([&](std::size_t state, std::int32_t k, std::int32_t r) {
    outlook& here = states[state];
    if (here.sum < never && !wanted(here)) here = {};
    if (here.sum == never) return;
    grid.for_each_move(k, r, [&](const choice& each, const move& to) {
      states[to.next].sum = std::min(states[to.next].sum, here.sum + (cuts ? each.time + grid.cut(k, r) : to.own));
      states[to.next].slowest = std::min(states[to.next].slowest, std::max(here.slowest, each.rest));
    });
  });
  return states;
}

/// What the stages from a state on take at least; and one way to go on.
struct remainder {
  picoseconds sum = never, slowest = never;
  picoseconds known_sum = never, known_slowest = never;
  std::int32_t known_stages = 0;
};

/// By state, as far as some stages lead to it. Moves are added to `work`.
vector<remainder> survey(const lattice& grid, const vector<outlook>& before, std::int64_t& work);

}  // namespace meshloom::inter

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/inter_outlook.inl>
#endif
