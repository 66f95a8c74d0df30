// SPDX-License-Identifier: Apache-2.0
// A price for every byte held at a moment (Lagrange multipliers) turns the limit on memory into prices of options:
// what is held is paid for, what there is room for is refunded, and the cheapest assignment is a lower bound. The
// prices rise where too much is held (subgradient method with Polyak's step). Law: rounding never raises the bound.
#pragma once

#include <meshloom/planner/intra_messages.hpp>

#include <functional>

namespace meshloom::intra {

/// The inner problem, without memory: exact by elimination where that is narrow, otherwise a bound by messages.
class relaxation {
 public:
  /// Keeps a reference to the network. Eliminates if its tables have at most `most_entries` and a run at most 32 times
  /// as much work.
  relaxation(const network& net, std::int64_t most_entries);

  /// A lower bound (the optimum, if exact) and an assignment for these prices of the options.
  optimum run(const vector<std::int64_t>& prices);

  /// A lower bound on the price of the assignments with each option, by number.
  vector<std::int64_t> bounds(const vector<std::int64_t>& prices);

  bool exact() const { return eliminate_.has_value(); }
  /// Prices read by a run and by what an ascent does around it.
  std::int64_t work() const { return around_ + (exact() ? eliminate_->work() : sweeps * pass_->work()); }

 private:
  static constexpr int sweeps = 4;  ///< per run
  std::int64_t around_ = 0;
  std::optional<elimination> eliminate_;
  std::optional<messages> pass_;
};

/// By moment, in 2^-grain of a price per byte.
using multipliers = vector<std::int64_t>;

/// Prices of the options with what they hold, rounded down.
vector<std::int64_t> prices_with(const network& net, const multipliers& at);

/// The price of all the room, rounded up.
std::int64_t refund(const network& net, const multipliers& at);

/// The multipliers of another network, by time; the times of both are in order.
multipliers carried(const vector<std::int32_t>& from, const multipliers& at, const vector<std::int32_t>& to);

struct ascent {
  multipliers at;           ///< with these the bound was found
  std::int64_t bound = 0;   ///< no legal assignment is cheaper
  std::int32_t rounds = 0;  ///< runs of the inner problem
  int halvings = 0;         ///< of the step
};

/// Sees an assignment and says the price of the best legal one known, `never` if there is none.
using visitor = std::function<std::int64_t(const assignment&)>;

/// Whether a bound leaves no room below the best known price for an assignment of the problem.
constexpr bool closes(const network& net, std::int64_t bound, std::int64_t best) {
  return bound >= never || (best < never && bound > best - (std::int64_t{1} << net.shift));
}

/// Raises the bound from the given multipliers for at most `rounds` runs of the inner problem, whose assignments are
/// visited; ends when the bound closes, or when it is told to stop. The step begins with so many halvings.
ascent ascend(const network& net, relaxation& inner, multipliers from, std::int32_t rounds, const visitor& visit,
              int halvings = 0, const std::function<bool()>& stop = {});

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_multipliers.inl>
#endif
