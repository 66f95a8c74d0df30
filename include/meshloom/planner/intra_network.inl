// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_network.hpp.
#pragma once

#include <meshloom/planner/intra_network.hpp>

#include <algorithm>
#include <numeric>

namespace meshloom::intra {

namespace detail {

/// Folds couplings of a choice with itself into its prices and those between one pair into one edge.
MESHLOOM_INLINE void add_couplings(const intra_problem& posed, network& net) {
  vector<network::edge> all;
  for (const intra_coupling& each : posed.couplings) {
    const std::size_t rows = net.options(each.left), columns = net.options(each.right);
    if (each.left == each.right) {
      auto& cost = net.variables[static_cast<std::size_t>(each.left)].cost;
      for (std::size_t k = 0; k < rows; ++k) cost[k] = plus(cost[k], each.cost[k * columns + k].count);
      continue;
    }
    const bool turned = each.left > each.right;
    network::edge next{std::min(each.left, each.right), std::max(each.left, each.right), {}};
    next.cost.resize(rows * columns);
    const auto [down, right] = turned ? std::pair(std::size_t{1}, rows) : std::pair(columns, std::size_t{1});
    const picoseconds* from = each.cost.data();
    for (std::size_t i = 0; i < rows; ++i) {
      std::int64_t* to = next.cost.data() + i * down;
      for (std::size_t j = 0; j < columns; ++j, ++from, to += right) *to = std::min(from->count, never);
    }
    all.push_back(std::move(next));
  }
  const auto ends = [](const network::edge& each) { return std::pair(each.left, each.right); };
  std::sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return ends(a) < ends(b); });
  for (network::edge& each : all) {
    if (net.edges.empty() || ends(net.edges.back()) != ends(each)) {
      net.edges.push_back(std::move(each));
      continue;
    }
    auto& sum = net.edges.back().cost;
    for (std::size_t k = 0; k < sum.size(); ++k) sum[k] = plus(sum[k], each.cost[k]);
  }
}

/// The times at which something begins and after which, before anything else begins, something ends: at every other
/// time no more is alive than at one of these.
MESHLOOM_INLINE vector<std::int32_t> fullest_times(const intra_problem& posed) {
  vector<std::uint8_t> begins(static_cast<std::size_t>(posed.end) + 1), ends(begins.size());
  for (const intra_choice& each : posed.choices) {
    if (each.first == each.end) continue;
    begins[static_cast<std::size_t>(each.first)] = 1;
    ends[static_cast<std::size_t>(each.end)] = 1;
  }
  vector<std::int32_t> times;
  std::int32_t latest = -1;
  for (std::int32_t t = 0; t <= posed.end; ++t) {
    if (ends[static_cast<std::size_t>(t)] && latest >= 0) times.push_back(latest), latest = -1;
    if (begins[static_cast<std::size_t>(t)]) latest = t;
  }
  return times;
}

MESHLOOM_INLINE void add_sizes(const intra_problem& posed, network& net) {
  net.times = fullest_times(posed);
  net.room.assign(net.times.size(), posed.limit->count);
  const auto moment = [&](std::int32_t time) {
    return static_cast<std::int32_t>(std::lower_bound(net.times.begin(), net.times.end(), time) - net.times.begin());
  };
  for (std::size_t c = 0; c < posed.choices.size(); ++c) {
    const intra_choice& each = posed.choices[c];
    network::part next{moment(each.first), moment(each.end), {}};
    if (next.first == next.end) continue;
    for (const bytes size : each.size) {
      next.size.push_back(size.count);
      while (net.grain < 40 && size.count >> net.grain > 0) ++net.grain;
    }
    net.variables[c].parts.push_back(std::move(next));
  }
}

/// Makes prices finer while all of them together stay below 2^48, far from `never` even with the prices of memory.
MESHLOOM_INLINE void refine(network& net) {
  std::int64_t total = 0;
  const auto each_price = [&](auto visit) {
    for (auto& variable : net.variables) visit(variable.cost);
    for (auto& edge : net.edges) visit(edge.cost);
  };
  each_price([&](const vector<std::int64_t>& prices) {
    std::int64_t largest = 0;
    for (const std::int64_t price : prices) largest = std::max(largest, price < never ? price : 0);
    total += largest;
  });
  while (net.shift < 16 && (total << (net.shift + 1)) < (std::int64_t{1} << 48)) ++net.shift;
  if (net.shift == 0) return;
  each_price([&](vector<std::int64_t>& prices) {
    for (std::int64_t& price : prices) price = price < never ? price << net.shift : never;
  });
}

}  // namespace detail

MESHLOOM_INLINE network network_of(const intra_problem& posed) {
  network net;
  for (const intra_choice& each : posed.choices) {
    net.variables.emplace_back();
    for (const picoseconds price : each.cost) net.variables.back().cost.push_back(std::min(price.count, never));
  }
  detail::add_couplings(posed, net);
  detail::refine(net);
  if (posed.limit) detail::add_sizes(posed, net);
  return net;
}

MESHLOOM_INLINE incidence edges_at(const network& net) {
  incidence found{vector<std::size_t>(net.variables.size() + 1), vector<std::int32_t>(2 * net.edges.size())};
  for (const network::edge& each : net.edges) {
    for (const std::int32_t end : {each.left, each.right}) ++found.begin[static_cast<std::size_t>(end)];
  }
  std::partial_sum(found.begin.begin(), found.begin.end(), found.begin.begin());  // where the lists end
  for (std::size_t e = net.edges.size(); e-- > 0;) {
    for (const std::int32_t end : {net.edges[e].right, net.edges[e].left})
      found.edges[--found.begin[static_cast<std::size_t>(end)]] = static_cast<std::int32_t>(e);
  }
  return found;
}

MESHLOOM_INLINE vector<std::size_t> numbering(const network& net) {
  vector<std::size_t> first{0};
  for (const auto& variable : net.variables) first.push_back(first.back() + variable.options());
  return first;
}

MESHLOOM_INLINE vector<std::int64_t> own_prices(const network& net) {
  vector<std::int64_t> prices;
  for (const auto& variable : net.variables) prices.insert(prices.end(), variable.cost.begin(), variable.cost.end());
  return prices;
}

MESHLOOM_INLINE std::int64_t price_of(const network& net, const assignment& options) {
  std::int64_t sum = net.constant;
  for (std::size_t v = 0; v < options.size(); ++v) {
    sum = plus(sum, net.variables[v].cost[static_cast<std::size_t>(options[v])]);
  }
  for (const network::edge& each : net.edges) {
    const auto row = static_cast<std::size_t>(options[static_cast<std::size_t>(each.left)]);
    const auto column = static_cast<std::size_t>(options[static_cast<std::size_t>(each.right)]);
    sum = plus(sum, each.cost[row * net.options(each.right) + column]);
  }
  return sum;
}

MESHLOOM_INLINE vector<std::int64_t> held(const network& net, const assignment& options) {
  vector<std::int64_t> change(net.room.size() + 1);
  for (std::size_t v = 0; v < options.size(); ++v) {
    for (const network::part& each : net.variables[v].parts) {
      const std::int64_t size = each.size[static_cast<std::size_t>(options[v])];
      change[static_cast<std::size_t>(each.first)] += size;
      change[static_cast<std::size_t>(each.end)] -= size;
    }
  }
  std::partial_sum(change.begin(), change.end(), change.begin());
  change.pop_back();
  return change;
}

MESHLOOM_INLINE wide excess(const network& net, const vector<std::int64_t>& bytes_held) {
  wide sum = 0;
  for (std::size_t m = 0; m < bytes_held.size(); ++m) sum += std::max<std::int64_t>(bytes_held[m] - net.room[m], 0);
  return sum;
}

}  // namespace meshloom::intra
