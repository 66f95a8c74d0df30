// SPDX-License-Identifier: Apache-2.0
// The checker of certificate.hpp.
#pragma once

#include <meshloom/planner/certificate.hpp>

#include <algorithm>

namespace meshloom {

namespace detail {

__extension__ using certified_sum = __int128;  ///< of prices, and of prices of bytes

/// Replays a certificate on the problem; `fault` says at what it fails.
class certificate_check {
 public:
  certificate_check(const intra_problem& posed, const intra_certificate& proof) : posed_(posed), proof_(proof) {}
  std::string fault();

 private:
  using wide = certified_sum;
  using options = vector<std::uint8_t>;  ///< of all groups, by number: whether they are left

  static constexpr wide never = wide{1} << 120;
  static constexpr std::int64_t dead = std::int64_t{1} << 61;
  struct group {
    std::size_t root = 0, first = 0;  ///< its choice, and the number of its first option
    vector<wide> cost;
  };
  struct pair {
    std::size_t left = 0, right = 0, moved = 0;  ///< groups, and where its prices begin in `moved`
    vector<std::int64_t> cost;                   ///< `dead` or more: cannot be
  };
  static std::size_t index(std::int32_t number) { return static_cast<std::size_t>(number); }
  std::size_t count(std::size_t choice) const { return posed_.choices[choice].cost.size(); }

  void begin();
  bool join(const intra_certificate::join& each);
  void make_groups();
  void add_coupling(const intra_coupling& each);
  bool plausible(const intra_certificate::node& node) const;
  void add_bytes(const intra_certificate::node& node, vector<wide>& price) const;
  wide bound(const intra_certificate::node& node, const options& left, vector<wide>& price) const;
  bool too_dear(wide bound) const { return bound > (wide{proof_.bound.count} - 1) * (wide{1} << proof_.shift); }
  bool exclude(const intra_certificate::node& node, options& left) const;
  std::string replay();

  const intra_problem& posed_;
  const intra_certificate& proof_;
  vector<std::size_t> root_;             ///< the choice that each choice's group is named after
  vector<vector<std::size_t>> members_;  ///< by root
  vector<vector<std::int32_t>> option_;  ///< of each choice, by option of its root; −1: none
  vector<std::size_t> number_;           ///< of each root's group
  vector<group> groups_;
  vector<pair> pairs_;
  std::size_t options_ = 0, moved_ = 0;
  wide largest_ = 0;  ///< sizes together
};

MESHLOOM_INLINE void certificate_check::begin() {
  for (std::size_t c = 0; c < posed_.choices.size(); ++c) {
    const vector<bytes>& sizes = posed_.choices[c].size;
    largest_ += std::max_element(sizes.begin(), sizes.end())->count;
    root_.push_back(c);
    members_.push_back({c});
    option_.emplace_back();
    for (std::size_t k = 0; k < count(c); ++k) {
      option_[c].push_back(posed_.choices[c].cost[k] < forbidden ? static_cast<std::int32_t>(k) : -1);
    }
  }
}

/// Whether each option of the group that stays leaves at most one of the other; then they are one.
MESHLOOM_INLINE bool certificate_check::join(const intra_certificate::join& each) {
  if (each.coupling < 0 || index(each.coupling) >= posed_.couplings.size()) return false;
  const intra_coupling& coupling = posed_.couplings[index(each.coupling)];
  const std::size_t left = index(coupling.left), right = index(coupling.right);
  const std::size_t stays = each.left_stays ? root_[left] : root_[right],
                    goes = each.left_stays ? root_[right] : root_[left];
  if (stays == goes) return false;
  vector<std::int32_t> partner(count(stays), -1);
  for (std::size_t a = 0; a < count(stays); ++a) {
    for (std::size_t b = 0; b < count(goes); ++b) {
      const std::int32_t i = option_[left][each.left_stays ? a : b], j = option_[right][each.left_stays ? b : a];
      if (i < 0 || j < 0 || coupling.cost[index(i) * count(right) + index(j)] >= forbidden) continue;
      if (partner[a] >= 0) return false;
      partner[a] = static_cast<std::int32_t>(b);
    }
  }
  for (const std::size_t member : members_[goes]) {
    vector<std::int32_t> through;
    for (const std::int32_t b : partner) through.push_back(b < 0 ? -1 : option_[member][index(b)]);
    option_[member] = std::move(through);
    root_[member] = stays;
    members_[stays].push_back(member);
  }
  members_[goes].clear();
  return true;
}

MESHLOOM_INLINE void certificate_check::make_groups() {
  number_.assign(root_.size(), 0);
  for (std::size_t c = 0; c < root_.size(); ++c) {
    if (root_[c] != c) continue;
    number_[c] = groups_.size();
    group next{c, options_, vector<wide>(count(c))};
    for (const std::size_t member : members_[c]) {
      for (std::size_t k = 0; k < next.cost.size(); ++k) {
        const std::int32_t option = option_[member][k];
        next.cost[k] =
            option < 0 ? never : std::min(next.cost[k] + posed_.choices[member].cost[index(option)].count, never);
      }
    }
    options_ += next.cost.size();
    groups_.push_back(std::move(next));
  }
  vector<std::pair<std::pair<std::size_t, std::size_t>, const intra_coupling*>> between;
  for (const intra_coupling& each : posed_.couplings) {
    const std::size_t left = number_[root_[index(each.left)]], right = number_[root_[index(each.right)]];
    between.push_back({{std::min(left, right), std::max(left, right)}, &each});
  }
  std::sort(between.begin(), between.end());
  for (const auto& [ends, each] : between) {
    const auto [left, right] = ends;
    if (left != right && (pairs_.empty() || pairs_.back().left != left || pairs_.back().right != right)) {
      const std::size_t rows = groups_[left].cost.size(), columns = groups_[right].cost.size();
      pairs_.push_back({left, right, moved_, vector<std::int64_t>(rows * columns)});
      moved_ += rows + columns;
    }
    add_coupling(*each);
  }
}

/// Adds a coupling to its group, if it has both ends in one, otherwise to the last pair.
MESHLOOM_INLINE void certificate_check::add_coupling(const intra_coupling& each) {
  const std::size_t left = index(each.left), right = index(each.right);
  const auto price = [&](std::size_t row, std::size_t column) {
    const std::int32_t i = option_[left][row], j = option_[right][column];
    if (i < 0 || j < 0) return dead;
    const picoseconds found = each.cost[index(i) * count(right) + index(j)];
    return found < forbidden ? found.count : dead;
  };
  if (root_[left] == root_[right]) {
    auto& cost = groups_[number_[root_[left]]].cost;
    for (std::size_t k = 0; k < cost.size(); ++k) cost[k] = price(k, k) < dead ? cost[k] + price(k, k) : never;
    return;
  }
  pair& here = pairs_.back();
  const bool turned = number_[root_[left]] != here.left;
  const std::size_t rows = groups_[here.left].cost.size(), columns = groups_[here.right].cost.size();
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      std::int64_t& sum = here.cost[i * columns + j];
      sum = std::min(sum + (turned ? price(j, i) : price(i, j)), dead);
    }
  }
}

/// Whether a node's numbers make sense: below these limits nothing overflows.
MESHLOOM_INLINE bool certificate_check::plausible(const intra_certificate::node& node) const {
  wide sum = 0;
  std::int32_t before = -1;
  for (const auto& each : node.bytes) {
    if (each.price < 0 || each.time <= before || each.time >= posed_.end) return false;
    before = each.time;
    sum += each.price;
  }
  return sum <= (never >> 10) / std::max<wide>(largest_, 1) && sum < (wide{1} << 62) &&
         (node.bytes.empty() || posed_.limit) && node.moved.size() == moved_;
}

/// Adds the prices of what the options hold, rounded down.
MESHLOOM_INLINE void certificate_check::add_bytes(const intra_certificate::node& node, vector<wide>& price) const {
  vector<wide> before(index(posed_.end) + 1);  // the prices of all times before
  for (const auto& each : node.bytes) before[index(each.time) + 1] = each.price;
  for (std::size_t t = 1; t < before.size(); ++t) before[t] += before[t - 1];
  for (const group& each : groups_) {
    for (std::size_t k = 0; k < each.cost.size(); ++k) {
      wide held = 0;
      for (const std::size_t member : members_[each.root]) {
        const intra_choice& choice = posed_.choices[member];
        const std::int32_t option = option_[member][k];
        if (option >= 0)
          held += (before[index(choice.end)] - before[index(choice.first)]) * choice.size[index(option)].count;
      }
      price[each.first + k] += held >> proof_.grain;
    }
  }
}

/// The bound of a node, in 2^-shift ps, and what is left of the price of each option.
MESHLOOM_INLINE certificate_check::wide certificate_check::bound(const intra_certificate::node& node,
                                                                 const options& left, vector<wide>& price) const {
  const wide unit = wide{1} << proof_.shift;
  price.assign(options_, 0);
  if (posed_.limit) add_bytes(node, price);
  for (const group& each : groups_) {
    for (std::size_t k = 0; k < each.cost.size(); ++k) {
      price[each.first + k] = each.cost[k] < never ? price[each.first + k] + each.cost[k] * unit : never;
    }
  }
  wide sum = 0;
  for (const pair& each : pairs_) {
    const std::size_t rows = groups_[each.left].cost.size(), columns = groups_[each.right].cost.size();
    const std::size_t row = groups_[each.left].first, column = groups_[each.right].first;
    const std::int64_t* const from_left = node.moved.data() + each.moved;
    const std::int64_t* const from_right = from_left + rows;
    wide least = never;
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; left[row + i] && j < columns; ++j) {
        const std::int64_t cost = each.cost[i * columns + j];
        if (left[column + j] && cost < dead) least = std::min<wide>(least, cost * unit + from_left[i] + from_right[j]);
      }
    }
    if (least == never) return never;
    sum += least;
    for (std::size_t i = 0; i < rows; ++i) price[row + i] -= from_left[i];
    for (std::size_t j = 0; j < columns; ++j) price[column + j] -= from_right[j];
  }
  for (const group& each : groups_) {
    wide least = never / 2;
    for (std::size_t k = 0; k < each.cost.size(); ++k) {
      if (left[each.first + k]) least = std::min(least, price[each.first + k]);
    }
    if (least == never / 2) return never;
    sum += least;
  }
  wide paid = (wide{1} << proof_.grain) - 1;
  for (const auto& each : node.bytes) paid += wide{each.price} * posed_.limit->count;
  return sum - (paid >> proof_.grain);
}

/// Excludes the options with which every assignment is too dear: all, if the case is closed; whether it is.
MESHLOOM_INLINE bool certificate_check::exclude(const intra_certificate::node& node, options& left) const {
  vector<wide> price;
  const wide all = bound(node, left, price);
  if (too_dear(all)) {
    std::fill(left.begin(), left.end(), std::uint8_t{0});
    return true;
  }
  for (const group& each : groups_) {
    wide least = never;
    for (std::size_t k = 0; k < each.cost.size(); ++k) {
      if (left[each.first + k]) least = std::min(least, price[each.first + k]);
    }
    for (std::size_t k = 0; k < each.cost.size(); ++k) {
      if (too_dear(all - least + price[each.first + k])) left[each.first + k] = 0;
    }
  }
  return false;
}

MESHLOOM_INLINE std::string certificate_check::replay() {
  vector<options> open(1);
  for (const group& each : groups_) {
    for (const wide cost : each.cost) open.back().push_back(cost < never);
  }
  for (std::size_t n = 0; n < proof_.nodes.size(); ++n) {
    const intra_certificate::node& node = proof_.nodes[n];
    const std::string name = "node " + std::to_string(n);
    if (open.empty()) return name + " is about no case: all are closed";
    if (!plausible(node)) return name + " has prices that cannot be";
    options left = std::move(open.back());
    open.pop_back();
    const bool closed = exclude(node, left);
    if (node.what == intra_certificate::fate::closed) {
      if (!closed) return name + " does not close its case";
      continue;
    }
    if (node.what == intra_certificate::fate::again) {
      open.push_back(std::move(left));
      continue;
    }
    if (node.choice < 0 || index(node.choice) >= root_.size() || root_[index(node.choice)] != index(node.choice))
      return name + " splits what is no group";
    const group& by = groups_[number_[index(node.choice)]];
    options first = left;
    std::fill_n(first.begin() + static_cast<std::ptrdiff_t>(by.first), by.cost.size(), std::uint8_t{0});
    for (const std::int32_t k : node.first) {
      if (k < 0 || index(k) >= by.cost.size()) return name + " names an option that does not exist";
      first[by.first + index(k)] = left[by.first + index(k)];
      left[by.first + index(k)] = 0;
    }
    open.push_back(std::move(left));
    open.push_back(std::move(first));
  }
  return open.empty() ? "" : std::to_string(open.size()) + " cases are left open";
}

MESHLOOM_INLINE std::string certificate_check::fault() {
  constexpr int most_shift = 40;
  if (proof_.shift < 0 || proof_.shift > most_shift || proof_.grain < 0 || proof_.grain > most_shift)
    return "its numbers have more than 40 bits after the point";
  begin();
  for (std::size_t n = 0; n < proof_.joins.size(); ++n) {
    if (!join(proof_.joins[n])) return "join " + std::to_string(n) + " is none: an option leaves more than one";
  }
  make_groups();
  return replay();
}

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check(const intra_problem& posed, const intra_certificate& proof) {
  if (const vector<std::string> faults = check(posed); !faults.empty()) return faults;
  const std::string fault = detail::certificate_check(posed, proof).fault();
  if (fault.empty()) return {};
  return {"the certificate does not prove its bound: " + fault};
}

}  // namespace meshloom
