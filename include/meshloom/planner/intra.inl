// SPDX-License-Identifier: Apache-2.0
// The bodies of intra.hpp.
#pragma once

#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/intra_branch.hpp>
#include <meshloom/planner/intra_refusal.hpp>

#include <algorithm>

namespace meshloom {

namespace detail {

/// One climb: the best assignment met, the bound, and a network that is reduced again whenever the two come closer.
class intra_ladder {
 public:
  intra_ladder(const intra_problem& posed, const intra_options& limits)
      : posed_(posed), limits_(limits), whole_(intra::network_of(posed)) {}

  result<intra_answer> climb();

 private:
  static constexpr std::size_t most_around = 12;  ///< variables of a neighbourhood

  // The rungs.
  void presolve(const std::vector<std::uint8_t>& keep = {});
  void eliminate(std::int64_t most_entries, std::int64_t most_work);
  bool narrow();
  void raise_and_search();
  intra::relaxation relaxed(std::int64_t runs) const;
  void search_around(intra::local_search& search, intra::assignment from);
  bool prune();
  bool keep_better(const std::vector<std::int64_t>& bounds, std::int64_t paid_back, std::size_t many);
  void branch();
  void ask();

  // What they share.
  const intra::network& rest() const { return reductions_.empty() ? whole_ : reductions_.back().net; }
  void try_starts();
  intra::assignment lowered(intra::assignment options) const;
  std::int64_t offer(const intra::assignment& options);
  void prove(std::int64_t bound, intra_rung rung);
  bool closed() const { return intra::closes(whole_, bound_, best_price_); }
  bool tired() const { return closed() || work_left() == 0; }
  std::int64_t work_left() const { return std::max<std::int64_t>(limits_.most_work - count_.work, 0); }
  result<intra_answer> answer() const;

  const intra_problem& posed_;
  const intra_options& limits_;
  const intra::network whole_;
  std::vector<intra::reduction> reductions_;  ///< one of the other; what they leave out cannot beat the best
  intra::ascent ascent_;                      ///< of the network that is left
  intra::assignment best_, leanest_;  ///< of the whole: cheapest legal one met, and the one nearest to the limit
  std::int64_t best_price_ = intra::never, bound_ = 0;
  intra::wide least_excess_ = 0;
  intra_answer count_;
};

MESHLOOM_INLINE result<intra_answer> intra_ladder::climb() {
  try_starts();
  presolve();
  do {
    while (!tired() && narrow()) {}
    if (!closed()) eliminate(limits_.quick_entries, std::min(work_left(), 32 * limits_.quick_entries));
    if (!closed()) raise_and_search();
  } while (!tired() && prune());
  if (!closed()) eliminate(limits_.most_entries, work_left());
  if (!tired()) branch();
  if (!closed()) ask();
  return answer();
}

/// Reduces what is left once more; if nothing legal is left, nothing beats the best.
MESHLOOM_INLINE void intra_ladder::presolve(const std::vector<std::uint8_t>& keep) {
  for (const intra::network::edge& each : rest().edges) count_.work += static_cast<std::int64_t>(each.cost.size());
  intra::reduction made = intra::presolve(rest(), keep);
  if (!made.possible) return prove(intra::never, intra_rung::presolve);
  ascent_.at.resize(rest().times.size());
  ascent_.at = intra::carried(rest(), ascent_.at, made.net);
  reductions_.push_back(std::move(made));
  if (!rest().variables.empty()) return;
  offer({});
  prove(rest().constant, intra_rung::presolve);
}

/// The optimum without the limit: a bound, and the optimum if it fits.
MESHLOOM_INLINE void intra_ladder::eliminate(std::int64_t most_entries, std::int64_t most_work) {
  auto exact = intra::elimination::plan(rest(), most_entries, most_work);
  if (!exact) return;
  const intra::optimum found = exact->run(intra::own_prices(rest()));
  count_.work += exact->work();
  if (found.price < intra::never) offer(found.options);
  prove(found.price, intra_rung::elimination);
}

/// Where memory does not matter, messages soon say which options cannot be part of anything cheaper than the best. They
/// go, as soon as that makes much less of the network, and the rest is eliminated once it is small. False at the end.
MESHLOOM_INLINE bool intra_ladder::narrow() {
  constexpr int batches = 8, sweeps = 4;
  if (!rest().room.empty()) return false;
  intra::messages pass(rest());
  eliminate(limits_.quick_entries, std::min(work_left(), batches * sweeps * pass.work()));
  for (int batch = 1; batch <= batches && !tired(); ++batch) {
    for (int sweep = 0; sweep < sweeps; ++sweep) pass.sweep();
    count_.work += (sweeps + 1) * pass.work();
    intra::local_search search(rest(), limits_.seed, work_left());
    search.start(pass.decode());
    search.descend();
    if (batch == batches) search.widen(most_around, limits_.neighbourhoods / batches, ascent_.at);
    count_.work += search.work();
    offer(search.options());
    const std::vector<std::int64_t> bounds = pass.bounds();
    prove(*std::min_element(bounds.begin(), bounds.end()), intra_rung::bound);
    if (!closed() && keep_better(bounds, 0, batch < batches ? 8 : 64)) return true;
  }
  return false;
}

MESHLOOM_INLINE void intra_ladder::raise_and_search() {
  intra::relaxation inner = relaxed(1);
  const std::int64_t half = work_left() / 2;  // as much work on the price as on the bound
  intra::local_search search(rest(), limits_.seed, half);
  intra::assignment cheapest;
  std::int64_t least = intra::never, spent = 0;
  const auto rounds =
      static_cast<std::int32_t>(std::clamp<std::int64_t>(half / (inner.work() + 1), 1, std::max(limits_.rounds, 1)));
  ascent_ = intra::ascend(rest(), inner, ascent_.at, rounds, [&](const intra::assignment& met) {
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
MESHLOOM_INLINE intra::relaxation intra_ladder::relaxed(std::int64_t runs) const {
  return {rest(), std::min(limits_.quick_entries, work_left() / (32 * runs))};
}

MESHLOOM_INLINE void intra_ladder::search_around(intra::local_search& search, intra::assignment from) {
  search.start(std::move(from));
  search.descend();
  search.widen(most_around, limits_.neighbourhoods, ascent_.at);
  search.descend();
  offer(search.options());
}

/// An assignment of what is left, as near as it can be to one of the whole.
MESHLOOM_INLINE intra::assignment intra_ladder::lowered(intra::assignment options) const {
  for (const intra::reduction& each : reductions_) options = intra::lower(each, options);
  return options;
}

/// Leaves out the options that cannot be part of anything cheaper than the best; false if that is over.
MESHLOOM_INLINE bool intra_ladder::prune() {
  if (best_price_ >= intra::never) return false;
  constexpr std::int64_t runs = 4;  // as much work as of so many
  intra::relaxation inner = relaxed(runs);
  if (runs * inner.work() > work_left()) return false;
  const std::int64_t paid_back = intra::refund(rest(), ascent_.at);
  const std::vector<std::int64_t> bounds = inner.bounds(intra::prices_with(rest(), ascent_.at));
  count_.work += runs * inner.work();
  return keep_better(bounds, paid_back, bounds.size());
}

/// Leaves out the options whose bounds, less what is paid back, say so; false if they are fewer than one in `many`.
MESHLOOM_INLINE bool intra_ladder::keep_better(const std::vector<std::int64_t>& bounds, std::int64_t paid_back,
                                               std::size_t many) {
  std::vector<std::uint8_t> keep;
  for (const std::int64_t bound : bounds) keep.push_back(!intra::closes(whole_, bound - paid_back, best_price_));
  const auto useless = static_cast<std::size_t>(std::count(keep.begin(), keep.end(), 0));
  if (useless == 0 || useless * many < keep.size()) return false;
  presolve(keep);
  return !closed();
}

MESHLOOM_INLINE void intra_ladder::branch() {
  constexpr std::int32_t rounds = 12;
  const intra::branch_limits limits{limits_.nodes, rounds, limits_.quick_entries, work_left()};
  const auto done = intra::branch(rest(), ascent_, limits, [&](const intra::assignment& met) { return offer(met); });
  count_.nodes += done.nodes;
  count_.rounds += done.rounds;
  count_.work += done.work;
  prove(done.bound, intra_rung::branching);
}

MESHLOOM_INLINE void intra_ladder::ask() {
  const auto options = static_cast<std::int64_t>(intra::numbering(rest()).back());
  if (limits_.exact == nullptr || options > limits_.most_binaries) return;
  const auto found = limits_.exact->solve(rest(), best_price_);
  if (!found.options.empty()) offer(found.options);
  prove(found.bound, intra_rung::integer_program);
}

MESHLOOM_INLINE void intra_ladder::try_starts() {
  for (const auto& start : limits_.starts) {
    if (evaluate(posed_, start).allowed) offer(start);
  }
}

/// Remembers an assignment of what is left if it is the best or the leanest so far; the best price known.
MESHLOOM_INLINE std::int64_t intra_ladder::offer(const intra::assignment& options) {
  intra::assignment all = options;
  for (auto each = reductions_.rbegin(); each != reductions_.rend(); ++each) all = intra::lift(*each, all);
  const std::int64_t price = intra::price_of(whole_, all);
  if (price >= intra::never) return best_price_;
  const intra::wide excess = intra::excess(whole_, intra::held(whole_, all));
  if (leanest_.empty() || excess < least_excess_) leanest_ = all, least_excess_ = excess;
  if (excess == 0 && price < best_price_) best_ = std::move(all), best_price_ = price;
  return best_price_;
}

/// Takes note that what is left costs at least `bound`; what is not left costs at least as much as the best.
MESHLOOM_INLINE void intra_ladder::prove(std::int64_t bound, intra_rung rung) {
  bound_ = std::max(bound_, std::min(bound, best_price_));
  if (closed() && count_.closed_by == intra_rung::none) count_.closed_by = rung;
}

MESHLOOM_INLINE result<intra_answer> intra_ladder::answer() const {
  if (best_price_ >= intra::never) {
    return failure{intra::refusal(posed_, leanest_, bound_ >= intra::never, limits_.quick_entries)};
  }
  intra_answer made = count_;
  made.options = best_;
  made.cost = {best_price_ >> whole_.shift};
  const std::int64_t unit = std::int64_t{1} << whole_.shift;
  made.bound = {(bound_ + unit - 1) / unit};  // prices are whole, so is the optimum
  return made;
}

}  // namespace detail

MESHLOOM_INLINE result<intra_answer> solve_intra(const intra_problem& posed, const intra_options& limits) {
  const std::vector<std::string> faults = check(posed);
  if (!faults.empty()) return failure{faults.front()};
  return detail::intra_ladder(posed, limits).climb();
}

}  // namespace meshloom
