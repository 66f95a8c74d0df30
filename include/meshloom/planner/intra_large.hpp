// SPDX-License-Identifier: Apache-2.0
// The search in a network that is too large to be solved as a whole. By turns, multipliers at few moments raise the
// bound, and neighbourhoods of the best assignment met, each solved on its own, lower the price (large
// neighbourhood search, Shaw 1998). Laws: it may be stopped at any time; the price never rises, the bound never falls.
#pragma once

#include <meshloom/planner/intra_multipliers.hpp>
#include <meshloom/planner/intra_neighbourhoods.hpp>
#include <meshloom/planner/intra_options.hpp>

namespace meshloom::intra {

/// What is known of a small network: an assignment, and whether none is cheaper.
struct part_answer {
  assignment best;
  bool closed = false;
  std::int64_t work = 0;
};

/// Solves a small network from a legal assignment on.
using part_solver = part_answer (*)(network part, const assignment& from, const intra_options& limits);

class large_search {
 public:
  /// Keeps references. `best` is legal, or empty.
  large_search(const network& net, const intra_options& limits, assignment best, part_solver solve_part);

  void run();

  const assignment& best() const { return best_; }        ///< empty: nothing legal was met
  const assignment& leanest() const { return leanest_; }  ///< the one met that came nearest to the room
  std::int64_t bound() const { return bound_; }
  const intra_answer& count() const { return count_; }

 private:
  /// A way to choose neighbourhoods, and the largest that can be solved.
  struct kind {
    vector<std::int32_t> (neighbourhoods::*choose)(std::size_t);
    std::size_t most = 40;
  };
  void raise();
  void repair();
  void improve();
  void improve_around(neighbourhoods& around, kind& chosen);
  void offer(const assignment& options);
  bool tired() const;

  const network& net_;
  const intra_options& limits_;
  part_solver solve_part_;
  relaxation inner_;  ///< its messages stay, whatever moments there are
  vector<std::int32_t> moments_;
  ascent up_;  ///< at these moments
  kind kinds_[2] = {{&neighbourhoods::near_each_other}, {&neighbourhoods::alive_together}};
  assignment best_, leanest_;
  std::int64_t best_price_ = never, bound_ = 0;
  wide least_excess_ = 0;
  std::uint64_t turns_ = 0;
  intra_answer count_;
};

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_large.inl>
#endif
