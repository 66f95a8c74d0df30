// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_multipliers.hpp.
#pragma once

#include <meshloom/planner/intra_multipliers.hpp>

#include <algorithm>
#include <limits>

namespace meshloom::intra {

namespace detail {

inline constexpr wide dearest_memory = wide{1} << 58;  ///< prices of memory together, far from `never`

/// Lowers multipliers until all that could be paid for memory is at most `dearest_memory`.
MESHLOOM_INLINE void tame(const network& net, multipliers& at) {
  vector<wide> most(net.room.size() + 1);
  for (const network::variable& variable : net.variables) {
    for (const network::part& each : variable.parts) {
      const std::int64_t size = *std::max_element(each.size.begin(), each.size.end());
      most[static_cast<std::size_t>(each.first)] += size;
      most[static_cast<std::size_t>(each.end)] -= size;
    }
  }
  const wide limit = dearest_memory << net.grain;
  wide alive = 0, paid = 0;
  for (std::size_t m = 0; m < at.size(); ++m) {
    alive += most[m];
    if (alive * at[m] > limit) at[m] = static_cast<std::int64_t>(limit / alive);
    paid += alive * at[m];
  }
  for (; paid > limit; paid >>= 1) {
    for (std::int64_t& price : at) price >>= 1;
  }
}

/// Bytes beyond the room: of every moment that has a price, and of the fullest of each run of overfull moments.
MESHLOOM_INLINE vector<std::int64_t> slope(const network& net, const multipliers& at, const assignment& options) {
  vector<std::int64_t> beyond = held(net, options), found(beyond.size());
  for (std::size_t m = 0; m < beyond.size(); ++m) beyond[m] -= net.room[m];
  std::size_t fullest = 0;
  for (std::size_t m = 0; m < beyond.size(); ++m) {
    const bool begins = m == 0 || beyond[m - 1] <= 0, ends = m + 1 == beyond.size() || beyond[m + 1] <= 0;
    if (begins || beyond[m] > beyond[fullest]) fullest = m;
    if (ends && beyond[fullest] > 0) found[fullest] = beyond[fullest];
  }
  for (std::size_t m = 0; m < beyond.size(); ++m) {
    if (at[m] > 0) found[m] = beyond[m];
  }
  return found;
}

/// Polyak's step, `gap` / |slope|² along the slope, divided by 2^`halvings`.
MESHLOOM_INLINE multipliers step(const network& net, multipliers at, const vector<std::int64_t>& slope,
                                 std::int64_t gap, int halvings) {
  constexpr wide one = wide{1} << 20;  // slopes relative to the steepest have 20 bits after the point
  std::int64_t steepest = 1;
  for (const std::int64_t each : slope) steepest = std::max(steepest, each < 0 ? -each : each);
  vector<wide> relative;
  wide square = 1;
  for (const std::int64_t each : slope) {
    relative.push_back(each * one / steepest);
    square += relative.back() * relative.back();
  }
  for (std::size_t m = 0; m < at.size(); ++m) {
    const wide along = gap * relative[m] * one / square * (wide{1} << net.grain) / steepest;
    at[m] = static_cast<std::int64_t>(std::clamp<wide>(at[m] + along / (wide{1} << halvings), 0, dearest_memory));
  }
  tame(net, at);
  return at;
}

}  // namespace detail

MESHLOOM_INLINE relaxation::relaxation(const network& net, std::int64_t most_entries)
    : eliminate_(elimination::plan(net, most_entries, 32 * most_entries)) {
  if (!eliminate_) pass_.emplace(net);
  around_ = static_cast<std::int64_t>(8 * net.room.size());
  for (const network::variable& variable : net.variables) {
    around_ += static_cast<std::int64_t>(variable.parts.size() * (variable.options() + 8));
  }
}

MESHLOOM_INLINE optimum relaxation::run(const vector<std::int64_t>& prices) {
  if (exact()) return eliminate_->run(prices);
  pass_->reprice(prices);
  for (int s = 0; s < sweeps; ++s) pass_->sweep();
  return {pass_->bound(), pass_->decode()};
}

MESHLOOM_INLINE vector<std::int64_t> relaxation::bounds(const vector<std::int64_t>& prices) {
  if (exact()) return eliminate_->bounds(prices);
  pass_->reprice(prices);
  for (int s = 0; s < sweeps; ++s) pass_->sweep();
  return pass_->bounds();
}

MESHLOOM_INLINE vector<std::int64_t> prices_with(const network& net, const multipliers& at) {
  vector<wide> before{0};
  for (const std::int64_t price : at) before.push_back(before.back() + price);
  vector<std::int64_t> prices;
  for (const network::variable& variable : net.variables) {
    const std::size_t first = prices.size();
    prices.insert(prices.end(), variable.cost.begin(), variable.cost.end());
    for (const network::part& each : variable.parts) {
      const auto rate = before[static_cast<std::size_t>(each.end)] - before[static_cast<std::size_t>(each.first)];
      for (std::size_t k = 0; k < each.size.size(); ++k) {
        prices[first + k] += static_cast<std::int64_t>(rate * each.size[k] >> net.grain);
      }
    }
  }
  return prices;
}

MESHLOOM_INLINE std::int64_t refund(const network& net, const multipliers& at) {
  wide sum = (wide{1} << net.grain) - 1;
  for (std::size_t m = 0; m < at.size(); ++m) sum += wide{at[m]} * net.room[m];
  return static_cast<std::int64_t>(sum >> net.grain);
}

MESHLOOM_INLINE multipliers carried(const vector<std::int32_t>& from, const multipliers& at,
                                    const vector<std::int32_t>& to) {
  multipliers moved(to.size());
  std::size_t m = 0;
  for (std::size_t n = 0; n < moved.size(); ++n) {
    while (m < from.size() && from[m] < to[n]) ++m;
    if (m < from.size() && from[m] == to[n]) moved[n] = at[m];
  }
  return moved;
}

MESHLOOM_INLINE ascent ascend(const network& net, relaxation& inner, multipliers from, std::int32_t rounds,
                              const visitor& visit, int halvings, const std::function<bool()>& stop) {
  constexpr int patience = 4, most_halvings = 10;
  ascent best{from, std::numeric_limits<std::int64_t>::min(), 0, halvings};
  multipliers here = std::move(from);
  vector<std::int64_t> best_slope;
  int stalled = 0;
  while (best.rounds < rounds && (best.rounds == 0 || !stop || !stop())) {
    ++best.rounds;
    const optimum met = inner.run(prices_with(net, here));
    if (inner.exact() && met.price >= never) return {here, never, best.rounds, halvings};
    const std::int64_t bound = met.price - refund(net, here), upper = visit(met.options);
    vector<std::int64_t> slope = detail::slope(net, here, met.options);
    ++stalled;
    if (bound > best.bound) best = {here, bound, best.rounds, halvings}, best_slope = slope, stalled = 0;
    if (closes(net, best.bound, upper)) break;
    const bool level = std::all_of(slope.begin(), slope.end(), [](std::int64_t each) { return each == 0; });
    if (level && (inner.exact() || stalled == patience)) break;
    if (stalled == patience) {
      if (++halvings > most_halvings) break;
      stalled = 0;
      here = best.at;
      slope = best_slope;
    }
    const std::int64_t gap = upper < never ? upper - best.bound : best.bound / 4 + (std::int64_t{1} << net.shift);
    here = detail::step(net, std::move(here), slope, std::max<std::int64_t>(gap, 1), halvings);
  }
  best.halvings = halvings;
  return best;
}

}  // namespace meshloom::intra
