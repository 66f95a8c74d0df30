// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_elimination.hpp.
#pragma once

#include <meshloom/planner/intra_elimination.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace meshloom::intra {

MESHLOOM_INLINE elimination::elimination(const network& net) : number_(numbering(net)), constant_(net.constant) {
  for (const network::variable& each : net.variables) counts_.push_back(each.options());
}

MESHLOOM_INLINE std::optional<elimination> elimination::plan(const network& net, std::int64_t most_entries,
                                                             std::int64_t most_work) {
  elimination made(net);
  if (!made.find_order(net, most_entries)) return std::nullopt;
  made.place_edges(net);
  made.place_messages();
  made.count_work();
  if (made.work_ > most_work) return std::nullopt;
  made.fill(net);
  return made;
}

namespace detail {

/// Takes a variable out: its neighbours become neighbours of one another.
MESHLOOM_INLINE void join_neighbours(vector<vector<std::int32_t>>& near, std::int32_t v) {
  const vector<std::int32_t>& joined = near[static_cast<std::size_t>(v)];
  for (const std::int32_t u : joined) {
    auto& around = near[static_cast<std::size_t>(u)];
    around.insert(around.end(), joined.begin(), joined.end());
    std::sort(around.begin(), around.end());
    around.erase(std::unique(around.begin(), around.end()), around.end());
    erase_if(around, [&](std::int32_t w) { return w == u || w == v; });
  }
}

}  // namespace detail

/// Greedy: the variable that leaves the smallest table goes next.
MESHLOOM_INLINE bool elimination::find_order(const network& net, std::int64_t most_entries) {
  vector<vector<std::int32_t>> near(counts_.size());
  for (const network::edge& each : net.edges) {
    near[static_cast<std::size_t>(each.left)].push_back(each.right);
    near[static_cast<std::size_t>(each.right)].push_back(each.left);
  }
  const auto entries_left_by = [&](std::size_t v) {
    std::int64_t entries = 1;
    for (const std::int32_t u : near[v]) {
      entries *= static_cast<std::int64_t>(counts_[static_cast<std::size_t>(u)]);
      if (entries > most_entries) return most_entries + 1;
    }
    return entries;
  };
  vector<std::int64_t> leaves;
  for (std::size_t v = 0; v < counts_.size(); ++v) leaves.push_back(entries_left_by(v));
  constexpr auto gone = std::numeric_limits<std::int64_t>::max();
  position_.resize(counts_.size());
  for (std::size_t s = 0; s < counts_.size(); ++s) {
    const auto v = static_cast<std::size_t>(std::min_element(leaves.begin(), leaves.end()) - leaves.begin());
    most_entries -= leaves[v];
    if (most_entries < 0) return false;
    steps_.push_back({static_cast<std::int32_t>(v), {}});
    tables_.push_back({near[v], static_cast<std::size_t>(leaves[v])});
    position_[v] = s;
    leaves[v] = gone;
    detail::join_neighbours(near, steps_.back().variable);
    for (const std::int32_t u : near[v])
      leaves[static_cast<std::size_t>(u)] = entries_left_by(static_cast<std::size_t>(u));
  }
  const auto later = [&](std::int32_t a, std::int32_t b) {
    return position_[static_cast<std::size_t>(a)] > position_[static_cast<std::size_t>(b)];
  };
  for (table& each : tables_) std::sort(each.scope.begin(), each.scope.end(), later);
  return true;
}

MESHLOOM_INLINE void elimination::place_edges(const network& net) {
  for (const network::edge& each : net.edges) {
    const bool right_first =
        position_[static_cast<std::size_t>(each.right)] < position_[static_cast<std::size_t>(each.left)];
    const std::int32_t first = right_first ? each.right : each.left;
    tables_.push_back({{each.other(first), first}, each.cost.size()});
    add_factor(first, tables_.size() - 1);
  }
}

/// A step's table is read when the first variable of its scope is taken out.
MESHLOOM_INLINE void elimination::place_messages() {
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    if (!tables_[s].scope.empty()) add_factor(tables_[s].scope.back(), s);
  }
}

MESHLOOM_INLINE void elimination::add_factor(std::int32_t v, std::size_t number) {
  step& reader = steps_[position_[static_cast<std::size_t>(v)]];
  const auto& scope = tables_[position_[static_cast<std::size_t>(v)]].scope;
  factor made{number, vector<std::size_t>(scope.size()), false};
  std::size_t stride = 1;
  const auto& own = tables_[number].scope;
  for (auto each = own.rbegin(); each != own.rend(); ++each) {
    const auto here = std::find(scope.begin(), scope.end(), *each);
    if (here != scope.end()) made.strides[static_cast<std::size_t>(here - scope.begin())] = stride;
    stride *= counts_[static_cast<std::size_t>(*each)];
  }
  made.has_last = !scope.empty() && made.strides.back() > 0;
  reader.factors.push_back(std::move(made));
}

MESHLOOM_INLINE void elimination::count_work() {
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    const step& each = steps_[s];
    const auto reads =
        std::count_if(each.factors.begin(), each.factors.end(), [](const auto& f) { return f.has_last; });
    const std::size_t rows = tables_[s].entries * counts_[static_cast<std::size_t>(each.variable)];
    work_ += static_cast<std::int64_t>(rows) * (1 + reads);
  }
}

/// Makes room for all tables and copies the edges'.
MESHLOOM_INLINE void elimination::fill(const network& net) {
  std::size_t entries = 0;
  for (const table& each : tables_) entries += each.entries;
  entries_ = std::make_unique_for_overwrite<std::int64_t[]>(entries);
  std::int64_t* next = entries_.get();
  for (table& each : tables_) each.cost = std::exchange(next, next + each.entries);
  for (std::size_t e = 0; e < net.edges.size(); ++e) {
    const table& own = tables_[steps_.size() + e];
    const edge_view price = seen_from(net, own.scope[0], net.edges[e]);
    std::int64_t* cost = own.cost;
    for (std::size_t i = 0; i < net.options(own.scope[0]); ++i) {
      for (std::size_t j = 0; j < net.options(own.scope[1]); ++j) *cost++ = price(i, j);
    }
  }
}

MESHLOOM_INLINE optimum elimination::run(const vector<std::int64_t>& prices) {
  optimum found{constant_, assignment(counts_.size(), 0)};
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    run_step(s, prices.data());
    if (tables_[s].scope.empty()) found.price = plus(found.price, tables_[s].cost[0]);
  }
  for (std::size_t s = steps_.size(); s-- > 0;) {
    found.options[static_cast<std::size_t>(steps_[s].variable)] = best_option(s, prices.data(), found.options);
  }
  return found;
}

MESHLOOM_INLINE void elimination::run_step(std::size_t number, const std::int64_t* prices) {
  const auto& scope = tables_[number].scope;
  const std::size_t lasts = scope.empty() ? 1 : counts_[static_cast<std::size_t>(scope.back())];
  vector<std::size_t> at(scope.size());
  std::int64_t* out = tables_[number].cost;
  do {
    add_row(steps_[number], at, prices);
    for (std::size_t last = 0; last < lasts; ++last) *out++ = least(last);
  } while (advance(scope, at, scope.empty() ? 0 : scope.size() - 1));
}

MESHLOOM_INLINE const std::int64_t* elimination::base_of(const factor& known, const vector<std::size_t>& at) const {
  const std::int64_t* base = tables_[known.table].cost;
  for (std::size_t d = 0; d < at.size(); ++d) base += known.strides[d] * at[d];
  return base;
}

/// Adds up, for one combination of all neighbours but the last, what does not depend on the last.
MESHLOOM_INLINE void elimination::add_row(const step& each, const vector<std::size_t>& at, const std::int64_t* prices) {
  const auto v = static_cast<std::size_t>(each.variable);
  row_.assign(prices + number_[v], prices + number_[v + 1]);
  bases_.clear();
  jumps_.clear();
  for (const factor& known : each.factors) {
    const std::int64_t* base = base_of(known, at);
    if (known.has_last) {
      bases_.push_back(base);
      jumps_.push_back(known.strides.back());
    } else {
      for (std::size_t k = 0; k < row_.size(); ++k) row_[k] = plus(row_[k], base[k]);
    }
  }
}

/// The least over the options of the step's variable for one option of the last neighbour. Few prices are summed as
/// they are: each is at most `never`, and eight of them are too many for a sum.
MESHLOOM_INLINE std::int64_t elimination::least(std::size_t last) {
  constexpr std::size_t few = 4;
  const std::size_t tables = bases_.size();
  switch (tables) {
    case 0:
      return std::min(never, *std::min_element(row_.begin(), row_.end()));
    case 1:
      return least_of<1>(row_.data(), last);
    case 2:
      return least_of<2>(row_.data(), last);
    case 3:
      return least_of<3>(row_.data(), last);
    case few:
      return least_of<few>(row_.data(), last);
    default:
      break;
  }
  sum_ = row_;
  for (std::size_t t = few; t < tables; ++t) {
    const std::int64_t* base = bases_[t] + last * jumps_[t];
    for (std::size_t k = 0; k < sum_.size(); ++k) sum_[k] = plus(sum_[k], base[k]);
  }
  return least_of<few>(sum_.data(), last);
}

template <std::size_t Tables>
std::int64_t elimination::least_of(const std::int64_t* row, std::size_t last) const {
  std::array<const std::int64_t*, Tables> base{};
  for (std::size_t t = 0; t < Tables; ++t) base[t] = bases_[t] + last * jumps_[t];
  std::int64_t best = never;
  for (std::size_t k = 0; k < row_.size(); ++k) {
    std::int64_t sum = row[k];
    for (std::size_t t = 0; t < Tables; ++t) sum += base[t][k];
    best = std::min(best, sum);
  }
  return best;
}

/// The next combination of the first neighbours, the later ones first; false after the last combination.
MESHLOOM_INLINE bool elimination::advance(const vector<std::int32_t>& scope, vector<std::size_t>& at,
                                          std::size_t dimensions) const {
  for (std::size_t d = dimensions; d-- > 0;) {
    if (++at[d] < counts_[static_cast<std::size_t>(scope[d])]) return true;
    at[d] = 0;
  }
  return false;
}

MESHLOOM_INLINE vector<std::int64_t> elimination::bounds(const vector<std::int64_t>& prices) {
  const std::int64_t least = run(prices).price;
  vector<std::int64_t> found(prices.size(), never);
  if (least >= never) return found;
  outside_.resize(steps_.size());
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    outside_[s].assign(tables_[s].entries, tables_[s].scope.empty() ? least - tables_[s].cost[0] : never);
  }
  for (std::size_t s = steps_.size(); s-- > 0;) {
    run_step_back(s, prices.data(), found.data() + number_[static_cast<std::size_t>(steps_[s].variable)]);
  }
  return found;
}

/// The best price of everything with each combination of a step's variables: what lies outside of the tables that the
/// step reads is that without them.
MESHLOOM_INLINE void elimination::run_step_back(std::size_t number, const std::int64_t* prices, std::int64_t* bounds) {
  const step& each = steps_[number];
  const auto& scope = tables_[number].scope;
  const auto v = static_cast<std::size_t>(each.variable);
  vector<std::size_t> at(scope.size());
  const std::int64_t* rest = outside_[number].data();
  do {
    row_.assign(prices + number_[v], prices + number_[v + 1]);
    for (std::int64_t& price : row_) price = plus(price, *rest);
    ++rest;
    for (const factor& known : each.factors) {
      const std::int64_t* base = base_of(known, at);
      for (std::size_t k = 0; k < row_.size(); ++k) row_[k] = plus(row_[k], base[k]);
    }
    for (std::size_t k = 0; k < row_.size(); ++k) bounds[k] = std::min(bounds[k], row_[k]);
    for (const factor& known : each.factors) {
      if (known.table >= steps_.size()) continue;
      const std::int64_t* base = base_of(known, at);
      std::int64_t* out = outside_[known.table].data() + (base - tables_[known.table].cost);
      for (std::size_t k = 0; k < row_.size(); ++k) {
        out[k] = std::min(out[k], row_[k] < never ? row_[k] - base[k] : never);
      }
    }
  } while (advance(scope, at, scope.size()));
}

MESHLOOM_INLINE std::int32_t elimination::best_option(std::size_t number, const std::int64_t* prices,
                                                      const assignment& chosen) const {
  const step& each = steps_[number];
  const auto& scope = tables_[number].scope;
  const std::int64_t* own = prices + number_[static_cast<std::size_t>(each.variable)];
  std::int32_t best = 0;
  std::int64_t least = never;
  for (std::size_t k = 0; k < counts_[static_cast<std::size_t>(each.variable)]; ++k) {
    std::int64_t sum = own[k];
    for (const factor& known : each.factors) {
      std::size_t offset = k;
      for (std::size_t d = 0; d < scope.size(); ++d) {
        offset += known.strides[d] * static_cast<std::size_t>(chosen[static_cast<std::size_t>(scope[d])]);
      }
      sum = plus(sum, tables_[known.table].cost[offset]);
    }
    if (sum < least) least = sum, best = static_cast<std::int32_t>(k);
  }
  return best;
}

}  // namespace meshloom::intra
