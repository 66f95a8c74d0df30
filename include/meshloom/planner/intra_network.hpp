// SPDX-License-Identifier: Apache-2.0
// A network of decisions, the solver's form of an intra problem: variables with prices per option, at most one edge
// between two of them, and the bytes that their options need at a few moments, the only times that can be the fullest.
// Laws: prices are exact multiples of 2^-shift ps and never negative; the legal assignments are those of the problem.
#pragma once

#include <meshloom/planner/intra_problem.hpp>

#include <span>

namespace meshloom::intra {

/// At least this dear: cannot be.
inline constexpr std::int64_t never = forbidden.count;

/// A sum of prices in which one that is never stays never.
constexpr std::int64_t plus(std::int64_t a, std::int64_t b) { return a + b < never ? a + b : never; }

__extension__ using wide = __int128;  ///< products of prices and bytes

using assignment = vector<std::int32_t>;  ///< an option per variable

struct network {
  /// What the options of a variable hold during some moments, half-open. The parts of a variable add up.
  struct part {
    std::int32_t first = 0, end = 0;
    vector<std::int64_t> size;
  };
  struct variable {
    vector<std::int64_t> cost;
    vector<part> parts;
    std::size_t options() const { return cost.size(); }
  };
  /// Prices of options of `left` (rows) with options of `right`.
  struct edge {
    std::int32_t left = 0, right = 0;
    vector<std::int64_t> cost;
    std::int32_t other(std::int32_t end) const { return end == left ? right : left; }
  };

  vector<variable> variables;
  vector<edge> edges;
  vector<std::int64_t> room;   ///< bytes that the variables may hold at each moment
  vector<std::int32_t> times;  ///< the time of the problem that each moment is
  bool paid = false;           ///< bytes have a price instead, which is yet to be said: all moments matter
  bool reduced = false;        ///< presolve finds nothing more in it, unless it loses options
  std::int64_t constant = 0;   ///< paid by every assignment
  int shift = 0;               ///< prices are ps times 2^shift, so that what rounding loses stays below one ps
  int grain = 0;               ///< multipliers of memory have so many bits after the point

  std::size_t options(std::int32_t v) const { return variables[static_cast<std::size_t>(v)].options(); }
};

/// A network with the legal assignments and prices of a problem without faults.
network network_of(const intra_problem& posed);

/// An edge as one of its ends sees it: its own option first.
struct edge_view {
  const std::int64_t* cost;
  std::size_t own, other;  ///< strides
  std::int64_t operator()(std::size_t mine, std::size_t theirs) const { return cost[mine * own + theirs * other]; }
};
inline edge_view seen_from(const network& net, std::int32_t end, const network::edge& each) {
  const std::size_t columns = net.options(each.right);
  if (end == each.left) return {each.cost.data(), columns, 1};
  return {each.cost.data(), 1, columns};
}

/// The edges at each variable, in order, one list after the other.
struct incidence {
  vector<std::size_t> begin;  ///< by variable, and at the end how many there are
  vector<std::int32_t> edges;
  std::span<const std::int32_t> operator[](std::size_t v) const {
    return std::span(edges).subspan(begin[v], begin[v + 1] - begin[v]);
  }
};
incidence edges_at(const network& net);

/// Options are numbered through: the number of each variable's first, and at the end how many there are.
vector<std::size_t> numbering(const network& net);

/// The price of each option by that number.
vector<std::int64_t> own_prices(const network& net);

/// Price of an assignment, `never` if it cannot be.
std::int64_t price_of(const network& net, const assignment& options);

/// Bytes held at each moment.
vector<std::int64_t> held(const network& net, const assignment& options);

/// Bytes beyond the room, added up over the moments.
wide excess(const network& net, const vector<std::int64_t>& bytes_held);

}  // namespace meshloom::intra

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_network.inl>
#endif
