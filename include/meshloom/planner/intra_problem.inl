// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_problem.hpp.
#pragma once

#include <meshloom/planner/intra_problem.hpp>

#include <algorithm>

namespace meshloom {

namespace detail {

/// Adds the largest finite price of a table; the sum stays at `forbidden` once it gets there.
MESHLOOM_INLINE void add_largest(const vector<picoseconds>& prices, picoseconds& sum) {
  picoseconds largest;
  for (const picoseconds price : prices) {
    if (price < forbidden) largest = std::max(largest, price);
  }
  sum = std::min(sum + largest, forbidden);
}

MESHLOOM_INLINE void check_choice(const intra_choice& each, const std::string& name, std::int32_t end,
                                  vector<std::string>& found) {
  if (each.cost.empty()) found.push_back(name + " has no option; give it at least one");
  if (each.size.size() != each.cost.size()) {
    found.push_back(name + " has " + std::to_string(each.cost.size()) + " prices and " +
                    std::to_string(each.size.size()) + " sizes; give one of each per option");
  }
  if (each.first < 0 || each.first > each.end || each.end > end) {
    found.push_back(name + " is alive from " + std::to_string(each.first) + " to " + std::to_string(each.end) +
                    ", outside the times 0 to " + std::to_string(end));
  }
  const auto negative = [](auto amount) { return amount.count < 0; };
  if (std::any_of(each.cost.begin(), each.cost.end(), negative)) found.push_back(name + " has a negative price");
  if (std::any_of(each.size.begin(), each.size.end(), negative)) found.push_back(name + " has a negative size");
}

MESHLOOM_INLINE void check_coupling(const intra_problem& posed, const intra_coupling& each, const std::string& name,
                                    vector<std::string>& found) {
  const auto count = static_cast<std::int32_t>(posed.choices.size());
  if (each.left < 0 || each.left >= count || each.right < 0 || each.right >= count) {
    found.push_back(name + " names a choice that does not exist; there are " + std::to_string(count));
    return;
  }
  const auto entries = posed.choices[static_cast<std::size_t>(each.left)].cost.size() *
                       posed.choices[static_cast<std::size_t>(each.right)].cost.size();
  if (each.cost.size() != entries) {
    found.push_back(name + " has " + std::to_string(each.cost.size()) + " prices; its two choices need " +
                    std::to_string(entries));
  }
  if (std::any_of(each.cost.begin(), each.cost.end(), [](picoseconds price) { return price.count < 0; })) {
    found.push_back(name + " has a negative price");
  }
}

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check(const intra_problem& posed) {
  vector<std::string> found;
  picoseconds dearest;
  bytes largest;
  for (std::size_t c = 0; c < posed.choices.size(); ++c) {
    const intra_choice& each = posed.choices[c];
    detail::check_choice(each, "choice " + std::to_string(c), posed.end, found);
    detail::add_largest(each.cost, dearest);
    const auto most = std::max_element(each.size.begin(), each.size.end());
    if (most != each.size.end())
      largest = std::min(largest + std::min(*most, bytes{forbidden.count}), bytes{forbidden.count});
  }
  for (std::size_t c = 0; c < posed.couplings.size(); ++c) {
    detail::check_coupling(posed, posed.couplings[c], "coupling " + std::to_string(c), found);
    detail::add_largest(posed.couplings[c].cost, dearest);
  }
  if (dearest * 2 >= forbidden)
    found.push_back("the largest prices add up to 2^59 ps or more; no step takes that long");
  if (largest.count >= forbidden.count)
    found.push_back("the largest sizes add up to 2^60 or more bytes; no memory is that large");
  if (posed.limit && posed.limit->count < 0) found.push_back("the limit is negative");
  return found;
}

MESHLOOM_INLINE picoseconds leave_out_hopeless(intra_problem& posed) {
  const auto tables = static_cast<std::int64_t>(posed.choices.size() + posed.couplings.size());
  const picoseconds most{forbidden.count / 4 / std::max<std::int64_t>(tables, 1)};
  picoseconds least = forbidden;
  const auto clip = [&](vector<picoseconds>& prices) {
    const picoseconds limit = std::max(most, *std::min_element(prices.begin(), prices.end()));
    for (picoseconds& each : prices) {
      if (each <= limit || each >= forbidden) continue;
      least = std::min(least, each);
      each = forbidden;
    }
  };
  for (intra_choice& each : posed.choices) clip(each.cost);
  for (intra_coupling& each : posed.couplings) clip(each.cost);
  return least;
}

MESHLOOM_INLINE intra_price evaluate(const intra_problem& posed, const vector<std::int32_t>& options) {
  intra_price total;
  total.cost = forbidden;
  if (options.size() != posed.choices.size()) return total;
  vector<bytes> change(static_cast<std::size_t>(posed.end) + 1);
  bool possible = true;
  picoseconds sum;
  const auto pay = [&](picoseconds price) {
    possible = possible && price < forbidden;
    if (possible) sum += price;
  };
  for (std::size_t c = 0; c < options.size(); ++c) {
    const intra_choice& each = posed.choices[c];
    const auto option = static_cast<std::size_t>(options[c]);
    if (options[c] < 0 || option >= each.cost.size()) return total;
    pay(each.cost[option]);
    change[static_cast<std::size_t>(each.first)] += each.size[option];
    change[static_cast<std::size_t>(each.end)] -= each.size[option];
  }
  for (const intra_coupling& each : posed.couplings) {
    const auto left = static_cast<std::size_t>(each.left), right = static_cast<std::size_t>(each.right);
    const std::size_t columns = posed.choices[right].cost.size();
    pay(each.cost[static_cast<std::size_t>(options[left]) * columns + static_cast<std::size_t>(options[right])]);
  }
  bytes alive;
  for (std::int32_t t = 0; t < posed.end; ++t) {
    alive += change[static_cast<std::size_t>(t)];
    if (alive > total.peak) total.peak = alive, total.when = t;
  }
  if (possible) total.cost = sum;
  total.allowed = possible && (!posed.limit || total.peak <= *posed.limit);
  return total;
}

}  // namespace meshloom
