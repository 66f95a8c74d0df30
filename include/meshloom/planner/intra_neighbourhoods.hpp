// SPDX-License-Identifier: Apache-2.0
// Neighbourhoods of a legal assignment: some variables are free, all others stay as they are, and what is free makes a
// network of its own, small enough to be solved exactly. Law: a legal assignment of a neighbourhood is a legal
// assignment of the whole, and the difference in price is the same.
#pragma once

#include <meshloom/planner/intra_network.hpp>

namespace meshloom::intra {

class neighbourhoods {
 public:
  /// Keeps a reference to the network. The assignment must be legal.
  neighbourhoods(const network& net, assignment legal, std::uint64_t seed);

  /// About `most` variables: the nearest to a random one, or some that are alive at a moment that is full.
  vector<std::int32_t> near_each_other(std::size_t most);
  vector<std::int32_t> alive_together(std::size_t most);

  /// The members alone, with the room and the prices that the others leave them.
  network around(const vector<std::int32_t>& members) const;

  /// The options of the members.
  assignment chosen(const vector<std::int32_t>& members) const;
  void choose(const vector<std::int32_t>& members, const assignment& options);

  const assignment& options() const { return options_; }
  std::uint64_t random();

 private:
  void grow(vector<std::int32_t>& members, std::size_t from, std::size_t most);
  void add_sizes(const vector<std::int32_t>& members, network& made) const;

  const network& net_;
  incidence edges_at_;
  vector<vector<std::int32_t>> alive_at_;  ///< the variables with size, by moment
  assignment options_;
  vector<std::int64_t> held_;
  vector<std::uint8_t> inside_;  ///< all zero between calls
  std::uint64_t random_;
};

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_neighbourhoods.inl>
#endif
