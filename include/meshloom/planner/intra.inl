// SPDX-License-Identifier: Apache-2.0
// The bodies of intra.hpp.
#pragma once

#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/intra_ladder.hpp>
#include <meshloom/planner/intra_refusal.hpp>

namespace meshloom {

namespace detail {

inline intra_answer answer_of(const intra::ladder& climbed) {
  intra_answer made = climbed.count();
  const int shift = climbed.whole().shift;
  made.options = climbed.best();
  made.cost = {climbed.best_price() >> shift};
  made.bound = {(climbed.bound() + (std::int64_t{1} << shift) - 1) >> shift};  // prices are whole, so is the optimum
  return made;
}

}  // namespace detail

MESHLOOM_INLINE result<intra_answer> solve_intra(const intra_problem& posed, const intra_options& limits) {
  const vector<std::string> faults = check(posed);
  if (!faults.empty()) return failure{faults.front()};
  intra::ladder made(intra::network_of(posed), limits);
  for (const auto& start : limits.starts) {
    if (evaluate(posed, start).allowed) made.start_from(start);
  }
  made.climb();
  if (made.best_price() < intra::never) return detail::answer_of(made);
  return failure{intra::refusal(posed, made.leanest(), made.bound() >= intra::never, limits.quick_entries)};
}

}  // namespace meshloom
