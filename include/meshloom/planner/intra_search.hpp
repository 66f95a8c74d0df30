// SPDX-License-Identifier: Apache-2.0
// Local search: makes an assignment fit and then cheaper, by other options for one variable, for the two ends of an
// edge, and for a whole neighbourhood at once, which elimination solves exactly with the rest held fixed. Law: no move
// makes an assignment worse, first by the bytes that it holds beyond the room, then by its price.
#pragma once

#include <meshloom/planner/intra_multipliers.hpp>

#include <algorithm>
#include <compare>

namespace meshloom::intra {

class local_search {
 public:
  /// Keeps a reference to the network. No move is tried after `most_work`.
  local_search(const network& net, std::uint64_t seed, std::int64_t most_work);

  void start(assignment options);

  /// Single and double moves until none helps.
  void descend();

  /// Tries neighbourhoods of `most` variables around random ones, with bytes priced by the multipliers.
  void widen(std::size_t most, std::int32_t tries, const multipliers& at);

  const assignment& options() const { return options_; }
  std::int64_t price() const { return static_cast<std::int64_t>(std::min<wide>(price_, never)); }
  wide excess() const { return excess_; }

  /// Prices read so far.
  std::int64_t work() const { return work_; }

 private:
  /// What is compared: forbidden prices in it, bytes beyond the room, price.
  struct rank {
    wide forbidden;
    wide excess;
    wide price;
    auto operator<=>(const rank&) const = default;
  };
  static rank rank_of(wide price, wide excess) { return {price / never, excess, price}; }
  bool improve_one(std::int32_t v);
  bool improve_pair(const network::edge& each);
  const wide* prices_at(std::int32_t v);
  void price_all();
  wide excess_with(std::int32_t v, std::int32_t option);
  void move(std::int32_t v, std::int32_t option);
  void tell_neighbours(std::int32_t v, std::int32_t before);

  vector<std::int32_t> neighbourhood(std::size_t most);
  network around(const vector<std::int32_t>& members, const vector<std::int64_t>& prices) const;
  void solve_around(vector<std::int32_t> members, const vector<std::int64_t>& prices);
  void take(const vector<std::int32_t>& members, const assignment& options);
  std::uint64_t random();

  const network& net_;
  incidence edges_at_;
  vector<std::size_t> number_;
  assignment options_;
  vector<std::int64_t> held_;
  vector<wide> beside_;  ///< what each option costs beside the neighbours as they are; empty: not asked for yet
  std::int64_t most_work_;
  wide price_ = never;  ///< each forbidden price in it counts
  wide excess_ = 0;
  std::int64_t work_ = 0;
  std::uint64_t random_;
};

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_search.inl>
#endif
