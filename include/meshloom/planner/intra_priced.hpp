// SPDX-License-Identifier: Apache-2.0
// An intra problem without a limit, solved at many prices of the bytes that its options hold: what is worse at every
// price is left out once, for all of them. Laws: an answer costs what its options do, and their bytes at the price,
// rounded down; bound ≤ cost, and no assignment with its bytes costs less than the bound.
#pragma once

#include <meshloom/planner/intra_ladder.hpp>

namespace meshloom {

/// What `per` bytes cost, alive at one time.
struct byte_price {
  picoseconds cost;
  bytes per;
};

class priced_intra {
 public:
  /// `paid` says for every option of every choice how many bytes are paid for. The problem has no fault.
  priced_intra(const intra_problem& posed, const vector<vector<bytes>>& paid);

  /// Begins with what was best at other prices. None if nothing is legal, or if prices are too large to be added up.
  std::optional<intra_answer> solve(const byte_price& each, const intra_options& limits);

 private:
  /// What is left at a price, in ps.
  intra::network at(const byte_price& each) const;

  intra::reduction once_;            ///< its network is left in ps
  std::int64_t most_together_ = 0;   ///< that pairs of its options may cost, or `never`
  vector<intra::assignment> known_;  ///< of what is left
};

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_priced.inl>
#endif
