// SPDX-License-Identifier: Apache-2.0
// The best ways to run ranges of blocks as stages, for one number of micro-batches: every range × submesh × logical
// mesh is an intra-operator problem. Ranges with as many copies of every region are one problem; along the number of
// copies of a repeated layer the price of an assignment is a line, so that one which is best at both ends of an
// interval is best in between, and planning many layers costs little more than planning two. Law: the price of every
// candidate is that of its own problem.
#pragma once

#include <meshloom/planner/inter_problem.hpp>
#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/stage_choices.hpp>

#include <limits>

namespace meshloom {

/// A range of blocks on a mesh, with everything chosen. It stands for all ranges with as many copies of every region.
struct stage_answer {
  std::int32_t first_block = 0, end_block = 0;
  std::size_t mesh = 0;
  std::int32_t slots = 0;             ///< that it was made to fit; 0: memory was not looked at
  std::vector<std::int32_t> options;  ///< of the stage's choices
  stage_cost cost;
  picoseconds bound;  ///< micro-batches · time + once is not less for any assignment
  bytes held() const { return cost.fixed + cost.transient; }
};

class stage_search {
 public:
  /// `limits` are those of every intra-operator problem.
  stage_search(const problem& posed, std::int32_t micro_batches, const intra_options& limits);

  /// Prices the whole model as one stage.
  void run_whole() { run(true, {std::numeric_limits<std::int64_t>::max()}); }

  /// Prices the stages of pipelines, as far as a step that takes `worth` or less can have them.
  void run_parts(picoseconds worth) { run(false, worth); }

  /// An operator that no strategy was allowed for; empty if there was none.
  const std::string& stuck() const { return stuck_; }

  /// The candidates of the inter-operator problem, and (with `bounds`) what no choice of strategies makes them take.
  std::vector<stage_candidate> candidates(bool bounds) const;

  /// The stage plan of a candidate, from `first_rank` on.
  stage_plan plan_of(std::size_t candidate, std::int32_t first_rank) const;

 private:
  /// Ranges that differ in how many copies of one region they have.
  struct family {
    std::vector<std::int32_t> copies;                           ///< per region; −1: the one that varies
    std::vector<std::pair<std::int32_t, std::int32_t>> ranges;  ///< one per number of copies, rising
  };

  void run(bool whole, picoseconds worth);
  void find_meshes();
  void find_work();
  /// No stage on `ranks` ranks runs a range in less, for all micro-batches: its work, divided evenly.
  picoseconds least_time(std::int32_t first_block, std::int32_t end_block, std::int32_t ranks) const;
  bool is_possible(std::int32_t first_block, std::int32_t end_block) const;
  std::vector<family> families() const;
  void solve_family(const family& each, std::size_t mesh);
  void solve_between(const family& each, const stage_answer& low, const stage_answer& high, std::size_t a,
                     std::size_t b);
  std::optional<stage_answer> solve_range(std::int32_t first_block, std::int32_t end_block, std::size_t mesh,
                                          std::int32_t slots);
  /// Adds an answer for a range, and for all ranges like it, and what fits more micro-batches in flight.
  void add(const stage_answer& found);
  /// How many copies of each region a range has; then, whether its first block differs from the other copies.
  std::vector<std::int32_t> copies_in(std::int32_t first_block, std::int32_t end_block) const;
  /// Calls `visit(answer, first_block, end_block)` for every candidate, in order.
  template <class Visit>
  void for_each_candidate(const Visit& visit) const;
  stage_plan stage_on(std::int32_t first_block, std::int32_t end_block, std::size_t mesh) const;
  std::int32_t most_slots() const;

  const problem& posed_;
  std::int32_t micro_batches_;
  intra_options limits_;
  std::vector<stage_plan> meshes_;  ///< with a mesh and nothing else
  std::vector<picoseconds> work_;   ///< of all blocks before this one, on one rank, launches apart
  std::vector<stage_answer> answers_;
  std::string stuck_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/stage_search.inl>
#endif
