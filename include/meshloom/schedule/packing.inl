// SPDX-License-Identifier: Apache-2.0
#include <meshloom/schedule/packing.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

namespace meshloom {

namespace detail::arena {

/// A buffer that takes room: its aligned size and its lifetime.
struct block {
  std::size_t buffer = 0;
  std::int64_t size = 0;
  std::int32_t begin = 0, end = 0;
};

/// Where a block lies.
struct berth {
  static constexpr std::int64_t nowhere = -1;
  std::int64_t low = nowhere, high = nowhere;
};

enum class fit : std::uint8_t { first, best };

/// For each block, those that are alive with it at some time: nobody else is in its way.
class neighbours {
 public:
  explicit neighbours(const vector<block>& blocks) : ends_(blocks.size()) {
    vector<std::size_t> by_begin(blocks.size()), alive;
    std::iota(by_begin.begin(), by_begin.end(), std::size_t{0});
    std::sort(by_begin.begin(), by_begin.end(), [&](std::size_t a, std::size_t b) {
      return std::pair(blocks[a].begin, a) < std::pair(blocks[b].begin, b);
    });
    vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
    for (const std::size_t next : by_begin) {
      erase_if(alive, [&](std::size_t other) { return blocks[other].end <= blocks[next].begin; });
      for (const std::size_t other : alive)
        pairs.emplace_back(static_cast<std::uint32_t>(next), static_cast<std::uint32_t>(other));
      alive.push_back(next);
    }
    for (const auto& [one, other] : pairs) {
      ++ends_[one];
      ++ends_[other];
    }
    std::exclusive_scan(ends_.begin(), ends_.end(), ends_.begin(), std::size_t{0});
    all_.resize(2 * pairs.size());
    for (const auto& [one, other] : pairs) {  // moves each begin to its end
      all_[ends_[one]++] = other;
      all_[ends_[other]++] = one;
    }
  }

  std::span<const std::uint32_t> of(std::size_t which) const {
    const std::size_t begin = which == 0 ? 0 : ends_[which - 1];
    return std::span(all_).subspan(begin, ends_[which] - begin);
  }

  std::int64_t count(std::size_t which) const { return static_cast<std::int64_t>(of(which).size()); }
  std::int64_t count() const { return static_cast<std::int64_t>(all_.size()); }

 private:
  vector<std::uint32_t> all_;  ///< those of one block after the other
  vector<std::size_t> ends_;
};

/// The blocks, in the order of their placing, and the arena that this order leads to.
struct arrangement {
  vector<std::size_t> order;
  fit rule = fit::first;
  vector<berth> berths;  // of each block
  std::int64_t total = std::numeric_limits<std::int64_t>::max();
};

inline vector<block> blocks_of(std::span<const lifetime> buffers, std::int64_t alignment) {
  if (alignment < 1) throw error("pack: alignment " + std::to_string(alignment) + "; give a positive one");
  vector<block> blocks;
  for (std::size_t buffer = 0; buffer < buffers.size(); ++buffer) {
    const auto& [size, begin, end] = buffers[buffer];
    if (size.count < 0 || end < begin) {
      throw error("pack: buffer " + std::to_string(buffer) + " has " + std::to_string(size.count) + " bytes from " +
                  std::to_string(begin) + " to " + std::to_string(end) + "; sizes and lengths must not be negative");
    }
    const std::int64_t aligned = (size.count + alignment - 1) / alignment * alignment;
    if (aligned > 0 && begin < end) blocks.push_back({buffer, aligned, begin, end});
  }
  return blocks;
}

/// The most bytes alive at once.
inline std::int64_t bound_of(const vector<block>& blocks) {
  vector<std::pair<std::int32_t, std::int64_t>> changes;
  for (const block& b : blocks) {
    changes.emplace_back(b.begin, b.size);
    changes.emplace_back(b.end, -b.size);
  }
  std::sort(changes.begin(), changes.end());  // what ends goes before what begins
  std::int64_t alive = 0, most = 0;
  for (const auto& [time, change] : changes) most = std::max(most, alive += change);
  return most;
}

/// The lowest gap between the berths in the way that holds a block (first), or the tightest (best).
inline std::int64_t gap_for(const block& wanted, vector<berth>& in_the_way, fit rule) {
  std::sort(in_the_way.begin(), in_the_way.end(), [](const berth& a, const berth& b) { return a.low < b.low; });
  std::int64_t top = 0, chosen = -1, room = std::numeric_limits<std::int64_t>::max();
  for (const berth& other : in_the_way) {
    const std::int64_t gap = other.low - top;
    if (gap >= wanted.size && gap < room) {
      chosen = top;
      room = gap;
      if (rule == fit::first) break;
    }
    top = std::max(top, other.high);
  }
  return chosen < 0 ? top : chosen;
}

/// How many pairs of a block and one in its way there may be before another order is tried, and how many of a block and
/// one that was placed before it before no more is improved: bounds on time that every machine reaches at the same
/// point.
inline constexpr std::int64_t most_looks = 8'000'000;

/// Places the blocks one after the other, up to the first that leads above `limit`.
inline void place(arrangement& a, const vector<block>& blocks, const neighbours& near, std::int64_t limit,
                  std::int64_t& looks) {
  a.berths.assign(blocks.size(), {});
  a.total = 0;
  vector<berth> in_the_way;
  std::int64_t placed = 0;
  for (const std::size_t which : a.order) {
    looks += ++placed;
    in_the_way.clear();
    for (const std::uint32_t other : near.of(which)) {
      if (a.berths[other].low != berth::nowhere) in_the_way.push_back(a.berths[other]);
    }
    const std::int64_t low = gap_for(blocks[which], in_the_way, a.rule);
    a.berths[which] = {low, low + blocks[which].size};
    a.total = std::max(a.total, low + blocks[which].size);
    if (a.total > limit) break;
  }
}

/// The blocks with the smallest key first.
using key = double (*)(const block&);
inline vector<std::size_t> sorted_by(key of, const vector<block>& blocks) {
  vector<std::pair<double, std::size_t>> keyed;
  keyed.reserve(blocks.size());
  for (const block& each : blocks) keyed.emplace_back(of(each), keyed.size());
  std::sort(keyed.begin(), keyed.end());
  vector<std::size_t> order;
  order.reserve(blocks.size());
  for (const auto& [by, which] : keyed) order.push_back(which);
  return order;
}

inline constexpr key large = [](const block& b) { return -static_cast<double>(b.size); };
inline constexpr key lengthy = [](const block& b) { return static_cast<double>(b.begin) - b.end; };
inline constexpr key early = [](const block& b) { return static_cast<double>(b.begin); };
inline constexpr key large_and_lengthy = [](const block& b) { return large(b) * -lengthy(b); };

struct heuristic {
  key first;
  fit rule;
};

/// Those first that most often are the best: large, long, early or large x long blocks.
inline constexpr heuristic heuristics[] = {{large, fit::first},
                                           {lengthy, fit::first},
                                           {early, fit::best},
                                           {large_and_lengthy, fit::first},
                                           {large, fit::best},
                                           {early, fit::first},
                                           {large_and_lengthy, fit::best}};

inline arrangement best_heuristic(const vector<block>& blocks, const neighbours& near, std::int64_t bound,
                                  std::int64_t& looks) {
  arrangement best;
  std::int64_t pairs = 0;
  for (const auto& [first, rule] : heuristics) {
    arrangement next{sorted_by(first, blocks), rule, {}, 0};
    place(next, blocks, near, best.total - 1, looks);
    if (next.total < best.total) best = std::move(next);
    pairs += near.count();
    if (best.total == bound || pairs >= most_looks) break;
  }
  return best;
}

/// A number below `count`, the same on every machine (splitmix64, Steele et al. 2014).
inline std::size_t draw(std::uint64_t& state, std::size_t count) {
  std::uint64_t bits = state += 0x9e3779b97f4a7c15u;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return static_cast<std::size_t>((bits ^ (bits >> 31)) % count);
}

/// Alternates, by lot, between placing the topmost block earlier and swapping two blocks in the order; keeps what is
/// not worse, since on a plateau the way down is sideways.
inline void improve(arrangement& best, const vector<block>& blocks, const neighbours& near, std::int64_t bound,
                    std::int64_t looks) {
  constexpr int most_rounds = 2000;
  std::uint64_t state = 0;
  for (int round = 0; round < most_rounds && looks < most_looks && best.total > bound; ++round) {
    arrangement next{best.order, best.rule, {}, 0};
    const auto front = next.order.begin();
    if (draw(state, 2) == 0) {
      auto from = next.order.end();  // of the blocks that reach the top the largest, and then the first
      for (auto at = front; at != next.order.end(); ++at) {
        const bool larger = from == next.order.end() || blocks[*at].size > blocks[*from].size;
        if (best.berths[*at].high == best.total && larger) from = at;
      }
      const auto to = front + static_cast<std::ptrdiff_t>(draw(state, static_cast<std::size_t>(from - front) + 1));
      std::rotate(to, from, from + 1);
    } else {
      const std::size_t one = draw(state, blocks.size()), other = draw(state, blocks.size());
      std::swap(next.order[one], next.order[other]);
    }
    place(next, blocks, near, best.total, looks);
    if (next.total <= best.total) best = std::move(next);
  }
}

/// A block that begins in a part of the body, from the first instruction of that part.
struct berthed_block {
  std::int64_t size, low;
  std::int32_t begin, end;
  bool operator==(const berthed_block&) const = default;
};

/// True if the three parts of a refrain have the same blocks in the same places, and what is alive in two of them is
/// alive in all or in neighbours only. Then a block finds the same ones in its way however often the refrain is
/// repeated: placed in an order that looks at sizes and then at beginnings, it lies where its like does.
inline bool repeats(const vector<block>& blocks, const arrangement& placed, const refrain& part) {
  const std::array<std::int32_t, 5> cuts{part.before, part.begin, part.end, part.after, 2 * part.after - part.end};
  std::array<vector<berthed_block>, 3> found;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const auto& [buffer, size, begin, end] = blocks[b];
    if (begin >= part.after) continue;
    if (begin < part.before) {
      if (end > part.begin && end < part.after) return false;
      continue;
    }
    const std::size_t k = begin < part.begin ? 0 : begin < part.end ? 1 : 2;
    if (end > cuts[k + 2]) return false;
    found[k].push_back({size, placed.berths[b].low, begin - cuts[k], end - cuts[k]});
  }
  const std::int32_t length = part.end - part.begin;
  return part.begin - part.before == length && part.after - part.end == length && found[0] == found[1] &&
         found[1] == found[2];
}

/// What is alive throughout a refrain, and so longer in the longer body.
inline bool lasts(const block& b, const refrain& part) { return b.begin < part.before && b.end >= part.after; }

/// The pairs of a block and one in its way in the longer body; what lasts meets every block.
inline std::int64_t pairs_with(std::span<const refrain> refrains, const vector<block>& blocks, const neighbours& near) {
  std::int64_t pairs = 0, more = 0, lasting = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    std::int64_t times = 1;
    for (const refrain& each : refrains) {
      if (blocks[b].begin >= each.begin && blocks[b].begin < each.end) times = each.times;
      lasting += lasts(blocks[b], each) ? 1 : 0;
    }
    pairs += times * near.count(b);
    more += times - 1;
  }
  return pairs + lasting * more;
}

}  // namespace detail::arena

MESHLOOM_INLINE packing pack(std::span<const lifetime> buffers, std::int64_t alignment) {
  const auto blocks = detail::arena::blocks_of(buffers, alignment);
  packing packed{vector<bytes>(buffers.size()), {}, {detail::arena::bound_of(blocks)}};
  if (blocks.empty()) return packed;
  const detail::arena::neighbours near(blocks);
  std::int64_t looks = 0;
  auto arrangement = detail::arena::best_heuristic(blocks, near, packed.bound.count, looks);
  detail::arena::improve(arrangement, blocks, near, packed.bound.count, looks);
  for (std::size_t b = 0; b < blocks.size(); ++b) packed.offset[blocks[b].buffer] = {arrangement.berths[b].low};
  packed.total = {arrangement.total};
  return packed;
}

/// Where an order leads to the bound, `pack` is content, if it comes to try it. An order by length may be another one
/// where lengths change.
MESHLOOM_INLINE std::optional<bytes> total_with(std::span<const refrain> refrains, std::span<const lifetime> buffers,
                                                std::int64_t alignment) {
  const auto blocks = detail::arena::blocks_of(buffers, alignment);
  const detail::arena::neighbours near(blocks);
  const std::int64_t bound = detail::arena::bound_of(blocks);
  const std::int64_t each = detail::arena::pairs_with(refrains, blocks, near);
  const bool some_last = std::any_of(blocks.begin(), blocks.end(), [&](const detail::arena::block& b) {
    return std::any_of(refrains.begin(), refrains.end(),
                       [&](const refrain& part) { return detail::arena::lasts(b, part); });
  });
  std::int64_t looks = 0, pairs = 0;
  for (const auto& [first, rule] : detail::arena::heuristics) {
    if (pairs >= detail::arena::most_looks) break;
    pairs += each;
    const bool by_length = first != detail::arena::large && first != detail::arena::early;
    if (by_length && some_last) continue;
    detail::arena::arrangement placed{detail::arena::sorted_by(first, blocks), rule, {}, 0};
    place(placed, blocks, near, bound, looks);
    const bool found = placed.total <= bound && std::all_of(refrains.begin(), refrains.end(), [&](const refrain& part) {
                         return repeats(blocks, placed, part);
                       });
    if (found) return bytes{bound};
  }
  return std::nullopt;
}

}  // namespace meshloom
