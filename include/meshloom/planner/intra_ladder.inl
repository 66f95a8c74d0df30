// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_ladder.hpp.
#pragma once

#include <meshloom/planner/intra_ladder.hpp>
#include <meshloom/planner/intra_moments.hpp>

#include <algorithm>

namespace meshloom::intra {

MESHLOOM_INLINE void ladder::climb() {
  presolve();
  if (!tired() && rest().room.size() > few_moments) {
    if (large()) return search_large();
    few_at_a_time();
  }
  if (closed()) return;
  do {
    while (!tired() && narrow()) {}
    if (!closed()) eliminate(limits_.quick_entries, std::min(work_left(), 32 * limits_.quick_entries));
    if (!closed()) raise_and_search();
  } while (!tired() && prune());
  if (!closed()) eliminate(limits_.most_entries, work_left());
  if (!tired()) split();
  if (!closed()) ask();
}

MESHLOOM_INLINE void ladder::search_large() {
  intra_options limits = limits_;
  limits.most_work = work_left();
  large_search search(rest(), limits, lowered(best_), climbed);
  search.run();
  add(search.count());
  if (!search.leanest().empty()) offer(search.leanest());
  if (!search.best().empty()) offer(search.best());
  prove(search.bound(), intra_rung::bound);
  count_.byte_prices = search.count().byte_prices;
}

/// Solves what is left at a few moments, adds those that the answer overfills, and so on until it overfills none.
MESHLOOM_INLINE void ladder::few_at_a_time() {
  vector<std::int32_t> moments;
  do {
    intra_options limits = limits_;
    limits.most_work = work_left() / 2;
    ladder part(at_moments(rest(), moments), limits);
    if (!best_.empty()) part.start_from(lowered(best_));
    part.climb();
    add(part.count());
    prove(part.bound(), part.count().closed_by);
    if (part.best().empty()) return;
    offer(part.best());
    if (!add_moments(moments, overfull(rest(), held(rest(), part.best())))) return;
  } while (!tired());
}

/// Reduces what is left once more; if nothing legal is left, nothing beats the best.
MESHLOOM_INLINE void ladder::presolve(const vector<std::uint8_t>& keep) {
  for (const network::edge& each : rest().edges) count_.work += static_cast<std::int64_t>(each.cost.size());
  const vector<std::int32_t> times = rest().times;
  // Of what was left before, only the way back from it is needed any more.
  reduction made =
      reductions_.empty() ? intra::presolve(whole_, keep) : intra::presolve(std::move(reductions_.back().net), keep);
  if (!made.possible) return prove(never, intra_rung::presolve);
  ascent_.at.resize(times.size());
  ascent_.at = carried(times, ascent_.at, made.net.times);
  reductions_.push_back(std::move(made));
  if (!rest().variables.empty()) return;
  offer({});
  prove(rest().constant, intra_rung::presolve);
}

/// The optimum without the limit: a bound, and the optimum if it fits.
MESHLOOM_INLINE void ladder::eliminate(std::int64_t most_entries, std::int64_t most_work) {
  auto exact = elimination::plan(rest(), most_entries, most_work);
  if (!exact) return;
  const optimum found = exact->run(own_prices(rest()));
  count_.work += exact->work();
  if (found.price < never) offer(found.options);
  prove(found.price, intra_rung::elimination);
}

/// Where memory does not matter, messages soon say which options cannot be part of anything cheaper than the best. They
/// go, as soon as that makes much less of the network, and the rest is eliminated once it is small. False at the end.
MESHLOOM_INLINE bool ladder::narrow() {
  constexpr int batches = 8, sweeps = 4;
  if (!rest().room.empty()) return false;
  messages pass(rest());
  eliminate(limits_.quick_entries, std::min(work_left(), batches * sweeps * pass.work()));
  for (int batch = 1; batch <= batches && !tired(); ++batch) {
    for (int sweep = 0; sweep < sweeps; ++sweep) pass.sweep();
    count_.work += (sweeps + 1) * pass.work();
    local_search search(rest(), limits_.seed, work_left());
    search.start(pass.decode());
    search.descend();
    if (batch == batches) search.widen(most_around, limits_.neighbourhoods / batches, ascent_.at);
    count_.work += search.work();
    offer(search.options());
    const vector<std::int64_t> bounds = pass.bounds();
    prove(*std::min_element(bounds.begin(), bounds.end()), intra_rung::bound);
    if (!closed() && keep_better(bounds, 0, batch < batches ? 8 : 64)) return true;
  }
  return false;
}

MESHLOOM_INLINE void ladder::raise_and_search() {
  relaxation inner = relaxed(1);
  const std::int64_t half = work_left() / 2;  // as much work on the price as on the bound
  local_search search(rest(), limits_.seed, half);
  assignment cheapest;
  std::int64_t least = never, spent = 0;
  const auto rounds =
      static_cast<std::int32_t>(std::clamp<std::int64_t>(half / (inner.work() + 1), 1, std::max(limits_.rounds, 1)));
  ascent_ = ascend(rest(), inner, ascent_.at, rounds, [&](const assignment& met) {
    spent += inner.work();
    search.start(met);
    if (search.work() <= spent) search.descend();
    if (cheapest.empty() || (search.excess() == 0 && search.price() < least)) {
      cheapest = search.options();
      if (search.excess() == 0) least = search.price();
    }
    return offer(search.options());
  });
  count_.rounds += ascent_.rounds;
  count_.work += ascent_.rounds * inner.work();
  prove(ascent_.bound, intra_rung::bound);
  if (!closed()) {
    search_around(search, std::move(cheapest));
    if (best_price_ < least) search_around(search, lowered(best_));  // met elsewhere, say a start
    prove(bound_, intra_rung::bound);
  }
  count_.work += search.work();
}

/// What bounds the network that is left; eliminates only if there is work left for so many runs.
MESHLOOM_INLINE relaxation ladder::relaxed(std::int64_t runs) const {
  return {rest(), std::min(limits_.quick_entries, work_left() / (32 * runs))};
}

MESHLOOM_INLINE void ladder::search_around(local_search& search, assignment from) {
  search.start(std::move(from));
  search.descend();
  search.widen(most_around, limits_.neighbourhoods, ascent_.at);
  search.descend();
  offer(search.options());
}

/// An assignment of what is left, as near as it can be to one of the whole; none, if that is empty.
MESHLOOM_INLINE assignment ladder::lowered(assignment options) const {
  if (options.empty()) return options;
  for (const reduction& each : reductions_) options = lower(each, options);
  return options;
}

/// Leaves out the options that cannot be part of anything cheaper than the best; false if that is over.
MESHLOOM_INLINE bool ladder::prune() {
  if (best_price_ >= never) return false;
  constexpr std::int64_t runs = 4;  // as much work as of so many
  relaxation inner = relaxed(runs);
  if (runs * inner.work() > work_left()) return false;
  const std::int64_t paid_back = refund(rest(), ascent_.at);
  const vector<std::int64_t> bounds = inner.bounds(prices_with(rest(), ascent_.at));
  count_.work += runs * inner.work();
  return keep_better(bounds, paid_back, bounds.size());
}

/// Leaves out the options whose bounds, less what is paid back, say so; false if they are fewer than one in `many`.
MESHLOOM_INLINE bool ladder::keep_better(const vector<std::int64_t>& bounds, std::int64_t paid_back, std::size_t many) {
  vector<std::uint8_t> keep;
  for (const std::int64_t bound : bounds) keep.push_back(!closes(whole_, bound - paid_back, best_price_));
  const auto useless = static_cast<std::size_t>(std::count(keep.begin(), keep.end(), 0));
  if (useless == 0 || useless * many < keep.size()) return false;
  presolve(keep);
  return !closed();
}

MESHLOOM_INLINE void ladder::split() {
  constexpr std::int32_t rounds = 12;
  const branch_limits limits{limits_.nodes, rounds, limits_.quick_entries, work_left()};
  const auto done = intra::branch(rest(), ascent_, limits, [&](const assignment& met) { return offer(met); });
  count_.nodes += done.nodes;
  count_.rounds += done.rounds;
  count_.work += done.work;
  prove(done.bound, intra_rung::branching);
}

MESHLOOM_INLINE void ladder::ask() {
  const auto options = static_cast<std::int64_t>(numbering(rest()).back());
  if (limits_.exact == nullptr || options > limits_.most_binaries) return;
  const auto found = limits_.exact->solve(rest(), best_price_);
  if (!found.options.empty()) offer(found.options);
  prove(found.bound, intra_rung::integer_program);
}

MESHLOOM_INLINE void ladder::start_from(const assignment& options) { offer(options); }

/// Remembers an assignment of what is left if it is the best or the leanest so far; the best price known.
MESHLOOM_INLINE std::int64_t ladder::offer(const assignment& options) {
  assignment all = options;
  for (auto each = reductions_.rbegin(); each != reductions_.rend(); ++each) all = lift(*each, all);
  const std::int64_t price = price_of(whole_, all);
  if (price >= never) return best_price_;
  const wide excess = intra::excess(whole_, held(whole_, all));
  if (leanest_.empty() || excess < least_excess_) leanest_ = all, least_excess_ = excess;
  if (excess == 0 && price < best_price_) best_ = std::move(all), best_price_ = price;
  return best_price_;
}

/// Takes note that what is left costs at least `bound`; what is not left costs at least as much as the best.
MESHLOOM_INLINE void ladder::prove(std::int64_t bound, intra_rung rung) {
  bound_ = std::max(bound_, std::min(bound, best_price_));
  if (closed() && count_.closed_by == intra_rung::none) count_.closed_by = rung;
}

MESHLOOM_INLINE void ladder::add(const intra_answer& count) {
  count_.rounds += count.rounds;
  count_.nodes += count.nodes;
  count_.work += count.work;
}

MESHLOOM_INLINE std::int64_t ladder::work_left() const {
  if (limits_.stop && limits_.stop()) return 0;
  return std::max<std::int64_t>(limits_.most_work - count_.work, 0);
}

MESHLOOM_INLINE part_answer climbed(network part, const assignment& from, const intra_options& limits) {
  ladder made(std::move(part), limits);
  made.start_from(from);
  made.climb();
  return {made.best(), made.closed(), made.count().work};
}

}  // namespace meshloom::intra
