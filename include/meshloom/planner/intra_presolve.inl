// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_presolve.hpp.
#pragma once

#include <meshloom/planner/intra_presolve.hpp>

#include <algorithm>
#include <limits>
#include <numeric>

namespace meshloom::intra {

MESHLOOM_INLINE presolver::presolver(network given, const vector<std::uint8_t>& keep, std::int64_t most_entries)
    : net_(std::move(given)), most_entries_(most_entries), states_(net_.variables.size()) {
  const incidence edges = edges_at(net_);
  for (std::int32_t v = 0; index(v) < states_.size(); ++v) {
    at(v).edges.assign(edges[index(v)].begin(), edges[index(v)].end());
    at(v).left.resize(options(v));
    std::iota(at(v).left.begin(), at(v).left.end(), 0);
    at(v).dirty = !net_.reduced;
    if (!net_.reduced) lose(v);
  }
  std::size_t number = 0;
  for (std::int32_t v = 0; index(v) < states_.size(); ++v) {
    const std::size_t first = std::exchange(number, number + options(v));
    kill_if(v, [&](std::size_t k) { return variable(v).cost[k] >= never || (!keep.empty() && !keep[first + k]); });
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
  const std::size_t count = options(v);
  std::size_t first = 0;
  while (first < count && !doomed(first)) ++first;
  if (first == count) return;
  kept_.resize(first);
  std::iota(kept_.begin(), kept_.end(), std::size_t{0});
  for (std::size_t k = first + 1; k < count; ++k) {
    if (!doomed(k)) kept_.push_back(k);
  }
  keep_only(v, kept_);
  if (kept_.empty()) possible_ = false;
  lose(v);
  touch(v);
  for (const std::int32_t e : at(v).edges) touch(edge(e).other(v));
}

MESHLOOM_INLINE void presolver::keep_only(std::int32_t v, const vector<std::size_t>& kept) {
  for (const std::int32_t e : at(v).edges) {
    network::edge& each = edge(e);
    const std::size_t columns = options(each.right);
    std::int64_t *const begin = each.cost.data(), *to = begin;
    if (v == each.left) {
      for (const std::size_t k : kept) to = std::copy_n(begin + k * columns, columns, to);
    } else {
      for (std::size_t i = 0; i < options(each.left); ++i) {
        for (const std::size_t k : kept) *to++ = begin[i * columns + k];
      }
    }
    each.cost.resize(static_cast<std::size_t>(to - begin));
  }
  const auto pick = [&](auto& numbers) {
    for (std::size_t n = 0; n < kept.size(); ++n) numbers[n] = numbers[kept[n]];
    numbers.resize(kept.size());
  };
  for (network::part& each : variable(v).parts) pick(each.size);
  pick(variable(v).cost);
  pick(at(v).left);
}

namespace detail {

/// The least and the most that options need of a part.
MESHLOOM_INLINE std::pair<std::int64_t, std::int64_t> range(const network::part& each) {
  const auto [least, most] = std::minmax_element(each.size.begin(), each.size.end());
  return {*least, *most};
}

}  // namespace detail

/// Sizes on which all options agree are taken from the room; moments that can no longer overflow go; so do options
/// that do not fit beside the smallest of all others.
MESHLOOM_INLINE void presolver::settle_memory() {
  if (net_.room.empty()) return;
  for (std::int32_t v = 0; index(v) < states_.size(); ++v) {
    erase_if(variable(v).parts, [&](const network::part& each) {
      const auto [least, most] = detail::range(each);
      if (least != most) return false;
      for (std::int32_t m = each.first; m < each.end; ++m) net_.room[index(m)] -= least;
      touch(v);
      return true;
    });
  }
  keep_binding_moments();
}

MESHLOOM_INLINE void presolver::keep_binding_moments() {
  vector<std::int64_t> least(net_.room.size() + 1), most(least.size());
  for (std::int32_t v = 0; index(v) < states_.size(); ++v) {
    for (const network::part& each : variable(v).parts) {
      const auto [low, high] = detail::range(each);
      least[index(each.first)] += low, least[index(each.end)] -= low;
      most[index(each.first)] += high, most[index(each.end)] -= high;
    }
  }
  vector<std::int32_t> moved{0};
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
    if (erase_if(parts, [](const network::part& each) { return each.first == each.end; }) > 0) touch(v);
  }
  if (possible_) prune_sizes(least);
}

MESHLOOM_INLINE void presolver::prune_sizes(const vector<std::int64_t>& least) {
  for (std::int32_t v = 0; possible_ && index(v) < states_.size(); ++v) {
    for (const network::part& each : variable(v).parts) {
      std::int64_t spare = std::numeric_limits<std::int64_t>::max();
      for (auto m = index(each.first); m < index(each.end); ++m) spare = std::min(spare, net_.room[m] - least[m]);
      const std::int64_t smallest = detail::range(each).first;
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
      const std::size_t partners = options(v);
      kill_if(other, [&](std::size_t k) {
        std::size_t met = 0;
        while (met < partners && price(k, met) >= never) ++met;
        return met == partners;
      });
      if (!possible_) return;
    }
  }
}

/// An edge whose prices are a sum of one per row and one per column says nothing about pairs: they move to its ends.
MESHLOOM_INLINE bool presolver::separate(std::int32_t e) {
  const std::int32_t left = edge(e).left, right = edge(e).right;
  const std::size_t rows = options(left), columns = options(right);
  const std::int64_t *first = edge(e).cost.data(), *row = first;
  const auto cheapest = static_cast<std::size_t>(std::min_element(first, first + columns) - first);
  for (std::size_t i = 0; i < rows; ++i, row += columns) {
    const std::int64_t above = row[cheapest] - first[cheapest];
    for (std::size_t j = 0; j < columns; ++j) {
      if (row[j] >= never || first[j] >= never || row[j] != first[j] + above) return false;
    }
  }
  for (std::size_t i = 0; i < rows; ++i) variable(left).cost[i] += first[i * columns + cheapest];
  for (std::size_t j = 0; j < columns; ++j) variable(right).cost[j] += first[j] - first[cheapest];
  remove_edge(e);
  return true;
}

/// An edge that leaves each option one partner, a different one for each, makes its two ends one variable.
MESHLOOM_INLINE bool presolver::match(std::int32_t e) {
  const std::size_t count = options(edge(e).left);
  if (count != options(edge(e).right)) return false;
  vector<std::size_t> partner;
  vector<std::uint8_t> taken;
  const auto met = [](std::int64_t price) { return price < never; };
  for (auto row = edge(e).cost.begin(); partner.size() < count; row += static_cast<std::ptrdiff_t>(count)) {
    const auto end = row + static_cast<std::ptrdiff_t>(count), found = std::find_if(row, end, met);
    if (found == end || std::find_if(found + 1, end, met) != end) return false;
    partner.push_back(static_cast<std::size_t>(found - row));
    taken.resize(count);
    if (std::exchange(taken[partner.back()], 1) != 0) return false;
  }
  contract(e, partner);
  return true;
}

MESHLOOM_INLINE void presolver::contract(std::int32_t e, const vector<std::size_t>& partner) {
  const std::int32_t kept = edge(e).left, gone = edge(e).right;
  const edge_view price = seen_from(net_, kept, edge(e));
  removal how{gone, {}, {}, {{kept, at(kept).left, {}}}};
  for (std::size_t i = 0; i < partner.size(); ++i) {
    variable(kept).cost[i] += price(i, partner[i]) + variable(gone).cost[partner[i]];
    how.options.push_back(at(gone).left[partner[i]]);
  }
  remove_edge(e);
  move_parts(gone, kept, partner);
  while (!at(gone).edges.empty()) {
    const std::int32_t old = at(gone).edges.back(), other = edge(old).other(gone);
    const std::size_t columns = options(other);
    const edge_view old_price = seen_from(net_, gone, edge(old));
    vector<std::int64_t> cost;
    cost.reserve(partner.size() * columns);
    for (const std::size_t mine : partner) {
      for (std::size_t j = 0; j < columns; ++j) cost.push_back(old_price(mine, j));
    }
    remove_edge(old);
    add_edge(kept, other, std::move(cost));
  }
  at(gone).gone = true;
  removals_.push_back(std::move(how));
  touch(kept);
}

MESHLOOM_INLINE void presolver::move_parts(std::int32_t from, std::int32_t to, const vector<std::size_t>& partner) {
  auto& parts = variable(to).parts;
  for (const network::part& each : variable(from).parts) {
    const auto same = [&](const network::part& other) { return other.first == each.first && other.end == each.end; };
    auto here = std::find_if(parts.begin(), parts.end(), same);
    if (here == parts.end()) {
      parts.push_back({each.first, each.end, vector<std::int64_t>(partner.size())});
      here = parts.end() - 1;
    }
    for (std::size_t i = 0; i < partner.size(); ++i) here->size[i] += each.size[partner[i]];
  }
  variable(from).parts.clear();
}

MESHLOOM_INLINE void presolver::look_around(std::int32_t v, const network::edge& each, surrounding& made) const {
  const std::size_t count = options(v);
  made.price = seen_from(net_, v, each);
  made.partners = options(each.other(v));
  made.favourite.assign(count, 0);
  const std::int64_t* prices = each.cost.data();
  if (v == each.left) {
    made.least.resize(count);
    for (std::size_t k = 0; k < count; ++k, prices += made.partners) {
      std::int64_t least = prices[0];
      std::size_t favourite = 0;
      for (std::size_t j = 1; j < made.partners; ++j) {
        const bool less = prices[j] < least;
        least = less ? prices[j] : least;
        favourite = less ? j : favourite;
      }
      made.least[k] = least;
      made.favourite[k] = favourite;
    }
    return;
  }
  made.least.assign(prices, prices + count);
  for (std::size_t j = 1; j < made.partners; ++j) {
    prices += count;
    for (std::size_t k = 0; k < count; ++k) {
      const bool less = prices[k] < made.least[k];
      made.least[k] = less ? prices[k] : made.least[k];
      made.favourite[k] = less ? j : made.favourite[k];
    }
  }
}

/// Takes out options that another one beats, or that have no partner. Where the worse one is at its best, beside its
/// cheapest partners, most of the others fail.
MESHLOOM_INLINE void presolver::dominate(std::int32_t v) {
  const std::size_t count = options(v);
  if (count < 2) return;
  around_.resize(std::max(around_.size(), at(v).edges.size()));
  best_ = variable(v).cost;
  for (std::size_t e = 0; e < at(v).edges.size(); ++e) {
    look_around(v, edge(at(v).edges[e]), around_[e]);
    for (std::size_t k = 0; k < count; ++k) best_[k] = plus(best_[k], around_[e].least[k]);
  }
  beaten_.assign(count, 0);
  for (std::size_t worse = 0; worse < count; ++worse) {
    bool found = best_[worse] >= never;
    if (!found) price_beside_partners_of(v, worse);
    const std::int64_t *const beside = beside_.data(), best = best_[worse];
    for (std::size_t better = 0; !found && better < count; ++better) {
      if (beside[better] <= best && better != worse && !beaten_[better]) found = beats(v, better, worse);
    }
    beaten_[worse] = found;
  }
  kill_if(v, [&](std::size_t k) { return beaten_[k] != 0; });
}

/// What every option costs beside the cheapest partners of one. Two neighbours at a time: fewer sums are kept between.
MESHLOOM_INLINE void presolver::price_beside_partners_of(std::int32_t v, std::size_t worse) {
  constexpr std::size_t few = 6;  // sums of so many prices, each at most `never`, stay in range
  constexpr std::int64_t nothing = 0;
  const auto prices_of = [&](std::size_t e) {
    const surrounding& each = around_[e];
    return std::pair(each.price.cost + each.favourite[worse] * each.price.other, each.price.own);
  };
  const std::size_t count = options(v), edges = at(v).edges.size();
  beside_.resize(count);
  std::int64_t* const sums = beside_.data();
  const std::int64_t* before = variable(v).cost.data();
  for (std::size_t e = 0; e < std::max<std::size_t>(edges, 1); e += 2, before = sums) {
    auto [first, stride] = e < edges ? prices_of(e) : std::pair(&nothing, std::size_t{0});
    auto [second, other_stride] = e + 1 < edges ? prices_of(e + 1) : std::pair(&nothing, std::size_t{0});
    for (std::size_t k = 0; k < count; ++k, first += stride, second += other_stride)
      sums[k] = before[k] + *first + *second;
    if (e % few != few - 2) continue;
    for (std::size_t k = 0; k < count; ++k) sums[k] = std::min(sums[k], never);
  }
}

/// Whether one option is never larger and, whatever the neighbours take, never dearer than another. The margin is at
/// first the difference where the worse one is at its best, and grows from edge to edge.
MESHLOOM_INLINE bool presolver::beats(std::int32_t v, std::size_t better, std::size_t worse) const {
  for (const network::part& each : net_.variables[index(v)].parts) {
    if (each.size[better] > each.size[worse]) return false;
  }
  std::int64_t margin = beside_[better] - best_[worse];
  for (std::size_t e = 0; e < states_[index(v)].edges.size(); ++e) {
    const surrounding& each = around_[e];
    const std::int64_t known = each.price(better, each.favourite[worse]) - each.least[worse];
    // At most as much more as the margin; and it has to meet all that the worse one may: other prices stay below that.
    const std::int64_t limit = std::min(known - margin, never / 2 - 1);
    std::int64_t most = known;
    for (std::size_t j = 0; j < each.partners; ++j) {
      const std::int64_t with = each.price(worse, j);
      if (with >= never) continue;
      most = std::max(most, each.price(better, j) - with);
      if (most > limit) return false;
    }
    margin += most - known;
  }
  return true;
}

/// A variable with its prices and those of its edges.
MESHLOOM_INLINE removal presolver::how_to_remove(std::int32_t v) {
  removal how{v, at(v).left, variable(v).cost, {}};
  for (const std::int32_t e : at(v).edges) {
    const std::int32_t neighbour = edge(e).other(v);
    removal::table next{neighbour, at(neighbour).left, {}};
    if (v == edge(e).left) {
      next.cost = std::move(edge(e).cost);
    } else {
      const edge_view price = seen_from(net_, v, edge(e));
      next.cost.reserve(edge(e).cost.size());
      for (std::size_t k = 0; k < options(v); ++k) {
        for (std::size_t j = 0; j < options(neighbour); ++j) next.cost.push_back(price(k, j));
      }
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
  vector<std::int64_t> least = least_with(how);
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
MESHLOOM_INLINE vector<std::int64_t> presolver::least_with(const removal& how) {
  const std::size_t count = how.cost.size();
  const auto columns_of = [&](std::size_t t) { return t < how.tables.size() ? how.tables[t].options.size() : 1; };
  const std::size_t rows = columns_of(0), columns = columns_of(1);
  const vector<std::int64_t> nothing(count);
  const std::int64_t* first = how.tables.empty() ? nothing.data() : how.tables[0].cost.data();
  const std::int64_t* second = how.tables.size() < 2 ? nothing.data() : how.tables[1].cost.data();
  vector<std::int64_t> least(rows * columns, never);
  for (std::size_t k = 0; k < count; ++k) {
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
    erase(at(end).edges, e);
    touch(end);
  }
  edge(e).cost.clear();
}

/// Adds to the edge between two variables, or makes one.
MESHLOOM_INLINE void presolver::add_edge(std::int32_t left, std::int32_t right, vector<std::int64_t> cost) {
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
  vector<network::variable> variables;
  vector<network::edge> edges;
  vector<std::int32_t> number(states_.size(), -1);
  for (std::int32_t v = 0; index(v) < states_.size(); ++v) {
    if (at(v).gone) continue;
    number[index(v)] = static_cast<std::int32_t>(variables.size());
    made.variable_of.push_back(v);
    made.option_of.push_back(std::move(at(v).left));
    variables.push_back(std::move(variable(v)));
  }
  for (network::edge& each : net_.edges) {
    if (!each.cost.empty())
      edges.push_back({number[index(each.left)], number[index(each.right)], std::move(each.cost)});
  }
  made.net = std::move(net_);
  made.net.reduced = true;
  made.net.variables = std::move(variables);
  made.net.edges = std::move(edges);
  return made;
}

MESHLOOM_INLINE reduction presolve(network given, const vector<std::uint8_t>& keep, std::int64_t most_entries) {
  return presolver(std::move(given), keep, most_entries).run();
}

}  // namespace meshloom::intra
