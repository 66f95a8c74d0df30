// SPDX-License-Identifier: Apache-2.0
// Dual bounds by message passing: prices move between variables and edges so that the sum of everyone's cheapest entry
// rises (sequential reweighted message passing, Kolmogorov 2015; for pairs it is TRW-S). It works at any width and says
// for every option how cheap an assignment with it can be. Law: every move is exact in integers, so every state is a
// proof; memory is not looked at.
#pragma once

#include <meshloom/planner/intra_elimination.hpp>

namespace meshloom::intra {

class messages {
 public:
  /// Keeps a reference to the network.
  explicit messages(const network& net);

  /// From now on the option with number n costs `prices[n]`; the messages stay.
  void reprice(const std::vector<std::int64_t>& prices);

  /// One pass forth and one back.
  void sweep();

  /// No assignment is cheaper.
  std::int64_t bound() const;

  /// No assignment with the option of that number is cheaper than `bounds()[number]`.
  std::vector<std::int64_t> bounds() const;

  /// An assignment that the messages suggest: option by option, what fits best to the variables before.
  assignment decode() const;

  /// Prices read by one sweep.
  std::int64_t work() const { return work_; }

  /// What an edge has been given by its ends, added to its prices: by option of left, by option of right.
  struct shares {
    std::vector<std::int64_t> left, right;
  };
  const std::vector<shares>& given() const { return shares_; }  ///< by edge

 private:
  std::vector<std::int64_t>& mine(std::int32_t v, std::int32_t e);
  const std::vector<std::int64_t>& theirs(std::int32_t v, std::int32_t e) const;
  void visit(std::int32_t v, bool forth);
  void collect(std::int32_t v, std::int32_t e);
  void find_least(std::int32_t v, std::int32_t e, std::vector<std::int64_t>& least) const;

  const network& net_;
  std::vector<std::size_t> number_;
  std::vector<std::vector<std::int32_t>> edges_at_;
  std::vector<std::int64_t> prices_;  ///< as told
  std::vector<std::int64_t> kept_;    ///< what is left of each option's price after giving and taking
  std::vector<shares> shares_;        ///< by edge
  std::vector<std::int64_t> least_;   ///< of the edge that is looked at, by option
  std::int64_t work_ = 0;
  bool begun_ = false;  ///< every variable has been visited
};

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_messages.inl>
#endif
