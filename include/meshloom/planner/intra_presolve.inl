// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_presolve.hpp.
#pragma once

#include <meshloom/planner/intra_presolve.hpp>

#include <algorithm>
#include <limits>

namespace meshloom::intra {

MESHLOOM_INLINE presolver::presolver(const network& given, const std::vector<std::uint8_t>& keep,
                                     std::int64_t most_entries)
    : net_(given), most_entries_(most_entries), states_(given.variables.size()) {
  std::size_t number = 0;
  const auto edges = edges_at(net_);
  for (std::size_t v = 0; v < states_.size(); ++v) {
    state& here = states_[v];
    here.edges = edges[v];
    for (const std::int64_t cost : net_.variables[v].cost) {
      here.alive.push_back(cost < never && (keep.empty() || keep[number]));
      here.count += here.alive.back();
      ++number;
    }
    possible_ = possible_ && here.count > 0;
    lost_.push_back(static_cast<std::int32_t>(v));
  }
}

MESHLOOM_INLINE reduction presolver::run() {
  while (possible_ && changed_) {
    changed_ = false;
    settle_memory();
    prune_partners();
    for (std::int32_t v = 0; possible_ && index(v) < states_.size(); ++v) {
      if (!at(v).gone && at(v).dirty) look_at(v);
    }
  }
  return compact();
}

MESHLOOM_INLINE void presolver::look_at(std::int32_t v) {
  at(v).dirty = false;
  for (std::size_t k = 0; k < at(v).edges.size();) {
    const std::int32_t e = at(v).edges[k];
    if (!separate(e) && !match(e)) ++k;
    if (at(v).gone) return;
  }
  dominate(v);
  if (variable(v).parts.empty() && at(v).edges.size() <= 2) eliminate(v);
}

MESHLOOM_INLINE void presolver::touch(std::int32_t v) {
  at(v).dirty = true;
  changed_ = true;
}

MESHLOOM_INLINE void presolver::kill(std::int32_t v, std::size_t option) {
  state& here = at(v);
  here.alive[option] = 0;
  if (--here.count == 0) possible_ = false;
  lost_.push_back(v);
  touch(v);
  for (const std::int32_t e : here.edges) touch(edge(e).other(v));
}

/// The least and the most that the options alive need of a part.
MESHLOOM_INLINE std::pair<std::int64_t, std::int64_t> presolver::range(std::int32_t v, const network::part& each) {
  std::int64_t least = std::numeric_limits<std::int64_t>::max(), most = 0;
  for_alive(v, [&](std::size_t k) {
    least = std::min(least, each.size[k]);
    most = std::max(most, each.size[k]);
  });
  return {least, most};
}

/// Sizes on which all options agree are taken from the room; moments that can no longer overflow go; so do options
/// that do not fit beside the smallest of all others.
MESHLOOM_INLINE void presolver::settle_memory() {
  if (net_.room.empty()) return;
  for (std::int32_t v = 0; index(v) < states_.size(); ++v) {
    std::erase_if(variable(v).parts, [&](const network::part& each) {
      const auto [least, most] = range(v, each);
      if (least != most) return false;
      for (std::int32_t m = each.first; m < each.end; ++m) net_.room[index(m)] -= least;
      touch(v);
      return true;
    });
  }
  keep_binding_moments();
}

MESHLOOM_INLINE void presolver::keep_binding_moments() {
  std::vector<std::int64_t> least(net_.room.size() + 1), most(least.size());
  for (std::int32_t v = 0; index(v) < states_.size(); ++v) {
    for (const network::part& each : variable(v).parts) {
      const auto [low, high] = range(v, each);
      least[index(each.first)] += low, least[index(each.end)] -= low;
      most[index(each.first)] += high, most[index(each.end)] -= high;
    }
  }
  std::vector<std::int32_t> moved{0};
  std::int64_t low = 0, high = 0;
  for (std::size_t m = 0; m < net_.room.size(); ++m) {
    low += least[m], high += most[m];
    if (low > net_.room[m]) possible_ = false;
    const auto to = index(moved.back());
    const bool binds = high > net_.room[m];
    if (binds) net_.room[to] = net_.room[m], net_.times[to] = net_.times[m], least[to] = low;
    moved.push_back(moved.back() + binds);
  }
  net_.room.resize(index(moved.back()));
  net_.times.resize(net_.room.size());
  for (std::int32_t v = 0; index(v) < states_.size(); ++v) {
    auto& parts = variable(v).parts;
    for (network::part& each : parts) each.first = moved[index(each.first)], each.end = moved[index(each.end)];
    if (std::erase_if(parts, [](const network::part& each) { return each.first == each.end; }) > 0) touch(v);
  }
  if (possible_) prune_sizes(least);
}

MESHLOOM_INLINE void presolver::prune_sizes(const std::vector<std::int64_t>& least) {
  for (std::int32_t v = 0; possible_ && index(v) < states_.size(); ++v) {
    for (const network::part& each : variable(v).parts) {
      std::int64_t spare = std::numeric_limits<std::int64_t>::max();
      for (auto m = index(each.first); m < index(each.end); ++m) spare = std::min(spare, net_.room[m] - least[m]);
      const std::int64_t smallest = range(v, each).first;
      for_alive(v, [&](std::size_t k) {
        if (each.size[k] - smallest > spare) kill(v, k);
      });
    }
  }
}

/// Arc consistency: an option needs, at each edge, a partner that it may meet.
MESHLOOM_INLINE void presolver::prune_partners() {
  while (possible_ && !lost_.empty()) {
    const std::int32_t v = lost_.back();
    lost_.pop_back();
    if (at(v).gone) continue;
    for (const std::int32_t e : at(v).edges) {
      const std::int32_t other = edge(e).other(v);
      const edge_view price = seen_from(net_, other, edge(e));
      for_alive(other, [&](std::size_t k) {
        if (all_alive(v, [&](std::size_t mine) { return price(k, mine) >= never; })) kill(other, k);
      });
      if (!possible_) return;
    }
  }
}

/// An edge whose prices are a sum of one per row and one per column says nothing about pairs: they move to its ends.
MESHLOOM_INLINE bool presolver::separate(std::int32_t e) {
  const std::int32_t left = edge(e).left, right = edge(e).right;
  const edge_view price = seen_from(net_, left, edge(e));
  const auto first =
      static_cast<std::size_t>(std::find(at(left).alive.begin(), at(left).alive.end(), 1) - at(left).alive.begin());
  std::size_t cheapest = 0;
  std::int64_t least = never;
  for_alive(right, [&](std::size_t j) {
    if (price(first, j) < least) least = price(first, j), cheapest = j;
  });
  const auto above = [&](std::size_t j) { return price(first, j) - least; };
  const bool sums =
      least < never && all_alive(left, [&](std::size_t i) {
        return all_alive(right, [&](std::size_t j) {
          return price(i, j) < never && price(first, j) < never && price(i, j) == price(i, cheapest) + above(j);
        });
      });
  if (!sums) return false;
  for_alive(left, [&](std::size_t i) { variable(left).cost[i] += price(i, cheapest); });
  for_alive(right, [&](std::size_t j) { variable(right).cost[j] += above(j); });
  remove_edge(e);
  return true;
}

/// An edge that leaves each option one partner, a different one for each, makes its two ends one variable.
MESHLOOM_INLINE bool presolver::match(std::int32_t e) {
  const std::int32_t left = edge(e).left, right = edge(e).right;
  if (at(left).count != at(right).count) return false;
  const edge_view price = seen_from(net_, left, edge(e));
  std::vector<std::int32_t> partner(at(left).alive.size(), -1);
  std::vector<std::uint8_t> taken(at(right).alive.size());
  const bool matched = all_alive(left, [&](std::size_t i) {
    return all_alive(right, [&](std::size_t j) {
      if (price(i, j) >= never) return true;
      const bool first = partner[i] < 0 && !taken[j];
      partner[i] = static_cast<std::int32_t>(j);
      taken[j] = 1;
      return first;
    });
  });
  if (!matched || !all_alive(left, [&](std::size_t i) { return partner[i] >= 0; })) return false;
  contract(e, partner);
  return true;
}

MESHLOOM_INLINE void presolver::contract(std::int32_t e, const std::vector<std::int32_t>& partner) {
  const std::int32_t kept = edge(e).left, gone = edge(e).right;
  const edge_view price = seen_from(net_, kept, edge(e));
  for_alive(kept, [&](std::size_t i) {
    variable(kept).cost[i] += price(i, index(partner[i])) + variable(gone).cost[index(partner[i])];
  });
  remove_edge(e);
  move_parts(gone, kept, partner);
  while (!at(gone).edges.empty()) {
    const std::int32_t old = at(gone).edges.back(), other = edge(old).other(gone);
    const std::size_t columns = net_.options(other);
    const edge_view old_price = seen_from(net_, gone, edge(old));
    std::vector<std::int64_t> cost(partner.size() * columns, never);
    for_alive(kept, [&](std::size_t i) {
      for (std::size_t j = 0; j < columns; ++j) cost[i * columns + j] = old_price(index(partner[i]), j);
    });
    remove_edge(old);
    add_edge(kept, other, std::move(cost));
  }
  at(gone).gone = true;
  removals_.push_back({gone, partner, {}, {{kept, {}}}});
  touch(kept);
}

MESHLOOM_INLINE void presolver::move_parts(std::int32_t from, std::int32_t to,
                                           const std::vector<std::int32_t>& partner) {
  auto& parts = variable(to).parts;
  for (const network::part& each : variable(from).parts) {
    const auto same = [&](const network::part& other) { return other.first == each.first && other.end == each.end; };
    auto here = std::find_if(parts.begin(), parts.end(), same);
    if (here == parts.end()) {
      parts.push_back({each.first, each.end, std::vector<std::int64_t>(partner.size())});
      here = parts.end() - 1;
    }
    for_alive(to, [&](std::size_t i) { here->size[i] += each.size[index(partner[i])]; });
  }
  variable(from).parts.clear();
}

MESHLOOM_INLINE void presolver::dominate(std::int32_t v) {
  std::vector<surrounding> around;
  for (const std::int32_t e : at(v).edges) {
    surrounding next{edge(e).other(v), seen_from(net_, v, edge(e)), std::vector<std::size_t>(at(v).alive.size())};
    for_alive(v, [&](std::size_t k) {
      std::int64_t least = never;
      for_alive(next.variable, [&](std::size_t j) {
        if (next.price(k, j) < least) least = next.price(k, j), next.favourite[k] = j;
      });
    });
    around.push_back(std::move(next));
  }
  for_alive(v, [&](std::size_t worse) {
    bool beaten = false;
    for_alive(v, [&](std::size_t better) { beaten = beaten || (better != worse && beats(v, around, better, worse)); });
    if (beaten) kill(v, worse);
  });
}

/// Whether one option is never larger and, whatever the neighbours take, never dearer than another.
MESHLOOM_INLINE bool presolver::beats(std::int32_t v, const std::vector<surrounding>& around, std::size_t better,
                                      std::size_t worse) {
  for (const network::part& each : variable(v).parts) {
    if (each.size[better] > each.size[worse]) return false;
  }
  const std::int64_t ahead = variable(v).cost[better] - variable(v).cost[worse];
  std::int64_t margin = ahead;
  for (const surrounding& each : around) {  // most pairs fail here: where the worse one is at its best
    const std::size_t j = each.favourite[worse];
    if (each.price(worse, j) >= never) return true;
    if (each.price(better, j) >= never) return false;
    margin += each.price(better, j) - each.price(worse, j);
  }
  if (margin > 0) return false;
  margin = ahead;
  for (const surrounding& each : around) {
    std::int64_t most = -never;
    const bool allowed = all_alive(each.variable, [&](std::size_t j) {
      if (each.price(worse, j) >= never) return true;
      most = std::max(most, each.price(better, j) - each.price(worse, j));
      return each.price(better, j) < never;
    });
    if (!allowed) return false;
    margin += most;
  }
  return margin <= 0;
}

/// Takes out a variable without size that has at most two neighbours: they pay for its best option.
MESHLOOM_INLINE void presolver::eliminate(std::int32_t v) {
  const auto edges = at(v).edges;
  removal how{v, {}, variable(v).cost, {}};
  std::size_t entries = 1;
  for (std::size_t k = 0; k < how.cost.size(); ++k) {
    if (!at(v).alive[k]) how.cost[k] = never;
  }
  for (const std::int32_t e : edges) {
    const edge_view price = seen_from(net_, v, edge(e));
    removal::table next{edge(e).other(v), {}};
    for (std::size_t k = 0; k < how.cost.size(); ++k) {
      for (std::size_t j = 0; j < net_.options(next.neighbour); ++j) next.cost.push_back(price(k, j));
    }
    entries *= net_.options(next.neighbour);
    how.tables.push_back(std::move(next));
  }
  if (edges.size() == 2 && static_cast<std::int64_t>(entries) > most_entries_) return;
  for (const std::int32_t e : edges) remove_edge(e);
  at(v).gone = true;
  changed_ = true;
  if (edges.empty()) net_.constant += least_with(v, how, 0, 0);
  if (edges.size() == 1) {
    const std::int32_t neighbour = how.tables[0].neighbour;
    auto& cost = variable(neighbour).cost;
    for_alive(neighbour, [&](std::size_t j) {
      cost[j] = plus(cost[j], least_with(v, how, j, 0));
      if (cost[j] >= never) kill(neighbour, j);
    });
  }
  if (edges.size() == 2) {
    const std::int32_t rows = how.tables[0].neighbour, columns = how.tables[1].neighbour;
    std::vector<std::int64_t> cost(entries, never);
    for_alive(rows, [&](std::size_t i) {
      for_alive(columns, [&](std::size_t j) { cost[i * net_.options(columns) + j] = least_with(v, how, i, j); });
    });
    add_edge(rows, columns, std::move(cost));
  }
  removals_.push_back(std::move(how));
}

MESHLOOM_INLINE std::int64_t presolver::least_with(std::int32_t v, const removal& how, std::size_t first,
                                                   std::size_t second) const {
  const std::size_t theirs[]{first, second};
  std::int64_t least = never;
  for (std::size_t k = 0; k < net_.options(v); ++k) {
    std::int64_t sum = how.cost[k];
    for (std::size_t t = 0; t < how.tables.size(); ++t) {
      sum = plus(sum, how.tables[t].cost[k * net_.options(how.tables[t].neighbour) + theirs[t]]);
    }
    least = std::min(least, sum);
  }
  return least;
}

MESHLOOM_INLINE void presolver::remove_edge(std::int32_t e) {
  for (const std::int32_t end : {edge(e).left, edge(e).right}) {
    std::erase(at(end).edges, e);
    touch(end);
  }
  edge(e).cost.clear();
}

/// Adds to the edge between two variables, or makes one.
MESHLOOM_INLINE void presolver::add_edge(std::int32_t left, std::int32_t right, std::vector<std::int64_t> cost) {
  touch(left);
  touch(right);
  lost_.push_back(left);  // the sum may forbid more than its parts
  lost_.push_back(right);
  for (const std::int32_t e : at(left).edges) {
    network::edge& known = edge(e);
    if (known.other(left) != right) continue;
    const std::size_t rows = net_.options(left), columns = net_.options(right);
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        std::int64_t& sum = known.cost[known.left == left ? i * columns + j : j * rows + i];
        sum = plus(sum, cost[i * columns + j]);
      }
    }
    return;
  }
  const auto number = static_cast<std::int32_t>(net_.edges.size());
  net_.edges.push_back({left, right, std::move(cost)});
  at(left).edges.push_back(number);
  at(right).edges.push_back(number);
}

/// What is left, numbered anew.
MESHLOOM_INLINE reduction presolver::compact() {
  reduction made;
  made.possible = possible_;
  if (!possible_) return made;
  made.variables = states_.size();
  made.removals = std::move(removals_);
  made.net.room = net_.room;
  made.net.times = net_.times;
  made.net.constant = net_.constant;
  made.net.shift = net_.shift;
  made.net.grain = net_.grain;
  std::vector<std::int32_t> number(states_.size(), -1);
  for (std::int32_t v = 0; index(v) < states_.size(); ++v) {
    if (at(v).gone) continue;
    number[index(v)] = static_cast<std::int32_t>(made.variable_of.size());
    made.variable_of.push_back(v);
    network::variable next;
    for (const network::part& each : variable(v).parts) next.parts.push_back({each.first, each.end, {}});
    made.option_of.emplace_back();
    for_alive(v, [&](std::size_t k) {
      made.option_of.back().push_back(static_cast<std::int32_t>(k));
      next.cost.push_back(variable(v).cost[k]);
      for (std::size_t p = 0; p < next.parts.size(); ++p) next.parts[p].size.push_back(variable(v).parts[p].size[k]);
    });
    made.net.variables.push_back(std::move(next));
  }
  for (const network::edge& each : net_.edges) {
    if (each.cost.empty()) continue;
    network::edge next{number[index(each.left)], number[index(each.right)], {}};
    const edge_view price = seen_from(net_, each.left, each);
    for_alive(each.left,
              [&](std::size_t i) { for_alive(each.right, [&](std::size_t j) { next.cost.push_back(price(i, j)); }); });
    made.net.edges.push_back(std::move(next));
  }
  return made;
}

MESHLOOM_INLINE reduction presolve(const network& given, const std::vector<std::uint8_t>& keep,
                                   std::int64_t most_entries) {
  return presolver(given, keep, most_entries).run();
}

}  // namespace meshloom::intra
