// SPDX-License-Identifier: Apache-2.0
// Plans compete: the best so far, and the best of another shape, which is the runner-up that a plan names.
// Law: after any order of entries the winner is the fastest that fits, the runner-up the fastest of another shape that
// was not refused; whether it fits was only asked if it led once.
#pragma once

#include <meshloom/plan/plan.hpp>

#include <functional>

namespace meshloom {

/// "8 stages on 2x4 ranks, 16 micro-batches, 1f1b": what tells plans apart before any operator is looked at.
std::string shape_of(const plan& made);

namespace detail {

/// "2x4", and "1" of a mesh without axes.
std::string ranks_of(const mesh_shape& mesh);

/// "1 stage", "2 stages".
std::string counted(std::int64_t count, const std::string& what);

}  // namespace detail

class contest {
 public:
  const std::optional<plan>& best() const { return best_; }

  /// True if a plan that takes so long would be the best.
  bool is_open_to(picoseconds time) const { return !best_ || time < best_->predicted; }

  /// Takes part. `fits` is asked of a plan that would be the best; false if it does not.
  bool enter(const plan& made, const std::function<bool()>& fits);

  /// The best plan with its runner-up. There must be a plan.
  plan winner() const;

 private:
  void remember(const plan& beaten);

  std::optional<plan> best_;
  std::optional<alternative> second_;
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/contest.inl>
#endif
