// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_search.hpp.
#pragma once

#include <meshloom/planner/intra_search.hpp>

namespace meshloom::intra {

MESHLOOM_INLINE local_search::local_search(const network& net, std::uint64_t seed, std::int64_t most_work)
    : net_(net), edges_at_(edges_at(net)), number_(numbering(net)), most_work_(most_work), random_(seed) {}

MESHLOOM_INLINE void local_search::start(assignment options) {
  options_ = std::move(options);
  beside_.clear();
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

/// What each option of a variable costs beside its neighbours.
MESHLOOM_INLINE const wide* local_search::prices_at(std::int32_t v) {
  if (beside_.empty()) price_all();
  const auto edges = static_cast<std::int64_t>(edges_at_[static_cast<std::size_t>(v)].size());
  work_ += static_cast<std::int64_t>(net_.options(v)) * (1 + edges);
  return beside_.data() + number_[static_cast<std::size_t>(v)];
}

MESHLOOM_INLINE void local_search::price_all() {
  for (const network::variable& each : net_.variables)
    beside_.insert(beside_.end(), each.cost.begin(), each.cost.end());
  for (const network::edge& each : net_.edges) {
    const auto left = static_cast<std::size_t>(each.left), right = static_cast<std::size_t>(each.right);
    const std::size_t rows = net_.options(each.left), columns = net_.options(each.right);
    const auto row = static_cast<std::size_t>(options_[left]), column = static_cast<std::size_t>(options_[right]);
    wide *const lefts = beside_.data() + number_[left], *const rights = beside_.data() + number_[right];
    for (std::size_t i = 0; i < rows; ++i) lefts[i] += each.cost[i * columns + column];
    for (std::size_t j = 0; j < columns; ++j) rights[j] += each.cost[row * columns + j];
  }
}

/// After a move: what the options of the neighbours cost has changed.
MESHLOOM_INLINE void local_search::tell_neighbours(std::int32_t v, std::int32_t before) {
  const auto from = static_cast<std::size_t>(before),
             to = static_cast<std::size_t>(options_[static_cast<std::size_t>(v)]);
  if (from == to || beside_.empty()) return;
  for (const std::int32_t e : edges_at_[static_cast<std::size_t>(v)]) {
    const network::edge& each = net_.edges[static_cast<std::size_t>(e)];
    const std::int32_t other = each.other(v);
    const edge_view price = seen_from(net_, v, each);
    wide* const beside = beside_.data() + number_[static_cast<std::size_t>(other)];
    for (std::size_t k = 0; k < net_.options(other); ++k) beside[k] += price(to, k) - price(from, k);
  }
}

MESHLOOM_INLINE bool local_search::improve_one(std::int32_t v) {
  const std::int32_t before = options_[static_cast<std::size_t>(v)];
  const wide* const prices = prices_at(v);
  const wide rest = price_ - prices[static_cast<std::size_t>(before)];
  rank best = rank_of(price_, excess_);
  std::int32_t found = before;
  for (std::int32_t k = 0; static_cast<std::size_t>(k) < net_.options(v); ++k) {
    const wide price = rest + prices[static_cast<std::size_t>(k)];
    if (excess_ == 0 && price >= best.price) continue;
    const rank here = rank_of(price, excess_with(v, k));
    if (here < best) best = here, found = k;
  }
  if (found == before) return false;
  move(v, found);
  tell_neighbours(v, before);
  price_ = best.price;
  return true;
}

MESHLOOM_INLINE bool local_search::improve_pair(const network::edge& each) {
  const wide *const left = prices_at(each.left), *const right = prices_at(each.right);
  const std::int32_t row = options_[static_cast<std::size_t>(each.left)];
  const std::int32_t column = options_[static_cast<std::size_t>(each.right)];
  const std::size_t rows = net_.options(each.left), columns = net_.options(each.right);
  work_ += static_cast<std::int64_t>(rows * columns) - static_cast<std::int64_t>(rows + columns);  // it is read once
  const auto pair = [&](std::int32_t i, std::int32_t j) {
    return each.cost[static_cast<std::size_t>(i) * columns + static_cast<std::size_t>(j)];
  };
  const auto left_alone = [&](std::int32_t i) { return left[i] - pair(i, column); };
  const auto right_alone = [&](std::int32_t j) { return right[j] - pair(row, j); };
  const wide rest = price_ - left[row] - right_alone(column);
  wide least = right_alone(0);
  for (std::int32_t j = 1; static_cast<std::size_t>(j) < columns; ++j) least = std::min(least, right_alone(j));
  least += rest;
  rank best = rank_of(price_, excess_);
  std::pair found{row, column};
  for (std::int32_t i = 0; static_cast<std::size_t>(i) < rows; ++i) {
    const wide here = left_alone(i);
    if (best.excess == 0 && least + here >= best.price) continue;
    move(each.left, i);
    for (std::int32_t j = 0; static_cast<std::size_t>(j) < columns; ++j) {
      const wide price = rest + here + right_alone(j) + pair(i, j);
      if (best.excess == 0 && price >= best.price) continue;
      const rank there = rank_of(price, excess_with(each.right, j));
      if (there < best) best = there, found = {i, j};
    }
  }
  move(each.left, found.first);
  tell_neighbours(each.left, row);
  move(each.right, found.second);
  tell_neighbours(each.right, column);
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
  const vector<std::int64_t> own = own_prices(net_), priced = prices_with(net_, at);
  for (std::int32_t t = 0; t < tries && work_ < most_work_; ++t) {
    const vector<std::int32_t> members = neighbourhood(most);
    solve_around(members, own);
    if (priced != own) solve_around(members, priced);
  }
}

/// The variables nearest to a random one.
MESHLOOM_INLINE vector<std::int32_t> local_search::neighbourhood(std::size_t most) {
  vector<std::int32_t> members{static_cast<std::int32_t>(random() % net_.variables.size())};
  vector<std::uint8_t> inside(net_.variables.size());
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
MESHLOOM_INLINE network local_search::around(const vector<std::int32_t>& members,
                                             const vector<std::int64_t>& prices) const {
  vector<std::int32_t> place(net_.variables.size(), -1);
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

MESHLOOM_INLINE void local_search::solve_around(vector<std::int32_t> members, const vector<std::int64_t>& prices) {
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
MESHLOOM_INLINE void local_search::take(const vector<std::int32_t>& members, const assignment& options) {
  const rank before = rank_of(price_, excess_);
  assignment old;
  const auto move_to = [&](std::size_t k, std::int32_t option) {
    const std::int32_t from = options_[static_cast<std::size_t>(members[k])];
    move(members[k], option);
    tell_neighbours(members[k], from);
  };
  for (std::size_t k = 0; k < members.size(); ++k) {
    old.push_back(options_[static_cast<std::size_t>(members[k])]);
    if (old[k] == options[k]) continue;
    const wide* const prices = prices_at(members[k]);
    price_ += prices[options[k]] - prices[old[k]];
    move_to(k, options[k]);
  }
  if (rank_of(price_, excess_) < before) return;
  for (std::size_t k = 0; k < members.size(); ++k) move_to(k, old[k]);
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
