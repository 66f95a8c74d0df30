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
MESHLOOM_INLINE std::int64_t least_sum(const std::int64_t* price, const std::int64_t* share, std::size_t count,
                                       std::int64_t least) {
  const std::int64_t* const end = share + count;
  std::int64_t other = least;
  if (count % 2 != 0) least = std::min(least, *price++ + *share++);
  for (; share != end; share += 2, price += 2) {
    least = std::min(least, price[0] + share[0]);
    other = std::min(other, price[1] + share[1]);
  }
  return std::min(least, other);
}

/// The whole part of a quotient; division by a number that the compiler knows is several times faster.
constexpr std::int64_t quotient(std::int64_t all, std::int64_t parts) {
  switch (parts) {
    case 1:
      return all;
    case 2:
      return all / 2;
    case 3:
      return all / 3;
    case 4:
      return all / 4;
    default:
      return all / parts;
  }
}

}  // namespace detail

MESHLOOM_INLINE messages::messages(const network& net)
    : net_(net), number_(numbering(net)), prices_(own_prices(net)), kept_(prices_) {
  std::size_t places = 0;
  for (const network::edge& each : net.edges) {
    first_given_.push_back(places);
    places += net.options(each.left) + net.options(each.right);
    work_ += 2 * static_cast<std::int64_t>(each.cost.size());
  }
  given_.resize(places);
  const incidence edges = edges_at(net);
  first_side_ = edges.begin;
  for (std::size_t v = 0; v < net.variables.size(); ++v) {
    for (const std::int32_t e : edges[v]) {
      const network::edge& each = net.edges[static_cast<std::size_t>(e)];
      const std::size_t left = first_given_[static_cast<std::size_t>(e)], right = left + net.options(each.left);
      const bool rows = static_cast<std::size_t>(each.left) == v;
      const std::int32_t other = rows ? each.right : each.left;
      sides_.push_back({each.cost.data(), rows, other, net.options(other), rows ? left : right, rows ? right : left});
    }
  }
}

MESHLOOM_INLINE std::span<const messages::side> messages::sides_of(std::int32_t v) const {
  const std::size_t first = first_side_[static_cast<std::size_t>(v)];
  return std::span(sides_).subspan(first, first_side_[static_cast<std::size_t>(v) + 1] - first);
}

MESHLOOM_INLINE messages::shares messages::given(std::size_t edge) const {
  const std::size_t left = net_.options(net_.edges[edge].left), right = net_.options(net_.edges[edge].right);
  const auto both = std::span(given_).subspan(first_given_[edge], left + right);
  return {both.first(left), both.last(right)};
}

MESHLOOM_INLINE void messages::reprice(const vector<std::int64_t>& prices) {
  for (std::size_t k = 0; k < prices.size(); ++k) kept_[k] += prices[k] - prices_[k];
  prices_ = prices;
}

MESHLOOM_INLINE void messages::sweep() {
  const auto count = static_cast<std::int32_t>(net_.variables.size());
  for (std::int32_t v = 0; v < count; ++v) visit(v, true);
  begun_ = true;
  for (std::int32_t v = count; v-- > 0;) visit(v, false);
}

/// Takes from the edges what they can spare and gives equal shares to those ahead. Those ahead have had nothing new to
/// spare since the pass before.
MESHLOOM_INLINE void messages::visit(std::int32_t v, bool forth) {
  for (const side& by : sides_of(v)) {
    if (!begun_ || (by.other > v) != forth) collect(v, by);
  }
  share(v, forth);
}

MESHLOOM_INLINE void messages::collect(std::int32_t v, const side& by) {
  const std::size_t options = net_.options(v);
  find_least(by, options, least_);
  const std::int64_t* least = least_.data();
  std::int64_t* own = given_.data() + by.mine;
  std::int64_t* kept = kept_.data() + number_[static_cast<std::size_t>(v)];
  for (std::size_t k = 0; k < options; ++k) {
    const std::int64_t spare = std::min(least[k] + own[k], detail::most_kept);
    own[k] -= spare;
    kept[k] = std::min(kept[k] + spare, detail::most_kept);
  }
}

MESHLOOM_INLINE void messages::share(std::int32_t v, bool forth) {
  const auto ahead = [&](const side& by) { return (by.other > v) == forth; };
  const auto sides = sides_of(v);
  const auto next = std::count_if(sides.begin(), sides.end(), ahead);
  const auto most = std::max<std::int64_t>(next, static_cast<std::int64_t>(sides.size()) - next);
  if (next == 0) return;
  least_.resize(net_.options(v));
  std::int64_t* kept = kept_.data() + number_[static_cast<std::size_t>(v)];
  for (std::int64_t& part : least_) {
    part = detail::quotient(*kept, most);
    *kept++ -= part * next;
  }
  for (const side& by : sides) {
    if (!ahead(by)) continue;
    std::int64_t* own = given_.data() + by.mine;
    for (const std::int64_t part : least_) *own++ += part;
  }
}

/// The least that each option of a variable finds at an edge, beside what the other end has given.
MESHLOOM_INLINE void messages::find_least(const side& by, std::size_t options, vector<std::int64_t>& least) const {
  least.assign(options, detail::most_kept);
  const std::int64_t* price = by.cost;
  const std::int64_t *given = given_.data() + by.theirs, *const end = given + by.partners;
  std::int64_t* const low = least.data();
  if (by.rows) {
    for (std::size_t k = 0; k < options; ++k, price += by.partners)
      low[k] = detail::least_sum(price, given, by.partners, low[k]);
    return;
  }
  if (by.partners % 2 != 0) {
    for (std::size_t k = 0; k < options; ++k) low[k] = std::min(low[k], price[k] + *given);
    price += options;
    ++given;
  }
  for (; given != end; given += 2, price += 2 * options) {
    const std::int64_t *const next = price + options, here = given[0], there = given[1];
    for (std::size_t k = 0; k < options; ++k) {
      const std::int64_t one = price[k] + here, two = next[k] + there, less = two < one ? two : one;
      low[k] = less < low[k] ? less : low[k];
    }
  }
}

MESHLOOM_INLINE std::int64_t messages::bound() const {
  std::int64_t sum = net_.constant;
  for (std::size_t v = 0; v < net_.variables.size(); ++v) {
    sum = plus(sum, *std::min_element(kept_.begin() + static_cast<std::ptrdiff_t>(number_[v]),
                                      kept_.begin() + static_cast<std::ptrdiff_t>(number_[v + 1])));
  }
  vector<std::int64_t> least;
  for (std::int32_t v = 0; static_cast<std::size_t>(v) < net_.variables.size(); ++v) {
    for (const side& by : sides_of(v)) {
      if (!by.rows) continue;
      find_least(by, net_.options(v), least);
      for (std::size_t k = 0; k < least.size(); ++k) least[k] += given_[by.mine + k];
      sum = plus(sum, *std::min_element(least.begin(), least.end()));
    }
  }
  return sum;
}

MESHLOOM_INLINE vector<std::int64_t> messages::bounds() const {
  vector<std::int64_t> found = kept_;
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
  vector<std::int64_t> total, least;
  for (std::int32_t v = 0; static_cast<std::size_t>(v) < net_.variables.size(); ++v) {
    const auto first = kept_.begin() + static_cast<std::ptrdiff_t>(number_[static_cast<std::size_t>(v)]);
    total.assign(first, first + static_cast<std::ptrdiff_t>(net_.options(v)));
    for (const side& by : sides_of(v)) {
      const std::int64_t *there = by.cost, *mine = given_.data() + by.mine;
      std::size_t stride = by.rows ? by.partners : 1;
      if (by.other > v) {
        find_least(by, total.size(), least);
        there = least.data();
        stride = 1;
      } else {
        there += static_cast<std::size_t>(chosen[static_cast<std::size_t>(by.other)]) * (by.rows ? 1 : total.size());
      }
      for (std::size_t k = 0; k < total.size(); ++k) total[k] = std::min(total[k] + mine[k] + there[k * stride], never);
    }
    chosen.push_back(static_cast<std::int32_t>(std::min_element(total.begin(), total.end()) - total.begin()));
  }
  return chosen;
}

}  // namespace meshloom::intra
