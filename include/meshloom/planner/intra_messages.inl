// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_messages.hpp.
#pragma once

#include <meshloom/planner/intra_messages.hpp>

#include <algorithm>

namespace meshloom::intra {

namespace detail {

/// Less than a price is still a bound: what grows beyond this, only where nothing is legal, is cut off.
inline constexpr std::int64_t most_kept = std::int64_t{1} << 56;

/// The least sum of two entries, or `least` if that is less. By turns in two places: neither waits for the other.
MESHLOOM_INLINE std::int64_t least_sum(const std::int64_t* price, const std::vector<std::int64_t>& given,
                                       std::int64_t least) {
  const std::int64_t* share = given.data();
  const std::int64_t* const end = share + given.size();
  std::int64_t other = least;
  if (given.size() % 2 != 0) least = std::min(least, *price++ + *share++);
  for (; share != end; share += 2, price += 2) {
    least = std::min(least, price[0] + share[0]);
    other = std::min(other, price[1] + share[1]);
  }
  return std::min(least, other);
}

}  // namespace detail

MESHLOOM_INLINE messages::messages(const network& net)
    : net_(net), number_(numbering(net)), edges_at_(edges_at(net)), prices_(own_prices(net)), kept_(prices_) {
  for (const network::edge& each : net.edges) {
    shares_.push_back(
        {std::vector<std::int64_t>(net.options(each.left)), std::vector<std::int64_t>(net.options(each.right))});
    work_ += 2 * static_cast<std::int64_t>(each.cost.size());
  }
}

MESHLOOM_INLINE void messages::reprice(const std::vector<std::int64_t>& prices) {
  for (std::size_t k = 0; k < prices.size(); ++k) kept_[k] += prices[k] - prices_[k];
  prices_ = prices;
}

MESHLOOM_INLINE void messages::sweep() {
  const auto count = static_cast<std::int32_t>(net_.variables.size());
  for (std::int32_t v = 0; v < count; ++v) visit(v, true);
  begun_ = true;
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

/// Takes from the edges what they can spare and gives equal shares to those ahead. Those ahead have had nothing new to
/// spare since the pass before.
MESHLOOM_INLINE void messages::visit(std::int32_t v, bool forth) {
  const auto& edges = edges_at_[static_cast<std::size_t>(v)];
  const auto ahead = [&](std::int32_t e) { return (net_.edges[static_cast<std::size_t>(e)].other(v) > v) == forth; };
  for (const std::int32_t e : edges) {
    if (!begun_ || !ahead(e)) collect(v, e);
  }
  const auto next = std::count_if(edges.begin(), edges.end(), ahead);
  const auto most = std::max<std::int64_t>(next, static_cast<std::int64_t>(edges.size()) - next);
  if (next == 0) return;
  least_.clear();
  for (std::size_t n = number_[static_cast<std::size_t>(v)]; n < number_[static_cast<std::size_t>(v) + 1]; ++n) {
    least_.push_back(kept_[n] / most);
    kept_[n] -= least_.back() * next;
  }
  for (const std::int32_t e : edges) {
    if (!ahead(e)) continue;
    auto& own = mine(v, e);
    for (std::size_t k = 0; k < own.size(); ++k) own[k] += least_[k];
  }
}

/// The least that each option of a variable finds at an edge, beside what the other end has given.
MESHLOOM_INLINE void messages::find_least(std::int32_t v, std::int32_t e, std::vector<std::int64_t>& least) const {
  const network::edge& each = net_.edges[static_cast<std::size_t>(e)];
  const auto& other = theirs(v, e);
  least.assign(net_.options(v), detail::most_kept);
  const std::int64_t* price = each.cost.data();
  if (v == each.left) {
    for (std::int64_t& low : least) {
      low = detail::least_sum(price, other, low);
      price += other.size();
    }
  } else {
    for (const std::int64_t given : other) {
      for (std::int64_t& low : least) low = std::min(low, *price++ + given);
    }
  }
}

MESHLOOM_INLINE void messages::collect(std::int32_t v, std::int32_t e) {
  find_least(v, e, least_);
  auto& own = mine(v, e);
  std::int64_t* kept = kept_.data() + number_[static_cast<std::size_t>(v)];
  for (std::size_t k = 0; k < own.size(); ++k) {
    const std::int64_t spare = std::min(least_[k] + own[k], detail::most_kept);
    own[k] -= spare;
    kept[k] = std::min(kept[k] + spare, detail::most_kept);
  }
}

MESHLOOM_INLINE std::int64_t messages::bound() const {
  std::int64_t sum = net_.constant;
  for (std::size_t v = 0; v < net_.variables.size(); ++v) {
    sum = plus(sum, *std::min_element(kept_.begin() + static_cast<std::ptrdiff_t>(number_[v]),
                                      kept_.begin() + static_cast<std::ptrdiff_t>(number_[v + 1])));
  }
  std::vector<std::int64_t> least;
  for (std::size_t e = 0; e < net_.edges.size(); ++e) {
    find_least(net_.edges[e].left, static_cast<std::int32_t>(e), least);
    for (std::size_t k = 0; k < least.size(); ++k) least[k] += shares_[e].left[k];
    sum = plus(sum, *std::min_element(least.begin(), least.end()));
  }
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
  assignment chosen;
  std::vector<std::int64_t> total, least;
  for (std::int32_t v = 0; static_cast<std::size_t>(v) < net_.variables.size(); ++v) {
    const auto first = kept_.begin() + static_cast<std::ptrdiff_t>(number_[static_cast<std::size_t>(v)]);
    total.assign(first, first + static_cast<std::ptrdiff_t>(net_.options(v)));
    for (const std::int32_t e : edges_at_[static_cast<std::size_t>(v)]) {
      const network::edge& each = net_.edges[static_cast<std::size_t>(e)];
      const std::int32_t other = each.other(v);
      const auto& mine = theirs(other, e);
      if (other > v) find_least(v, e, least);
      const edge_view price = seen_from(net_, v, each);
      for (std::size_t k = 0; k < total.size(); ++k) {
        const std::int64_t there =
            other > v ? least[k] : price(k, static_cast<std::size_t>(chosen[static_cast<std::size_t>(other)]));
        total[k] = std::min(total[k] + mine[k] + there, never);
      }
    }
    chosen.push_back(static_cast<std::int32_t>(std::min_element(total.begin(), total.end()) - total.begin()));
  }
  return chosen;
}

}  // namespace meshloom::intra
