// SPDX-License-Identifier: Apache-2.0
// Root-mean-square normalisation and its gradients: a team per row, and for the gain's gradient a team per block of
// columns.
// Law: with `all_parts` a row is whole on this rank; part 0 writes this shard's share of each row's sum, and part 1
// reads the exchanged one. Means divide by the global count, so shards may be uneven or empty.
#pragma once

#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/rms_norm.hpp>

namespace meshloom {

struct rms_norm_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.operand[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& shard = with.operand[0];
    const row_index row(shard, which);
    const std::int64_t n = shard.extent[shard.rank - 1], ahead = team.ahead(n);
    const Element* const x = row.template in<const Element>(shard);
    const auto square = [=](std::int64_t i) { return x[i] * x[i]; };
    const auto fetch_x = [=](std::int64_t i) { team.fetch(x + ahead + i); };
    const number squares = with.part == 1 ? *row.template in<const number>(with.exchanged[0])
                                          : team.template reduce<number>(n, 0, addition{}, square, fetch_x);
    if (with.part == 0) return write_once(team, row.template in<number>(with.exchanged[0]), squares);
    const number count = static_cast<number>(shard.global[shard.rank - 1]);
    const number rstd = number(1) / math::sqrt(squares / count + static_cast<number>(with.attribute[0]));

    const number* const gain = with.operand[1].as<const number>();
    Element* const y = row.template in<Element>(with.result[0]);
    team.for_each(
        n, [=](std::int64_t i) { y[i] = x[i] * rstd * gain[i]; }, [=](std::int64_t i) { team.fetch(y + ahead + i); });
    write_once(team, row.template in<number>(with.result[1]), rstd);
  }
};

/// dx = rstd · (dy · gain − x · rstd² · Σ dy·gain·x / count).
struct rms_norm_gradient_input_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.operand[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& shard = with.operand[0];
    const row_index row(shard, which);
    const std::int64_t n = shard.extent[shard.rank - 1], ahead = team.ahead(n);
    const Element* const dy = row.template in<const Element>(shard);
    const Element* const x = row.template in<const Element>(with.operand[1]);
    const number* const gain = with.operand[2].as<const number>();
    const number rstd = *row.template in<const number>(with.operand[3]);
    Element* const dx = row.template in<Element>(with.result[0]);

    const auto product = [=](std::int64_t i) { return dy[i] * gain[i] * x[i]; };
    const auto fetch_operands = [=](std::int64_t i) {
      team.fetch(dy + ahead + i);
      team.fetch(x + ahead + i);
    };
    const number sum = with.part == 1 ? *row.template in<const number>(with.exchanged[0])
                                      : team.template reduce<number>(n, 0, addition{}, product, fetch_operands);
    if (with.part == 0) return write_once(team, row.template in<number>(with.exchanged[0]), sum);
    const number slope = sum * rstd * rstd / static_cast<number>(shard.global[shard.rank - 1]);
    team.for_each(
        n, [=](std::int64_t i) { dx[i] = rstd * (dy[i] * gain[i] - x[i] * slope); },
        [=](std::int64_t i) { team.fetch(dx + ahead + i); });
  }
};

/// dgain = Σ dy · x · rstd over the rows, in the rows' order.
struct rms_norm_gradient_gain_kernel {
  static constexpr std::int64_t columns = 1024;  ///< of one task

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return (with.result[0].extent[0] + columns - 1) / columns;
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& shard = with.operand[0];
    const std::int64_t begin = which * columns, width = with.result[0].extent[0];
    const std::int64_t n = width - begin < columns ? width - begin : columns;
    number* const gain = with.result[0].as<number>() + begin;
    if (!with.accumulate) team.for_each(n, [=](std::int64_t i) { gain[i] = 0; });
    const std::int64_t rows = row_count(shard);
    for (std::int64_t at = 0; at < rows; ++at) {
      const row_index row(shard, at);
      const Element* const dy = row.template in<const Element>(shard) + begin;
      const Element* const x = row.template in<const Element>(with.operand[1]) + begin;
      const number rstd = *row.template in<const number>(with.operand[2]);
      team.for_each(
          n, [=](std::int64_t i) { gain[i] += dy[i] * (x[i] * rstd); },
          [=](std::int64_t i) {
            team.fetch(dy + width + i);
            team.fetch(x + width + i);
          });
    }
  }
};

template <int Rank>
struct kernel_of<op::rms_norm<Rank>> : rms_norm_kernel {};
template <int Rank>
struct kernel_of<op::rms_norm_gradient_input<Rank>> : rms_norm_gradient_input_kernel {};
template <int Rank>
struct kernel_of<op::rms_norm_gradient_gain<Rank>> : rms_norm_gradient_gain_kernel {};

}  // namespace meshloom
