// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_messages.hpp.
#pragma once

#include <meshloom/planner/intra_messages.hpp>

#include <algorithm>

namespace meshloom::intra {

namespace detail {

/// Less than a price is still a bound: what grows beyond this, only where nothing is legal, is cut off.
inline constexpr std::int64_t most_kept = std::int64_t{1} << 56;

}  // namespace detail

MESHLOOM_INLINE messages::messages(const network& net)
    : net_(net), number_(numbering(net)), edges_at_(edges_at(net)), prices_(own_prices(net)), kept_(prices_) {
  for (const network::edge& each : net.edges) {
    shares_.push_back(
        {std::vector<std::int64_t>(net.options(each.left)), std::vector<std::int64_t>(net.options(each.right))});
    work_ += 4 * static_cast<std::int64_t>(each.cost.size());
  }
}

MESHLOOM_INLINE void messages::reprice(const std::vector<std::int64_t>& prices) {
  for (std::size_t k = 0; k < prices.size(); ++k) kept_[k] += prices[k] - prices_[k];
  prices_ = prices;
}

MESHLOOM_INLINE void messages::sweep() {
  const auto count = static_cast<std::int32_t>(net_.variables.size());
  for (std::int32_t v = 0; v < count; ++v) visit(v, true);
  for (std::int32_t v = count; v-- > 0;) visit(v, false);
}

MESHLOOM_INLINE std::vector<std::int64_t>& messages::mine(std::int32_t v, std::int32_t e) {
  shares& here = shares_[static_cast<std::size_t>(e)];
  return net_.edges[static_cast<std::size_t>(e)].left == v ? here.left : here.right;
}

MESHLOOM_INLINE const std::vector<std::int64_t>& messages::theirs(std::int32_t v, std::int32_t e) const {
  const shares& here = shares_[static_cast<std::size_t>(e)];
  return net_.edges[static_cast<std::size_t>(e)].left == v ? here.right : here.left;
}

/// Takes from all edges what they can spare and gives equal shares to those ahead.
MESHLOOM_INLINE void messages::visit(std::int32_t v, bool forth) {
  const auto& edges = edges_at_[static_cast<std::size_t>(v)];
  for (const std::int32_t e : edges) collect(v, e);
  const auto ahead = [&](std::int32_t e) { return (net_.edges[static_cast<std::size_t>(e)].other(v) > v) == forth; };
  const auto next = std::count_if(edges.begin(), edges.end(), ahead);
  const auto most = std::max<std::int64_t>(next, static_cast<std::int64_t>(edges.size()) - next);
  if (next == 0) return;
  const std::size_t first = number_[static_cast<std::size_t>(v)];
  for (std::size_t k = 0; k < net_.options(v); ++k) {
    std::int64_t& kept = kept_[first + k];
    const std::int64_t share = kept / most;
    kept -= share * next;
    for (const std::int32_t e : edges) {
      if (ahead(e)) mine(v, e)[k] += share;
    }
  }
}

MESHLOOM_INLINE void messages::collect(std::int32_t v, std::int32_t e) {
  const edge_view price = seen_from(net_, v, net_.edges[static_cast<std::size_t>(e)]);
  auto& own = mine(v, e);
  const auto& other = theirs(v, e);
  for (std::size_t k = 0; k < own.size(); ++k) {
    std::int64_t least = detail::most_kept;
    for (std::size_t j = 0; j < other.size(); ++j) least = std::min(least, price(k, j) + other[j]);
    const std::int64_t spare = std::min(least + own[k], detail::most_kept);
    own[k] -= spare;
    std::int64_t& kept = kept_[number_[static_cast<std::size_t>(v)] + k];
    kept = std::min(kept + spare, detail::most_kept);
  }
}

MESHLOOM_INLINE std::int64_t messages::least_of_edge(std::size_t e) const {
  const network::edge& each = net_.edges[e];
  std::int64_t least = detail::most_kept;
  for (std::size_t i = 0; i < shares_[e].left.size(); ++i) {
    const std::int64_t* row = each.cost.data() + i * shares_[e].right.size();
    for (std::size_t j = 0; j < shares_[e].right.size(); ++j) {
      least = std::min(least, row[j] + shares_[e].left[i] + shares_[e].right[j]);
    }
  }
  return least;
}

MESHLOOM_INLINE std::int64_t messages::bound() const {
  std::int64_t sum = net_.constant;
  for (std::size_t v = 0; v < net_.variables.size(); ++v) {
    sum = plus(sum, *std::min_element(kept_.begin() + static_cast<std::ptrdiff_t>(number_[v]),
                                      kept_.begin() + static_cast<std::ptrdiff_t>(number_[v + 1])));
  }
  for (std::size_t e = 0; e < net_.edges.size(); ++e) sum = plus(sum, least_of_edge(e));
  return sum;
}

MESHLOOM_INLINE std::vector<std::int64_t> messages::bounds() const {
  std::vector<std::int64_t> found = kept_;
  const std::int64_t all = bound();
  for (std::size_t v = 0; v < net_.variables.size(); ++v) {
    const auto begin = found.begin() + static_cast<std::ptrdiff_t>(number_[v]);
    const auto end = found.begin() + static_cast<std::ptrdiff_t>(number_[v + 1]);
    const std::int64_t least = *std::min_element(begin, end);
    for (auto each = begin; each != end; ++each) *each = std::min(*each + all - least, never);
  }
  return found;
}

MESHLOOM_INLINE assignment messages::decode() const {
  assignment chosen(net_.variables.size(), 0);
  for (std::size_t v = 0; v < chosen.size(); ++v) {
    std::vector<std::int64_t> total(kept_.begin() + static_cast<std::ptrdiff_t>(number_[v]),
                                    kept_.begin() + static_cast<std::ptrdiff_t>(number_[v + 1]));
    for (const std::int32_t e : edges_at_[v]) {
      const network::edge& each = net_.edges[static_cast<std::size_t>(e)];
      const auto own = static_cast<std::int32_t>(v);
      const edge_view price = seen_from(net_, own, each);
      const auto other = static_cast<std::size_t>(each.other(own));
      const bool left = each.left == own;
      const auto& mine = left ? shares_[static_cast<std::size_t>(e)].left : shares_[static_cast<std::size_t>(e)].right;
      for (std::size_t k = 0; k < total.size(); ++k) {
        std::int64_t least = never;
        if (other < v) least = price(k, static_cast<std::size_t>(chosen[other]));
        for (std::size_t j = 0; other > v && j < theirs(own, e).size(); ++j) {
          least = std::min(least, price(k, j) + theirs(own, e)[j]);
        }
        total[k] = std::min(total[k] + mine[k] + least, never);
      }
    }
    chosen[v] = static_cast<std::int32_t>(std::min_element(total.begin(), total.end()) - total.begin());
  }
  return chosen;
}

}  // namespace meshloom::intra
