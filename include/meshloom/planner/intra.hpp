// SPDX-License-Identifier: Apache-2.0
// The intra-operator solver: one option for each choice of an intra problem, at the least price that fits in memory. It
// climbs a ladder until the proof is complete: presolve → narrow, where memory does not matter → eliminate → raise the
// bound and search → branch → integer program. Laws: bound ≤ optimum ≤ cost, always; limits on work are counts; equal
// questions get equal answers.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/planner/integer_solver.hpp>

namespace meshloom {

/// The rung of the ladder on which bound and cost met; `none` if they did not.
enum class intra_rung { none, presolve, elimination, bound, branching, integer_program };

struct intra_options {
  std::int64_t most_entries = 1 << 24;            ///< of all tables of one elimination
  std::int64_t quick_entries = 1 << 20;           ///< of one that is run again and again
  std::int32_t rounds = 200;                      ///< of raising the bound, each time
  std::int32_t neighbourhoods = 100;              ///< searched, each time the bound was raised
  std::int32_t nodes = 2000;                      ///< of branching
  std::int64_t most_work = 4'000'000'000;         ///< prices read, about; each rung gets what is left
  std::int64_t most_binaries = 20'000;            ///< of an integer program
  std::uint64_t seed = 0;                         ///< of the search
  std::vector<std::vector<std::int32_t>> starts;  ///< assignments to begin with; those that are not legal are ignored
  const integer_solver* exact = nullptr;          ///< asked last, if there is one
};

struct intra_answer {
  std::vector<std::int32_t> options;  ///< by choice
  picoseconds cost;                   ///< of these options
  picoseconds bound;                  ///< no legal assignment costs less
  intra_rung closed_by = intra_rung::none;
  std::int32_t rounds = 0, nodes = 0;  ///< runs of the inner problem, nodes of branching
  std::int64_t work = 0;               ///< prices read

  bool closed() const { return bound == cost; }
};

/// The answer; or the first fault of the problem; or why nothing fits, with the least memory that is needed and when.
result<intra_answer> solve_intra(const intra_problem& posed, const intra_options& limits = {});

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra.inl>
#endif
