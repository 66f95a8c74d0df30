// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/stage_ways.hpp>

#include <algorithm>
#include <deque>
#include <limits>

namespace meshloom {
namespace detail {

/// Calls `visit(a.field, b.field)` for every part of two costs.
template <class Left, class Right, class Visit>
void for_each_part(Left& a, Right& b, const Visit& visit) {
  visit(a.time, b.time);
  visit(a.once, b.once);
  visit(a.fixed, b.fixed);
  visit(a.slot, b.slot);
  visit(a.transient, b.transient);
  visit(a.extra, b.extra);
}

/// What one step of `steps` equal ones adds on the way from `from` to `to`.
inline stage_cost step_between(const stage_cost& from, const stage_cost& to, std::int64_t steps) {
  stage_cost step = to;
  for_each_part(step, from,
                [&](auto& a, const auto& b) { a.count = (a.count - b.count) / std::max<std::int64_t>(steps, 1); });
  return step;
}

/// Looks between two ways, and between each of them and what was found, until so many looks were taken.
/// `look(a, b)` finds a way, or one of the two again.
template <class Look>
void look_between(std::size_t first, std::size_t last, int looks, const Look& look) {
  std::deque<std::pair<std::size_t, std::size_t>> sides{{first, last}};
  for (; looks > 0 && !sides.empty(); --looks) {
    const auto [a, b] = sides.front();
    sides.pop_front();
    const std::size_t found = look(a, b);
    if (found == a || found == b) continue;
    sides.push_back({a, found});
    sides.push_back({found, b});
  }
}

}  // namespace detail

MESHLOOM_INLINE stage_cost stage_way::cost(std::size_t range, std::int32_t keep) const {
  stage_cost sum = shortest;
  detail::for_each_part(sum, step, [&](auto& a, const auto& b) { a += b * static_cast<std::int64_t>(range); });
  sum.time -= relief * keep;
  sum.slot += burden * keep;
  if (const auto known = measured.find({range, keep}); known != measured.end()) {
    sum.fixed = known->second.fixed;
    sum.slot = known->second.slot;
    sum.transient = known->second.transient;
  }
  return sum;
}

MESHLOOM_INLINE stage_ways::stage_ways(const problem& posed, std::int32_t micro_batches, const intra_options& limits,
                                       stage_family of, shared_stage_tables* tables)
    : posed_(posed), micro_batches_(micro_batches), limits_(limits), of_(std::move(of)) {
  // Near the optimum is near enough here, where there are many problems; the bound says how near.
  constexpr std::int64_t most_work = 20'000'000, most_for_bound = 3'000'000;
  limits_.most_work = std::min(limits_.most_work, of_.around == surroundings::anything ? most_for_bound : most_work);
  shared_stage_tables own;
  resumed_ = of_.looked_at;
  const auto blocks = blocks_of(posed_.graph);
  const vector<bool> ruled = recomputed_by_rule(posed_, 0, static_cast<std::int32_t>(blocks.size()));
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const region& area = posed_.graph.regions[blocks[b].region];
    free_before_.push_back(free_before_.back() + (may_recompute(area) && area.repeated && !ruled[b] ? 1 : 0));
  }
  for (const stage_plan& each : of_.meshes)
    tables_.push_back((tables != nullptr ? *tables : own).of(posed_, each, micro_batches_));
  for (std::size_t mesh = 0; mesh < of_.meshes.size(); ++mesh) {
    faces_.emplace_back().mesh = mesh;
    faces_.back().narrow = narrow(mesh);
    expect(faces_.back());
  }
  const auto least = [](const face& on) { return on.optima.back().second; };
  std::sort(faces_.begin(), faces_.end(),
            [&](const face& a, const face& b) { return std::pair(least(a), a.mesh) < std::pair(least(b), b.mesh); });
  open_faces();
}

/// Where little is to be chosen all of it is looked at.
MESHLOOM_INLINE bool stage_ways::narrow(std::size_t mesh) {
  constexpr std::size_t most_nodes = 20;
  if (posed_.graph.nodes.size() <= most_nodes) return false;
  vector<stage_plan> some;
  for (const stage_ways* each : of_.alike) {
    auto more = each->plans_on(of_.meshes[mesh]);
    std::move(more.begin(), more.end(), std::back_inserter(some));
  }
  if (some.empty()) return false;
  tables_[mesh] = std::make_shared<stage_tables>(tables_[mesh], std::move(some));
  return true;
}

MESHLOOM_INLINE bool stage_ways::is_narrow() const {
  return std::any_of(faces_.begin(), faces_.end(), [](const face& on) { return on.narrow; });
}

MESHLOOM_INLINE void stage_ways::widen(picoseconds worth) {
  drop_problems();
  for (auto& each : tables_) {
    if (each->all()) each = std::shared_ptr<stage_tables>(each->all());
  }
  erase_if(faces_, [](const face& on) { return on.again; });  // which know what the others knew
  for (face& on : faces_) {
    if (on.narrow) on.open = false;
    on.narrow = false;
  }
  for (stage_way& each : ways_) each.options.clear();  // which were numbered otherwise
  leaned_.clear();
  through_.clear();
  find_fast_ways(worth);
}

MESHLOOM_INLINE vector<bool> stage_ways::recomputed(std::size_t range, bool again, std::int32_t keep) const {
  const block_range& within = of_.ranges[range];
  vector<bool> made = recomputed_by_rule(posed_, within.first, within.end);
  const auto blocks = blocks_of(posed_.graph);
  for (std::size_t b = 0; again && b < made.size(); ++b) {
    const region_id home = blocks[static_cast<std::size_t>(within.first) + b].region;
    const region& area = posed_.graph.regions[home];
    if (may_recompute(area) && !made[b]) made[b] = !area.repeated || keep-- <= 0;
  }
  return made;
}

MESHLOOM_INLINE std::int32_t stage_ways::free_copies(const stage_way& way, std::size_t range) const {
  const block_range& blocks = of_.ranges[range];
  return way.again
             ? free_before_[static_cast<std::size_t>(blocks.end)] - free_before_[static_cast<std::size_t>(blocks.first)]
             : 0;
}

MESHLOOM_INLINE stage_choices stage_ways::choices_on(const face& on, std::size_t range) const {
  stage_plan stage = of_.meshes[on.mesh];
  stage.first_block = of_.ranges[range].first;
  stage.end_block = of_.ranges[range].end;
  stage.recompute = recomputed(range, on.again, 0);
  return {posed_, stage, micro_batches_, 1, std::nullopt, tables_[on.mesh], of_.around};
}

MESHLOOM_INLINE std::optional<intra_answer> stage_ways::solve_problem(const intra_problem& asked) {
  work_ += detail::entries_of(asked);
  auto answer = solve_intra(asked, limits_);
  return answer ? std::optional(std::move(answer.value())) : std::nullopt;
}

MESHLOOM_INLINE void stage_ways::form(face& on) const {
  if (on.longest) return;
  on.longest = std::make_unique<stage_choices>(choices_on(on, last()));
  if (last() > 0) on.shortest = std::make_unique<stage_choices>(choices_on(on, 0));
}

/// Their tables are large.
MESHLOOM_INLINE void stage_ways::drop_problems() {
  for (face& each : faces_) {
    each.shortest.reset();
    each.longest.reset();
    each.paying.reset();
    each.paying_messages.reset();
  }
}

MESHLOOM_INLINE void stage_ways::expect(face& on) const {
  const auto least = [&](std::size_t range) {
    return picoseconds{of_.known ? static_cast<std::int64_t>(of_.known(on.mesh, on.again, of_.ranges[range], 0, 1))
                                 : 0};
  };
  on.optima.push_back({0, least(0)});
  if (last() > 0) on.optima.push_back({last(), least(last())});
}

/// The most promising mesh first; one that cannot be as fast as what is found stays as it is.
MESHLOOM_INLINE void stage_ways::open_faces() {
  for (face& on : faces_) {
    if (!on.open && !on.again && !is_beaten(on, of_.worth)) open_face(on);
  }
  erase_if(faces_, [](const face& on) { return on.optima.empty(); });
  if (ways_.empty() || !may_be_leaner(last())) drop_problems();
}

MESHLOOM_INLINE bool stage_ways::is_beaten(const face& on, picoseconds worth) const {
  constexpr std::int64_t margin = 50;  // one part in so many
  const auto by_ways = [&](std::size_t range, picoseconds bound) {
    if (bound >= worth) return true;
    if (ways_.empty()) return false;
    const picoseconds best = step_time(ways_[fastest(range)].cost(range));
    return bound.count > best.count + best.count / margin;
  };
  return by_ways(0, on.optima.front().second) && by_ways(last(), on.optima.back().second);
}

MESHLOOM_INLINE bool stage_ways::may_be_faster(picoseconds worth) const {
  return std::any_of(faces_.begin(), faces_.end(),
                     [&](const face& on) { return !on.open && !on.again && !is_beaten(on, worth); });
}

MESHLOOM_INLINE void stage_ways::find_fast_ways(picoseconds worth) {
  of_.worth = worth;
  open_faces();
}

MESHLOOM_INLINE void stage_ways::open_face(face& on) {
  on.open = true;
  const auto expected = on.optima;
  if (!on.narrow) on.optima.clear();
  form(on);
  if (!on.longest->stuck().empty()) {
    stuck_ = on.longest->stuck();
    on.optima.clear();
    return;
  }
  const auto high = solve_problem(on.longest->made());
  const auto low = last() > 0 ? solve_problem(on.shortest->made()) : high;
  if (!high || !low) {  // where a way is known, none was found in time
    const auto here = [&](const stage_way& each) { return each.mesh == on.mesh && !each.again; };
    if (std::any_of(ways_.begin(), ways_.end(), here)) on.optima = expected;
    return;
  }
  const std::size_t fast = add_way(on, high->options);
  if (is_verbose(ways_[fast])) {
    if (const auto terse = solve_problem(on.longest->receiving())) add_way(on, terse->options);
  }
  if (last() > 0) add_way(on, low->options);
  if (last() > 0 && !on.narrow) on.optima.push_back({0, std::min(low->bound, on.shortest->left_out())});
  if (!on.narrow) on.optima.push_back({last(), std::min(high->bound, on.longest->left_out())});
  if (of_.around == surroundings::anything || of_.for_bound) return;  // its ways stand for bounds alone
  if (last() > 0 && !on.narrow) solve_between(on, 0, 1);
  constexpr std::int64_t least_share = 100;  // of a step, one part in so many, may be gained
  const stage_cost cost = ways_[fast].cost(last());
  if (is_staged() && cost.once * least_share > step_time(cost)) find_brisk_ways(on, fast);
}

MESHLOOM_INLINE void stage_ways::solve_between(face& on, std::size_t low, std::size_t high) {
  constexpr std::int64_t closeness = 1000;  // of what is found to what could be
  const auto [a, at_a] = on.optima[low];
  const auto [b, at_b] = on.optima[high];
  if (b - a < 2) return;
  const std::size_t middle = (a + b) / 2;
  const std::int64_t least =
      at_a.count + (at_b.count - at_a.count) / static_cast<std::int64_t>(b - a) * static_cast<std::int64_t>(middle - a);
  std::int64_t known = std::numeric_limits<std::int64_t>::max();
  for (const stage_way& each : ways_) {
    if (each.mesh == on.mesh && !each.again) known = std::min(known, step_time(each.cost(middle)).count);
  }
  if (known - least <= least / closeness) return;
  const stage_choices choices = choices_on(on, middle);
  const auto found = solve_problem(choices.made());
  if (!found) return;
  add_way(on, found->options);
  on.optima.insert(on.optima.begin() + static_cast<std::ptrdiff_t>(high),
                   {middle, std::min(found->bound, choices.left_out())});
  if (known - found->cost.count <= known / closeness) return;  // what is missing is proof
  solve_between(on, high, high + 1);
  solve_between(on, low, low + 1);
}

/// As between lean ways: two come to the same at a share, and the best way at that share lies between them. The problem
/// is there already and both ways are known, so that a short search from them on is enough.
MESHLOOM_INLINE void stage_ways::find_brisk_ways(const face& on, std::size_t thrifty) {
  constexpr int most_shares = 3;
  constexpr std::int64_t most_work = 4'000'000;
  constexpr price_share least{1, 1000};
  const auto best_at = [&](const price_share& of, std::size_t a, std::size_t b) {
    intra_options few = limits_;
    few.most_work = std::min(few.most_work, most_work);
    few.exact = nullptr;
    few.starts = {ways_[a].options, ways_[b].options};
    const auto found = solve_intra(on.longest->discounting(of), few);
    return found ? add_way(on, found.value().options) : a;
  };
  const std::size_t brisk = best_at(least, thrifty, thrifty);
  detail::look_between(thrifty, brisk, most_shares - 1, [&](std::size_t a, std::size_t b) {
    const stage_cost left = ways_[a].cost(last()), right = ways_[b].cost(last());
    const picoseconds saved = (left.time - right.time) * micro_batches_, lost = right.once - left.once;
    return saved.count > 0 && saved < lost ? best_at({saved.count, lost.count}, a, b) : a;
  });
}

MESHLOOM_INLINE bool stage_ways::is_verbose(const stage_way& way) const {
  constexpr std::int64_t least_share = 200;  // of a step, one part in so many
  const stage_cost cost = way.cost(last());
  return cost.extra * micro_batches_ * least_share > step_time(cost);
}

MESHLOOM_INLINE std::size_t stage_ways::add_way(const face& on, vector<std::int32_t> options) {
  const auto known = std::find_if(ways_.begin(), ways_.end(), [&](const stage_way& each) {
    return each.mesh == on.mesh && each.again == on.again && each.options == options;
  });
  if (known != ways_.end()) return static_cast<std::size_t>(known - ways_.begin());
  stage_way made;
  made.mesh = on.mesh;
  made.again = on.again;
  made.chosen = on.longest->plan_of(options);
  const auto same = std::find_if(ways_.begin(), ways_.end(), [&](const stage_way& each) {
    return each.options.empty() && each.mesh == on.mesh && each.again == on.again && each.chosen == made.chosen;
  });
  if (same != ways_.end()) {
    same->options = std::move(options);
    return static_cast<std::size_t>(same - ways_.begin());
  }
  const stage_cost longest = on.longest->cost_of(options);
  made.shortest = on.shortest ? on.shortest->cost_of(options) : longest;
  made.step = detail::step_between(made.shortest, longest, static_cast<std::int64_t>(last()));
  made.when = evaluate(on.longest->made(), options).when;
  made.options = std::move(options);
  ways_.push_back(std::move(made));
  return ways_.size() - 1;
}

MESHLOOM_INLINE stage_ways::point stage_ways::place(std::size_t way, std::size_t range, std::int32_t slots) const {
  const stage_cost cost = ways_[way].cost(range);
  return {step_time(cost), slots > 0 ? cost.fixed + cost.slot * slots + cost.transient : cost.fixed};
}

MESHLOOM_INLINE std::size_t stage_ways::fastest(std::size_t range) const {
  const auto time = [&](const stage_way& each) { return step_time(each.cost(range)); };
  const auto found = std::min_element(ways_.begin(), ways_.end(),
                                      [&](const stage_way& a, const stage_way& b) { return time(a) < time(b); });
  return static_cast<std::size_t>(found - ways_.begin());
}

/// Above the prices that were tried, what is held in any case is paid.
MESHLOOM_INLINE double stage_ways::least_at(const face& on, double price, std::int32_t slots) const {
  const double held = static_cast<double>(least_of(last()).count);
  std::pair<double, double> low{0, static_cast<double>(on.optima.back().second.count)}, high = low;
  if (const auto tried = on.priced.find(slots); tried != on.priced.end()) {
    const auto above = std::upper_bound(tried->second.begin(), tried->second.end(), std::pair(price, 0.0));
    if (above != tried->second.begin()) low = above[-1];
    if (above != tried->second.end()) high = *above;
  }
  double least = low.second + (price - low.first) * held;
  if (high.first > price)
    least = std::max(least, low.second + (high.second - low.second) * (price - low.first) / (high.first - low.first));
  return of_.known ? std::max(least, of_.known(on.mesh, on.again, of_.ranges[last()], price, slots)) : least;
}

MESHLOOM_INLINE double stage_ways::least_at(const stage_plan& mesh, bool again, std::size_t range, double price,
                                            std::int32_t slots) const {
  const auto find = [&](bool made) {
    return std::find_if(faces_.begin(), faces_.end(),
                        [&](const face& on) { return on.again == made && is_same(of_.meshes[on.mesh], mesh); });
  };
  auto on = find(again);
  if (on == faces_.end()) on = find(false);  // to recompute takes time
  if (on == faces_.end()) return 0;          // nothing is known
  const auto paid = [&](std::size_t which) { return price * static_cast<double>(least_of(which).count); };
  const double part = last() == 0 ? 1 : static_cast<double>(range) / static_cast<double>(last());
  const double shortest = static_cast<double>(on->optima.front().second.count) + paid(0);
  double longest = 0;
  for (const auto& [fewer, prices] : on->priced) {
    if (fewer <= slots) longest = std::max(longest, least_at(*on, price, fewer));
  }
  if (last() == 0) return std::max(longest, static_cast<double>(on->optima.back().second.count) + paid(0));
  longest = std::max(longest, static_cast<double>(on->optima.back().second.count) + paid(last()));
  const double alone = static_cast<double>(bound(*on, range).count) + paid(range);
  return std::max(alone, shortest + (longest - shortest) * part);
}

MESHLOOM_INLINE stage_plan stage_ways::plan_of(const stage_way& way, std::size_t range, std::int32_t keep) const {
  stage_plan stage = way.chosen;
  stage.first_block = of_.ranges[range].first;
  stage.end_block = of_.ranges[range].end;
  stage.recompute = recomputed(range, way.again, keep);
  return stage;
}

/// What a range takes at a price of a byte is concave along the copies; the shortest takes its time, and the price of
/// what it cannot do without.
MESHLOOM_INLINE picoseconds stage_ways::bound(std::size_t range, std::int32_t slots, bytes room) const {
  constexpr double rounding = 4;
  const double part = last() == 0 ? 1 : static_cast<double>(range) / static_cast<double>(last());
  const auto free = [&](std::size_t which) {
    picoseconds least{faces_.empty() ? 0 : std::numeric_limits<std::int64_t>::max()};
    for (const face& on : faces_) least = std::min(least, bound(on, which));
    return static_cast<double>(least.count);
  };
  const double shortest = free(0);
  double least = free(range);
  for (const support& each : supports_) {
    const double low = last() == 0 ? each.least : shortest + each.price * static_cast<double>(least_of(0).count);
    const double paid = low + (each.least - low) * part - each.price * static_cast<double>(room.count);
    if (each.slots <= slots) least = std::max(least, paid - rounding);
  }
  return {static_cast<std::int64_t>(least)};
}

MESHLOOM_INLINE picoseconds stage_ways::between(const vector<std::pair<std::size_t, picoseconds>>& known,
                                                std::size_t range) {
  const auto next = std::find_if(known.begin(), known.end(), [&](const auto& each) { return each.first >= range; });
  if (next->first == range) return next->second;
  const auto& [a, at_a] = next[-1];
  const auto& [b, at_b] = next[0];
  const auto steps = static_cast<std::int64_t>(b - a), part = static_cast<std::int64_t>(range - a);
  return {at_a.count + (at_b.count - at_a.count) / steps * part - (at_b < at_a ? steps : 0)};
}

MESHLOOM_INLINE bool stage_ways::knows_times() const {
  return std::all_of(faces_.begin(), faces_.end(),
                     [](const face& on) { return !on.open || on.again || !on.times.empty(); });
}

MESHLOOM_INLINE void stage_ways::find_times() {
  const auto least = [&](const stage_choices& choices) {  // what is left out may be quick, and done once for long
    work_ += detail::entries_of(choices.made());
    const auto found = solve_intra(choices.discounting({0, 1}), limits_);
    return found && choices.left_out() >= forbidden ? found.value().bound : picoseconds{};
  };
  for (face& on : faces_) {
    if (!on.open || on.again || !on.times.empty()) continue;
    form(on);
    if (last() > 0) on.times.push_back({0, least(*on.shortest)});
    on.times.push_back({last(), least(*on.longest)});
  }
  drop_problems();
}

/// To recompute takes time.
MESHLOOM_INLINE picoseconds stage_ways::least_time(std::size_t range) const {
  if (!knows_times()) return {};
  std::optional<picoseconds> least;
  for (const face& on : faces_) {
    if (!on.open || on.again) continue;
    const picoseconds here = between(on.times, range);
    least = std::min(least.value_or(here), here);
  }
  return least.value_or(picoseconds{});
}

MESHLOOM_INLINE picoseconds stage_ways::bound_elsewhere(std::size_t range) const {
  picoseconds least{std::numeric_limits<std::int64_t>::max()};
  for (const face& on : faces_) {
    if (!on.open && !on.again) least = std::min(least, bound(on, range));
  }
  return least;
}

/// Copies are alike: what one range needs besides, the others need, but for the luck of packing.
MESHLOOM_INLINE void stage_ways::measure(std::size_t number, std::size_t range, std::int32_t keep) {
  stage_way& way = ways_[number];
  if (way.measured.count({range, keep}) != 0) return;
  const stage_memory found = memory_of(posed_, plan_of(way, range, keep), micro_batches_);
  way.measured[{range, keep}] = found;
  way.shortest.transient = std::max(way.shortest.transient, found.transient);
  way.step.transient = {};
}

}  // namespace meshloom
