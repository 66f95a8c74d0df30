// SPDX-License-Identifier: Apache-2.0
// Presolve makes a network smaller without losing its optimum: options that nothing allows or that another one beats
// go, must-match variables become one, and variables whose size does not matter are eliminated while that is cheap.
// Law: every step is exact by itself and looks at no incumbent, so an optimum of what is left is one of what was given.
#pragma once

#include <meshloom/planner/intra_reduction.hpp>

#include <algorithm>
#include <utility>

namespace meshloom::intra {

/// Reduces a network until nothing changes. `keep`, by option number, says which options are to be considered; empty:
/// all. No table with more than `most_entries` is made.
reduction presolve(const network& given, const std::vector<std::uint8_t>& keep = {},
                   std::int64_t most_entries = 1 << 16);

/// The state of presolve. Options and variables that are gone keep their numbers until the end, so that a removal is
/// told in the numbers of the given network.
class presolver {
 public:
  presolver(const network& given, const std::vector<std::uint8_t>& keep, std::int64_t most_entries);
  reduction run();

 private:
  struct state {
    std::vector<std::size_t> left;    ///< the options that are not gone
    bool gone = false, dirty = true;  ///< dirty: something around it changed since it was looked at
    bool lost = false;                ///< it lost options since partners were last pruned
    std::vector<std::int32_t> edges;
  };
  state& at(std::int32_t v) { return states_[index(v)]; }
  network::variable& variable(std::int32_t v) { return net_.variables[index(v)]; }
  network::edge& edge(std::int32_t e) { return net_.edges[index(e)]; }
  static std::size_t index(std::int32_t number) { return static_cast<std::size_t>(number); }
  template <class Meets>
  bool all_left(std::int32_t v, const Meets& meets) {
    return std::all_of(at(v).left.begin(), at(v).left.end(), meets);
  }

  /// Takes out the options that are doomed, one after the other.
  template <class Doomed>
  void kill_if(std::int32_t v, const Doomed& doomed);
  void touch(std::int32_t v);
  void lose(std::int32_t v);

  void settle_memory();
  std::pair<std::int64_t, std::int64_t> range(std::int32_t v, const network::part& each);
  void keep_binding_moments();
  void prune_sizes(const std::vector<std::int64_t>& least);
  void prune_partners();

  void look_at(std::int32_t v);
  bool separate(std::int32_t e);
  bool match(std::int32_t e);
  void contract(std::int32_t e, const std::vector<std::int32_t>& partner);
  void move_parts(std::int32_t from, std::int32_t to, const std::vector<std::int32_t>& partner);
  /// The prices with a neighbour, and the cheapest partner of each option that is left, by its place among them.
  struct surrounding {
    edge_view price = {};
    const std::vector<std::size_t>* partners = nullptr;
    std::vector<std::int64_t> least = {};
    std::vector<std::size_t> favourite = {};
  };
  void look_around(std::int32_t v, const network::edge& each, surrounding& made);
  void dominate(std::int32_t v);
  bool beats(std::int32_t v, std::size_t better, std::size_t worse) const;
  removal how_to_remove(std::int32_t v);
  void eliminate(std::int32_t v);
  std::vector<std::int64_t> least_with(std::int32_t v, const removal& how);

  void remove_edge(std::int32_t e);
  void add_edge(std::int32_t left, std::int32_t right, std::vector<std::int64_t> cost);
  reduction compact();

  network net_;
  std::int64_t most_entries_;
  std::vector<state> states_;
  std::vector<std::int32_t> lost_;  ///< the variables that lost options
  std::vector<removal> removals_;
  std::vector<surrounding> around_;  ///< the variable that is looked at, and its best prices beside them
  std::vector<std::int64_t> best_;
  bool possible_ = true, changed_ = true;
};

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_presolve.inl>
#endif
