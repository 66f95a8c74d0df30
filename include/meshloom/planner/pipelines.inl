// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/pipelines.hpp>

#include <algorithm>
#include <limits>

namespace meshloom {
namespace detail {

/// A depth-first walk from the first block and rank; what cannot be completed in time is not entered.
class pipeline_walk {
 public:
  pipeline_walk(const inter_problem& posed, std::int64_t most_moves, const std::function<picoseconds()>& worth,
                const std::function<void(const vector<std::int32_t>&)>& visit)
      : posed_(posed),
        left_(most_moves),
        worth_(worth),
        visit_(visit),
        groups_(inter::places_of(posed)),
        ranks_(groups_.back().end_rank),
        beginning_(static_cast<std::size_t>(posed.blocks)) {
    for (std::size_t c = 0; c < posed.candidates.size(); ++c) {
      const stage_candidate& each = posed.candidates[c];
      const auto of_kind = [&](const inter::group_place& group) { return group.kind == each.kind; };
      const auto limit = *std::find_if(groups_.begin(), groups_.end(), of_kind)->limit;
      if (limit && each.held + each.slot > *limit) continue;
      for (std::int32_t n = 0; n <= each.shifts; ++n) {
        if (may_begin(each.first_block + n))
          beginning_[static_cast<std::size_t>(each.first_block + n)].push_back(static_cast<std::int32_t>(c));
      }
    }
    find_slowest();
  }

  bool run() {
    extend(0, 0, {}, {});
    return left_ > 0;
  }

 private:
  static constexpr picoseconds never{std::numeric_limits<std::int64_t>::max()};

  picoseconds whole(const stage_candidate& each) const { return each.time * posed_.micro_batches + each.once; }
  picoseconds& slowest(std::int32_t block, std::int32_t rank) {
    return slowest_[static_cast<std::size_t>(block * (ranks_ + 1) + rank)];
  }

  bool may_begin(std::int32_t block) const {
    return posed_.stops.empty() || std::binary_search(posed_.stops.begin(), posed_.stops.end(), block);
  }

  template <class Visit>
  void for_each_move(std::int32_t block, std::int32_t rank, const Visit& visit) const {
    const inter::group_place& group = inter::group_at(groups_, rank);
    const std::int32_t host = group.devices_per_host, in_host = (rank - group.first_rank) % host;
    for (const std::int32_t number : beginning_[static_cast<std::size_t>(block)]) {
      const stage_candidate& each = posed_.candidates[static_cast<std::size_t>(number)];
      const bool fits = each.kind == group.kind && rank + each.ranks <= group.end_rank &&
                        (in_host == 0 || in_host + each.ranks <= host);
      if (fits) visit(number, each);
    }
  }

  /// The least that the slowest stage from a block and rank on takes.
  void find_slowest() {
    slowest_.assign(static_cast<std::size_t>((posed_.blocks + 1) * (ranks_ + 1)), never);
    slowest(posed_.blocks, ranks_) = {};
    for (std::int32_t block = posed_.blocks - 1; block >= 0; --block) {
      for (std::int32_t rank = 0; rank < ranks_; ++rank) {
        for_each_move(block, rank, [&](std::int32_t, const stage_candidate& each) {
          const picoseconds rest = slowest(block + each.end_block - each.first_block, rank + each.ranks);
          slowest(block, rank) = std::min(slowest(block, rank), std::max(whole(each), rest));
        });
      }
    }
  }

  /// With what stages wait for those behind them.
  picoseconds bound_of_chosen() const {
    picoseconds before, behind, bound;
    for (const std::int32_t number : chosen_) before += posed_.candidates[static_cast<std::size_t>(number)].time;
    for (std::size_t s = chosen_.size(); s-- > 0;) {
      const stage_candidate& each = posed_.candidates[static_cast<std::size_t>(chosen_[s])];
      before -= each.time;
      const picoseconds idle = idle_of(posed_.schedule, posed_.micro_batches, longest_time(each, posed_.micro_batches),
                                       behind, static_cast<std::int64_t>(chosen_.size() - s) - 1);
      bound = std::max(bound, each.time * posed_.micro_batches + idle + std::max(each.once, before));
      behind += each.time;
    }
    return bound;
  }

  /// `before`: a micro-batch through all stages so far; `bound`: of a step, without waits for stages to come.
  void extend(std::int32_t block, std::int32_t rank, picoseconds before, picoseconds bound) {
    if (--left_ <= 0 || std::max(bound, slowest(block, rank)) >= worth_()) return;
    if (block == posed_.blocks) {
      if (bound_of_chosen() < worth_()) visit_(chosen_);
      return;
    }
    for_each_move(block, rank, [&](std::int32_t number, const stage_candidate& each) {
      const picoseconds here = each.time * posed_.micro_batches + std::max(each.once, before);
      chosen_.push_back(number);
      extend(block + each.end_block - each.first_block, rank + each.ranks, before + each.time, std::max(bound, here));
      chosen_.pop_back();
    });
  }

  const inter_problem& posed_;
  std::int64_t left_;
  const std::function<picoseconds()>& worth_;
  const std::function<void(const vector<std::int32_t>&)>& visit_;
  vector<inter::group_place> groups_;
  std::int32_t ranks_;
  vector<vector<std::int32_t>> beginning_;  ///< by block, the candidates that begin with it
  vector<picoseconds> slowest_;             ///< by block and rank
  vector<std::int32_t> chosen_;
};

}  // namespace detail

MESHLOOM_INLINE bool for_each_pipeline(const inter_problem& posed, std::int64_t most_moves,
                                       const std::function<picoseconds()>& worth,
                                       const std::function<void(const vector<std::int32_t>&)>& visit) {
  return detail::pipeline_walk(posed, most_moves, worth, visit).run();
}

}  // namespace meshloom
