// SPDX-License-Identifier: Apache-2.0
// A problem of the public contest on intra-operator parallelism, in its own numbers: nodes with strategies, edges with
// a cost per pair, one limit on the usage at any time. Costs are packed, so that gigabytes of text become a few hundred
// megabytes. Laws: `evaluate` is the referee, exact in 128 bits, and knows nothing of the solver; what is malformed is
// named with its line and column. Source: github.com/google/iopddl (ASPLOS/EuroSys 2025).
#pragma once

#include <meshloom/planner/intra_problem.hpp>

#include <functional>
#include <string_view>

namespace meshloom {

__extension__ using wide_integer = __int128;

/// The cost of what cannot be; every cost at least as large is as well.
inline constexpr std::int64_t iopddl_infinity = 1'000'000'000'000'000'000;

/// Costs in the least number of bytes, 1, 2, 4 or 8, that holds the largest finite one.
class packed_costs {
 public:
  packed_costs() = default;
  explicit packed_costs(const vector<std::int64_t>& costs);
  std::size_t size() const { return bytes_.size() / width_; }
  std::int64_t operator[](std::size_t number) const;
  vector<std::int64_t> unpacked() const;
  bool operator==(const packed_costs&) const = default;

 private:
  std::uint8_t width_ = 1;
  vector<std::uint8_t> bytes_;  ///< little-endian; all ones: infinite
};

struct iopddl_problem {
  struct node {
    std::int64_t lower = 0, upper = 0;  ///< alive at lower ≤ t < upper
    vector<std::int64_t> costs, usages;
    bool operator==(const node&) const = default;
  };
  struct edge {
    std::int32_t left = 0, right = 0;
    packed_costs costs;  ///< row-major, strategies of `left` by those of `right`
    bool operator==(const edge&) const = default;
  };
  std::string name;
  vector<node> nodes;
  vector<edge> edges;
  std::int64_t usage_limit = 0;
  bool operator==(const iopddl_problem&) const = default;
};

/// What one strategy per node costs and uses.
struct iopddl_price {
  wide_integer cost = 0;  ///< of what is finite
  wide_integer peak = 0;  ///< the largest usage at one time
  std::int64_t when = 0;  ///< the first time of the peak
  bool possible = false;  ///< one existing strategy per node, nothing infinite, and the limit holds
  std::string fault;      ///< why it is not possible
};

iopddl_price evaluate(const iopddl_problem& posed, const vector<std::int32_t>& strategies);

/// A problem of the contest as an intra problem. Costs and usages are divided by powers of two where their sums would
/// not fit, costs rounded down and usages up, so that what is legal stays so and costs at least as much.
struct scaled_intra {
  intra_problem posed;
  int cost_shift = 0;
  bool exact_usages = true;  ///< else no bound of the intra problem is one of the contest's

  /// What a bound on the price says about the cost.
  wide_integer bound_of(picoseconds bound) const {
    return exact_usages ? static_cast<wide_integer>(bound.count) << cost_shift : 0;
  }
};
scaled_intra intra_of(const iopddl_problem& posed);

/// Fills a buffer with the next bytes of a text; how many, 0 at its end.
using text_source = std::function<std::size_t(char* buffer, std::size_t most)>;

/// Reads JSON in one pass; keys it does not know are passed over. Throws `meshloom::error` that says where what is
/// wrong.
iopddl_problem read_iopddl(const text_source& text);
iopddl_problem read_iopddl(std::string_view text);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/iopddl.inl>
#endif
