// SPDX-License-Identifier: Apache-2.0
// Softmax of scale·x over the last axis, optionally causal, and its gradient: a team per row.
// Law: with `all_parts` a row is whole on this rank; part 0 writes the maximum of this shard's share of each row,
// part 1 its sum of exponentials, and part 2 the results. Masked elements are 0 and cost no arithmetic.
#pragma once

#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/softmax.hpp>

namespace meshloom {

template <bool Causal>
struct softmax_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.operand[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& shard = with.operand[0];
    const row_index row(shard, which);
    const std::int64_t seen = visible(shard, row), n = shard.extent[shard.rank - 1];
    const number scale = static_cast<number>(with.attribute[0]);
    const Element* const x = row.template in<const Element>(shard);
    const bool whole = with.part == all_parts;

    const auto scaled = [=](std::int64_t i) { return scale * x[i]; };
    const number top = whole || with.part == 0
                           ? team.template reduce<number>(seen, math::float_format<number>::lowest, maximum{}, scaled)
                           : *row.template in<const number>(with.exchanged[0]);
    if (with.part == 0) return write_once(team, row.template in<number>(with.exchanged[0]), top);

    constexpr number log2_of_e = static_cast<number>(math::log2_of_e);
    const auto exponential = [=](std::int64_t i) { return math::exp2((scale * x[i] - top) * log2_of_e); };
    if (with.part == 1) {
      const number sum = team.template reduce<number>(seen, 0, addition{}, exponential);
      return write_once(team, row.template in<number>(with.exchanged[1]), sum);
    }
    Element* const y = row.template in<Element>(with.result[0]);
    const std::int64_t ahead = team.ahead(n);
    const auto fetch = [=](std::int64_t i) {
      team.fetch(x + ahead + i);
      team.fetch(y + ahead + i);
    };
    const number* const exchanged = whole ? nullptr : row.template in<const number>(with.exchanged[1]);
    if constexpr (half_type<Element>)
      write_rounded(team, seen, exponential, exchanged, y, fetch);
    else
      write(team, seen, exponential, exchanged, y, fetch);
    team.for_each(n - seen, [=](std::int64_t i) { y[seen + i] = 0; });
  }

 private:
  /// The number of leading keys of this shard's share of the row that the row's query may see.
  MESHLOOM_DEVICE static std::int64_t visible(const view& shard, const row_index& row) {
    const int keys = shard.rank - 1;
    if constexpr (!Causal) return shard.extent[keys];
    const std::int64_t query = shard.origin[keys - 1] + row.at[keys - 1];
    const std::int64_t seen = query + 1 - shard.origin[keys];
    return seen < 0 ? 0 : seen < shard.extent[keys] ? seen : shard.extent[keys];
  }

  /// Exponentials over their sum, or over the exchanged one.
  template <class Team, class Exponential, class Number, class Fetch>
  MESHLOOM_DEVICE static void write(Team team, std::int64_t n, Exponential exponential, const Number* exchanged,
                                    Number* y, Fetch fetch) {
    team.for_each(
        n, [=](std::int64_t i) { y[i] = exponential(i); }, fetch);
    team.sync();
    const Number sum = exchanged != nullptr
                           ? *exchanged
                           : team.template reduce<Number>(n, 0, addition{}, [=](std::int64_t i) { return y[i]; });
    const Number share = Number(1) / sum;
    team.for_each(n, [=](std::int64_t i) { y[i] *= share; });
  }

  /// The same where y would round what is not yet divided: lanes keep exponentials, as many as fit a cache, beside it.
  template <class Team, class Exponential, class Number, class Element, class Fetch>
  MESHLOOM_DEVICE static void write_rounded(Team team, std::int64_t n, Exponential exponential, const Number* exchanged,
                                            Element* y, Fetch fetch) {
    constexpr std::int64_t room = Team::lanes == 1 ? 1 : 4096;
    Number kept[room];
    const std::int64_t head = Team::lanes == 1 ? 0 : n < room ? n : room;
    team.for_each(
        head, [&](std::int64_t i) { kept[i] = exponential(i); }, fetch);
    const auto later = [=](std::int64_t i) { return exponential(head + i); };
    Number sum = 0;
    if (exchanged != nullptr)
      sum = *exchanged;
    else
      sum = team.template reduce<Number>(head, 0, addition{}, [&](std::int64_t i) { return kept[i]; }) +
            team.template reduce<Number>(n - head, 0, addition{}, later);
    const Number share = Number(1) / sum;
    team.for_each(head, [&](std::int64_t i) { y[i] = kept[i] * share; });
    team.for_each(n - head, [=](std::int64_t i) { y[head + i] = later(i) * share; });
  }
};

/// dx = scale · y · (dy − Σ dy·y); masked elements have y = 0 and get 0.
struct softmax_gradient_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.operand[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& shard = with.operand[0];
    const row_index row(shard, which);
    const std::int64_t n = shard.extent[shard.rank - 1];
    const number scale = static_cast<number>(with.attribute[0]);
    const Element* const dy = row.template in<const Element>(shard);
    const Element* const y = row.template in<const Element>(with.operand[1]);
    Element* const dx = row.template in<Element>(with.result[0]);
    const std::int64_t ahead = team.ahead(n);
    number sum;
    if (with.part == all_parts || with.part == 0) {
      sum = team.template reduce<number>(
          n, 0, addition{}, [=](std::int64_t i) { return dy[i] * y[i]; }, [=](std::int64_t i) { team.fetch(dx + i); });
    } else {
      sum = *row.template in<const number>(with.exchanged[0]);
    }
    if (with.part == 0) {
      if (team.leader()) *row.template in<number>(with.exchanged[0]) = sum;
      return;
    }
    team.for_each(
        n, [=](std::int64_t i) { dx[i] = scale * y[i] * (dy[i] - sum); },
        [=](std::int64_t i) {
          team.fetch(dy + ahead + i);
          team.fetch(y + ahead + i);
        });
  }
};

template <int Rank, bool Causal>
struct kernel_of<op::softmax<Rank, Causal>> : softmax_kernel<Causal> {};
template <int Rank>
struct kernel_of<op::softmax_gradient<Rank>> : softmax_gradient_kernel {};

}  // namespace meshloom
