// SPDX-License-Identifier: Apache-2.0
// Attention and its gradient again, obviously right: for every pair of query and key its score, by the definitions.
// Law: as of kernel/reference.hpp, but operands may be windows: a mask goes by where they lie in the whole tensors.
// Source: Vaswani et al. 2017; Ainslie et al. 2023 (grouped queries).
#pragma once

#include <meshloom/kernel/reference.hpp>
#include <meshloom/op/attention.hpp>

namespace meshloom::reference {

/// What attention and its gradient have in common; q and k are the numbers of these operands.
template <int Rows, bool Causal, bool Grouped, int Q, int K>
struct pairs {
  using axes = op::attention_axes<Rows, Grouped>;
  static constexpr index_list feature = axes::feature::list;
  static constexpr index_list keys{1, {axes::keys::list.at[Rows]}};

  static bool seen(const space& s, const point& at) {
    const std::int64_t query = s.with.operand[Q].origin[Rows] + at[Rows];
    const std::int64_t key = s.with.operand[K].origin[Rows] + at[static_cast<std::size_t>(keys.at[0])];
    return !Causal || key <= query;
  }
  static double dot(const space& s, int left, int right, point at) {
    return s.sum(feature, at, [&] { return s.operand(left, at) * s.operand(right, at); });
  }
  static double score(const space& s, const point& at) { return s.attribute(0) * dot(s, Q, K, at); }
};

template <int Rows, bool Causal, bool Grouped>
struct rule<op::attention<Rows, Causal, Grouped>> : pairs<Rows, Causal, Grouped, 0, 1> {
  using here = rule;

  static void run(const space& s) {
    point at{};
    s.over(here::axes::logsum::list, at, [&] {
      double top = -std::numeric_limits<double>::infinity();
      s.over(here::keys, at, [&] { top = here::seen(s, at) ? std::max(top, here::score(s, at)) : top; });
      const auto exponential = [&] { return here::seen(s, at) ? std::exp(here::score(s, at) - top) : 0; };
      const double sum = s.sum(here::keys, at, exponential);
      s.over(here::feature, at, [&] {
        const double mixed = s.sum(here::keys, at, [&] { return exponential() * s.operand(2, at); });
        s.write(0, at, sum > 0 ? mixed / sum : 0);
      });
      s.write(1, at, top + std::log(sum));
    });
  }
};

template <int Rows, bool Causal, bool Grouped>
struct rule<op::attention_gradient<Rows, Causal, Grouped>> : pairs<Rows, Causal, Grouped, 1, 2> {
  using here = rule;
  using gradient = op::attention_gradient<Rows, Causal, Grouped>;

  static double share(const space& s, const point& at) {
    return here::seen(s, at) ? std::exp(here::score(s, at) - s.operand(5, at)) : 0;
  }
  /// The gradient of q·k.
  static double slope(const space& s, const point& at) {
    return s.attribute(0) * share(s, at) * (here::dot(s, 0, 3, at) - here::dot(s, 0, 4, at));
  }

  static void run(const space& s) {
    index_list queries{1, {Rows}};  // and the heads of a group: what shares a key
    if (Grouped) queries = {2, {Rows, Rows + 2}};
    point at{};
    s.over(gradient::queries::list, at,
           [&] { s.write(0, at, s.sum(here::keys, at, [&] { return slope(s, at) * s.operand(2, at); })); });
    s.over(gradient::keys::list, at, [&] {
      s.write(1, at, s.sum(queries, at, [&] { return slope(s, at) * s.operand(1, at); }));
      s.write(2, at, s.sum(queries, at, [&] { return share(s, at) * s.operand(0, at); }));
    });
  }
};

}  // namespace meshloom::reference
