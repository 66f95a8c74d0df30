// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_priced.hpp.
#pragma once

#include <meshloom/planner/intra_priced.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// More bytes than there are; what all options of a choice hold is taken from these.
inline constexpr std::int64_t bytes_to_pay = std::int64_t{1} << 61;

MESHLOOM_INLINE std::int64_t largest_of(const vector<std::int64_t>& prices) {
  std::int64_t largest = 0;
  for (const std::int64_t price : prices) largest = std::max(largest, price < intra::never ? price : 0);
  return largest;
}

/// The most that the options of an assignment may cost, each alone, or `never`.
MESHLOOM_INLINE std::int64_t most_alone(const intra::network& net) {
  std::int64_t sum = net.constant;
  for (const auto& each : net.variables) sum = intra::plus(sum, largest_of(each.cost));
  return sum;
}

/// Leaves out options so dear that sums of prices would leave their range, where another is cheaper. No assignment left
/// out costs less than the answer; `never`: none is left out.
MESHLOOM_INLINE std::int64_t leave_out_dearest(intra::network& net, std::int64_t most_together) {
  std::int64_t least = intra::never;
  if (net.variables.empty() || intra::plus(most_alone(net), most_together) < intra::never / 2) return least;
  const std::int64_t share = intra::never / 4 / static_cast<std::int64_t>(net.variables.size());
  for (auto& variable : net.variables) {
    const std::int64_t most = std::max(share, *std::min_element(variable.cost.begin(), variable.cost.end()));
    for (std::int64_t& price : variable.cost) {
      if (price <= most || price >= intra::never) continue;
      least = std::min(least, price);
      price = intra::never;
    }
  }
  return least;
}

}  // namespace detail

MESHLOOM_INLINE priced_intra::priced_intra(const intra_problem& posed, const vector<vector<bytes>>& paid) {
  intra::network net = intra::network_of(posed);
  net.paid = true;
  net.room = {detail::bytes_to_pay};
  net.times = {0};
  for (std::size_t v = 0; v < net.variables.size(); ++v) {
    intra::network::part held{0, 1, {}};
    for (const bytes each : paid[v]) held.size.push_back(each.count);
    net.variables[v].parts = {std::move(held)};
  }
  once_ = intra::presolve(std::move(net));
  const int shift = std::exchange(once_.net.shift, 0);
  const auto unshift = [&](vector<std::int64_t>& prices) {
    for (std::int64_t& price : prices) price = price < intra::never ? price >> shift : price;
  };
  once_.net.constant >>= shift;
  for (auto& variable : once_.net.variables) unshift(variable.cost);
  for (auto& edge : once_.net.edges) {
    unshift(edge.cost);
    most_together_ = intra::plus(most_together_, detail::largest_of(edge.cost));
  }
}

MESHLOOM_INLINE intra::network priced_intra::at(const byte_price& each) const {
  intra::network net = once_.net;
  const auto paid = [&](std::int64_t held) {
    const intra::wide exact = intra::wide{held} * each.cost.count / each.per.count;
    return static_cast<std::int64_t>(std::min<intra::wide>(exact, intra::never - 1));
  };
  for (auto& variable : net.variables) {
    for (const auto& part : variable.parts) {
      for (std::size_t k = 0; k < part.size.size(); ++k)
        variable.cost[k] = intra::plus(variable.cost[k], paid(part.size[k]));
    }
    variable.parts.clear();
  }
  net.constant = intra::plus(net.constant, paid(detail::bytes_to_pay - net.room.front()));
  net.paid = net.reduced = false;
  net.room.clear();
  net.times.clear();
  return net;
}

MESHLOOM_INLINE std::optional<intra_answer> priced_intra::solve(const byte_price& each, const intra_options& limits) {
  if (!once_.possible) return std::nullopt;
  intra::network net = at(each);
  const std::int64_t left_out = detail::leave_out_dearest(net, most_together_);
  if (intra::plus(detail::most_alone(net), most_together_) >= intra::never / 2) return std::nullopt;
  intra::ladder made(std::move(net), limits);
  for (const intra::assignment& known : known_) made.start_from(known);
  made.climb();
  if (made.best_price() >= intra::never) return std::nullopt;
  known_.push_back(made.best());
  intra_answer found = made.count();
  found.options = intra::lift(once_, made.best());
  found.cost = {made.best_price()};
  found.bound = {std::min(made.bound(), left_out)};
  return found;
}

}  // namespace meshloom
