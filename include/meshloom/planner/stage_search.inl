// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/allowed.hpp>
#include <meshloom/planner/space.hpp>
#include <meshloom/planner/stage_search.hpp>

#include <algorithm>
#include <limits>

namespace meshloom {
namespace detail {

/// Which blocks of a range recompute by rule: of copies that all do or all do not, said once. None without rules.
inline vector<std::int32_t> pattern_of(const problem& posed, const block_range& range) {
  vector<std::int32_t> pattern;
  if (posed.constraints.recompute.empty()) return pattern;
  const vector<bool> again = recomputed_by_rule(posed, range.first, range.end);
  const auto blocks = blocks_of(posed.graph);
  const auto region_at = [&](std::size_t b) { return blocks[static_cast<std::size_t>(range.first) + b].region; };
  for (std::size_t b = 0, end = 0; b < again.size(); b = end) {
    while (end < again.size() && region_at(end) == region_at(b)) ++end;
    const bool mixed = std::count(again.begin() + static_cast<std::ptrdiff_t>(b),
                                  again.begin() + static_cast<std::ptrdiff_t>(end), !again[b]) > 0;
    for (std::size_t each = b; each < (mixed ? end : b + 1); ++each)
      pattern.push_back((again[each] ? 1 : 0) - (mixed ? 2 : 0));  // never mistaken for one another
  }
  return pattern;
}

}  // namespace detail

MESHLOOM_INLINE stage_search::stage_search(const problem& posed, std::int32_t micro_batches,
                                           const intra_options& limits, stage_search* fewer, known_stages* known)
    : posed_(posed),
      micro_batches_(micro_batches),
      limits_(limits),
      fewer_(fewer),
      own_(known != nullptr ? nullptr : std::make_unique<known_stages>()),
      priced_((known != nullptr ? *known : *own_).of(posed, limits)),
      most_ranks_(posed.cluster.devices_per_host) {
  find_meshes();
  find_needs();
  count_copies();
  find_members();
  find_groups();
  find_layers();
  resume();
  list_candidates();
}

MESHLOOM_INLINE stage_search::~stage_search() {
  for (const auto& rows : groups_) {
    for (const auto& row : rows) {
      for (const group& each : row) {
        if (each.ways) each.ways->rest();
      }
    }
  }
  for (const layer& each : layers_) {
    for (const auto* some : {&each.ways, &each.roomy}) {
      for (const auto& ways : *some) {
        if (ways) ways->rest();
      }
    }
  }
}

MESHLOOM_INLINE stage_ways::section stage_search::resume(const stage_family& of, std::shared_ptr<stage_ways>& ways) {
  const auto known = priced_.find(of, micro_batches_);
  if (!known.ways) return {};
  ways = known.ways;
  ways->resume(of);
  work_ += ways->work();
  return known.section;
}

MESHLOOM_INLINE void stage_search::resume_layers() {
  for (layer& each : layers_) {
    for (const std::int32_t ranks : rank_counts_) {
      const std::size_t row = index_of_ranks(ranks);
      if (meshes_[row].empty()) continue;
      const auto take_up = [&](bool roomy, std::shared_ptr<stage_ways>& ways) {
        const stage_family of = family_of_layer(each, ranks, roomy);
        resume(of, ways);
        if (!ways) ways = priced_.freer(of, micro_batches_);
      };
      if (fewer_ == nullptr) take_up(true, each.roomy[row]);
      take_up(false, each.ways[row]);
    }
  }
}

/// Where only some of the ranges are known, the others are a group of their own.
MESHLOOM_INLINE void stage_search::resume() {
  resume_layers();
  for (std::size_t number = 0; number < families_.size(); ++number) {
    for (vector<group>& row : groups_[number]) {
      for (std::size_t at = 0; at < row.size(); ++at) {
        const stage_family of = family_of(number, row[at]);
        const auto [first, count] = resume(of, row[at].ways);
        row[at].freer = priced_.freer(of, micro_batches_);
        row[at].is_covered = row[at].freer && row[at].freer->covers(of);
        row[at].skipped = first;
        if (count == 0 || count == row[at].end - row[at].first) continue;
        group rest{row[at].meshes, row[at].first + count, row[at].end, nullptr, 0, nullptr, false};
        row[at].end = rest.first;
        row.push_back(std::move(rest));
      }
    }
  }
}

MESHLOOM_INLINE void stage_search::find_meshes() {
  for (const submesh& each : submeshes_for(posed_)) {
    rank_counts_.push_back(each.ranks());
    meshes_.push_back(meshes_on(posed_, each));
  }
  if (posed_.cluster.ranks() == 1) return;  // there is nothing to split over
  for (const node& at : posed_.graph.nodes) {
    for (const std::string& axis : pinned_axes(posed_, at)) pinned_.emplace_back(at.region, axis);
  }
}

MESHLOOM_INLINE bool stage_search::is_possible(const block_range& range) const {
  const auto& cuts = posed_.constraints.cuts;
  const auto blocks = static_cast<std::int32_t>(before_.size()) - 1;
  const std::int32_t stages = posed_.constraints.stages;
  const bool whole = range == block_range{0, blocks};
  if (stages > 0 && (stages == 1) != whole) return false;
  if (cuts.empty()) return true;
  const auto is_cut = [&](std::int32_t at) {
    return at == 0 || at == blocks || std::find(cuts.begin(), cuts.end(), at) != cuts.end();
  };
  const bool crosses =
      std::any_of(cuts.begin(), cuts.end(), [&](std::int32_t at) { return at > range.first && at < range.end; });
  return is_cut(range.first) && is_cut(range.end) && !crosses;
}

MESHLOOM_INLINE vector<std::int32_t> stage_search::copies_in(const block_range& range) const {
  vector<std::int32_t> copies = copies_before_[static_cast<std::size_t>(range.end)];
  const auto& before = copies_before_[static_cast<std::size_t>(range.first)];
  for (std::size_t each = 0; each < copies.size(); ++each) copies[each] -= before[each];
  copies.push_back(differs_[static_cast<std::size_t>(range.first)] ? 1 : 0);
  for (const std::int32_t each : detail::pattern_of(posed_, range)) copies.push_back(each);
  return copies;
}

MESHLOOM_INLINE void stage_search::count_copies() {
  copies_before_.emplace_back(posed_.graph.regions.size());
  for (const block& each : blocks_of(posed_.graph)) {
    copies_before_.push_back(copies_before_.back());
    ++copies_before_.back()[index_of(each.region)];
    differs_.push_back(each.copy == 0 && detail::first_copy_differs(posed_.graph, posed_.graph.regions[each.region]));
  }
}

/// Ranges come by length, so that those of a family rise by one copy, unless constraints leave some out.
MESHLOOM_INLINE void stage_search::find_members() {
  if (fewer_ != nullptr) {  // whatever the size of micro-batches
    families_ = fewer_->families_;
    members_ = fewer_->members_;
    return;
  }
  const auto blocks = static_cast<std::int32_t>(before_.size()) - 1;
  vector<std::int32_t> last;
  for (std::int32_t length = 1; length <= blocks; ++length) {
    for (std::int32_t first = 0; first + length <= blocks; ++first) {
      const block_range range{first, first + length};
      if (!is_possible(range)) continue;
      vector<std::int32_t> copies = copies_in(range);
      if (!members_.empty() && copies == last && members_.back().blocks.first + members_.back().shifts + 1 == first) {
        ++members_.back().shifts;
        note_place(families_[members_.back().family], range);
        continue;
      }
      last = copies;
      add_member(range, std::move(copies));
    }
  }
  find_places();
}

MESHLOOM_INLINE void stage_search::find_places() {
  vector<bool> is_stop(before_.size());
  for (const std::int32_t each : stops_of(posed_)) is_stop[static_cast<std::size_t>(each)] = true;
  is_stop.back() = true;
  for (member& each : members_) {
    each.may_be_stage = false;
    for (std::int32_t n = 0; n <= each.shifts && !each.may_be_stage; ++n) {
      each.may_be_stage = is_stop[static_cast<std::size_t>(each.blocks.first + n)] &&
                          is_stop[static_cast<std::size_t>(each.blocks.end + n)];
    }
  }
}

MESHLOOM_INLINE void stage_search::add_member(const block_range& range, vector<std::int32_t> copies) {
  const std::int32_t length = range.end - range.first;
  const auto most = std::max_element(copies.begin(), copies.end());
  const bool varies = *most > 1;
  if (varies) *most = -1;
  const auto known = std::find_if(families_.begin(), families_.end(), [&](const family& each) {
    return each.copies == copies && length - (each.ranges.back().end - each.ranges.back().first) <= (varies ? 1 : 0);
  });
  const auto number = static_cast<std::size_t>(known - families_.begin());
  if (known == families_.end())
    families_.push_back({std::move(copies), {range}});
  else if (known->ranges.back().end - known->ranges.back().first < length)
    known->ranges.push_back(range);
  note_place(families_[number], range);
  members_.push_back({range, number, families_[number].ranges.size() - 1});
}

MESHLOOM_INLINE void stage_search::note_place(family& of, const block_range& range) const {
  const auto blocks = static_cast<std::int32_t>(before_.size()) - 1;
  of.starts = of.starts && range.first == 0;
  of.ends = of.ends && range.end == blocks;
  of.may_end = of.may_end || range.end == blocks;
}

MESHLOOM_INLINE bool stage_search::has_pinned_axes(const family& which, const stage_plan& mesh) const {
  return std::all_of(pinned_.begin(), pinned_.end(), [&](const auto& pin) {
    const auto& [home, axis] = pin;
    return which.copies[index_of(home)] == 0 ||
           std::find(mesh.mesh_axes.begin(), mesh.mesh_axes.end(), axis) != mesh.mesh_axes.end();
  });
}

/// Whoever has all blocks has all ranks, and the other way round. What does not fit in any way is left out.
MESHLOOM_INLINE void stage_search::find_groups() {
  const auto blocks = static_cast<std::int32_t>(before_.size()) - 1;
  for (const family& each : families_) {
    auto& rows = groups_.emplace_back(rank_counts_.size());
    for (std::size_t r = 0; r < rank_counts_.size(); ++r) {
      group made;
      std::copy_if(meshes_[r].begin(), meshes_[r].end(), std::back_inserter(made.meshes),
                   [&](const stage_plan& mesh) { return has_pinned_axes(each, mesh); });
      const auto needs_of = [](const stage_candidate& least) { return least.held + least.slot; };
      const auto can_be = [&](const block_range& range) {
        const bool all = range == block_range{0, blocks};
        return all == (rank_counts_[r] == posed_.cluster.ranks()) &&
               needs_of(least(range, rank_counts_[r])) <= posed_.cluster.device.memory;
      };
      const auto first = std::find_if(each.ranges.begin(), each.ranges.end(), can_be);
      const auto end = std::find_if_not(first, each.ranges.end(), can_be);
      made.first = static_cast<std::size_t>(first - each.ranges.begin());
      made.end = static_cast<std::size_t>(end - each.ranges.begin());
      if (!made.meshes.empty() && made.first < made.end) rows[r].push_back(std::move(made));
    }
  }
}

MESHLOOM_INLINE const stage_search::group* stage_search::group_of(std::size_t number, std::int32_t ranks) const {
  const member& which = members_[number];
  const auto& row = groups_[which.family][index_of_ranks(ranks)];
  const auto found = std::find_if(
      row.begin(), row.end(), [&](const group& each) { return which.range >= each.first && which.range < each.end; });
  return found == row.end() ? nullptr : &*found;
}

MESHLOOM_INLINE stage_search::group* stage_search::group_of(std::size_t number, std::int32_t ranks) {
  return const_cast<group*>(static_cast<const stage_search*>(this)->group_of(number, ranks));
}

MESHLOOM_INLINE std::size_t stage_search::index_of_ranks(std::int32_t ranks) const {
  return static_cast<std::size_t>(std::find(rank_counts_.begin(), rank_counts_.end(), ranks) - rank_counts_.begin());
}

MESHLOOM_INLINE vector<std::int32_t> stage_search::slots_of(const family& of, std::int32_t ranks) const {
  const manual& asked = posed_.constraints;
  const schedule_kind kind = !trains(posed_.graph)     ? schedule_kind::forward_only
                             : asked.schedules.empty() ? schedule_kind::one_f_one_b
                                                       : asked.schedules.front();
  const cluster& machine = posed_.cluster;  // as many so large ones as there can be, and one on every group of hosts
  std::int32_t stages = std::max(machine.hosts * machine.devices_per_host / ranks, 1);
  for (const host_group& each : machine.others) stages += std::max(each.ranks() / ranks, 1);
  if (asked.stages > 0) stages = asked.stages;
  const auto in_flight = [&](std::int32_t stage) { return slots_in_flight(kind, stages, stage, micro_batches_); };
  const std::int32_t most = in_flight(of.ends ? stages - 1 : 0);
  const std::int32_t least = of.starts ? most : in_flight(std::max(stages - (of.may_end ? 1 : 2), 0));
  return least < most ? vector{most, least} : vector{most};
}

MESHLOOM_INLINE void stage_search::advance(const block_range& range, std::size_t number, group& which) {
  const std::int32_t ranks = which.meshes.front().mesh.ranks();
  if (!which.ways && advance_layers(range, ranks)) return;
  const std::int64_t before = which.ways ? which.ways->work() : 0;
  if (which.ways) {
    const auto& ranges = families_[number].ranges;
    const auto at = std::find_if(ranges.begin(), ranges.end(), [&](const block_range& each) {
      return each.end - each.first == range.end - range.first;
    });
    if (which.ways->may_be_faster(worth_))
      which.ways->find_fast_ways(worth_);
    else
      which.ways->find_lean_ways(which.place_of(static_cast<std::size_t>(at - ranges.begin())));
  } else {
    which.ways = priced_.price(family_of(number, which), micro_batches_);
  }
  work_ += which.ways->work() - before;
  if (!which.ways->stuck().empty()) stuck_ = which.ways->stuck();
}

MESHLOOM_INLINE bool stage_search::is_open(const group& which, std::size_t range) const {
  return !which.ways || which.ways->may_be_faster(worth_) || which.ways->may_be_leaner(which.place_of(range));
}

MESHLOOM_INLINE void stage_search::list_candidates() {
  candidates_.clear();
  origins_.clear();
  for (std::size_t m = 0; m < members_.size(); ++m) {
    const member& each = members_[m];
    if (!each.may_be_stage) continue;
    for (const std::int32_t ranks : rank_counts_) {
      const group* const from = group_of(m, ranks);
      if (from == nullptr || ranks > most_ranks_) continue;
      if (!closed_ && is_open(*from, each.range)) {
        add_bounds(m, ranks, belief::hoped, candidates_);
        origins_.resize(candidates_.size(), {m, ranks, -1});
      }
      if (from->ways) list_ways(m, ranks);
    }
  }
}

/// The ways to run a range, where some copies may recompute with a few numbers of those that do not.
MESHLOOM_INLINE void stage_search::list_ways(std::size_t m, std::int32_t ranks) {
  constexpr std::int32_t levels = 4;
  const member& each = members_[m];
  const group& from = *group_of(m, ranks);
  const std::size_t range = from.place_of(each.range);
  for (std::size_t w = 0; w < from.ways->all().size(); ++w) {
    const stage_way& way = from.ways->all()[w];
    const std::int32_t copies = from.ways->free_copies(way, range);
    std::int32_t last = -1;
    for (std::int32_t level = 0; level < levels; ++level) {
      const std::int32_t keep = copies * level / levels;
      if (keep == last) continue;
      last = keep;
      const stage_cost cost = way.cost(range, keep);
      if (cost.time * micro_batches_ + cost.once >= worth_) continue;
      // What choices add up is held no longer than they say, and much of it is made in place.
      const bytes transient = way.measured.count({range, keep}) != 0 ? cost.transient : bytes{};
      candidates_.push_back({each.blocks.first, each.blocks.end, ranks, cost.time, cost.once, cost.fixed + transient,
                             cost.slot, each.shifts, cost.extra});
      origins_.push_back({m, ranks, static_cast<std::int32_t>(w), keep});
    }
  }
}

MESHLOOM_INLINE vector<stage_candidate> stage_search::needs() const {
  const auto blocks = static_cast<std::int32_t>(before_.size()) - 1;
  vector<stage_candidate> found;
  for (const member& each : members_) {
    if (!each.may_be_stage) continue;
    for (std::size_t r = 0; r < rank_counts_.size(); ++r) {
      const bool all = each.blocks == block_range{0, blocks};
      if (!meshes_[r].empty() && all == (rank_counts_[r] == posed_.cluster.ranks()))
        found.push_back(least(each.blocks, rank_counts_[r])), found.back().shifts = each.shifts;
    }
  }
  return found;
}

MESHLOOM_INLINE bool stage_search::is_open(std::int32_t candidate) const {
  const origin& from = origins_[static_cast<std::size_t>(candidate)];
  if (from.way < 0) return true;
  const group& which = *group_of(from.member, from.ranks);
  const stage_way& way = which.ways->all()[static_cast<std::size_t>(from.way)];
  return way.measured.count({which.place_of(members_[from.member].range), from.keep}) == 0;
}

MESHLOOM_INLINE vector<stage_search::origin> stage_search::origins_of(const vector<std::int32_t>& candidates) const {
  vector<origin> found;
  for (const std::int32_t each : candidates) found.push_back(origins_[static_cast<std::size_t>(each)]);
  return found;
}

MESHLOOM_INLINE vector<std::int32_t> stage_search::ways_like(std::int32_t candidate) const {
  const stage_candidate& like = candidates_[static_cast<std::size_t>(candidate)];
  vector<std::int32_t> found;
  for (std::size_t c = 0; c < candidates_.size(); ++c) {
    const stage_candidate& each = candidates_[c];
    const bool alike =
        each.first_block == like.first_block && each.end_block == like.end_block && each.ranks == like.ranks;
    if (alike && origins_[c].way >= 0) found.push_back(static_cast<std::int32_t>(c));
  }
  return found;
}

MESHLOOM_INLINE void stage_search::refine(const vector<std::int32_t>& open) {
  vector<const group*> advanced;
  for (const std::int32_t candidate : open) {
    const origin& from = origins_[static_cast<std::size_t>(candidate)];
    group& which = *group_of(from.member, from.ranks);
    if (from.way >= 0) {
      which.ways->measure(static_cast<std::size_t>(from.way), which.place_of(members_[from.member].range), from.keep);
    } else if (std::find(advanced.begin(), advanced.end(), &which) == advanced.end()) {
      advance(members_[from.member].blocks, members_[from.member].family, which);
      advanced.push_back(&which);
    }
  }
  list_candidates();
}

MESHLOOM_INLINE bool stage_search::find_others(const vector<std::int32_t>& like) {
  bool found = false;
  for (const std::int32_t candidate : like) {
    const origin& from = origins_[static_cast<std::size_t>(candidate)];
    group& which = *group_of(from.member, from.ranks);
    found = which.ways->find_other_ways(which.place_of(members_[from.member].range)) || found;
  }
  return found;
}

/// Layers, prices, leaner ways, memory; then the same of what chose among a part.
MESHLOOM_INLINE void stage_search::refine_all() {
  for (bool more = true; more;) {
    for (vector<std::int32_t> open{0}; !open.empty(); refine(open)) {
      open.clear();
      for (std::size_t c = 0; c < candidates_.size(); ++c) {
        if (is_open(static_cast<std::int32_t>(c))) open.push_back(static_cast<std::int32_t>(c));
      }
    }
    more = false;
    for (auto& rows : groups_) {
      for (auto& row : rows) {
        for (group& each : row) {
          const bool narrow = each.ways && each.ways->is_narrow();
          if (narrow) widen(each);
          more = more || narrow;
        }
      }
    }
    list_candidates();
  }
}

MESHLOOM_INLINE void stage_search::reach(std::int32_t ranks) {
  most_ranks_ = ranks;
  closed_ = false;
  list_candidates();
}

MESHLOOM_INLINE void stage_search::close() {
  closed_ = true;
  list_candidates();
}

MESHLOOM_INLINE stage_plan stage_search::plan_of(std::int32_t candidate, std::int32_t first_block,
                                                 std::int32_t first_rank) const {
  const origin& from = origins_[static_cast<std::size_t>(candidate)];
  const group& which = *group_of(from.member, from.ranks);
  stage_plan made = which.ways->plan_of(which.ways->all()[static_cast<std::size_t>(from.way)],
                                        which.place_of(members_[from.member].range), from.keep);
  const block_range& blocks = members_[from.member].blocks;
  made.first_block = first_block;
  made.end_block = first_block + blocks.end - blocks.first;
  made.first_rank = first_rank;
  return made;
}

}  // namespace meshloom
