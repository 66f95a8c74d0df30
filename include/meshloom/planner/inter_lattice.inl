// SPDX-License-Identifier: Apache-2.0
// The bodies of inter_lattice.hpp.
#pragma once

#include <meshloom/planner/inter_lattice.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>

namespace meshloom::inter {

MESHLOOM_INLINE lattice::lattice(const inter_problem& posed)
    : schedule_(posed.schedule), micro_batches_(posed.micro_batches) {
  find_stops(posed);
  find_parts(posed);
  most_stages_ = std::min(blocks_, ranks_);
  find_choices(posed);
  find_halves();
  find_bands();
}

MESHLOOM_INLINE void lattice::find_stops(const inter_problem& posed) {
  stops_ = posed.stops;
  for (std::int32_t block = 0; posed.stops.empty() && block < posed.blocks; ++block) stops_.push_back(block);
  blocks_ = static_cast<std::int32_t>(stops_.size());
  stops_.push_back(posed.blocks);
  stop_at_.assign(static_cast<std::size_t>(posed.blocks) + 1, -1);
  for (std::size_t k = 0; k < stops_.size(); ++k)
    stop_at_[static_cast<std::size_t>(stops_[k])] = static_cast<std::int32_t>(k);
}

/// In units of one rank; `find_choices` makes them larger.
MESHLOOM_INLINE void lattice::find_parts(const inter_problem& posed) {
  const auto add = [&](std::int32_t hosts, std::int32_t host, std::int32_t kind) -> part& {
    const std::int32_t first = ranks_;
    ranks_ += hosts * host;
    return parts_.emplace_back(part{first, ranks_, host, kind, {}, {}});
  };
  part& start = add(posed.hosts, posed.devices_per_host, 0);
  start.within = posed.cut_within;
  start.between = posed.cut_between;
  for (const inter_group& each : posed.others) {
    part& next = add(each.hosts, each.devices_per_host, each.kind);
    next.within = each.cut_within;
    next.between = each.cut_between;
  }
}

/// With how many stages to go, itself included, a stage that has room for so many micro-batches fits.
inline std::int32_t most_stages_of(const inter_problem& posed, const stage_candidate& each, std::int32_t all) {
  const std::optional<bytes> limit = limit_of(posed, each.kind);
  std::int64_t room = posed.micro_batches;
  if (limit && each.held > *limit) room = 0;
  if (limit && each.slot.count > 0) room = std::min(room, (*limit - each.held).count / each.slot.count);
  if (room >= slots_in_flight(posed.schedule, all, 0, posed.micro_batches)) return all;
  return posed.schedule == schedule_kind::one_f_one_b ? static_cast<std::int32_t>(room) : 0;
}

MESHLOOM_INLINE void lattice::find_choices(const inter_problem& posed) {
  vector<choice> found;
  for (std::size_t c = 0; c < posed.candidates.size(); ++c) {
    const stage_candidate& each = posed.candidates[c];
    const picoseconds rest = (posed.micro_batches - 1) * each.time + each.once;
    if (posed.worth && each.time + rest >= *posed.worth) continue;
    const std::int32_t most = most_stages_of(posed, each, most_stages_);
    if (most < 1) continue;
    place(posed, static_cast<std::int32_t>(c), {each.time, each.time + each.extra, rest, 0, 0, 0, 1, most, 0}, found);
  }
  find_sizes(posed, found);
  const auto row_of = [&](const choice& each) {
    const stage_candidate& from = posed.candidates[static_cast<std::size_t>(each.candidate)];
    const auto number = std::lower_bound(sizes_.begin(), sizes_.end(), size{from.ranks, from.kind}) - sizes_.begin();
    return row_number(static_cast<std::size_t>(number), each.first == each.last ? each.first : -1);
  };
  row_.assign(row_number(sizes_.size(), -1) + 1, 0);
  for (const choice& each : found) ++row_[row_of(each) + 1];
  std::partial_sum(row_.begin(), row_.end(), row_.begin());
  choices_.resize(found.size());
  vector<std::size_t> next(row_);
  for (const choice& each : found) choices_[next[row_of(each)]++] = each;
  keep_useful();
  count_in_units();
}

MESHLOOM_INLINE void lattice::place(const inter_problem& posed, std::int32_t candidate, choice made,
                                    vector<choice>& found) const {
  const stage_candidate& each = posed.candidates[static_cast<std::size_t>(candidate)];
  made.candidate = candidate;
  const std::int32_t last = each.first_block + each.shifts;
  const std::size_t before = found.size();
  auto k = std::lower_bound(stops_.begin(), stops_.end(), each.first_block) - stops_.begin();
  for (; stops_[static_cast<std::size_t>(k)] <= last && k < blocks_; ++k) {
    const auto here = static_cast<std::int32_t>(k);
    const std::int32_t end = stops_[static_cast<std::size_t>(k)] + each.end_block - each.first_block;
    const std::int32_t next = stop_at_[static_cast<std::size_t>(end)];
    if (next < 0) continue;
    const bool goes_on = found.size() > before && found.back().last + 1 == here && found.back().blocks == next - here;
    if (goes_on) {
      ++found.back().last;
      continue;
    }
    made.blocks = next - here;
    made.first = made.last = here;
    found.push_back(made);
  }
}

/// Those that some choice has.
MESHLOOM_INLINE void lattice::find_sizes(const inter_problem& posed, const vector<choice>& found) {
  for (const choice& each : found) {
    const stage_candidate& from = posed.candidates[static_cast<std::size_t>(each.candidate)];
    const size here{from.ranks, from.kind};
    if (sizes_.empty() || sizes_.back() != here) sizes_.push_back(here);  // many in a row are alike
  }
  std::sort(sizes_.begin(), sizes_.end());
  sizes_.erase(std::unique(sizes_.begin(), sizes_.end()), sizes_.end());
}

MESHLOOM_INLINE void lattice::count_in_units() {
  std::int32_t unit = 0;
  for (const part& each : parts_) unit = std::gcd(unit, each.host);
  for (const size& each : sizes_) unit = std::gcd(unit, each.ranks);
  for (size& each : sizes_) each.ranks /= unit;
  ranks_ /= unit;
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    part& here = parts_[p];
    here.first /= unit;
    here.end /= unit;
    here.host /= unit;
    part_at_.resize(static_cast<std::size_t>(here.end), static_cast<std::uint32_t>(p));
  }
  part_at_.push_back(part_at_.back());  // the end
}

MESHLOOM_INLINE void lattice::find_halves() {
  for (const part& here : parts_) {
    for (const size& each : sizes_) {
      for (const std::span<const picoseconds> cuts : {here.within, here.between}) {
        for (std::size_t k = 0; k <= static_cast<std::size_t>(blocks_); ++k) {
          const bool outside = k == 0 || k == static_cast<std::size_t>(blocks_);
          const auto block = static_cast<std::size_t>(stops_[k]);
          halves_.push_back(outside ? picoseconds{} : half_of_cut(cuts[block], std::max(each.ranks / here.host, 1)));
        }
      }
    }
  }
}

/// Sorts every row by blocks, and drops what others that may begin alike make useless.
MESHLOOM_INLINE void lattice::keep_useful() {
  const auto place = [](const choice& each) { return std::tie(each.blocks, each.first, each.last); };
  std::size_t kept = 0;
  for (std::size_t row = 0; row + 1 < row_.size(); ++row) {
    const auto first = choices_.begin() + static_cast<std::ptrdiff_t>(row_[row]);
    const auto end = choices_.begin() + static_cast<std::ptrdiff_t>(row_[row + 1]);
    std::sort(first, end, [&](const choice& a, const choice& b) {
      return std::tuple_cat(place(a), std::tie(a.passing, a.rest, a.time, a.candidate)) <
             std::tuple_cat(place(b), std::tie(b.passing, b.rest, b.time, b.candidate));
    });
    const std::size_t row_begin = kept;
    for (auto at = first; at != end; ++at) {
      choice each = *at;
      for (std::size_t n = kept; n > row_begin && place(choices_[n - 1]) == place(each); --n) {
        if (choices_[n - 1].rest <= each.rest && choices_[n - 1].time <= each.time)
          each.least_stages = std::max(each.least_stages, choices_[n - 1].most_stages + 1);
      }
      if (each.least_stages > each.most_stages) continue;
      settled_ = std::max({settled_, each.least_stages, std::min(each.most_stages + 1, most_stages_)});
      choices_[kept++] = each;
    }
    row_[row] = row_begin;
  }
  row_.back() = kept;
  choices_.resize(kept);
}

/// Where a stage of the n-th number of ranks that begins with block k, or earlier, ends at most; −1 if there is none.
MESHLOOM_INLINE vector<std::int32_t> lattice::furthest_ends(std::size_t n) const {
  vector<std::int32_t> ends(static_cast<std::size_t>(blocks_), -1);
  vector<std::int32_t> longest(ends), top(ends);  // of those that may begin with several blocks
  for (const choice& each : row(n, -1)) {
    const auto first = static_cast<std::size_t>(each.first);
    longest[first] = std::max(longest[first], each.blocks);
    top[first] = std::max(top[first], each.last + each.blocks);
  }
  for (std::int32_t k = 0; k < blocks_; ++k) {
    const auto here = static_cast<std::size_t>(k);
    if (!row(n, k).empty()) ends[here] = k + row(n, k).back().blocks;
    if (k > 0) {
      ends[here] = std::max(ends[here], ends[here - 1]);
      longest[here] = std::max(longest[here], longest[here - 1]);
      top[here] = std::max(top[here], top[here - 1]);
    }
    if (longest[here] > 0) ends[here] = std::max(ends[here], std::min(top[here], k + longest[here]));
  }
  return ends;
}

/// Where a stage of the n-th number of ranks that ends before block k, or later, begins at least; past the last if
/// there is none.
MESHLOOM_INLINE vector<std::int32_t> lattice::nearest_starts(std::size_t n) const {
  vector<std::int32_t> starts(static_cast<std::size_t>(blocks_) + 1, blocks_ + 1), least(starts);
  vector<std::int32_t> longest(starts.size(), -1);
  for (const choice& each : row(n, -1)) {
    const auto end = static_cast<std::size_t>(each.last + each.blocks);
    longest[end] = std::max(longest[end], each.blocks);
    least[end] = std::min(least[end], each.first);
  }
  for (std::int32_t k = 0; k < blocks_; ++k) {
    for (const choice& each : row(n, k)) {
      std::int32_t& start = starts[static_cast<std::size_t>(k + each.blocks)];
      start = std::min(start, k);
    }
  }
  for (std::int32_t k = blocks_; k > 0; --k) {
    const auto here = static_cast<std::size_t>(k);
    if (k < blocks_) {
      starts[here] = std::min(starts[here], starts[here + 1]);
      longest[here] = std::max(longest[here], longest[here + 1]);
      least[here] = std::min(least[here], least[here + 1]);
    }
    if (longest[here] > 0) starts[here] = std::min(starts[here], std::max(least[here], k - longest[here]));
  }
  return starts;
}

/// Between the least that the ranks from r on must find done and the most that those before can have done.
MESHLOOM_INLINE void lattice::find_bands() {
  vector<vector<std::int32_t>> ends, starts;
  for (std::size_t n = 0; n < sizes_.size(); ++n) {
    ends.push_back(furthest_ends(n));
    starts.push_back(nearest_starts(n));
  }
  bands_.assign(static_cast<std::size_t>(ranks_) + 1, {blocks_ + 1, -1});
  const auto band_at = [&](std::int32_t r) -> band& { return bands_[static_cast<std::size_t>(r)]; };
  band_at(0).last = 0;
  for (std::int32_t r = 0; r < ranks_; ++r) {
    const std::int32_t from = std::min(band_at(r).last, blocks_ - 1);
    for (std::size_t n = 0; n < sizes_.size() && from >= 0; ++n) {
      if (!fits(sizes_[n], r)) continue;
      std::int32_t& last = band_at(r + sizes_[n].ranks).last;
      last = std::max(last, ends[n][static_cast<std::size_t>(from)]);
    }
  }
  band_at(ranks_).first = blocks_;
  for (std::int32_t r = ranks_ - 1; r >= 0; --r) {
    for (std::size_t n = 0; n < sizes_.size(); ++n) {
      if (!fits(sizes_[n], r)) continue;
      const std::int32_t next = std::max(band_at(r + sizes_[n].ranks).first, 1);
      std::int32_t& first = band_at(r).first;
      if (next <= blocks_) first = std::min(first, starts[n][static_cast<std::size_t>(next)]);
    }
  }
  begin_.assign(1, 0);
  for (std::int32_t r = 0; r <= ranks_; ++r) {
    band& here = band_at(r);
    if (r > 0) here.first = std::max(here.first, 1);
    if (r < ranks_) here.last = std::min(here.last, blocks_ - 1);
    begin_.push_back(begin_.back() + static_cast<std::size_t>(std::max(here.last - here.first + 1, 0)));
  }
  const bool both = band_at(0).first == 0 && band_at(ranks_).last == blocks_;
  if (!both) begin_.assign(begin_.size(), 0), bands_.assign(bands_.size(), {});
}

}  // namespace meshloom::inter
