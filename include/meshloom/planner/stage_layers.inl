// SPDX-License-Identifier: Apache-2.0
// What blocks need in any plan, what the copies of a layer take in any stage, and bounds: bodies of stage_search.hpp.
#include <meshloom/cost/analytic.hpp>
#include <meshloom/planner/allowed.hpp>
#include <meshloom/planner/stage_search.hpp>

#include <algorithm>
#include <bit>

namespace meshloom {
namespace detail {

/// A bound of what cannot fit, so that sums stay exact.
inline constexpr picoseconds most_bounded{std::int64_t{1} << 56};

inline bytes whole_size(const graph& whole, const size_table& sizes, value_id id) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : extents_of(sizes, whole.values[id].axes)) elements *= extent;
  return {elements * size_of(whole.values[id].type)};
}

/// True if the first copy of a region does not do what the others do: it reads an input, or makes a gradient in vain.
inline bool first_copy_differs(const graph& whole, const region& area) {
  if (!area.repeated) return false;
  const auto reads = [&](const node& at) {
    return std::find(at.operands.begin(), at.operands.end(), area.backward.outer_out) != at.operands.end();
  };
  return whole.values[area.forward.outer_in].kind == value_kind::input ||
         std::none_of(whole.nodes.begin(), whole.nodes.end(), reads);
}

}  // namespace detail

/// What the operators of every region need in any plan: time on one rank, launches apart, and bytes, of one copy.
MESHLOOM_INLINE void stage_search::find_needs() {
  const graph& whole = posed_.graph;
  const size_table sizes = micro_batch_sizes(whole, micro_batches_);
  device free_launch = posed_.cluster.device;
  free_launch.launch = {};
  vector<need> of_region(whole.regions.size());
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const node& at = whole.nodes[static_cast<node_id>(n)];
    if (at.when == phase::update) continue;
    of_region[index_of(at.region)].time += price(whole, sizes, static_cast<node_id>(n), {}, {}, free_launch, {});
  }
  for (const parameter& each : whole.parameters) {
    bytes& held = of_region[index_of(whole.values[each.value].region)].held;
    held += detail::whole_size(whole, sizes, each.value);
    for (const value_id state : each.states) held += detail::whole_size(whole, sizes, state);
    if (!each.gradients.empty()) held += detail::whole_size(whole, sizes, each.gradients.front());
  }
  find_left(of_region);
  add_needs(of_region);
}

/// What is made elsewhere is kept for the backward of a block even if the block recomputes; and all that it reads is
/// there when its backward begins.
MESHLOOM_INLINE void stage_search::find_left(vector<need>& of_region) const {
  const graph& whole = posed_.graph;
  const size_table sizes = micro_batch_sizes(whole, micro_batches_);
  vector<value_id> seen;
  for (const region& each : whole.regions) seen.push_back(each.forward.body_out);  // the next copy's input
  for (const node& at : whole.nodes) {
    for (const value_id id : at.operands) {
      const value& entry = whole.values[id];
      const bool made = entry.kind == value_kind::activation && entry.producer != node_id::none &&
                        whole.nodes[entry.producer].when == phase::forward;
      const bool enters = id == whole.regions[at.region].forward.body_in;
      if (at.when != phase::backward || !(made || enters) || std::find(seen.begin(), seen.end(), id) != seen.end())
        continue;
      seen.push_back(id);
      need& here = of_region[index_of(at.region)];
      const bytes size = detail::whole_size(whole, sizes, id);
      if (enters)
        here.entering += size;
      else
        (entry.region == at.region ? here.remade : here.slot) += size;
    }
  }
}

/// The first copy of a layer may read what other blocks count.
MESHLOOM_INLINE void stage_search::add_needs(const vector<need>& of_region) {
  before_.push_back({});
  const auto blocks = blocks_of(posed_.graph);
  const auto again = recomputed_by_rule(posed_, 0, static_cast<std::int32_t>(blocks.size()));
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const need &here = of_region[index_of(blocks[b].region)], &sum = before_.back();
    const bool lean = again[b] || may_recompute(posed_.graph.regions[blocks[b].region]);
    need next{sum.time + here.time, sum.held + here.held, sum.slot + here.slot, {}, {}};
    if (blocks[b].copy > 0) next.slot += here.entering;
    (lean ? next.remade : next.slot) += here.remade;
    before_.push_back(next);
  }
  remade_.emplace_back();
  for (const need& each : before_) remade_.front().push_back(each.remade);
  for (std::size_t length = 1; 2 * length < before_.size(); length *= 2) {
    const vector<bytes>& half = remade_.back();
    vector<bytes> most = half;
    for (std::size_t b = 2 * length; b < most.size(); ++b) most[b] = std::max(half[b], half[b - length]);
    remade_.push_back(std::move(most));
  }
}

MESHLOOM_INLINE bytes stage_search::least_fixed(const block_range& blocks, std::int32_t ranks) const {
  const bytes all = before_[static_cast<std::size_t>(blocks.end)].held;
  return {(all - before_[static_cast<std::size_t>(blocks.first)].held).count / ranks};
}

MESHLOOM_INLINE stage_candidate stage_search::least(const block_range& blocks, std::int32_t ranks) const {
  const auto at = [&](std::int32_t block) { return before_.begin() + block; };
  const need &first = *at(blocks.first), &end = *at(blocks.end);
  const auto level =
      static_cast<std::size_t>(std::bit_width(static_cast<std::uint32_t>(blocks.end - blocks.first)) - 1);
  const auto before = [&](std::int32_t block) { return remade_[level][static_cast<std::size_t>(block)]; };
  const bytes remade = std::max(before(blocks.end), before(blocks.first + (1 << level)));  // at a time
  return {.first_block = blocks.first,
          .end_block = blocks.end,
          .ranks = ranks,
          .time = {(end.time - first.time).count / ranks},
          .once = {},
          .held = {least_fixed(blocks, ranks).count + remade.count / ranks},
          .slot = {(end.slot - first.slot).count / ranks}};
}

MESHLOOM_INLINE void stage_search::find_layers() {
  const auto blocks = blocks_of(posed_.graph);
  for (std::size_t b = 0, end = 0; b < blocks.size(); b = end) {
    while (end < blocks.size() && blocks[end].region == blocks[b].region) ++end;
    const bool differs = detail::first_copy_differs(posed_.graph, posed_.graph.regions[blocks[b].region]);
    const block_range copies{static_cast<std::int32_t>(b) + (differs ? 1 : 0), static_cast<std::int32_t>(end)};
    const auto again = recomputed_by_rule(posed_, copies.first, copies.end);
    const bool ruled = std::find(again.begin(), again.end(), true) != again.end();
    if (copies.end - copies.first < 3 || ruled) continue;
    layers_.push_back({copies, {}, {}});
    layers_.back().ways.resize(rank_counts_.size());
    layers_.back().roomy.resize(rank_counts_.size());
  }
}

/// Whoever has all ranks has all copies.
MESHLOOM_INLINE std::int32_t stage_search::fewest(const layer& of, std::int32_t ranks) const {
  return ranks == posed_.cluster.ranks() ? of.copies.end - of.copies.first : 2;
}

MESHLOOM_INLINE std::size_t stage_search::place_in(const stage_ways& ways, const layer& of, const block_range& part,
                                                   std::int32_t ranks) const {
  return std::min(static_cast<std::size_t>(part.end - part.first - fewest(of, ranks)), ways.range_count() - 1);
}

MESHLOOM_INLINE block_range stage_search::part_of(const block_range& range, const layer& of) {
  const std::int32_t first = std::max(range.first, of.copies.first), end = std::min(range.end, of.copies.end);
  return {first, std::max(first, end)};
}

MESHLOOM_INLINE picoseconds stage_search::least_of_layers(const block_range& range, std::int32_t ranks,
                                                          std::int32_t slots, belief sure) const {
  picoseconds sum = least(range, ranks).time * micro_batches_;
  for (std::size_t number = 0; number < layers_.size(); ++number) {
    const block_range part = part_of(range, layers_[number]);
    const layer& each = layers_[number];
    if (part.end - part.first < fewest(each, ranks)) continue;
    const bytes room = posed_.cluster.device.memory - (least_fixed(range, ranks) - least_fixed(part, ranks));
    const picoseconds least_time = least(part, ranks).time * micro_batches_;
    picoseconds bound = least_time;
    if (const auto& roomy = coarsest().layers_[number].roomy[index_of_ranks(ranks)];
        roomy && is_of_use(*roomy, ranks, sure))
      bound = std::max(bound, roomy->bound(place_in(*roomy, each, part, ranks), 0, room) - rounding_of(part));
    if (const auto& ways = each.ways[index_of_ranks(ranks)]; ways && is_of_use(*ways, ranks, sure))
      bound = std::max(bound, ways->bound(place_in(*ways, each, part, ranks), slots, room));
    sum += bound - least_time;
  }
  return sum;
}

MESHLOOM_INLINE bool stage_search::is_of_use(const stage_ways& ways, std::int32_t ranks, belief sure) const {
  return sure == belief::hoped || priced_.has(ways) || ways.covers({{}, meshes_[index_of_ranks(ranks)]});
}

/// Prices are rounded one by one.
MESHLOOM_INLINE picoseconds stage_search::rounding_of(const block_range& range) const {
  return picoseconds{static_cast<std::int64_t>(posed_.graph.nodes.size() * 8)} * micro_batches_ *
         (range.end - range.first);
}

MESHLOOM_INLINE double stage_search::least_paid(std::size_t number, const block_range& part, std::int32_t ranks,
                                                std::size_t mesh, bool again, double price) const {
  const double least_time = static_cast<double>(least(part, ranks).time.count) * micro_batches_ +
                            price * static_cast<double>(least_fixed(part, ranks).count);
  const auto& ways = coarsest().layers_[number].roomy[index_of_ranks(ranks)];
  if (!ways) return least_time;
  const double found = ways->least_at(meshes_[index_of_ranks(ranks)][mesh], again,
                                      place_in(*ways, layers_[number], part, ranks), price, 0);
  return std::max(least_time, found - static_cast<double>(rounding_of(part).count));
}

MESHLOOM_INLINE stage_family stage_search::family_of_layer(const layer& of, std::int32_t ranks, bool roomy) const {
  stage_family made{{},
                    meshes_[index_of_ranks(ranks)],
                    roomy ? vector{0} : slots_of({{}, {}, false, false, true}, ranks),
                    {},
                    surroundings::anything};
  for (std::int32_t end = of.copies.first + fewest(of, ranks); end <= of.copies.end; ++end) {
    const block_range some{of.copies.first, end};
    const stage_candidate needs = least(some, ranks);
    const bytes held = roomy ? least_fixed(some, ranks) : needs.held + needs.slot;
    if (!made.ranges.empty() && held > posed_.cluster.device.memory) break;
    made.ranges.push_back(some);
    made.least.push_back(least_fixed(some, ranks));
  }
  if (!roomy) {
    const auto number = static_cast<std::size_t>(&of - layers_.data());
    made.known = [this, number, ranks](std::size_t mesh, bool again, const block_range& range, double price,
                                       std::int32_t) { return least_paid(number, range, ranks, mesh, again, price); };
  }
  made.worth = worth_;
  made.machine = posed_.cluster;
  return made;
}

MESHLOOM_INLINE bool stage_search::advance_roomy(const block_range& range, std::int32_t ranks) {
  for (std::size_t number = 0; number < layers_.size(); ++number) {
    const layer& each = layers_[number];
    const block_range part = part_of(range, each);
    if (part.end - part.first < fewest(each, ranks)) continue;
    stage_search& from = coarsest();
    auto& roomy = from.layers_[number].roomy[index_of_ranks(ranks)];
    if (!roomy) {
      roomy = priced_.price(from.family_of_layer(from.layers_[number], ranks, true), from.micro_batches_);
      work_ += roomy->work();
      return true;
    }
    const std::size_t at = place_in(*roomy, each, part, ranks);
    if (!priced_.has(*roomy) || !roomy->may_be_leaner(at)) continue;
    const std::int64_t before = roomy->work();
    roomy->find_lean_ways(at);
    work_ += roomy->work() - before;
    return true;
  }
  return false;
}

MESHLOOM_INLINE bool stage_search::advance_layers(const block_range& range, std::int32_t ranks) {
  if (advance_roomy(range, ranks)) return true;
  const std::size_t row = index_of_ranks(ranks);
  for (std::size_t number = 0; number < layers_.size(); ++number) {
    layer& each = layers_[number];
    const block_range part = part_of(range, each);
    if (part.end - part.first < fewest(layers_[number], ranks)) continue;
    auto& ways = each.ways[row];
    std::int64_t before = 0;
    if (ways) {
      const std::size_t at = place_in(*ways, each, part, ranks);
      if (!priced_.has(*ways) || !ways->may_be_leaner(at)) continue;
      before = ways->work();
      ways->find_lean_ways(at);
    } else {
      ways = priced_.price(family_of_layer(each, ranks, false), micro_batches_);
    }
    work_ += ways->work() - before;
    return true;
  }
  return false;
}

MESHLOOM_INLINE vector<const stage_ways*> stage_search::ways_of_layers(std::int32_t ranks) const {
  vector<const stage_ways*> found;
  for (std::size_t n = 0; n < layers_.size(); ++n) {
    if (const auto& ways = layers_[n].ways[index_of_ranks(ranks)]) found.push_back(ways.get());
    if (const auto& ways = coarsest().layers_[n].roomy[index_of_ranks(ranks)]) found.push_back(ways.get());
  }
  return found;
}

MESHLOOM_INLINE stage_family stage_search::family_of(std::size_t number, const group& which) const {
  const auto& ranges = families_[number].ranges;
  const std::int32_t ranks = which.meshes.front().mesh.ranks();
  const auto& all = meshes_[index_of_ranks(ranks)];
  stage_family made{{}, which.meshes, slots_of(families_[number], ranks)};
  vector<std::size_t> numbers;
  for (std::size_t range = which.first; range < which.end; ++range) {
    made.ranges.push_back(ranges[range]);
    made.least.push_back(least_fixed(ranges[range], ranks));
  }
  for (const stage_plan& each : which.meshes) {
    const auto same = [&](const stage_plan& known) {
      return known.mesh == each.mesh && known.mesh_axes == each.mesh_axes;
    };
    numbers.push_back(static_cast<std::size_t>(std::find_if(all.begin(), all.end(), same) - all.begin()));
  }
  made.worth = worth_;
  made.machine = posed_.cluster;
  made.alike = ways_of_layers(ranks);
  if (which.freer) made.alike.push_back(which.freer.get());
  made.looked_at = which.freer && which.freer->is_fitted_for(made);
  made.known = [this, ranks, numbers](std::size_t mesh, bool again, const block_range& whole, double price,
                                      std::int32_t slots) {
    double sum = static_cast<double>(least(whole, ranks).time.count) * micro_batches_ +
                 price * static_cast<double>(least_fixed(whole, ranks).count);
    for (std::size_t n = 0; n < layers_.size(); ++n) {
      const block_range part = part_of(whole, layers_[n]);
      if (part.end - part.first < fewest(layers_[n], ranks)) continue;
      const double paid = price * static_cast<double>(least_fixed(part, ranks).count);
      double found = least_paid(n, part, ranks, numbers[mesh], again, price);
      if (const auto& ways = layers_[n].ways[index_of_ranks(ranks)]) {
        const std::size_t at = place_in(*ways, layers_[n], part, ranks);
        found = std::max(found, ways->least_at(meshes_[index_of_ranks(ranks)][numbers[mesh]], again, at, price, slots));
      }
      sum += found - static_cast<double>(least(part, ranks).time.count) * micro_batches_ - paid;
    }
    return sum;
  };
  return made;
}

MESHLOOM_INLINE picoseconds stage_search::least_of_larger(std::size_t number, std::int32_t ranks) const {
  const member& which = members_[number];
  picoseconds most;
  for (const stage_search* each = fewer_; each != nullptr; each = each->fewer_) {
    if (micro_batches_ % each->micro_batches_ != 0) continue;
    const group* const from = each->group_of(number, ranks);
    if (from == nullptr || !from->ways || from->ways->all().empty()) continue;
    most = std::max(most, from->ways->bound(from->place_of(which.range), 0, posed_.cluster.device.memory));
  }
  return most - rounding_of(which.blocks);
}

MESHLOOM_INLINE stage_candidate stage_search::bound(std::size_t number, std::int32_t ranks, std::int32_t slots,
                                                    belief sure) const {
  const member& which = members_[number];
  const group& from = *group_of(number, ranks);
  stage_candidate made = least(which.blocks, ranks);
  made.shifts = which.shifts;
  picoseconds all = from.ways ? from.ways->bound(from.place_of(which.range), slots, posed_.cluster.device.memory)
                              : least_of_layers(which.blocks, ranks, slots, sure);
  if (!from.ways || from.ways->is_narrow()) all = std::max(all, least_of_larger(number, ranks));
  if (from.freer && (from.is_covered || sure == belief::hoped) && which.range - from.first < from.freer->range_count())
    all = std::max(all, from.freer->bound(which.range - from.first, slots, posed_.cluster.device.memory));
  if (from.ways) {
    const picoseconds times = from.ways->least_time(from.place_of(which.range));
    made.time = std::max(made.time, {times.count / micro_batches_});
  }
  made.once = std::max(std::min(all, detail::most_bounded) - made.time * micro_batches_, picoseconds{});
  return made;
}

MESHLOOM_INLINE std::optional<stage_candidate> stage_search::bound_elsewhere(std::size_t number,
                                                                             std::int32_t ranks) const {
  const member& which = members_[number];
  const group& from = *group_of(number, ranks);
  if (!from.ways || from.ways->least_time(from.place_of(which.range)).count == 0) return std::nullopt;
  const picoseconds all = from.ways->bound_elsewhere(from.place_of(which.range));
  if (all >= worth_) return std::nullopt;
  stage_candidate made = least(which.blocks, ranks);
  made.shifts = which.shifts;
  made.once = std::max(std::min(all, detail::most_bounded) - made.time * micro_batches_, picoseconds{});
  return made;
}

MESHLOOM_INLINE void stage_search::add_bounds(std::size_t number, std::int32_t ranks, belief sure,
                                              vector<stage_candidate>& found) const {
  const vector<std::int32_t> slots = slots_of(families_[members_[number].family], ranks);
  const std::int32_t many = slots.front();
  if (const auto elsewhere = bound_elsewhere(number, ranks)) found.push_back(*elsewhere);
  found.push_back(bound(number, ranks, many, sure));
  if (many == 1) return;
  stage_candidate few = bound(number, ranks, slots.back() < many ? slots.back() : 1, sure);
  few.held = {};
  few.slot.count = posed_.cluster.device.memory.count / (many - 1);
  if (few.once < found.back().once) found.push_back(few);
}

MESHLOOM_INLINE vector<stage_candidate> stage_search::bounds() const {
  vector<stage_candidate> found;
  for (std::size_t m = 0; m < members_.size(); ++m) {
    if (!members_[m].may_be_stage) continue;
    for (const std::int32_t ranks : rank_counts_) {
      const group* const from = group_of(m, ranks);
      if (from == nullptr || (from->ways && from->ways->all().empty())) continue;
      add_bounds(m, ranks, belief::proven, found);
    }
  }
  return found;
}

MESHLOOM_INLINE std::size_t stage_search::member_of(const stage_candidate& each) const {
  const auto found = std::find_if(members_.begin(), members_.end(), [&](const member& known) {
    return known.blocks == block_range{each.first_block, each.end_block};
  });
  return static_cast<std::size_t>(found - members_.begin());
}

MESHLOOM_INLINE bool stage_search::tighten(const vector<stage_candidate>& some, std::int64_t most_work) {
  vector<const group*> advanced;
  for (const stage_candidate& each : some) {
    if (work_ >= most_work) break;
    const std::size_t number = member_of(each);
    const member& which = members_[number];
    group& here = *group_of(number, each.ranks);
    if (std::find(advanced.begin(), advanced.end(), &here) != advanced.end()) continue;
    if (!here.ways)
      price_wide(which.blocks, which.family, here);
    else if (is_open(here, which.range))
      advance(which.blocks, which.family, here);
    else if (here.ways->is_narrow())
      widen(here);
    else
      continue;
    advanced.push_back(&here);
  }
  if (!advanced.empty()) list_candidates();
  return !advanced.empty();
}

/// Layers with these micro-batches would say little more.
MESHLOOM_INLINE void stage_search::price_wide(const block_range& range, std::size_t number, group& which) {
  if (advance_roomy(range, which.meshes.front().mesh.ranks())) return;
  stage_family made = family_of(number, which);
  made.alike.clear();
  made.for_bound = true;
  which.ways = priced_.price(std::move(made), micro_batches_);
  work_ += which.ways->work();
  if (!which.ways->stuck().empty()) stuck_ = which.ways->stuck();
}

MESHLOOM_INLINE bool stage_search::find_times(const vector<stage_candidate>& some, std::int64_t most_work) {
  bool found = false;
  for (const stage_candidate& each : some) {
    if (work_ >= most_work) break;
    const group& here = *group_of(member_of(each), each.ranks);
    if (!here.ways || here.ways->is_narrow() || here.ways->knows_times()) continue;
    const std::int64_t before = here.ways->work();
    here.ways->find_times();
    work_ += here.ways->work() - before;
    found = true;
  }
  if (found) list_candidates();
  return found;
}

MESHLOOM_INLINE void stage_search::widen(group& which) {
  const std::int64_t before = which.ways->work();
  which.ways->widen(worth_);
  work_ += which.ways->work() - before;
}

}  // namespace meshloom
