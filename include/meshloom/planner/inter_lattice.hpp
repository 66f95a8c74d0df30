// SPDX-License-Identifier: Apache-2.0
// The lattice of stage boundaries that the inter-operator solver walks: a state is a stage yet to be chosen that begins
// with block k on rank r, the s-th from the last; a move runs it as one of the candidates that fit there.
// Law: candidates that exceed the limit, or that another of the same blocks and ranks is nowhere worse than, make no
// move; every other legal placement is visited once.
#pragma once

#include <meshloom/planner/inter_problem.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace meshloom::inter {

/// Longer than any sum of times, and small enough to be added up.
inline constexpr picoseconds never{std::int64_t{1} << 61};

/// A candidate as the solver's loops read it.
struct choice {
  picoseconds time;
  picoseconds rest;  ///< what it adds to a step after its first micro-batch: (B − 1) · time + once
  std::int32_t end = 0, ranks = 0, candidate = 0;
};

class lattice {
 public:
  explicit lattice(const inter_problem& posed);

  std::int32_t blocks() const { return blocks_; }
  std::int32_t ranks() const { return ranks_; }
  std::int32_t most_stages() const { return std::min(blocks_, ranks_); }

  /// From so many stages to go on, the choices stay the same.
  std::int32_t settled() const { return settled_; }

  /// States are numbered by s, then k, then r.
  std::size_t at(std::int32_t s, std::int32_t k, std::int32_t r) const {
    const auto rows = static_cast<std::size_t>(s) * static_cast<std::size_t>(blocks_ + 1) + static_cast<std::size_t>(k);
    return rows * static_cast<std::size_t>(ranks_ + 1) + static_cast<std::size_t>(r);
  }
  std::size_t states_below(std::int32_t s) const { return at(s, 0, 0); }

  /// What stages that meet in front of block k and rank r pay.
  picoseconds cut(std::int32_t k, std::int32_t r) const {
    if (k == 0) return {};
    return (r % devices_per_host_ == 0 ? between_ : within_)[static_cast<std::size_t>(k)];
  }

  /// The choices for the s-th stage from the last, if it begins with block k.
  std::span<const choice> choices(std::int32_t s, std::int32_t k) const {
    const table& fit = tables_[table_of_[static_cast<std::size_t>(s)]];
    const auto first = fit.first_of[static_cast<std::size_t>(k)], end = fit.first_of[static_cast<std::size_t>(k) + 1];
    return std::span(fit.choices).subspan(first, end - first);
  }

  /// The ranks with which a stage of so many may begin.
  const std::vector<std::int32_t>& places(std::int32_t ranks) const { return places_[static_cast<std::size_t>(ranks)]; }

  /// visit(choice, r) for every move from a state (s, k, r).
  template <class Visit>
  void for_each_move(std::int32_t s, std::int32_t k, Visit visit) const {
    for (const choice& each : choices(s, k)) {
      if (each.end > last_end(s)) continue;
      for (const std::int32_t r : places(each.ranks)) visit(each, r);
    }
  }

 private:
  struct table {
    std::vector<choice> choices;  ///< by the block that they begin with
    std::vector<std::size_t> first_of;
  };

  /// The stages after the s-th from the last run at least a block each.
  std::int32_t last_end(std::int32_t s) const { return blocks_ - (s - 1); }
  void find_places(const inter_problem& posed);
  void fill_tables(const inter_problem& posed);
  table table_for(const inter_problem& posed, const std::vector<std::int32_t>& order) const;

  std::int32_t blocks_, ranks_, devices_per_host_, settled_ = 1;
  std::span<const picoseconds> within_, between_;
  std::vector<std::vector<std::int32_t>> places_;
  std::vector<table> tables_;
  std::vector<std::size_t> table_of_;  ///< by stages to go, this one included
};

}  // namespace meshloom::inter

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/inter_lattice.inl>
#endif
