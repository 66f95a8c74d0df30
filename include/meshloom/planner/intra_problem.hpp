// SPDX-License-Identifier: Apache-2.0
// The intra-operator problem as pure data: decisions with priced and sized options, prices of two decisions together,
// and a limit on the bytes alive at any time. It knows neither graphs nor meshes. Law: `evaluate` is the referee; it
// shares no code with the solver. Source: the ASPLOS/EuroSys 2025 contest on intra-operator parallelism (iopddl).
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/base/units.hpp>
#include <meshloom/base/vector.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace meshloom {

/// The price of what cannot be: everything at least as dear is forbidden, and sums of all other prices stay below it.
inline constexpr picoseconds forbidden{std::int64_t{1} << 60};

/// One decision: its options, each with a price and with a size that counts while the decision is alive.
struct intra_choice {
  vector<picoseconds> cost;
  vector<bytes> size;               ///< one per option
  std::int32_t first = 0, end = 0;  ///< alive at the times first ≤ t < end; never, if they are equal
  bool operator==(const intra_choice&) const = default;
};

/// The price of two decisions together: options of `left` by options of `right`, row-major. Several couplings of one
/// pair add up; a coupling of a choice with itself counts its diagonal.
struct intra_coupling {
  std::int32_t left = 0, right = 0;
  vector<picoseconds> cost;
  bool operator==(const intra_coupling&) const = default;
};

struct intra_problem {
  vector<intra_choice> choices;
  vector<intra_coupling> couplings;
  std::optional<bytes> limit;  ///< none: memory does not matter
  std::int32_t end = 0;        ///< the times are 0 … end − 1
  bool operator==(const intra_problem&) const = default;
};

/// What an assignment, one option per choice, costs and holds.
struct intra_price {
  picoseconds cost;       ///< `forbidden` if a price in it is, or if it is no assignment
  bytes peak;             ///< the most bytes alive at one time
  std::int32_t when = 0;  ///< the first time of the peak
  bool allowed = false;   ///< nothing in it is forbidden, and the limit holds at every time
};

/// One sentence per fault: tables of the wrong size, negative numbers, intervals outside the times, sums out of range.
vector<std::string> check(const intra_problem& posed);

/// Forbids what takes so long that sums of prices would leave their range, where something of the same choice or
/// coupling takes less. No assignment left out costs less than the answer; `forbidden`: none is left out.
picoseconds leave_out_hopeless(intra_problem& posed);

intra_price evaluate(const intra_problem& posed, const vector<std::int32_t>& options);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/intra_problem.inl>
#endif
