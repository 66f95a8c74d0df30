// SPDX-License-Identifier: Apache-2.0
// The lattice of stage boundaries that the inter-operator solver walks: a state is a stage yet to be chosen that begins
// with block k on rank r; a move runs it as one of the candidates that fit there. Few states lie between what the first
// r ranks can get done at most and what the others must leave to them, so no table is as large as blocks × ranks.
// Blocks are those that stages may begin with, with all that follow them up to the next such block.
// Law: candidates that exceed the limit, that alone take as long as is not worth it, or that others of the same blocks
// and ranks are nowhere worse than, make no move; every other placement that a plan can use is visited once.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/planner/inter_problem.hpp>

#include <algorithm>
#include <compare>
#include <cstdint>
#include <span>

namespace meshloom::inter {

/// Longer than any sum of times, and small enough to be added up.
inline constexpr picoseconds never{std::int64_t{1} << 61};

/// A candidate as the solver's loops read it.
struct choice {
  picoseconds time;
  picoseconds passing;  ///< with more that its messages take than the cuts say
  picoseconds rest;     ///< what it adds to a step after its first micro-batch: (B − 1) · time + once
  std::int32_t blocks = 0, first = 0, last = 0;  ///< it runs so many blocks, from one of these on
  /// It is of use as the s-th stage from the last: no other that fits is as good, and it fits.
  std::int32_t least_stages = 1, most_stages = 0;
  std::int32_t candidate = 0;
};

/// Where a choice leads, and what it takes with its half of the messages in front of it and after it.
struct move {
  std::size_t next = 0;  ///< state
  picoseconds own, entering, leaving;
  std::int32_t rank = 0;  ///< with which the next stage begins
};

class lattice {
 public:
  explicit lattice(const inter_problem& posed);

  std::int32_t blocks() const { return blocks_; }
  /// In units of which all stages have whole numbers.
  std::int32_t ranks() const { return ranks_; }
  std::int32_t most_stages() const { return most_stages_; }

  /// From so many stages to go on, the choices stay the same.
  std::int32_t settled() const { return settled_; }

  /// What a plan of so many stages costs.
  picoseconds cost(picoseconds passing, picoseconds slowest, std::int32_t stages) const {
    return passing + std::max(slowest, rounds_of(schedule_, micro_batches_, passing, stages));
  }

  /// More than stages and messages may take for a micro-batch where a step takes less than `worth`.
  picoseconds most_passing(picoseconds worth, std::int32_t stages) const {
    const std::int64_t more = schedule_ == schedule_kind::one_f_one_b ? micro_batches_ - 1 : 0;
    return {(worth.count / (stages + more) + 1) * stages + 1};
  }

  /// States are numbered by r, then k: a move leads to a larger number. The first is the start, the last the end; there
  /// are none where it is plain that no plan gets from one to the other.
  std::size_t states() const { return begin_.back(); }

  /// What stages that meet in front of block k and rank r pay.
  picoseconds cut(std::int32_t k, std::int32_t r) const {
    if (k == 0) return {};
    const part& here = part_at(r);
    const std::int32_t block = stops_[static_cast<std::size_t>(k)];
    const picoseconds own = toll(here, block, r);
    return r == here.first && r > 0 ? std::max(own, toll(part_at(r - 1), block, r)) : own;
  }

  /// visit(state, k, r) for every state but the end, in order or from the last back.
  template <class Visit>
  void for_each_state(Visit visit) const {
    for (std::int32_t r = 0; r < ranks_; ++r) for_each_block(r, visit);
  }
  template <class Visit>
  void for_each_state_back(Visit visit) const {
    for (std::int32_t r = ranks_ - 1; r >= 0; --r) for_each_block(r, visit);
  }

  /// visit(choice, move) for every move from block k and rank r.
  template <class Visit>
  void for_each_move(std::int32_t k, std::int32_t r, Visit visit) const {
    for (std::size_t n = 0; n < sizes_.size(); ++n) {
      if (!fits(sizes_[n], r)) continue;
      const std::int32_t next = r + sizes_[n].ranks;
      const band& ends = bands_[static_cast<std::size_t>(next)];
      const std::int32_t least = std::max(ends.first, k + 1) - k, most = ends.last - k;
      if (least > most) continue;
      const picoseconds entering = half(n, k, r, r);
      const picoseconds* const after = halves_.data() + half_number(n, r, next) + k;
      const std::size_t from = begin_[static_cast<std::size_t>(next)] - static_cast<std::size_t>(ends.first - k);
      const auto visit_all = [&](std::span<const choice> some) {
        auto each = some.begin();
        if (each != some.end() && each->blocks < least)
          each = std::partition_point(each, some.end(), [&](const choice& c) { return c.blocks < least; });
        for (; each != some.end() && each->blocks <= most; ++each) {
          if (each->first > k || k > each->last) continue;
          const picoseconds leaving = after[each->blocks];
          visit(*each, move{from + static_cast<std::size_t>(each->blocks), each->passing + entering + leaving, entering,
                            leaving, next});
        }
      };
      visit_all(row(n, k));
      visit_all(row(n, -1));
    }
  }

 private:
  /// The first blocks of the stages that begin with one rank.
  struct band {
    std::int32_t first = 0, last = -1;
  };

  template <class Visit>
  void for_each_block(std::int32_t r, Visit visit) const {
    const band& here = bands_[static_cast<std::size_t>(r)];
    std::size_t state = begin_[static_cast<std::size_t>(r)];
    for (std::int32_t k = here.first; k <= here.last; ++k) visit(state++, k, r);
  }

  /// A group of hosts, in units of ranks.
  struct part {
    std::int32_t first = 0, end = 0, host = 0, kind = 0;
    std::span<const picoseconds> within, between;
  };
  /// What stages stand on: so many ranks, in units, of hosts of one kind.
  struct size {
    std::int32_t ranks = 0, kind = 0;
    auto operator<=>(const size&) const = default;
  };

  /// What crosses in front of a block of the problem and rank r, over the links of a part that is there or ends there.
  static picoseconds toll(const part& over, std::int32_t block, std::int32_t r) {
    return ((r - over.first) % over.host != 0 ? over.within : over.between)[static_cast<std::size_t>(block)];
  }

  /// The halves of the messages in front of all blocks and rank `at`, of a stage of the n-th size on the part of rank
  /// r.
  std::size_t half_number(std::size_t n, std::int32_t r, std::int32_t at) const {
    const part& here = part_at(r);
    const std::size_t row = 2 * (part_at_[static_cast<std::size_t>(r)] * sizes_.size() + n);
    return (row + ((at - here.first) % here.host == 0 ? 1 : 0)) * static_cast<std::size_t>(blocks_ + 1);
  }
  picoseconds half(std::size_t n, std::int32_t k, std::int32_t r, std::int32_t at) const {
    return halves_[half_number(n, r, at) + static_cast<std::size_t>(k)];
  }

  const part& part_at(std::int32_t r) const { return parts_[part_at_[static_cast<std::size_t>(r)]]; }

  bool fits(const size& of, std::int32_t r) const {
    const part& here = part_at(r);
    const std::int32_t in_host = (r - here.first) % here.host;
    return of.kind == here.kind && r + of.ranks <= here.end && (in_host == 0 || in_host + of.ranks <= here.host);
  }

  /// The choices of the n-th size that begin with block k only, or with −1 for any, by their blocks.
  std::size_t row_number(std::size_t n, std::int32_t k) const {
    return n * static_cast<std::size_t>(blocks_ + 1) + static_cast<std::size_t>(k + 1);
  }
  std::span<const choice> row(std::size_t n, std::int32_t k) const {
    const std::size_t first = row_[row_number(n, k)];
    return std::span(choices_).subspan(first, row_[row_number(n, k) + 1] - first);
  }

  void find_parts(const inter_problem& posed);
  void find_stops(const inter_problem& posed);
  void find_choices(const inter_problem& posed);
  /// A choice for all blocks that a candidate may begin with where it ends in front of another such block.
  void place(const inter_problem& posed, std::int32_t candidate, choice made, vector<choice>& found) const;
  void find_sizes(const inter_problem& posed, const vector<choice>& found);
  void count_in_units();
  void find_halves();
  void keep_useful();
  void find_bands();
  vector<std::int32_t> furthest_ends(std::size_t n) const;
  vector<std::int32_t> nearest_starts(std::size_t n) const;

  std::int32_t blocks_ = 0, ranks_ = 0, most_stages_ = 0, settled_ = 1;
  schedule_kind schedule_;
  std::int64_t micro_batches_;
  vector<std::int32_t> stops_;    ///< the blocks of the problem that these begin with, and the end
  vector<std::int32_t> stop_at_;  ///< which of them begins with a block of the problem; −1: none
  vector<part> parts_;
  vector<std::uint32_t> part_at_;  ///< by rank
  vector<size> sizes_;             ///< that stages have
  vector<picoseconds> halves_;     ///< see `half`; of no messages before the first block and after the last
  vector<choice> choices_;
  vector<std::size_t> row_;    ///< where each row of choices begins, and the next
  vector<band> bands_;         ///< by rank
  vector<std::size_t> begin_;  ///< of the states of each rank, and of the next
};

}  // namespace meshloom::inter

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/inter_lattice.inl>
#endif
