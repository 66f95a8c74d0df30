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
  void reprice(const vector<std::int64_t>& prices);

  /// One pass forth and one back.
  void sweep();

  /// No assignment is cheaper.
  std::int64_t bound() const;

  /// No assignment with the option of that number is cheaper than `bounds()[number]`.
  vector<std::int64_t> bounds() const;

  /// An assignment that the messages suggest: option by option, what fits best to the variables before.
  assignment decode() const;

  /// Prices read by one sweep.
  std::int64_t work() const { return work_; }

  /// What an edge has been given by its ends, added to its prices: by option of left, by option of right.
  struct shares {
    std::span<const std::int64_t> left, right;
  };
  shares given(std::size_t edge) const;

 private:
  /// An edge as one of its ends sees it.
  struct side {
    const std::int64_t* cost = nullptr;
    bool rows = false;                 ///< the own options are
    std::int32_t other = 0;            ///< the variable at the other end,
    std::size_t partners = 0;          ///< and its options
    std::size_t mine = 0, theirs = 0;  ///< where the shares that the ends have given begin
  };
  std::span<const side> sides_of(std::int32_t v) const;
  void visit(std::int32_t v, bool forth);
  void collect(std::int32_t v, const side& by);
  void share(std::int32_t v, bool forth);
  void find_least(const side& by, std::size_t options, vector<std::int64_t>& least) const;

  const network& net_;
  vector<std::size_t> number_;
  vector<side> sides_;               ///< of one variable after the other, in order of edges
  vector<std::size_t> first_side_;   ///< by variable
  vector<std::int64_t> prices_;      ///< as told
  vector<std::int64_t> kept_;        ///< what is left of each option's price after giving and taking
  vector<std::int64_t> given_;       ///< to one edge after the other, by left and by right
  vector<std::size_t> first_given_;  ///< by edge
  vector<std::int64_t> least_;       ///< of the edge that is looked at, by option
  std::int64_t work_ = 0;
  bool begun_ = false;  ///< every variable has been visited
};

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_messages.inl>
#endif
