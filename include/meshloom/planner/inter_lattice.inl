// SPDX-License-Identifier: Apache-2.0
// The bodies of inter_lattice.hpp.
#pragma once

#include <meshloom/planner/inter_lattice.hpp>

#include <algorithm>
#include <numeric>
#include <tuple>

namespace meshloom::inter {

MESHLOOM_INLINE lattice::lattice(const inter_problem& posed)
    : blocks_(posed.blocks),
      ranks_(posed.hosts * posed.devices_per_host),
      devices_per_host_(posed.devices_per_host),
      within_(posed.cut_within),
      between_(posed.cut_between) {
  find_places(posed);
  fill_tables(posed);
}

MESHLOOM_INLINE void lattice::find_places(const inter_problem& posed) {
  places_.resize(static_cast<std::size_t>(ranks_) + 1);
  for (const stage_candidate& each : posed.candidates) {
    auto& legal = places_[static_cast<std::size_t>(each.ranks)];
    if (!legal.empty()) continue;
    for (std::int32_t r = 0; r + each.ranks <= ranks_; ++r) {
      const std::int32_t in_host = r % devices_per_host_;
      if (in_host == 0 || in_host + each.ranks <= devices_per_host_) legal.push_back(r);
    }
  }
}

/// Sorted by blocks, ranks and time. The more stages to go, the fewer candidates fit; a table is new when one that is
/// still early enough no longer does.
MESHLOOM_INLINE void lattice::fill_tables(const inter_problem& posed) {
  std::vector<std::int32_t> order(posed.candidates.size());
  std::iota(order.begin(), order.end(), 0);
  const auto of = [&](std::int32_t c) -> const stage_candidate& {
    return posed.candidates[static_cast<std::size_t>(c)];
  };
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const auto key = [](const stage_candidate& each, std::int32_t c) {
      return std::tuple(each.first_block, each.end_block, each.ranks, each.time, each.once, c);
    };
    return key(of(a), a) < key(of(b), b);
  });
  table_of_.resize(static_cast<std::size_t>(most_stages()) + 1);
  for (std::int32_t s = 1; s <= most_stages(); ++s) {
    const int slots = slots_in_flight(posed.schedule, s, 0, posed.micro_batches);
    std::erase_if(order, [&](std::int32_t c) { return of(c).end_block > last_end(s); });
    const auto misfits = std::erase_if(
        order, [&](std::int32_t c) { return posed.limit && of(c).held + slots * of(c).slot > *posed.limit; });
    if (s == 1 || misfits > 0) {
      tables_.push_back(table_for(posed, order));
      settled_ = s;
    }
    table_of_[static_cast<std::size_t>(s)] = tables_.size() - 1;
  }
}

/// In order of time, a candidate of the same blocks and ranks as the one before is worth keeping if it has less `once`.
MESHLOOM_INLINE lattice::table lattice::table_for(const inter_problem& posed,
                                                  const std::vector<std::int32_t>& order) const {
  table made{{}, std::vector<std::size_t>(static_cast<std::size_t>(blocks_) + 1)};
  const stage_candidate* last = nullptr;
  for (const std::int32_t c : order) {
    const stage_candidate& each = posed.candidates[static_cast<std::size_t>(c)];
    const bool same = last && std::tie(last->first_block, last->end_block, last->ranks) ==
                                  std::tie(each.first_block, each.end_block, each.ranks);
    if (same && last->once <= each.once) continue;
    const picoseconds rest = (posed.micro_batches - 1) * each.time + each.once;
    made.choices.push_back({each.time, rest, each.end_block, each.ranks, c});
    ++made.first_of[static_cast<std::size_t>(each.first_block) + 1];
    last = &each;
  }
  std::partial_sum(made.first_of.begin(), made.first_of.end(), made.first_of.begin());
  return made;
}

}  // namespace meshloom::inter
