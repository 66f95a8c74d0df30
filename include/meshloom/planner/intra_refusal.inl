// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_refusal.hpp.
#pragma once

#include <meshloom/planner/intra_multipliers.hpp>
#include <meshloom/planner/intra_presolve.hpp>
#include <meshloom/planner/intra_refusal.hpp>

namespace meshloom::intra {

namespace detail {

/// A lower bound on the price of all assignments; `never` only if none is legal.
MESHLOOM_INLINE std::int64_t least_price(const intra_problem& posed, std::int64_t most_entries) {
  const reduction made = presolve(network_of(posed));
  if (!made.possible) return never;
  const std::int64_t price = relaxation(made.net, most_entries).run(own_prices(made.net)).price;
  return price < never ? price >> made.net.shift : never;
}

/// The same choices and couplings without prices.
MESHLOOM_INLINE intra_problem only_allowed(intra_problem posed) {
  const auto free = [](vector<picoseconds>& prices) {
    for (picoseconds& price : prices) price = price < forbidden ? picoseconds{} : forbidden;
  };
  for (intra_choice& each : posed.choices) free(each.cost);
  for (intra_coupling& each : posed.couplings) free(each.cost);
  posed.limit.reset();
  return posed;
}

/// The same choices and couplings where bytes held at a time are the only price.
MESHLOOM_INLINE intra_problem priced_by_bytes(intra_problem posed, std::int32_t time) {
  for (intra_choice& each : posed.choices) {
    if (time < each.first || time >= each.end) continue;
    for (std::size_t k = 0; k < each.cost.size(); ++k) {
      if (each.cost[k] < forbidden) each.cost[k] = {each.size[k].count};
    }
  }
  return posed;
}

/// The time that needs most of those at which an assignment holds more than the limit, and how much it needs at least.
MESHLOOM_INLINE std::pair<std::int32_t, std::int64_t> tightest(const intra_problem& allowed, const network& net,
                                                               const vector<std::int64_t>& bytes_held,
                                                               std::int64_t most_entries) {
  constexpr int most_times = 64;
  std::pair<std::int32_t, std::int64_t> worst{0, -1};
  int tried = 0;
  for (std::size_t m = 0; m < net.room.size() && tried < most_times; ++m) {
    if (!bytes_held.empty() && bytes_held[m] <= net.room[m]) continue;
    const std::int64_t needed = least_price(priced_by_bytes(allowed, net.times[m]), most_entries);
    if (needed > worst.second) worst = {net.times[m], needed};
    ++tried;
  }
  return worst;
}

}  // namespace detail

MESHLOOM_INLINE std::string refusal(const intra_problem& posed, const assignment& leanest, bool proven,
                                    std::int64_t most_entries) {
  const intra_problem allowed = detail::only_allowed(posed);
  if (detail::least_price(allowed, most_entries) >= never) return "the couplings forbid every assignment";
  if (!posed.limit) {
    return proven ? "the couplings forbid every assignment"
                  : "met no assignment that the couplings allow; allow more rounds or nodes";
  }
  const std::string limit = std::to_string(posed.limit->count) + " bytes";
  const network net = network_of(posed);
  const auto bytes_held = leanest.empty() ? vector<std::int64_t>{} : held(net, leanest);
  const auto [time, needed] = detail::tightest(allowed, net, bytes_held, most_entries);
  if (needed > posed.limit->count) {
    return "every assignment needs at least " + std::to_string(needed) + " bytes at time " + std::to_string(time) +
           ", and the limit is " + limit;
  }
  std::string sentence =
      proven ? "no assignment stays within the limit of " + limit + " at all times"
             : "met no assignment within the limit of " + limit + ", and did not prove that there is none";
  if (!leanest.empty()) {
    const intra_price price = evaluate(posed, leanest);
    sentence += "; the leanest one met needs " + std::to_string(price.peak.count) + " bytes at time " +
                std::to_string(price.when);
  }
  return sentence + (proven ? "" : "; allow more rounds or nodes");
}

}  // namespace meshloom::intra
