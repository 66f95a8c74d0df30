// SPDX-License-Identifier: Apache-2.0
// What was found about stages, kept from one call of `solve` to the next: under another limit on memory, on more or
// fewer hosts, with other cuts or micro-batches, a stage costs what it did, and no assignment takes less than the bound
// that was proven. Only what just fits is looked for anew, from what is known on. Law: a plan found with it is as good
// as one found without, up to what either leaves open, and its bound holds; the answer depends on the problem and on
// the problems solved with it before, in their order, and on nothing else.
#pragma once

#include <meshloom/planner/stage_ways.hpp>

#include <deque>
#include <memory>

namespace meshloom {

/// The stages of problems that differ in nothing that a stage is priced by.
class priced_stages {
 public:
  priced_stages(const problem& posed, const intra_options& limits) : posed_(posed), limits_(limits) {}

  priced_stages(const priced_stages&) = delete;  // what is priced asks back
  priced_stages& operator=(const priced_stages&) = delete;

  /// True if stages of the problem cost the same. Of the limits, whom they ask whether time is over does not matter.
  bool are_of(const problem& posed, const intra_options& limits) const;

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
  shared_stage_tables tables_;
  std::vector<std::shared_ptr<stage_ways>> found_;
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

  /// The plan for a problem that leaves more open and has as much memory, if it is one for this problem too: then no
  /// plan for this one takes less than its bound.
  std::optional<plan> answer_for(const problem& posed, const intra_options& limits) const;

  /// Plans for problems on as many hosts that keep to this one's constraints, whether they fit or not; the last first.
  std::vector<const solved_problem*> plans_for(const problem& posed) const;

  void remember(const problem& posed, const intra_options& limits, const plan& found);

 private:
  std::deque<priced_stages> all_;
  std::deque<solved_problem> solved_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/known_stages.inl>
#endif
