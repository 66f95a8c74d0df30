// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_reduction.hpp.
#pragma once

#include <meshloom/planner/intra_reduction.hpp>

#include <algorithm>

namespace meshloom::intra {

MESHLOOM_INLINE assignment lift(const reduction& made, const assignment& options) {
  assignment all(made.variables, 0);
  for (std::size_t v = 0; v < options.size(); ++v) {
    all[static_cast<std::size_t>(made.variable_of[v])] = made.option_of[v][static_cast<std::size_t>(options[v])];
  }
  vector<std::size_t> places;
  for (auto each = made.removals.rbegin(); each != made.removals.rend(); ++each) {
    places.clear();
    for (const removal::table& by : each->tables) {
      const auto here =
          std::lower_bound(by.options.begin(), by.options.end(), all[static_cast<std::size_t>(by.neighbour)]);
      places.push_back(std::min(static_cast<std::size_t>(here - by.options.begin()), by.options.size() - 1));
    }
    std::int32_t& mine = all[static_cast<std::size_t>(each->variable)];
    if (each->cost.empty()) mine = each->options[places.front()];
    std::int64_t least = never;
    for (std::size_t k = 0; k < each->cost.size(); ++k) {
      std::int64_t sum = each->cost[k];
      for (std::size_t t = 0; t < places.size(); ++t) {
        const removal::table& by = each->tables[t];
        sum = plus(sum, by.cost[k * by.options.size() + places[t]]);
      }
      if (sum < least) least = sum, mine = each->options[k];
    }
  }
  return all;
}

MESHLOOM_INLINE assignment lower(const reduction& made, const assignment& options) {
  assignment left;
  for (std::size_t v = 0; v < made.variable_of.size(); ++v) {
    const auto& known = made.option_of[v];
    const auto here = std::find(known.begin(), known.end(), options[static_cast<std::size_t>(made.variable_of[v])]);
    left.push_back(here == known.end() ? 0 : static_cast<std::int32_t>(here - known.begin()));
  }
  return left;
}

}  // namespace meshloom::intra
