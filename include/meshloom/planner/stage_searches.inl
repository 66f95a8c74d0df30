// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/config.hpp>
#include <meshloom/cluster/groups.hpp>
#include <meshloom/planner/stage_searches.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE vector<std::int32_t> kinds_of(const cluster& machine) {
  vector<cluster> known;
  vector<std::int32_t> kinds;
  for (const placed_group& each : groups_of(machine)) {
    cluster one = each.alone;
    one.hosts = 1;
    const auto found = std::find(known.begin(), known.end(), one);
    kinds.push_back(static_cast<std::int32_t>(found - known.begin()));
    if (found == known.end()) known.push_back(std::move(one));
  }
  return kinds;
}

MESHLOOM_INLINE problem seen_from(const problem& posed, std::int32_t kind) {
  const auto kinds = kinds_of(posed.cluster);
  std::int32_t largest = -1, hosts = 0;
  for (const placed_group& each : groups_of(posed.cluster)) {
    if (kinds[static_cast<std::size_t>(each.number)] != kind || each.alone.hosts <= hosts) continue;
    largest = each.number;
    hosts = each.alone.hosts;
  }
  return {posed.graph, turned_to(posed.cluster, largest), posed.constraints};
}

MESHLOOM_INLINE stage_searches::stage_searches(const problem& posed, std::int32_t micro_batches,
                                               const intra_options& limits, stage_searches* fewer,
                                               known_stages* known) {
  const auto kinds = kinds_of(posed.cluster);
  const std::int32_t count = *std::max_element(kinds.begin(), kinds.end()) + 1;
  const auto before = [&](std::int32_t kind) {
    return fewer != nullptr ? &fewer->searches_[static_cast<std::size_t>(kind)] : nullptr;
  };
  if (kinds.size() == 1) {
    searches_.emplace_back(posed, micro_batches, limits, before(0), known);
    return;
  }
  if (fewer != nullptr) {
    seen_ = fewer->seen_;
  } else {
    vector<problem> seen;
    for (std::int32_t kind = 0; kind < count; ++kind) seen.push_back(seen_from(posed, kind));
    seen_ = std::make_shared<const vector<problem>>(std::move(seen));
  }
  for (std::int32_t kind = 0; kind < count; ++kind)
    searches_.emplace_back((*seen_)[static_cast<std::size_t>(kind)], micro_batches, limits, before(kind), known);
  list_candidates();
}

MESHLOOM_INLINE const vector<stage_candidate>& stage_searches::candidates() const {
  return seen_ ? candidates_ : searches_.front().candidates();
}

MESHLOOM_INLINE void stage_searches::list_candidates() {
  if (!seen_) return;
  candidates_.clear();
  begin_.clear();
  for (std::size_t kind = 0; kind < searches_.size(); ++kind) {
    begin_.push_back(static_cast<std::int32_t>(candidates_.size()));
    for (stage_candidate each : searches_[kind].candidates()) {
      each.kind = static_cast<std::int32_t>(kind);
      candidates_.push_back(each);
    }
  }
}

MESHLOOM_INLINE vector<stage_candidate> stage_searches::together(vector<stage_candidate> (stage_search::*part)()
                                                                     const) const {
  vector<stage_candidate> all;
  for (std::size_t kind = 0; kind < searches_.size(); ++kind) {
    for (stage_candidate each : (searches_[kind].*part)()) {
      each.kind = static_cast<std::int32_t>(kind);
      all.push_back(each);
    }
  }
  return all;
}

MESHLOOM_INLINE vector<stage_candidate> stage_searches::bounds() const { return together(&stage_search::bounds); }

MESHLOOM_INLINE vector<stage_candidate> stage_searches::needs() const { return together(&stage_search::needs); }

MESHLOOM_INLINE std::pair<std::size_t, std::int32_t> stage_searches::place_of(std::int32_t candidate) const {
  if (!seen_) return {0, candidate};
  const auto after = std::upper_bound(begin_.begin(), begin_.end(), candidate) - begin_.begin();
  const auto kind = static_cast<std::size_t>(after - 1);
  return {kind, candidate - begin_[kind]};
}

MESHLOOM_INLINE vector<vector<std::int32_t>> stage_searches::by_kind(const vector<std::int32_t>& candidates) const {
  vector<vector<std::int32_t>> parts(searches_.size());
  for (const std::int32_t each : candidates) {
    const auto [kind, number] = place_of(each);
    parts[kind].push_back(number);
  }
  return parts;
}

MESHLOOM_INLINE bool stage_searches::tighten(const vector<stage_candidate>& some, std::int64_t most_work) {
  bool tighter = false;
  for (std::size_t kind = 0; kind < searches_.size(); ++kind) {
    stage_search& search = searches_[kind];
    tighter = search.tighten(of_kind(some, kind), search.work() + most_work - work()) || tighter;
  }
  list_candidates();
  return tighter;
}

MESHLOOM_INLINE bool stage_searches::find_times(const vector<stage_candidate>& some, std::int64_t most_work) {
  bool found = false;
  for (std::size_t kind = 0; kind < searches_.size(); ++kind) {
    stage_search& search = searches_[kind];
    found = search.find_times(of_kind(some, kind), search.work() + most_work - work()) || found;
  }
  list_candidates();
  return found;
}

MESHLOOM_INLINE vector<stage_candidate> stage_searches::of_kind(const vector<stage_candidate>& some, std::size_t kind) {
  vector<stage_candidate> found;
  std::copy_if(some.begin(), some.end(), std::back_inserter(found),
               [&](const stage_candidate& each) { return each.kind == static_cast<std::int32_t>(kind); });
  return found;
}

MESHLOOM_INLINE void stage_searches::expect(picoseconds best) {
  for (stage_search& each : searches_) each.expect(best);
}

MESHLOOM_INLINE bool stage_searches::is_open(std::int32_t candidate) const {
  const auto [kind, number] = place_of(candidate);
  return searches_[kind].is_open(number);
}

MESHLOOM_INLINE vector<stage_searches::origin> stage_searches::origins_of(
    const vector<std::int32_t>& candidates) const {
  vector<origin> found;
  for (const std::int32_t each : candidates) {
    const auto [kind, number] = place_of(each);
    found.push_back({static_cast<std::int32_t>(kind), searches_[kind].origins_of({number}).front()});
  }
  return found;
}

MESHLOOM_INLINE vector<std::int32_t> stage_searches::ways_like(std::int32_t candidate) const {
  const auto [kind, number] = place_of(candidate);
  auto found = searches_[kind].ways_like(number);
  for (std::int32_t& each : found) each += seen_ ? begin_[kind] : 0;
  return found;
}

MESHLOOM_INLINE void stage_searches::refine(const vector<std::int32_t>& open) {
  const auto parts = by_kind(open);
  for (std::size_t kind = 0; kind < searches_.size(); ++kind) searches_[kind].refine(parts[kind]);
  list_candidates();
}

MESHLOOM_INLINE bool stage_searches::find_others(const vector<std::int32_t>& like) {
  const auto parts = by_kind(like);
  bool found = false;
  for (std::size_t kind = 0; kind < searches_.size(); ++kind) found = searches_[kind].find_others(parts[kind]) || found;
  return found;
}

MESHLOOM_INLINE void stage_searches::reach(std::int32_t ranks) {
  for (stage_search& each : searches_) each.reach(ranks);
  list_candidates();
}

MESHLOOM_INLINE void stage_searches::close() {
  for (stage_search& each : searches_) each.close();
  list_candidates();
}

MESHLOOM_INLINE stage_plan stage_searches::plan_of(std::int32_t candidate, std::int32_t first_block,
                                                   std::int32_t first_rank) const {
  const auto [kind, number] = place_of(candidate);
  return searches_[kind].plan_of(number, first_block, first_rank);
}

MESHLOOM_INLINE const std::string& stage_searches::stuck() const {
  const auto is_stuck = [](const stage_search& each) { return !each.stuck().empty(); };
  const auto found = std::find_if(searches_.begin(), searches_.end(), is_stuck);
  return (found != searches_.end() ? *found : searches_.front()).stuck();
}

MESHLOOM_INLINE std::int64_t stage_searches::work() const {
  std::int64_t sum = 0;
  for (const stage_search& each : searches_) sum += each.work();
  return sum;
}

MESHLOOM_INLINE std::int64_t stage_searches::priced_work() const {
  std::int64_t sum = 0;
  for (const stage_search& each : searches_) sum += each.priced_work();
  return sum;
}

}  // namespace meshloom
