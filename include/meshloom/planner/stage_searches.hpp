// SPDX-License-Identifier: Apache-2.0
// The stage searches of a cluster: one for each kind of its groups of hosts, on which the same stage takes and holds
// something else. Groups with equal devices and links are of one kind and share what is priced. A search sees the
// cluster with the largest group of its kind in front, and prices stages there.
// Law: of a cluster of one group, that one search.
#pragma once

#include <meshloom/planner/stage_search.hpp>

#include <deque>
#include <memory>
#include <utility>

namespace meshloom {

/// The kind of every group, in the order of ranks: groups that differ in nothing but their hosts are of one. The first
/// is of kind 0, and kinds are numbered as they come.
vector<std::int32_t> kinds_of(const cluster& machine);

/// What stages on a group of a kind take into account: the problem with the largest such group in front.
problem seen_from(const problem& posed, std::int32_t kind);

/// What `stage_search` says of each; candidates are numbered through, kind by kind.
class stage_searches {
 public:
  /// The kind and which way of which range a candidate is.
  using origin = std::pair<std::int32_t, stage_search::origin>;

  stage_searches(const problem& posed, std::int32_t micro_batches, const intra_options& limits,
                 stage_searches* fewer = nullptr, known_stages* known = nullptr);

  const vector<stage_candidate>& candidates() const;
  vector<stage_candidate> bounds() const;
  vector<stage_candidate> needs() const;
  bool tighten(const vector<stage_candidate>& some, std::int64_t most_work);
  bool find_times(const vector<stage_candidate>& some, std::int64_t most_work);
  void expect(picoseconds best);
  bool is_open(std::int32_t candidate) const;
  vector<origin> origins_of(const vector<std::int32_t>& candidates) const;
  vector<std::int32_t> ways_like(std::int32_t candidate) const;
  void refine(const vector<std::int32_t>& open);
  bool find_others(const vector<std::int32_t>& like);
  void reach(std::int32_t ranks);
  void close();
  stage_plan plan_of(std::int32_t candidate, std::int32_t first_block, std::int32_t first_rank) const;
  const std::string& stuck() const;
  std::int64_t work() const;
  std::int64_t priced_work() const;

 private:
  /// The kind of a candidate, and its number there.
  std::pair<std::size_t, std::int32_t> place_of(std::int32_t candidate) const;
  /// Candidates by kind, with their numbers there.
  vector<vector<std::int32_t>> by_kind(const vector<std::int32_t>& candidates) const;
  static vector<stage_candidate> of_kind(const vector<stage_candidate>& some, std::size_t kind);
  /// Puts together what every search has of something.
  vector<stage_candidate> together(vector<stage_candidate> (stage_search::*part)() const) const;
  void list_candidates();

  std::shared_ptr<const vector<problem>> seen_;  ///< by kind; none if there is only one
  std::deque<stage_search> searches_;            ///< by kind
  vector<stage_candidate> candidates_;           ///< of all, if there are several
  vector<std::int32_t> begin_;                   ///< of the candidates of each
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/stage_searches.inl>
#endif
