// SPDX-License-Identifier: Apache-2.0
// Adafactor (Shazeer and Stern 2018): of a parameter of two axes or more only the means of g² over each of the last two
// are kept, whose product stands for the second moment. `Rank` is the rank of the parameter; with `Momentum` steps are
// averaged. Law: sums of rows, of columns, of rows again and of everything are exchanged, so the parameter may be split
// in any way, and its states as far as they have its axes.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// In step n, with β = 1 − n^−γ: r ← β·r + (1 − β)·(mean of g² over columns + ε1), c likewise over rows;
/// u = g / √(r·c / mean r); p ← p − s·(u / max(1, RMS(u) / threshold) + decay·p), where s is the rate, or, if it is
/// relative to RMS(p), rate · min(1, 1 / (relative·√n)) · max(ε2, RMS(p)). With momentum what is subtracted, but for
/// the decay, is an average over steps: m ← beta1·m + (1 − beta1)·s·u / max(…). Operands: p, g, r, c, and m with
/// momentum. Results: p, r, c, m. Exchanges: Σ g² of rows, of columns; Σ r; Σ u² and Σ p². Attributes: rate, beta1, γ,
/// ε1, ε2, threshold, decay, relative: the peak of the rate, or 0 if it is not.
template <int Rank, bool Momentum>
struct adafactor {
  using list = typename first<Rank>::list;
  using rows = typename first<Rank - 1>::list;
  using columns = typename first<Rank - 2>::with_column;
  using matrices = typename first<Rank - 2>::list;
  static constexpr auto signature = [] {
    auto made = describe("adafactor");
    if constexpr (Momentum)
      made.operands<list, list, rows, columns, list>().template results<list, rows, columns, list>();
    else
      made.operands<list, list, rows, columns>().template results<list, rows, columns>();
    return made.is(role::statistic, list::list)
        .exchanges(rows::list, reduction::sum, 1)
        .exchanges(columns::list, reduction::sum, 1)
        .exchanges(matrices::list, reduction::sum, 1)
        .exchanges(at<>::list, reduction::sum, 2)
        .made;
  }();
  static constexpr double flops_per_point = 20;
  static constexpr std::array<std::int8_t, max_results> replaces{0, 2, 3, 4};
  using gradient = operators<>;
};

/// Of a vector or a scalar the second moment is kept whole: v ← β·v + (1 − β)·(g² + ε1), u = g / √v.
/// Operands: p, g, v, and m with momentum. Results: p, v, m. Exchange: Σ u² and Σ p².
template <int Rank, bool Momentum>
  requires(Rank < 2)
struct adafactor<Rank, Momentum> {
  using list = typename first<Rank>::list;
  static constexpr auto signature = [] {
    auto made = describe("adafactor");
    if constexpr (Momentum)
      made.operands<list, list, list, list>().template results<list, list, list>();
    else
      made.operands<list, list, list>().template results<list, list>();
    return made.is(role::statistic, list::list).exchanges(at<>::list, reduction::sum, 2).made;
  }();
  static constexpr double flops_per_point = 16;
  static constexpr std::array<std::int8_t, max_results> replaces{0, 2, 3};
  using gradient = operators<>;
};

}  // namespace meshloom::op
