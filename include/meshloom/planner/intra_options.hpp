// SPDX-License-Identifier: Apache-2.0
// What the intra-operator solver is told and what it answers: limits on work, an assignment, its price, a proven bound.
// Laws: bound ≤ cost; equal problems and limits get equal answers, unless `stop` ends the search.
#pragma once

#include <meshloom/planner/integer_solver.hpp>

#include <functional>
#include <utility>

namespace meshloom {

/// The rung of the ladder on which bound and cost met; `none` if they did not.
enum class intra_rung { none, presolve, elimination, bound, branching, integer_program };

struct intra_options {
  std::int64_t most_entries = 1 << 24;     ///< of all tables of one elimination
  std::int64_t quick_entries = 1 << 20;    ///< of one that is run again and again
  std::int32_t rounds = 200;               ///< of raising the bound, each time
  std::int32_t neighbourhoods = 100;       ///< searched, each time the bound was raised
  std::int32_t nodes = 2000;               ///< of branching
  std::int64_t most_work = 4'000'000'000;  ///< prices read, about; each rung gets what is left
  std::int64_t most_binaries = 20'000;     ///< of an integer program
  std::uint64_t seed = 0;                  ///< of the search
  vector<vector<std::int32_t>> starts;     ///< assignments to begin with; those that are not legal are ignored
  const integer_solver* exact = nullptr;   ///< asked last, if there is one
  std::function<bool()> stop;              ///< asked again and again, if given: whether the user's time is over
};

struct intra_answer {
  vector<std::int32_t> options;  ///< by choice
  picoseconds cost;              ///< of these options
  picoseconds bound;             ///< no legal assignment costs less
  intra_rung closed_by = intra_rung::none;
  std::int32_t rounds = 0, nodes = 0;                         ///< runs of the inner problem, nodes of branching
  std::int64_t work = 0;                                      ///< prices read
  vector<std::pair<std::int32_t, std::int64_t>> byte_prices;  ///< of a large problem: times and the multipliers
                                                              ///< with which the bound was found

  bool closed() const { return bound == cost; }
};

}  // namespace meshloom
