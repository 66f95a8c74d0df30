// SPDX-License-Identifier: Apache-2.0
// What was found about stages, kept from one call of `solve` to the next: under another limit on memory, on more or
// fewer hosts, with other cuts or micro-batches, a stage costs what it did, and no assignment takes less than the bound
// that was proven. Only what just fits is looked for anew, from what is known on; with a pin besides, stages choose
// among what they chose without it. Where much is known, a plan is left at that if no other promises to be faster by a
// fiftieth. Law: a plan found with it is as good as one found without, up to what either leaves open, and its bound
// holds; the answer depends on the problem and on the problems solved with it before, in their order, and on nothing
// else.
#pragma once

#include <meshloom/planner/stage_ways.hpp>

#include <deque>
#include <memory>

namespace meshloom {

/// The stages of problems that differ in nothing that a stage is priced by.
class priced_stages {
 public:
  /// `freer` are those of a problem with fewer pins, if some are known.
  priced_stages(const problem& posed, const intra_options& limits, const priced_stages* freer = nullptr)
      : posed_(posed), limits_(limits), freer_(freer) {}

  priced_stages(const priced_stages&) = delete;  // what is priced asks back
  priced_stages& operator=(const priced_stages&) = delete;

  /// True if stages of the problem cost the same. Of the limits, whom they ask whether time is over does not matter.
  bool are_of(const problem& posed, const intra_options& limits) const;

  /// True if stages of the problem have those pins as well, and else cost the same.
  bool are_freer_than(const problem& posed, const intra_options& limits) const;

  /// True if they were priced here.
  bool has(const stage_ways& ways) const { return ways.is_of(posed_); }

  /// What was found with fewer pins: on the meshes that were searched there, no way takes less. None if nothing was.
  std::shared_ptr<stage_ways> freer(const stage_family& of, std::int32_t micro_batches) const;

  /// Prices read so far, here and with fewer pins.
  std::int64_t work() const;

  /// Ways that were found for the first ranges of a family.
  struct known_ways {
    std::shared_ptr<stage_ways> ways;  ///< none: not priced yet
    stage_ways::section section;
  };
  /// Those for the most ranges.
  known_ways find(const stage_family& of, std::int32_t micro_batches) const;

  std::shared_ptr<stage_ways> price(stage_family of, std::int32_t micro_batches);

 private:
  problem posed_;
  intra_options limits_;
  const priced_stages* freer_;
  shared_stage_tables tables_;
  vector<std::shared_ptr<stage_ways>> found_;
};

/// A problem, the limits on work, and the plan that was found.
struct solved_problem {
  problem posed;
  intra_options limits;
  plan found;
};

/// Stages that were priced, by what prices depend on, and the last plans. It grows with the problems that differ in
/// more, until it is destroyed. To be used by one `solve` at a time.
class known_stages {
 public:
  priced_stages& of(const problem& posed, const intra_options& limits);

  /// The plan for a problem that leaves more open, names the same mesh axes and has as much memory, if it is one for
  /// this problem too: then no plan for this one takes less than its bound.
  std::optional<plan> answer_for(const problem& posed, const intra_options& limits) const;

  /// Plans for problems on as many hosts that keep to this one's constraints, whether they fit or not; the last first.
  vector<const solved_problem*> plans_for(const problem& posed) const;

  /// What no plan takes less than, as that was proven for a problem with fewer pins, which name the same mesh axes, and
  /// as much memory; 0: none is known.
  picoseconds bound_for(const problem& posed) const;

  /// The last plan for the graph, whatever it had to keep to; none: there is none.
  const plan* last_for(const graph& whole) const;

  void remember(const problem& posed, const intra_options& limits, const plan& found);

 private:
  std::deque<priced_stages> all_;
  std::deque<solved_problem> solved_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/known_stages.inl>
#endif
