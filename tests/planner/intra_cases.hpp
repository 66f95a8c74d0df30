// SPDX-License-Identifier: Apache-2.0
// Intra problems by seed, small enough to try every assignment of, and ladders as a transformer block with its backward
// pass makes them.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/planner/intra_network.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>

namespace intra_cases {

namespace ml = meshloom;

/// Uniform enough and the same under every standard library.
class dice {
 public:
  explicit dice(std::uint32_t seed) : random_(seed) {}
  std::int32_t operator()(std::int32_t low, std::int32_t high) {
    return low + static_cast<std::int32_t>(random_() % static_cast<std::uint32_t>(high - low + 1));
  }
  bool one_in(std::int32_t many) { return (*this)(1, many) == 1; }

 private:
  std::mt19937 random_;
};

/// What every assignment of a problem says.
struct truth {
  std::optional<ml::picoseconds> best;  ///< price of the best allowed assignment
  std::optional<ml::picoseconds> best_unlimited;
  std::optional<ml::bytes> leanest;  ///< least peak of those that couplings allow
  ml::bytes peak_of_best;            ///< of the first best one without the limit
};

/// Visits every assignment of a problem's choices, or of a network's variables.
template <class Visit>
void for_each_assignment(const ml::vector<std::size_t>& counts, Visit visit) {
  ml::vector<std::int32_t> options(counts.size(), 0);
  for (std::size_t c = 0;;) {
    visit(options);
    for (c = 0; c < options.size() && ++options[c] == static_cast<std::int32_t>(counts[c]);) options[c++] = 0;
    if (c == options.size()) return;
  }
}
template <class Visit>
void for_each_assignment(const ml::intra_problem& posed, Visit visit) {
  ml::vector<std::size_t> counts;
  for (const ml::intra_choice& each : posed.choices) counts.push_back(each.cost.size());
  for_each_assignment(counts, visit);
}
template <class Visit>
void for_each_assignment(const ml::intra::network& net, Visit visit) {
  ml::vector<std::size_t> counts;
  for (const auto& each : net.variables) counts.push_back(each.options());
  for_each_assignment(counts, visit);
}

inline truth try_all(const ml::intra_problem& posed) {
  truth found;
  for_each_assignment(posed, [&](const ml::vector<std::int32_t>& options) {
    const ml::intra_price price = ml::evaluate(posed, options);
    if (price.cost >= ml::forbidden) return;
    if (!found.best_unlimited || price.cost < *found.best_unlimited) {
      found.best_unlimited = price.cost;
      found.peak_of_best = price.peak;
    }
    if (price.allowed) found.best = std::min(found.best.value_or(ml::forbidden), price.cost);
    found.leanest = found.leanest ? std::min(*found.leanest, price.peak) : price.peak;
  });
  return found;
}

inline ml::intra_coupling random_coupling(const ml::intra_problem& posed, dice& roll, std::int32_t left,
                                          std::int32_t right, std::int32_t dearest) {
  ml::intra_coupling made{left, right, {}};
  const std::size_t rows = posed.choices[static_cast<std::size_t>(left)].cost.size();
  const std::size_t columns = posed.choices[static_cast<std::size_t>(right)].cost.size();
  const bool match = rows == columns && roll.one_in(6), free = roll.one_in(8);
  const std::int32_t turn = roll(0, 3), forbids = roll.one_in(3) ? 4 : 1000;
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) {
      const bool cannot = match ? (i + static_cast<std::size_t>(turn)) % columns != j : roll.one_in(forbids);
      made.cost.push_back(cannot ? ml::forbidden : ml::picoseconds{free ? 0 : roll(0, dearest)});
    }
  }
  return made;
}

/// The pairs that a shape couples: 0 a chain, 1 a tree, 2 a ladder (forward, backward and what backward keeps), 3 any.
inline ml::vector<std::pair<std::int32_t, std::int32_t>> pairs_of(std::int32_t shape, std::int32_t count, dice& roll) {
  ml::vector<std::pair<std::int32_t, std::int32_t>> pairs;
  for (std::int32_t c = 1; c < count; ++c) {
    if (shape == 0 || shape == 2) pairs.emplace_back(c - 1, c);
    if (shape == 1) pairs.emplace_back(roll(0, c - 1), c);
    if (shape == 2 && count - 1 - c > c) pairs.emplace_back(c, count - 1 - c);
    for (std::int32_t other = 0; shape == 3 && other < c; ++other) {
      if (!roll.one_in(3)) pairs.emplace_back(other, c);
    }
  }
  if (count > 1 && roll.one_in(4)) pairs.emplace_back(count - 1, 0);  // again, or turned round
  if (roll.one_in(6)) pairs.emplace_back(0, 0);
  return pairs;
}

/// 2–7 choices of 2–4 options; every fourth one each: no limit, a loose one, one that binds, one just below what fits.
inline ml::intra_problem small_problem(std::uint32_t seed) {
  dice roll(seed);
  ml::intra_problem made{{}, {}, std::nullopt, 12};
  const std::int32_t count = roll(2, 7), dearest = roll.one_in(3) ? 3 : roll.one_in(2) ? 100 : 1'000'000'000;
  const std::int32_t largest = roll.one_in(2) ? 9 : 1'000'000'000;
  const bool together = roll.one_in(2);  // alive at the same time, so that memory couples them all
  for (std::int32_t c = 0; c < count; ++c) {
    ml::intra_choice next;
    next.first = roll(0, together ? 3 : 11);
    next.end = roll(together ? 8 : next.first, 12);
    const bool one_size = roll.one_in(4);
    const std::int32_t size = roll(0, largest);
    for (std::int32_t option = roll(2, 4); option > 0; --option) {
      next.cost.push_back(roll.one_in(20) ? ml::forbidden : ml::picoseconds{roll(0, dearest)});
      next.size.push_back({one_size ? size : roll(0, largest)});
    }
    made.choices.push_back(next);
  }
  for (const auto& [left, right] : pairs_of(roll(0, 3), count, roll)) {
    made.couplings.push_back(random_coupling(made, roll, left, right, dearest));
  }
  const truth all = try_all(made);
  if (!all.leanest || seed % 4 == 0) return made;
  const std::int64_t least = all.leanest->count, best = all.peak_of_best.count;
  if (seed % 4 == 1) made.limit = ml::bytes{best + roll(0, 5)};
  if (seed % 4 == 2) made.limit = ml::bytes{least + (best - least) * roll(0, 3) / 4};
  if (seed % 4 == 3) made.limit = ml::bytes{std::max<std::int64_t>(least - roll(1, 2), 0)};
  return made;
}

/// A block of `depth` operators forward and backward, `most` options each: what follows reads what came before,
/// residuals skip three operators, and backward reads what forward keeps. Sizes are alive from forward to backward.
inline ml::intra_problem ladder(std::uint32_t seed, std::int32_t depth, std::int32_t fewest, std::int32_t most) {
  dice roll(seed);
  ml::intra_problem made{{}, {}, std::nullopt, 2 * depth};
  for (std::int32_t c = 0; c < 2 * depth; ++c) {
    const std::int32_t options = roll(fewest, most);
    ml::intra_choice next;
    next.first = c;
    next.end = c < depth ? 2 * depth - c : std::min(c + 2, 2 * depth);
    for (std::int32_t k = 0; k < options; ++k) {
      next.cost.push_back({1000 * roll(1, 1'000'000)});
      next.size.push_back({std::int64_t{1 << 20} * roll(1, 64)});
    }
    made.choices.push_back(next);
  }
  const auto couple = [&](std::int32_t left, std::int32_t right) {
    ml::intra_coupling next{left, right, {}};
    const std::size_t rows = made.choices[static_cast<std::size_t>(left)].cost.size();
    const std::size_t columns = made.choices[static_cast<std::size_t>(right)].cost.size();
    for (std::size_t k = 0; k < rows * columns; ++k) {
      const std::int64_t kind = roll(0, 9);
      next.cost.push_back(kind == 0  ? ml::forbidden
                          : kind < 4 ? ml::picoseconds{0}
                                     : ml::picoseconds{1000 * roll(1, 800'000)});
    }
    made.couplings.push_back(next);
  };
  for (std::int32_t c = 0; c + 1 < 2 * depth; ++c) couple(c, c + 1);
  for (std::int32_t c = 0; c + 1 < depth; ++c) couple(c, 2 * depth - 1 - c);
  for (std::int32_t c = 0; c + 3 < 2 * depth; c += 6) couple(c, c + 3);
  return made;
}

}  // namespace intra_cases
