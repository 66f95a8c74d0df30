// SPDX-License-Identifier: Apache-2.0
// Ways that hold less than the fastest, and how they are found: bodies of stage_ways.hpp.
#include <meshloom/planner/intra_queue.hpp>
#include <meshloom/planner/stage_ways.hpp>

#include <algorithm>
#include <limits>
#include <set>

namespace meshloom {
namespace detail {

/// The prices in a problem.
inline std::int64_t entries_of(const intra_problem& asked) {
  std::int64_t entries = 0;
  for (const intra_choice& each : asked.choices) entries += static_cast<std::int64_t>(each.cost.size());
  for (const intra_coupling& each : asked.couplings) entries += static_cast<std::int64_t>(each.cost.size());
  return entries;
}

}  // namespace detail

/// What was taken up again has ways about the limit: fewer looks will do.
MESHLOOM_INLINE bool stage_ways::may_be_leaner(std::size_t range) const {
  if (resumed_ && of_.around == surroundings::anything) return false;  // its bounds hold; that they are close is proof
  const std::size_t often = resumed_ ? 1 : 3;
  const std::int64_t closeness = resumed_ ? 100 : 300;  // of what is known to what could be
  if (ways_.empty() || leaned_.size() >= often) return false;
  const auto is_near = [&](std::size_t known) { return known + 1 >= range && range + 1 >= known; };
  if (std::any_of(leaned_.begin(), leaned_.end(), is_near)) return false;
  const bytes room = machine().device.memory;
  if (place(fastest(range), range, of_.slots.front()).held <= room) return false;
  const picoseconds least = bound(range, of_.slots.front(), room);
  const auto is_near_best = [&](std::size_t way) {
    const point at = place(way, range, of_.slots.front());
    return at.held <= room && at.time.count <= least.count + least.count / closeness;
  };
  for (std::size_t way = 0; way < ways_.size(); ++way) {
    if (is_near_best(way)) return false;
  }
  return true;
}

MESHLOOM_INLINE void stage_ways::find_lean_ways(std::size_t range) {
  leaned_.push_back(range);
  if (ways_.empty()) return;
  open_again();
  const std::size_t known = ways_.size();
  for (const std::int32_t slots : of_.slots) look_for_room(range, slots);
  drop_problems();
  if (of_.around == surroundings::anything) return;  // its ways stand for bounds alone
  for (std::size_t way = known; way < ways_.size(); ++way) find_relief(ways_[way]);
  find_other_ways(range);
}

/// To recompute takes time: where bytes cost nothing, what is known without it is a bound.
MESHLOOM_INLINE void stage_ways::open_again() {
  const vector<bool> forced = recomputed(last(), false, 0), free = recomputed(last(), true, 0);
  const bool known = std::any_of(faces_.begin(), faces_.end(), [](const face& on) { return on.again; });
  if (known || forced == free || !trains(posed_.graph)) return;
  const std::size_t count = faces_.size();
  for (std::size_t number = 0; number < count; ++number) {
    face on;
    on.mesh = faces_[number].mesh;
    on.again = true;
    on.narrow = faces_[number].narrow;
    on.optima = faces_[number].optima;
    faces_.push_back(std::move(on));
  }
}

/// Copies that keep are alike, and so are those that recompute.
MESHLOOM_INLINE void stage_ways::find_relief(stage_way& way) const {
  const std::int32_t copies = free_copies(way, 0);
  if (copies == 0) return;
  const stage_plan none = plan_of(way, 0), all = plan_of(way, 0, copies);
  const auto time = [&](const stage_plan& each) {
    const stage_price price = price_of(posed_, each, micro_batches_);
    return price.forward + price.backward;
  };
  const auto slot = [&](const stage_plan& each) { return slot_of(posed_, each, micro_batches_); };
  way.relief.count = (time(none) - time(all)).count / copies;
  way.burden.count = (slot(all) - slot(none)).count / copies;
}

MESHLOOM_INLINE bool stage_ways::find_other_ways(std::size_t range) {
  constexpr std::size_t most_nodes = 20;
  const bool known = std::find(through_.begin(), through_.end(), range) != through_.end();
  if (known || of_.around == surroundings::anything || posed_.graph.nodes.size() > most_nodes) return false;
  through_.push_back(range);
  open_again();
  const std::size_t before = ways_.size();
  std::set<std::int32_t> slots{1, of_.slots.front()};
  if (is_staged() && posed_.constraints.schedules.empty() && trains(posed_.graph))
    slots.insert(micro_batches_);  // GPipe
  for (face& on : faces_) {
    for (const std::int32_t each : slots) look_through(on, range, each);
  }
  drop_problems();
  for (std::size_t way = before; way < ways_.size(); ++way) find_relief(ways_[way]);
  return true;
}

/// A stage that has all ranks has to fit and no more; others have neighbours, and messages to keep beside.
MESHLOOM_INLINE void stage_ways::look_through(face& on, std::size_t range, std::int32_t slots) {
  constexpr std::int64_t most_entries = 1 << 20, most_work = 200'000;
  const std::int64_t most_measured = is_staged() ? 100'000 : 400'000;  // of one choice each
  const stage_choices choices = choices_on(on, range);
  if (!choices.stuck().empty()) return;
  auto queue = intra_queue::of(choices.made(), choices.decisions(), choices.paid_for(slots, 0), most_entries);
  if (!queue) return;
  form(on);
  const bytes room = machine().device.memory;
  std::map<vector<std::int32_t>, bytes> leanest;  // by messages
  const auto count = static_cast<std::int64_t>(choices.made().choices.size());
  for (std::int64_t measured = 0; measured < most_measured && queue->work() < most_work;) {
    const auto next = queue->next(room);
    if (!next || next->cost >= of_.worth) return;
    bytes& known = leanest.try_emplace(choices.messages_of(next->options), room + bytes{1}).first->second;
    if (next->held >= known) continue;
    const auto options = choices.completed(next->options);
    const stage_memory found = memory_of(posed_, choices.plan_of(options), micro_batches_);
    const bytes holds = found.fixed + found.slot * slots + found.transient;
    measured += count;
    if (holds >= known) continue;
    known = holds.count <= room.count / 2 ? bytes{} : holds;  // leaner ones would be of no use
    ways_[add_way(on, options)].measured[{range, 0}] = found;
    if (!is_staged()) return;
  }
}

/// Between two ways of the hull lies the one that is best when they come to the same.
MESHLOOM_INLINE void stage_ways::look_for_room(std::size_t range, std::int32_t slots) {
  constexpr std::int64_t dearest = 1000;  // times longer, at the most, to hold nothing
  const bytes room = machine().device.memory;
  std::size_t full = fastest(range);
  if (place(full, range, slots).held <= room) return;
  for (face& each : faces_) {
    each.paying.reset();
    each.paying_messages.reset();
  }
  const std::int32_t when = ways_[full].when;
  const auto [above, below] = hull_around_room(full, range, slots);
  full = above;
  const point start = place(full, range, slots);
  byte_price price{start.time * dearest, start.held + bytes{1}};
  std::size_t lean = below.value_or(full);
  if (below) {
    const point right = place(lean, range, slots);
    price = {right.time - start.time, start.held - right.held};
  } else if (const auto known = fitting_of_alike(slots)) {
    lean = best_at(*known, slots, when, full);
    if (place(lean, range, slots).held > room)
      full = lean;
    else
      price = *known;
  }
  if (lean == full) lean = best_at(price, slots, when, full);
  look_closer(full, lean, price, range, slots, when);
}

MESHLOOM_INLINE void stage_ways::look_closer(std::size_t full, std::size_t lean, byte_price price, std::size_t range,
                                             std::int32_t slots, std::int32_t when) {
  const int most_looks = resumed_ ? 2 : 5;
  constexpr double closeness = 300;  // of what is found to what could be
  const bytes room = machine().device.memory;
  for (int look = 0; look < most_looks; ++look) {
    const point left = place(full, range, slots), right = place(lean, range, slots);
    if (right.held > room) return;
    fitting_[slots] = price;
    if (left.held <= right.held || right.time <= left.time) return;
    const byte_price next{right.time - left.time, left.held - right.held};
    const double gain = static_cast<double>(next.cost.count) * static_cast<double>((room - right.held).count) /
                        static_cast<double>(next.per.count);  // at the most, by what just fits
    if (gain * closeness < static_cast<double>(right.time.count)) return;
    const std::size_t found = best_at(next, slots, when, full);
    if (found == full || found == lean) return;
    const bool fits = place(found, range, slots).held <= room;
    if (fits) price = next;
    (fits ? lean : full) = found;
  }
}

MESHLOOM_INLINE std::pair<std::size_t, std::optional<std::size_t>> stage_ways::hull_around_room(
    std::size_t full, std::size_t range, std::int32_t slots) const {
  for (;;) {
    const point from = place(full, range, slots);
    std::optional<std::size_t> next;
    double least = 0;  // time for a byte
    for (std::size_t way = 0; way < ways_.size(); ++way) {
      const point to = place(way, range, slots);
      if (to.held >= from.held || to.time < from.time) continue;
      const double price =
          static_cast<double>((to.time - from.time).count) / static_cast<double>((from.held - to.held).count);
      if (next && price >= least) continue;
      next = way;
      least = price;
    }
    if (!next || place(*next, range, slots).held <= machine().device.memory) return {full, next};
    full = *next;
  }
}

MESHLOOM_INLINE std::optional<byte_price> stage_ways::fitting(std::int32_t slots) const {
  const auto known = fitting_.find(slots);
  return known == fitting_.end() ? std::nullopt : std::optional(known->second);
}

MESHLOOM_INLINE std::optional<byte_price> stage_ways::fitting_of_alike(std::int32_t slots) const {
  for (const stage_ways* each : of_.alike) {
    if (auto known = each->fitting(slots)) return known;
  }
  return std::nullopt;
}

MESHLOOM_INLINE std::size_t stage_ways::best_at(const byte_price& each, std::int32_t slots, std::int32_t when,
                                                std::size_t known) {
  const double price = static_cast<double>(each.cost.count) / static_cast<double>(each.per.count);
  const auto worth = [&](std::size_t way) {
    const point at = place(way, last(), slots);
    return static_cast<double>(at.time.count) + static_cast<double>(at.held.count) * price;
  };
  std::size_t best = known;
  for (std::size_t way = 0; way < ways_.size(); ++way) {
    if (worth(way) < worth(best)) best = way;
  }
  for (face& on : faces_) {
    if (least_at(on, price, slots) >= worth(best)) continue;
    form(on);
    if (!on.paying) on.paying = std::make_unique<priced_intra>(on.longest->made(), on.longest->paid_for(slots, when));
    work_ += detail::entries_of(on.longest->made());
    const auto found = on.paying->solve(each, limits_);
    if (!found) continue;
    const picoseconds bound = std::min(found->bound, on.longest->left_out());
    const std::pair<double, double> optimum{price, static_cast<double>(bound.count)};
    auto& priced = on.priced[slots];
    if (!on.narrow) priced.insert(std::upper_bound(priced.begin(), priced.end(), optimum), optimum);
    std::size_t way = add_way(on, found->options);
    if (worth(way) < worth(best)) best = way;
    if (!is_verbose(ways_[way])) continue;
    if (!on.paying_messages)
      on.paying_messages = std::make_unique<priced_intra>(on.longest->receiving(), on.longest->paid_for(slots, when));
    work_ += detail::entries_of(on.longest->made());
    const auto terse = on.paying_messages->solve(each, limits_);
    if (!terse) continue;
    way = add_way(on, terse->options);
    if (worth(way) < worth(best)) best = way;
  }
  support made{price, std::numeric_limits<double>::max(), slots};
  for (const face& on : faces_) made.least = std::min(made.least, least_at(on, price, slots));
  supports_.push_back(made);
  return best;
}

}  // namespace meshloom
