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
reduction presolve(network given, const vector<std::uint8_t>& keep = {}, std::int64_t most_entries = 1 << 16);

/// The state of presolve. Variables that are gone keep their numbers until the end; options that are gone leave all
/// tables at once, so that what is left lies side by side.
class presolver {
 public:
  presolver(network given, const vector<std::uint8_t>& keep, std::int64_t most_entries);
  reduction run();

 private:
  struct state {
    vector<std::int32_t> left;         ///< the options that are not gone, as they were given
    bool gone = false, dirty = false;  ///< dirty: something around it changed since it was looked at
    bool lost = false;                 ///< it lost options since partners were last pruned
    vector<std::int32_t> edges;
  };
  state& at(std::int32_t v) { return states_[index(v)]; }
  network::variable& variable(std::int32_t v) { return net_.variables[index(v)]; }
  network::edge& edge(std::int32_t e) { return net_.edges[index(e)]; }
  static std::size_t index(std::int32_t number) { return static_cast<std::size_t>(number); }
  std::size_t options(std::int32_t v) const { return net_.options(v); }

  /// Takes out the options that are doomed.
  template <class Doomed>
  void kill_if(std::int32_t v, const Doomed& doomed);
  void keep_only(std::int32_t v, const vector<std::size_t>& kept);
  void touch(std::int32_t v);
  void lose(std::int32_t v);

  void settle_memory();
  void keep_binding_moments();
  void prune_sizes(const vector<std::int64_t>& least);
  void prune_partners();

  void look_at(std::int32_t v);
  bool separate(std::int32_t e);
  bool match(std::int32_t e);
  void contract(std::int32_t e, const vector<std::size_t>& partner);
  void move_parts(std::int32_t from, std::int32_t to, const vector<std::size_t>& partner);
  /// The prices with a neighbour, and the cheapest partner of each option.
  struct surrounding {
    edge_view price = {};
    std::size_t partners = 0;
    vector<std::int64_t> least = {};
    vector<std::size_t> favourite = {};
  };
  void look_around(std::int32_t v, const network::edge& each, surrounding& made) const;
  void dominate(std::int32_t v);
  void price_beside_partners_of(std::int32_t v, std::size_t worse);
  bool beats(std::int32_t v, std::size_t better, std::size_t worse) const;
  removal how_to_remove(std::int32_t v);
  void eliminate(std::int32_t v);
  static vector<std::int64_t> least_with(const removal& how);

  void remove_edge(std::int32_t e);
  void add_edge(std::int32_t left, std::int32_t right, vector<std::int64_t> cost);
  reduction compact();

  network net_;
  std::int64_t most_entries_;
  vector<state> states_;
  vector<std::int32_t> lost_;  ///< the variables that lost options
  vector<removal> removals_;
  vector<std::size_t> kept_;    ///< of the variable that loses others
  vector<surrounding> around_;  ///< the variable that is looked at, and its best prices beside them
  vector<std::int64_t> best_;
  vector<std::int64_t> beside_;  ///< its prices where one option is at its best
  vector<std::uint8_t> beaten_;
  bool possible_ = true, changed_ = true;
};

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_presolve.inl>
#endif
