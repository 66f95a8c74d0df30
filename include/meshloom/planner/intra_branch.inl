// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_branch.hpp.
#pragma once

#include <meshloom/planner/intra_branch.hpp>

#include <algorithm>
#include <numeric>

namespace meshloom::intra {

namespace detail {

/// Part of the assignments: those with options that are kept.
struct branch_node {
  std::int64_t bound = 0;
  std::int32_t number = 0;
  vector<std::uint8_t> keep;  ///< by option number
  multipliers at;             ///< from its parent

  /// Order of a heap: the lowest bound is on top, of equal ones the newest.
  bool operator<(const branch_node& other) const {
    return bound != other.bound ? bound > other.bound : number < other.number;
  }
};

class branching {
 public:
  branching(const network& net, const branch_limits& limits, const visitor& visit)
      : net_(net), limits_(limits), visit_(visit), number_(numbering(net)) {}
  branched run(const ascent& root);

 private:
  void explore(const branch_node& node);
  void split(const branch_node& node, const reduction& part, const ascent& up, const vector<std::uint8_t>& open);
  void push(const branch_node& parent, const reduction& part, const ascent& up, const vector<std::uint8_t>& open);

  const network& net_;
  const branch_limits& limits_;
  const visitor& visit_;
  vector<std::size_t> number_;
  vector<branch_node> open_;
  std::int64_t best_ = never;  ///< price of the best legal assignment known
  std::int32_t pushed_ = 0;
  branched done_;
};

MESHLOOM_INLINE branched branching::run(const ascent& root) {
  open_.push_back({root.bound, 0, vector<std::uint8_t>(number_.back(), 1), root.at});
  while (!open_.empty() && done_.nodes < limits_.nodes && done_.work < limits_.most_work) {
    std::pop_heap(open_.begin(), open_.end());
    const branch_node node = std::move(open_.back());
    open_.pop_back();
    if (!closes(net_, node.bound, best_)) explore(node);
  }
  done_.bound = best_;
  for (const branch_node& each : open_) done_.bound = std::min(done_.bound, each.bound);
  return done_;
}

MESHLOOM_INLINE void branching::explore(const branch_node& node) {
  ++done_.nodes;
  const reduction part = presolve(net_, node.keep);
  if (!part.possible) return;
  if (part.net.variables.empty()) {
    best_ = visit_(lift(part, {}));
    return;
  }
  const std::int64_t left = limits_.most_work - done_.work;
  relaxation inner(part.net, std::min(limits_.most_entries, left / 128));
  const auto rounds =
      static_cast<std::int32_t>(std::clamp<std::int64_t>(left / (2 * inner.work() + 1), 1, limits_.rounds));
  local_search search(part.net, 0, left / 2);
  bool first = true;
  ascent up = ascend(part.net, inner, carried(net_.times, node.at, part.net.times), rounds, [&](const assignment& met) {
    if (first) {
      search.start(met);
      search.descend();
      best_ = visit_(lift(part, search.options()));
      first = false;
    }
    return best_ = visit_(lift(part, met));
  });
  done_.rounds += up.rounds;
  done_.work += up.rounds * inner.work() + search.work();
  for (const network::edge& each : net_.edges) done_.work += static_cast<std::int64_t>(each.cost.size());
  up.bound = std::max(up.bound, node.bound);
  if (closes(net_, up.bound, best_)) return;
  const std::int64_t paid_back = refund(part.net, up.at);
  vector<std::uint8_t> open;
  for (const std::int64_t bound : inner.bounds(prices_with(part.net, up.at))) {
    open.push_back(!closes(net_, bound - paid_back, best_));
  }
  done_.work += 4 * inner.work();
  split(node, part, up, open);
}

/// In two at the variable with the largest difference in what the multipliers ask for its open options, at the middle
/// of that; if they ask for nothing, at the middle of the options of the variable with most.
MESHLOOM_INLINE void branching::split(const branch_node& node, const reduction& part, const ascent& up,
                                      const vector<std::uint8_t>& open) {
  const vector<std::int64_t> own = own_prices(part.net), priced = prices_with(part.net, up.at);
  const vector<std::size_t> number = numbering(part.net);
  std::size_t found = 0;
  std::pair<std::int64_t, std::size_t> most{-1, 0};  // difference, options
  for (std::size_t v = 0; v < part.net.variables.size(); ++v) {
    std::int64_t low = never, high = 0;
    std::size_t options = 0;
    for (std::size_t n = number[v]; n < number[v + 1]; ++n) {
      if (!open[n]) continue;
      low = std::min(low, priced[n] - own[n]);
      high = std::max(high, priced[n] - own[n]);
      ++options;
    }
    if (options == 0) return;  // nothing here is better than the best
    if (std::pair(high - low, options) > most) most = {high - low, options}, found = v;
  }
  vector<std::size_t> order;
  for (std::size_t n = number[found]; n < number[found + 1]; ++n) {
    if (open[n]) order.push_back(n);
  }
  const auto asked = [&](std::size_t n) { return most.first > 0 ? priced[n] - own[n] : priced[n]; };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return std::pair(asked(a), a) < std::pair(asked(b), b); });
  const std::int64_t middle = asked(order.front()) + most.first / 2;
  for (const bool low : {true, false}) {
    vector<std::uint8_t> half = open;
    for (std::size_t k = 0; k < order.size(); ++k) {
      const bool in_low = most.first > 0 ? asked(order[k]) <= middle : k < order.size() / 2;
      if (in_low != low) half[order[k]] = 0;
    }
    push(node, part, up, half);
  }
}

MESHLOOM_INLINE void branching::push(const branch_node& parent, const reduction& part, const ascent& up,
                                     const vector<std::uint8_t>& open) {
  branch_node child{up.bound, ++pushed_, parent.keep, carried(part.net.times, up.at, net_.times)};
  std::size_t n = 0;
  for (std::size_t v = 0; v < part.variable_of.size(); ++v) {
    const auto first =
        child.keep.begin() + static_cast<std::ptrdiff_t>(number_[static_cast<std::size_t>(part.variable_of[v])]);
    for (const std::int32_t option : part.option_of[v]) {
      if (!open[n++]) first[option] = 0;
    }
  }
  open_.push_back(std::move(child));
  std::push_heap(open_.begin(), open_.end());
}

}  // namespace detail

MESHLOOM_INLINE branched branch(const network& net, const ascent& root, const branch_limits& limits,
                                const visitor& visit) {
  return detail::branching(net, limits, visit).run(root);
}

}  // namespace meshloom::intra
