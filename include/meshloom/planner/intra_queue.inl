// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_queue.hpp.
#pragma once

#include <meshloom/planner/intra_queue.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE std::optional<intra_queue> intra_queue::of(const intra_problem& posed, const vector<bool>& listed,
                                                           vector<vector<bytes>> held, std::int64_t most_entries) {
  intra_queue made(posed, std::move(held));
  vector<bool> others = listed;
  for (bool& other : others) other = !other;
  if (!made.take_out(others, most_entries) || !made.take_out(listed, most_entries)) return std::nullopt;
  made.begin(listed);
  return made;
}

MESHLOOM_INLINE intra_queue::intra_queue(const intra_problem& posed, vector<vector<bytes>> held)
    : held_(std::move(held)) {
  for (const intra_choice& each : posed.choices) {
    factors_.push_back({{static_cast<std::int32_t>(counts_.size())}, each.cost});
    counts_.push_back(static_cast<std::int32_t>(each.cost.size()));
  }
  for (const intra_coupling& each : posed.couplings) {
    if (each.left != each.right) {
      factors_.push_back({{each.left, each.right}, each.cost});
      continue;
    }
    auto& own = factors_[static_cast<std::size_t>(each.left)].cost;
    for (std::size_t k = 0; k < own.size(); ++k) own[k] = std::min(own[k] + each.cost[k * own.size() + k], forbidden);
  }
  used_.resize(factors_.size());
}

/// Greedy: the choice that leaves the smallest table goes next.
MESHLOOM_INLINE bool intra_queue::take_out(const vector<bool>& which, std::int64_t& most_entries) {
  vector<std::int32_t> open;
  for (std::size_t c = 0; c < which.size(); ++c) {
    if (which[c]) open.push_back(static_cast<std::int32_t>(c));
  }
  while (!open.empty()) {
    const auto entries = [&](std::int32_t choice) { return entries_of(scope_without(choice)); };
    const auto least =
        std::min_element(open.begin(), open.end(), [&](auto a, auto b) { return entries(a) < entries(b); });
    most_entries -= entries(*least) * counts_[static_cast<std::size_t>(*least)];
    if (most_entries < 0) return false;
    step made{*least, {}, factors_.size()};
    leave(made);
    steps_.push_back(std::move(made));
    open.erase(least);
  }
  return true;
}

MESHLOOM_INLINE vector<std::int32_t> intra_queue::scope_without(std::int32_t choice) const {
  vector<std::int32_t> scope;
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    const auto& own = factors_[f].scope;
    if (!used_[f] && std::find(own.begin(), own.end(), choice) != own.end())
      scope.insert(scope.end(), own.begin(), own.end());
  }
  std::sort(scope.begin(), scope.end());
  scope.erase(std::unique(scope.begin(), scope.end()), scope.end());
  erase(scope, choice);
  return scope;
}

MESHLOOM_INLINE std::int64_t intra_queue::entries_of(const vector<std::int32_t>& scope) const {
  constexpr std::int64_t most = std::int64_t{1} << 30;
  std::int64_t entries = 1;
  for (const std::int32_t each : scope) entries = std::min(most, entries * counts_[static_cast<std::size_t>(each)]);
  return entries;
}

MESHLOOM_INLINE void intra_queue::leave(step& made) {
  factor left{scope_without(made.choice), {}};
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    const auto& own = factors_[f].scope;
    if (used_[f] || std::find(own.begin(), own.end(), made.choice) == own.end()) continue;
    made.factors.push_back(f);
    used_[f] = true;
  }
  vector<std::int32_t> options(counts_.size());
  auto& own = options[static_cast<std::size_t>(made.choice)];
  for (std::int64_t rest = entries_of(left.scope); rest > 0; --rest) {
    picoseconds least = forbidden;
    for (own = 0; own < counts_[static_cast<std::size_t>(made.choice)]; ++own)
      least = std::min(least, price(made, options));
    left.cost.push_back(least);
    for (auto each = left.scope.rbegin(); each != left.scope.rend(); ++each) {
      auto& option = options[static_cast<std::size_t>(*each)];
      if (++option < counts_[static_cast<std::size_t>(*each)]) break;
      option = 0;
    }
  }
  factors_.push_back(std::move(left));
  used_.push_back(false);
}

MESHLOOM_INLINE picoseconds intra_queue::price(const factor& of, const vector<std::int32_t>& options) const {
  std::size_t at = 0;
  for (const std::int32_t each : of.scope) {
    const auto choice = static_cast<std::size_t>(each);
    at = at * static_cast<std::size_t>(counts_[choice]) + static_cast<std::size_t>(options[choice]);
  }
  return of.cost[at];
}

MESHLOOM_INLINE picoseconds intra_queue::price(const step& of, const vector<std::int32_t>& options) const {
  picoseconds sum;
  for (const std::size_t each : of.factors) sum = std::min(sum + price(factors_[each], options), forbidden);
  return sum;
}

MESHLOOM_INLINE void intra_queue::begin(const vector<bool>& listed) {
  listed_ = static_cast<std::size_t>(std::count(listed.begin(), listed.end(), true));
  node root{};
  for (const factor& each : factors_) {
    if (each.scope.empty()) root.cost = std::min(root.cost + each.cost.front(), forbidden);
  }
  for (const auto& each : held_) root.held += *std::min_element(each.begin(), each.end());
  if (root.cost < forbidden) push(root);
}

MESHLOOM_INLINE std::optional<intra_queue::entry> intra_queue::next(bytes most) {
  const auto after = [&](std::int32_t a, std::int32_t b) { return is_after(a, b); };
  while (!open_.empty()) {
    std::pop_heap(open_.begin(), open_.end(), after);
    const std::int32_t number = open_.back();
    open_.pop_back();
    const node& first = nodes_[static_cast<std::size_t>(number)];
    if (first.held > most) continue;
    if (first.depth == static_cast<std::int32_t>(listed_)) return entry{first.cost, first.held, options_of(number)};
    expand(number, most);
  }
  return std::nullopt;
}

/// What is to come costs what the table says that the next step left; with one of its options, what its factors say.
MESHLOOM_INLINE void intra_queue::expand(std::int32_t number, bytes most) {
  const node from = nodes_[static_cast<std::size_t>(number)];
  const step& next = steps_[steps_.size() - 1 - static_cast<std::size_t>(from.depth)];
  const auto choice = static_cast<std::size_t>(next.choice);
  vector<std::int32_t> options = options_of(number);
  const picoseconds before = from.cost - price(factors_[next.left], options);
  const bytes held = from.held - *std::min_element(held_[choice].begin(), held_[choice].end());
  for (std::int32_t option = 0; option < counts_[choice]; ++option) {
    options[choice] = option;
    const picoseconds own = price(next, options);
    const node made{before + own, held + held_[choice][static_cast<std::size_t>(option)], number, option,
                    from.depth + 1};
    if (own < forbidden && made.held <= most) push(made);
  }
}

MESHLOOM_INLINE void intra_queue::push(const node& made) {
  nodes_.push_back(made);
  open_.push_back(static_cast<std::int32_t>(nodes_.size()) - 1);
  std::push_heap(open_.begin(), open_.end(), [&](std::int32_t a, std::int32_t b) { return is_after(a, b); });
}

MESHLOOM_INLINE bool intra_queue::is_after(std::int32_t a, std::int32_t b) const {
  const node &left = nodes_[static_cast<std::size_t>(a)], &right = nodes_[static_cast<std::size_t>(b)];
  if (left.cost != right.cost) return left.cost > right.cost;
  return left.depth != right.depth ? left.depth < right.depth : a > b;
}

MESHLOOM_INLINE vector<std::int32_t> intra_queue::options_of(std::int32_t number) const {
  vector<std::int32_t> options(counts_.size(), -1);
  while (number > 0) {
    const node& each = nodes_[static_cast<std::size_t>(number)];
    options[static_cast<std::size_t>(steps_[steps_.size() - static_cast<std::size_t>(each.depth)].choice)] =
        each.option;
    number = each.before;
  }
  return options;
}

}  // namespace meshloom
