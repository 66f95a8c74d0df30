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
    for (std::size_t k = 0; k < net_.variables[v].options(); ++k, ++number) {
      if (net_.variables[v].cost[k] < never && (keep.empty() || keep[number])) here.left.push_back(k);
    }
    possible_ = possible_ && !here.left.empty();
    lose(static_cast<std::int32_t>(v));
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

MESHLOOM_INLINE void presolver::lose(std::int32_t v) {
  if (!at(v).lost) lost_.push_back(v);
  at(v).lost = true;
}

template <class Doomed>
void presolver::kill_if(std::int32_t v, const Doomed& doomed) {
  auto& left = at(v).left;
  const std::size_t before = left.size();
  for (std::size_t n = 0; n < left.size();) {
    if (doomed(left[n]))
      left.erase(left.begin() + static_cast<std::ptrdiff_t>(n));
    else
      ++n;
  }
  if (left.size() == before) return;
  if (left.empty()) possible_ = false;
  lose(v);
  touch(v);
  for (const std::int32_t e : at(v).edges) touch(edge(e).other(v));
}

/// The least and the most that the options left need of a part.
MESHLOOM_INLINE std::pair<std::int64_t, std::int64_t> presolver::range(std::int32_t v, const network::part& each) {
  std::int64_t least = std::numeric_limits<std::int64_t>::max(), most = 0;
  for (const std::size_t k : at(v).left) {
    least = std::min(least, each.size[k]);
    most = std::max(most, each.size[k]);
  }
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
    const bool binds = net_.paid || high > net_.room[m];
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
      kill_if(v, [&](std::size_t k) { return each.size[k] - smallest > spare; });
    }
  }
}

/// Arc consistency: an option needs, at each edge, a partner that it may meet.
MESHLOOM_INLINE void presolver::prune_partners() {
  while (possible_ && !lost_.empty()) {
    const std::int32_t v = lost_.back();
    lost_.pop_back();
    at(v).lost = false;
    if (at(v).gone) continue;
    for (const std::int32_t e : at(v).edges) {
      const std::int32_t other = edge(e).other(v);
      const edge_view price = seen_from(net_, other, edge(e));
      kill_if(other,
              [&](std::size_t k) { return all_left(v, [&](std::size_t mine) { return price(k, mine) >= never; }); });
      if (!possible_) return;
    }
  }
}

/// An edge whose prices are a sum of one per row and one per column says nothing about pairs: they move to its ends.
MESHLOOM_INLINE bool presolver::separate(std::int32_t e) {
  const std::int32_t left = edge(e).left, right = edge(e).right;
  const edge_view price = seen_from(net_, left, edge(e));
  const std::size_t first = at(left).left.front();
  const auto less = [&](std::size_t a, std::size_t b) { return price(first, a) < price(first, b); };
  const std::size_t cheapest = *std::min_element(at(right).left.begin(), at(right).left.end(), less);
  const auto above = [&](std::size_t j) { return price(first, j) - price(first, cheapest); };
  const bool sums = all_left(left, [&](std::size_t i) {
    return all_left(right, [&](std::size_t j) {
      return price(i, j) < never && price(first, j) < never && price(i, j) == price(i, cheapest) + above(j);
    });
  });
  if (!sums) return false;
  for (const std::size_t i : at(left).left) variable(left).cost[i] += price(i, cheapest);
  for (const std::size_t j : at(right).left) variable(right).cost[j] += above(j);
  remove_edge(e);
  return true;
}

/// An edge that leaves each option one partner, a different one for each, makes its two ends one variable.
MESHLOOM_INLINE bool presolver::match(std::int32_t e) {
  const std::int32_t left = edge(e).left, right = edge(e).right;
  if (at(left).left.size() != at(right).left.size()) return false;
  const edge_view price = seen_from(net_, left, edge(e));
  const auto met = [&](std::size_t j) { return price(at(left).left.front(), j) < never; };
  if (std::count_if(at(right).left.begin(), at(right).left.end(), met) != 1) return false;
  std::vector<std::int32_t> partner(net_.options(left), -1);
  std::vector<std::uint8_t> taken(net_.options(right));
  const bool matched = all_left(left, [&](std::size_t i) {
    return all_left(right, [&](std::size_t j) {
      if (price(i, j) >= never) return true;
      const bool first = partner[i] < 0 && !taken[j];
      partner[i] = static_cast<std::int32_t>(j);
      taken[j] = 1;
      return first;
    });
  });
  if (!matched || !all_left(left, [&](std::size_t i) { return partner[i] >= 0; })) return false;
  contract(e, partner);
  return true;
}

MESHLOOM_INLINE void presolver::contract(std::int32_t e, const std::vector<std::int32_t>& partner) {
  const std::int32_t kept = edge(e).left, gone = edge(e).right;
  const edge_view price = seen_from(net_, kept, edge(e));
  for (const std::size_t i : at(kept).left) {
    variable(kept).cost[i] += price(i, index(partner[i])) + variable(gone).cost[index(partner[i])];
  }
  remove_edge(e);
  move_parts(gone, kept, partner);
  while (!at(gone).edges.empty()) {
    const std::int32_t old = at(gone).edges.back(), other = edge(old).other(gone);
    const std::size_t columns = net_.options(other);
    const edge_view old_price = seen_from(net_, gone, edge(old));
    std::vector<std::int64_t> cost(partner.size() * columns, never);
    for (const std::size_t i : at(kept).left) {
      for (std::size_t j = 0; j < columns; ++j) cost[i * columns + j] = old_price(index(partner[i]), j);
    }
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
    for (const std::size_t i : at(to).left) here->size[i] += each.size[index(partner[i])];
  }
  variable(from).parts.clear();
}

MESHLOOM_INLINE void presolver::look_around(std::int32_t v, const network::edge& each, surrounding& made) {
  const auto& left = at(v).left;
  made.price = seen_from(net_, v, each);
  made.partners = &at(each.other(v)).left;
  made.least.assign(left.size(), std::numeric_limits<std::int64_t>::max());
  made.favourite.assign(left.size(), 0);
  if (v != each.left) {  // prices in the order in which they lie
    for (const std::size_t j : *made.partners) {
      for (std::size_t n = 0; n < left.size(); ++n) {
        const std::int64_t price = made.price(left[n], j);
        const bool less = price < made.least[n];
        made.least[n] = less ? price : made.least[n];
        made.favourite[n] = less ? j : made.favourite[n];
      }
    }
    return;
  }
  for (std::size_t n = 0; n < left.size(); ++n) {
    std::int64_t least = made.least[n];
    std::size_t favourite = 0;
    for (const std::size_t j : *made.partners) {
      const std::int64_t price = made.price(left[n], j);
      const bool less = price < least;
      least = less ? price : least;
      favourite = less ? j : favourite;
    }
    made.least[n] = least;
    made.favourite[n] = favourite;
  }
}

/// Takes out options that another one beats, or that have no partner. Where the worse one is at its best, beside its
/// cheapest partners, most of the others fail.
MESHLOOM_INLINE void presolver::dominate(std::int32_t v) {
  const auto& left = at(v).left;
  if (left.size() < 2) return;
  around_.resize(std::max(around_.size(), at(v).edges.size()));
  best_.clear();
  for (const std::size_t k : left) best_.push_back(variable(v).cost[k]);
  for (std::size_t e = 0; e < at(v).edges.size(); ++e) {
    look_around(v, edge(at(v).edges[e]), around_[e]);
    for (std::size_t n = 0; n < best_.size(); ++n) best_[n] = plus(best_[n], around_[e].least[n]);
  }
  std::vector<std::uint8_t> beaten(net_.options(v));
  for (std::size_t worse = 0; worse < left.size(); ++worse) {
    bool found = best_[worse] >= never;
    for (std::size_t better = 0; !found && better < left.size(); ++better) {
      if (better == worse || best_[better] > best_[worse] || beaten[left[better]]) continue;
      found = beats(v, better, worse);
    }
    beaten[left[worse]] = found;
  }
  kill_if(v, [&](std::size_t k) { return beaten[k] != 0; });
}

/// Whether one option is never larger and, whatever the neighbours take, never dearer than another. The margin is at
/// first the difference where the worse one is at its best, and grows from edge to edge.
MESHLOOM_INLINE bool presolver::beats(std::int32_t v, std::size_t better, std::size_t worse) const {
  const state& here = states_[index(v)];
  const std::size_t good = here.left[better], bad = here.left[worse];
  std::int64_t margin = best_[better] - best_[worse];
  for (std::size_t e = 0; e < here.edges.size(); ++e) {
    margin += around_[e].price(good, around_[e].favourite[worse]) - around_[e].least[better];
    if (margin > 0) return false;
  }
  for (const network::part& each : net_.variables[index(v)].parts) {
    if (each.size[good] > each.size[bad]) return false;
  }
  for (std::size_t e = 0; e < here.edges.size(); ++e) {
    const surrounding& each = around_[e];
    const std::int64_t known = each.price(good, each.favourite[worse]) - each.least[worse];
    // At most as much more as the margin; and it has to meet all that the worse one may: other prices stay below that.
    const std::int64_t limit = std::min(known - margin, never / 2 - 1);
    std::int64_t most = known;
    for (const std::size_t j : *each.partners) {
      const std::int64_t with = each.price(bad, j);
      if (with >= never) continue;
      most = std::max(most, each.price(good, j) - with);
      if (most > limit) return false;
    }
    margin += most - known;
  }
  return true;
}

/// A variable with its prices and those of its edges; what is gone costs `never`.
MESHLOOM_INLINE removal presolver::how_to_remove(std::int32_t v) {
  removal how{v, {}, std::vector<std::int64_t>(net_.options(v), never), {}};
  for (const std::size_t k : at(v).left) how.cost[k] = variable(v).cost[k];
  for (const std::int32_t e : at(v).edges) {
    const std::int32_t neighbour = edge(e).other(v);
    const edge_view price = seen_from(net_, v, edge(e));
    const std::size_t columns = net_.options(neighbour);
    removal::table next{neighbour, std::vector<std::int64_t>(how.cost.size() * columns)};
    for (const std::size_t k : at(v).left) {
      for (std::size_t j = 0; j < columns; ++j) next.cost[k * columns + j] = price(k, j);
    }
    how.tables.push_back(std::move(next));
  }
  return how;
}

/// Takes out a variable without size that has at most two neighbours: they pay for its best option.
MESHLOOM_INLINE void presolver::eliminate(std::int32_t v) {
  const auto edges = at(v).edges;
  std::size_t entries = 1;
  for (const std::int32_t e : edges) entries *= net_.options(edge(e).other(v));
  if (edges.size() == 2 && static_cast<std::int64_t>(entries) > most_entries_) return;
  removal how = how_to_remove(v);
  std::vector<std::int64_t> least = least_with(v, how);
  for (const std::int32_t e : edges) remove_edge(e);
  at(v).gone = true;
  changed_ = true;
  if (edges.empty()) net_.constant += least[0];
  if (edges.size() == 1) {
    auto& cost = variable(how.tables[0].neighbour).cost;
    kill_if(how.tables[0].neighbour, [&](std::size_t j) { return (cost[j] = plus(cost[j], least[j])) >= never; });
  }
  if (edges.size() == 2) add_edge(how.tables[0].neighbour, how.tables[1].neighbour, std::move(least));
  removals_.push_back(std::move(how));
}

/// The least price of a variable for each option of its neighbours, those of the first by those of the second.
MESHLOOM_INLINE std::vector<std::int64_t> presolver::least_with(std::int32_t v, const removal& how) {
  const auto columns_of = [&](std::size_t t) {
    return t < how.tables.size() ? how.tables[t].cost.size() / how.cost.size() : 1;
  };
  const std::size_t rows = columns_of(0), columns = columns_of(1);
  const std::vector<std::int64_t> nothing(how.cost.size());
  const std::int64_t* first = how.tables.empty() ? nothing.data() : how.tables[0].cost.data();
  const std::int64_t* second = how.tables.size() < 2 ? nothing.data() : how.tables[1].cost.data();
  std::vector<std::int64_t> least(rows * columns, never);
  for (const std::size_t k : at(v).left) {
    for (std::size_t i = 0; i < rows; ++i) {
      const std::int64_t own = how.cost[k] + first[k * rows + i];
      if (own >= never) continue;
      std::int64_t* row = least.data() + i * columns;
      for (std::size_t j = 0; j < columns; ++j) row[j] = std::min(row[j], own + second[k * columns + j]);
    }
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
  lose(left);  // the sum may forbid more than its parts
  lose(right);
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
  made.net.paid = net_.paid;
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
    for (const std::size_t k : at(v).left) {
      made.option_of.back().push_back(static_cast<std::int32_t>(k));
      next.cost.push_back(variable(v).cost[k]);
      for (std::size_t p = 0; p < next.parts.size(); ++p) next.parts[p].size.push_back(variable(v).parts[p].size[k]);
    }
    made.net.variables.push_back(std::move(next));
  }
  for (const network::edge& each : net_.edges) {
    if (each.cost.empty()) continue;
    network::edge next{number[index(each.left)], number[index(each.right)], {}};
    const auto &rows = at(each.left).left, &columns = at(each.right).left;
    const edge_view price = seen_from(net_, each.left, each);
    next.cost.reserve(rows.size() * columns.size());
    for (const std::size_t i : rows) {
      for (const std::size_t j : columns) next.cost.push_back(price(i, j));
    }
    made.net.edges.push_back(std::move(next));
  }
  return made;
}

MESHLOOM_INLINE reduction presolve(const network& given, const std::vector<std::uint8_t>& keep,
                                   std::int64_t most_entries) {
  return presolver(given, keep, most_entries).run();
}

}  // namespace meshloom::intra
