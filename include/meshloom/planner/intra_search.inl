// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_search.hpp.
#pragma once

#include <meshloom/planner/intra_search.hpp>

namespace meshloom::intra {

MESHLOOM_INLINE local_search::local_search(const network& net, std::uint64_t seed, std::int64_t most_work)
    : net_(net), edges_at_(edges_at(net)), number_(numbering(net)), most_work_(most_work), random_(seed) {}

MESHLOOM_INLINE void local_search::start(assignment options) {
  options_ = std::move(options);
  held_ = held(net_, options_);
  excess_ = intra::excess(net_, held_);
  price_ = net_.constant;
  for (std::size_t v = 0; v < options_.size(); ++v) {
    price_ += net_.variables[v].cost[static_cast<std::size_t>(options_[v])];
  }
  for (const network::edge& each : net_.edges) {
    const auto row = static_cast<std::size_t>(options_[static_cast<std::size_t>(each.left)]);
    const auto column = static_cast<std::size_t>(options_[static_cast<std::size_t>(each.right)]);
    price_ += each.cost[row * net_.options(each.right) + column];
  }
}

MESHLOOM_INLINE void local_search::descend() {
  const auto count = static_cast<std::int32_t>(net_.variables.size());
  for (bool better = true; better;) {
    better = false;
    for (std::int32_t v = 0; v < count && work_ < most_work_; ++v) better = improve_one(v) || better;
    for (std::size_t e = 0; !better && e < net_.edges.size() && work_ < most_work_; ++e) {
      better = improve_pair(net_.edges[e]);
    }
  }
}

/// What each option of a variable costs beside its neighbours, one edge left out.
MESHLOOM_INLINE std::vector<wide> local_search::prices_at(std::int32_t v, const network::edge* without) {
  const auto& cost = net_.variables[static_cast<std::size_t>(v)].cost;
  std::vector<wide> prices(cost.begin(), cost.end());
  work_ += static_cast<std::int64_t>(prices.size());
  for (const std::int32_t e : edges_at_[static_cast<std::size_t>(v)]) {
    const network::edge& each = net_.edges[static_cast<std::size_t>(e)];
    if (&each == without) continue;
    const edge_view price = seen_from(net_, v, each);
    const auto other = static_cast<std::size_t>(options_[static_cast<std::size_t>(each.other(v))]);
    for (std::size_t k = 0; k < prices.size(); ++k) prices[k] += price(k, other);
    work_ += static_cast<std::int64_t>(prices.size());
  }
  return prices;
}

MESHLOOM_INLINE bool local_search::improve_one(std::int32_t v) {
  const std::int32_t before = options_[static_cast<std::size_t>(v)];
  const std::vector<wide> prices = prices_at(v);
  const wide rest = price_ - prices[static_cast<std::size_t>(before)];
  rank best = rank_of(price_, excess_);
  std::int32_t found = before;
  for (std::int32_t k = 0; static_cast<std::size_t>(k) < prices.size(); ++k) {
    const wide price = rest + prices[static_cast<std::size_t>(k)];
    if (excess_ == 0 && price >= best.price) continue;
    const rank here = rank_of(price, excess_with(v, k));
    if (here < best) best = here, found = k;
  }
  if (found == before) return false;
  move(v, found);
  price_ = best.price;
  return true;
}

MESHLOOM_INLINE bool local_search::improve_pair(const network::edge& each) {
  const std::vector<wide> left = prices_at(each.left, &each), right = prices_at(each.right, &each);
  const std::int32_t row = options_[static_cast<std::size_t>(each.left)];
  const std::int32_t column = options_[static_cast<std::size_t>(each.right)];
  const auto with = [&](std::int32_t i, std::int32_t j) {
    const auto k = static_cast<std::size_t>(i), l = static_cast<std::size_t>(j);
    return left[k] + right[l] + each.cost[k * right.size() + l];
  };
  const wide rest = price_ - with(row, column);
  rank best = rank_of(price_, excess_);
  std::pair found{row, column};
  const wide least = rest + *std::min_element(right.begin(), right.end());
  for (std::int32_t i = 0; static_cast<std::size_t>(i) < left.size(); ++i) {
    if (best.excess == 0 && least + left[static_cast<std::size_t>(i)] >= best.price) continue;
    move(each.left, i);
    for (std::int32_t j = 0; static_cast<std::size_t>(j) < right.size(); ++j) {
      const wide price = rest + with(i, j);
      if (best.excess == 0 && price >= best.price) continue;
      const rank here = rank_of(price, excess_with(each.right, j));
      if (here < best) best = here, found = {i, j};
    }
  }
  work_ += static_cast<std::int64_t>(each.cost.size());
  move(each.left, found.first);
  move(each.right, found.second);
  price_ = best.price;
  return found != std::pair(row, column);
}

MESHLOOM_INLINE void local_search::move(std::int32_t v, std::int32_t option) {
  std::int32_t& mine = options_[static_cast<std::size_t>(v)];
  for (const network::part& each : net_.variables[static_cast<std::size_t>(v)].parts) {
    const std::int64_t change = each.size[static_cast<std::size_t>(option)] - each.size[static_cast<std::size_t>(mine)];
    if (change == 0) continue;
    for (auto m = static_cast<std::size_t>(each.first); m < static_cast<std::size_t>(each.end); ++m) {
      excess_ -= std::max<std::int64_t>(held_[m] - net_.room[m], 0);
      held_[m] += change;
      excess_ += std::max<std::int64_t>(held_[m] - net_.room[m], 0);
    }
    work_ += each.end - each.first;
  }
  mine = option;
}

MESHLOOM_INLINE wide local_search::excess_with(std::int32_t v, std::int32_t option) {
  const std::int32_t before = options_[static_cast<std::size_t>(v)];
  move(v, option);
  const wide found = excess_;
  move(v, before);
  return found;
}

MESHLOOM_INLINE void local_search::widen(std::size_t most, std::int32_t tries, const multipliers& at) {
  if (net_.variables.empty()) return;
  const std::vector<std::int64_t> own = own_prices(net_), priced = prices_with(net_, at);
  for (std::int32_t t = 0; t < tries && work_ < most_work_; ++t) {
    const std::vector<std::int32_t> members = neighbourhood(most);
    solve_around(members, own);
    if (priced != own) solve_around(members, priced);
  }
}

/// The variables nearest to a random one.
MESHLOOM_INLINE std::vector<std::int32_t> local_search::neighbourhood(std::size_t most) {
  std::vector<std::int32_t> members{static_cast<std::int32_t>(random() % net_.variables.size())};
  std::vector<std::uint8_t> inside(net_.variables.size());
  inside[static_cast<std::size_t>(members[0])] = 1;
  for (std::size_t k = 0; k < members.size(); ++k) {
    for (const std::int32_t e : edges_at_[static_cast<std::size_t>(members[k])]) {
      const std::int32_t other = net_.edges[static_cast<std::size_t>(e)].other(members[k]);
      if (members.size() >= most) return members;
      if (inside[static_cast<std::size_t>(other)]) continue;
      inside[static_cast<std::size_t>(other)] = 1;
      members.push_back(other);
    }
  }
  return members;
}

/// The members alone, beside neighbours that stay as they are.
MESHLOOM_INLINE network local_search::around(const std::vector<std::int32_t>& members,
                                             const std::vector<std::int64_t>& prices) const {
  std::vector<std::int32_t> place(net_.variables.size(), -1);
  network made;
  for (const std::int32_t v : members) {
    place[static_cast<std::size_t>(v)] = static_cast<std::int32_t>(made.variables.size());
    const auto first = prices.begin() + static_cast<std::ptrdiff_t>(number_[static_cast<std::size_t>(v)]);
    made.variables.push_back({{first, first + static_cast<std::ptrdiff_t>(net_.options(v))}, {}});
  }
  for (const std::int32_t v : members) {
    auto& cost = made.variables[static_cast<std::size_t>(place[static_cast<std::size_t>(v)])].cost;
    for (const std::int32_t e : edges_at_[static_cast<std::size_t>(v)]) {
      const network::edge& each = net_.edges[static_cast<std::size_t>(e)];
      const std::int32_t other = each.other(v), there = place[static_cast<std::size_t>(other)];
      if (there >= 0 && v == each.left) {
        made.edges.push_back({place[static_cast<std::size_t>(v)], there, each.cost});
      } else if (there < 0) {
        const edge_view price = seen_from(net_, v, each);
        const auto option = static_cast<std::size_t>(options_[static_cast<std::size_t>(other)]);
        for (std::size_t k = 0; k < cost.size(); ++k) cost[k] = plus(cost[k], price(k, option));
      }
    }
  }
  return made;
}

MESHLOOM_INLINE void local_search::solve_around(std::vector<std::int32_t> members,
                                                const std::vector<std::int64_t>& prices) {
  constexpr std::int64_t most_entries = 1 << 14;
  for (; members.size() > 1; members.resize(members.size() / 2)) {
    const network inside = around(members, prices);
    auto eliminate = elimination::plan(inside, most_entries);
    if (!eliminate) continue;
    work_ += eliminate->work();
    const optimum found = eliminate->run(own_prices(inside));
    if (found.price < never) take(members, found.options);
    return;
  }
}

/// Moves the members, and back again if that is not better.
MESHLOOM_INLINE void local_search::take(const std::vector<std::int32_t>& members, const assignment& options) {
  const rank before = rank_of(price_, excess_);
  assignment old;
  for (std::size_t k = 0; k < members.size(); ++k) {
    old.push_back(options_[static_cast<std::size_t>(members[k])]);
    if (old[k] == options[k]) continue;
    const std::vector<wide> prices = prices_at(members[k]);
    price_ += prices[static_cast<std::size_t>(options[k])] - prices[static_cast<std::size_t>(old[k])];
    move(members[k], options[k]);
  }
  if (rank_of(price_, excess_) < before) return;
  for (std::size_t k = 0; k < members.size(); ++k) move(members[k], old[k]);
  price_ = before.price;
}

/// splitmix64 (Steele et al. 2014).
MESHLOOM_INLINE std::uint64_t local_search::random() {
  std::uint64_t mixed = random_ += 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 31);
}

}  // namespace meshloom::intra
