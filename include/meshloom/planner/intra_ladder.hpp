// SPDX-License-Identifier: Apache-2.0
// One climb up the ladder of the intra-operator solver: the best assignment met, the bound, and a network that is
// reduced again whenever the two come closer. Laws: bound ≤ optimum ≤ price of the best; every rung gets what work the
// ones below have left.
#pragma once

#include <meshloom/planner/intra_branch.hpp>
#include <meshloom/planner/intra_large.hpp>
#include <meshloom/planner/intra_options.hpp>

namespace meshloom::intra {

class ladder {
 public:
  /// Keeps a reference to the limits.
  ladder(network whole, const intra_options& limits) : limits_(limits), whole_(std::move(whole)) {}

  /// Remembers an assignment of the whole if it is the best or the leanest so far.
  void start_from(const assignment& options);

  void climb();

  const network& whole() const { return whole_; }
  const assignment& best() const { return best_; }        ///< the cheapest legal one met; empty: none
  const assignment& leanest() const { return leanest_; }  ///< the one met that came nearest to the limit
  std::int64_t best_price() const { return best_price_; }
  std::int64_t bound() const { return bound_; }  ///< `never`: proven that nothing is legal
  bool closed() const { return closes(whole_, bound_, best_price_); }
  const intra_answer& count() const { return count_; }  ///< rounds, nodes, work and the rung that closed

 private:
  static constexpr std::size_t most_around = 12;  ///< variables of a neighbourhood
  static constexpr std::size_t few_moments = 128;

  // The rungs.
  void presolve(const vector<std::uint8_t>& keep = {});
  bool large() const { return static_cast<std::int64_t>(numbering(rest()).back()) > limits_.most_binaries; }
  void search_large();
  void few_at_a_time();
  void eliminate(std::int64_t most_entries, std::int64_t most_work);
  bool narrow();
  void raise_and_search();
  relaxation relaxed(std::int64_t runs) const;
  void search_around(local_search& search, assignment from);
  bool prune();
  bool keep_better(const vector<std::int64_t>& bounds, std::int64_t paid_back, std::size_t many);
  void split();
  void ask();

  // What they share.
  const network& rest() const { return reductions_.empty() ? whole_ : reductions_.back().net; }
  assignment lowered(assignment options) const;
  std::int64_t offer(const assignment& options);
  void prove(std::int64_t bound, intra_rung rung);
  void add(const intra_answer& count);
  bool tired() const { return closed() || work_left() == 0; }
  std::int64_t work_left() const;

  const intra_options& limits_;
  const network whole_;
  vector<reduction> reductions_;  ///< one of the other; what they leave out cannot beat the best
  ascent ascent_;                 ///< of the network that is left
  assignment best_, leanest_;
  std::int64_t best_price_ = never, bound_ = 0;
  wide least_excess_ = 0;
  intra_answer count_;
};

/// A climb of its own: how large searches solve neighbourhoods.
part_answer climbed(network part, const assignment& from, const intra_options& limits);

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_ladder.inl>
#endif
