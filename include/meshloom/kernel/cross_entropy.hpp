// SPDX-License-Identifier: Apache-2.0
// Cross-entropy of logits against integer targets, and its gradient: a team per row.
// Law: with `all_parts` a row is whole on this rank; part 0 writes the maximum of this shard's share of each row,
// part 1 its sum of exponentials and of expected shares times logits, and part 2 the results.
#pragma once

#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/cross_entropy.hpp>

namespace meshloom {

/// The share of every class that labels of a smoothing expect, and what the target has besides. `logits`: of one shard.
template <class Number>
struct expected_shares {
  Number each, target;

  MESHLOOM_DEVICE expected_shares(const view& logits, double smoothing)
      : each(static_cast<Number>(smoothing / static_cast<double>(logits.global[logits.rank - 1]))),
        target(static_cast<Number>(1 - smoothing)) {}
};

struct cross_entropy_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.operand[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& shard = with.operand[0];
    const row_index row(shard, which);
    const int classes = shard.rank - 1;
    const std::int64_t n = shard.extent[classes];
    const Element* const logit = row.template in<const Element>(shard);
    const bool whole = with.part == all_parts;

    const auto value = [=](std::int64_t i) { return number(logit[i]); };
    const number top = whole || with.part == 0
                           ? team.template reduce<number>(n, math::float_format<number>::lowest, maximum{}, value)
                           : *row.template in<const number>(with.exchanged[0]);
    if (with.part == 0) return write_once(team, row.template in<number>(with.exchanged[0]), top);

    number sum, expected;
    if (whole || with.part == 1) {
      const std::int64_t ahead = team.ahead(n);
      constexpr number log2_of_e = static_cast<number>(math::log2_of_e);
      sum = team.template reduce<number>(
          n, 0, addition{}, [=](std::int64_t i) { return math::exp2((logit[i] - top) * log2_of_e); },
          [=](std::int64_t i) { team.fetch(logit + ahead + i); });
      const std::int64_t target = *row.template in<const std::int32_t>(with.operand[1]) - shard.origin[classes];
      const expected_shares<number> share(shard, with.attribute[0]);
      expected = target >= 0 && target < n ? share.target * logit[target] : number(0);
      if (share.each != 0) expected += share.each * team.template reduce<number>(n, 0, addition{}, value);
    } else {
      sum = row.template in<const number>(with.exchanged[1])[0];
      expected = row.template in<const number>(with.exchanged[1])[1];
    }
    if (with.part == 1) {
      write_once(team, row.template in<number>(with.exchanged[1]), sum);
      return write_once(team, row.template in<number>(with.exchanged[1]) + 1, expected);
    }
    const number logsum = top + math::log(sum), penalty = static_cast<number>(with.attribute[1]) * logsum * logsum;
    write_once(team, row.template in<number>(with.result[0]), logsum - expected + penalty);
    write_once(team, row.template in<number>(with.result[1]), logsum);
  }
};

/// dlogits = dloss · ((1 + 2·z·logsum)·softmax(logits) − expected shares).
struct cross_entropy_gradient_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.operand[1]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& shard = with.operand[1];
    const row_index row(shard, which);
    const int classes = shard.rank - 1;
    const std::int64_t n = shard.extent[classes];
    const number slope = *row.template in<const number>(with.operand[0]);
    const Element* const logit = row.template in<const Element>(shard);
    const std::int64_t target = *row.template in<const std::int32_t>(with.operand[2]) - shard.origin[classes];
    const number logsum = *row.template in<const number>(with.operand[3]);
    const number growth = slope * (number(1) + static_cast<number>(2 * with.attribute[1]) * logsum);
    const expected_shares<number> share(shard, with.attribute[0]);
    const number shift = slope * share.each;
    Element* const dlogit = row.template in<Element>(with.result[0]);
    const std::int64_t ahead = team.ahead(n);
    constexpr number log2_of_e = static_cast<number>(math::log2_of_e);
    const auto slope_at = [=](std::int64_t i) { return growth * math::exp2((logit[i] - logsum) * log2_of_e) - shift; };
    team.for_each(
        n, [=](std::int64_t i) { dlogit[i] = slope_at(i); },
        [=](std::int64_t i) {
          team.fetch(logit + ahead + i);
          team.fetch(dlogit + ahead + i);
        });
    team.sync();
    if (!team.leader() || target < 0 || target >= n) return;
    if constexpr (half_type<Element>)
      dlogit[target] = slope_at(target) - slope * share.target;  // rounded once
    else
      dlogit[target] -= slope * share.target;
  }
};

template <int Rank>
struct kernel_of<op::cross_entropy<Rank>> : cross_entropy_kernel {};
template <int Rank>
struct kernel_of<op::cross_entropy_gradient<Rank>> : cross_entropy_gradient_kernel {};

}  // namespace meshloom
