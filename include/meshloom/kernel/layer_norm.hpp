// SPDX-License-Identifier: Apache-2.0
// Layer normalisation and its gradients: a team per row, and for the weights' gradients a team per block of columns.
// Law: with `all_parts` a row is whole on this rank; part k < 2 writes statistic k of this shard's share of each row,
// and the last part reads the exchanged ones. Means divide by the global count, so shards may be uneven or empty.
#pragma once

#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/layer_norm.hpp>

namespace meshloom {

struct layer_norm_kernel {
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
    const number count = static_cast<number>(shard.global[shard.rank - 1]);
    const Element* const x = row.template in<const Element>(shard);
    const bool whole = with.part == all_parts;
    const std::int64_t ahead = team.ahead(n);

    const number sum = whole || with.part == 0 ? team.template reduce<number>(
                                                     n, 0, addition{}, [=](std::int64_t i) { return number(x[i]); })
                                               : *row.template in<const number>(with.exchanged[0]);
    if (with.part == 0) return write_once(team, row.template in<number>(with.exchanged[0]), sum);
    const number mean = sum / count;

    const auto square = [=](std::int64_t i) { return (x[i] - mean) * (x[i] - mean); };
    const auto fetch_x = [=](std::int64_t i) { team.fetch(x + ahead + i); };
    const number squares = whole || with.part == 1 ? team.template reduce<number>(n, 0, addition{}, square, fetch_x)
                                                   : *row.template in<const number>(with.exchanged[1]);
    if (with.part == 1) return write_once(team, row.template in<number>(with.exchanged[1]), squares);
    const number rstd = number(1) / math::sqrt(squares / count + static_cast<number>(with.attribute[0]));

    const number* const gain = with.operand[1].as<const number>();
    const number* const bias = with.operand[2].as<const number>();
    Element* const y = row.template in<Element>(with.result[0]);
    team.for_each(
        n, [=](std::int64_t i) { y[i] = (x[i] - mean) * rstd * gain[i] + bias[i]; },
        [=](std::int64_t i) { team.fetch(y + ahead + i); });
    write_once(team, row.template in<number>(with.result[1]), mean);
    write_once(team, row.template in<number>(with.result[2]), rstd);
  }
};

/// dx = rstd · (g − (Σ g + x̂ · Σ g·x̂) / count), where g = dy · gain and x̂ = (x − mean) · rstd.
struct layer_norm_gradient_input_kernel {
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
    const number share = number(1) / static_cast<number>(shard.global[shard.rank - 1]);
    const Element* const dy = row.template in<const Element>(shard);
    const Element* const x = row.template in<const Element>(with.operand[1]);
    const number* const gain = with.operand[2].as<const number>();
    const number mean = *row.template in<const number>(with.operand[3]);
    const number rstd = *row.template in<const number>(with.operand[4]);

    Element* const dx = row.template in<Element>(with.result[0]);
    const std::int64_t ahead = team.ahead(n);

    number sum, product;
    if (with.part == all_parts || with.part == 0) {
      sum = team.template reduce<number>(
          n, 0, addition{}, [=](std::int64_t i) { return dy[i] * gain[i]; },
          [=](std::int64_t i) { team.fetch(x + ahead + i); });
      product = team.template reduce<number>(
          n, 0, addition{}, [=](std::int64_t i) { return dy[i] * gain[i] * (x[i] - mean); },
          [=](std::int64_t i) { team.fetch(dy + ahead + i); });
      product *= rstd;
    } else {
      const number* const exchanged = row.template in<const number>(with.exchanged[0]);
      sum = exchanged[0];
      product = exchanged[1];
    }
    if (with.part == 0) {
      number* const exchanged = row.template in<number>(with.exchanged[0]);
      if (team.leader()) exchanged[0] = sum, exchanged[1] = product;
      return;
    }
    const number shift = sum * share, slope = product * share * rstd;
    team.for_each(
        n, [=](std::int64_t i) { dx[i] = rstd * (dy[i] * gain[i] - shift - (x[i] - mean) * slope); },
        [=](std::int64_t i) { team.fetch(dx + ahead + i); });
  }
};

/// dgain = Σ dy · x̂ and dbias = Σ dy over the rows, in the rows' order.
struct layer_norm_gradient_weights_kernel {
  static constexpr std::int64_t columns = 1024;  ///< of one task

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return (with.result[0].extent[0] + columns - 1) / columns;
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& shard = with.operand[0];
    const std::int64_t first = which * columns, width = with.result[0].extent[0];
    const std::int64_t n = width - first < columns ? width - first : columns;
    number* const gain = with.result[0].as<number>() + first;
    number* const bias = with.result[1].as<number>() + first;
    if (!with.accumulate) team.for_each(n, [=](std::int64_t i) { gain[i] = bias[i] = 0; });
    const std::int64_t rows = row_count(shard);
    for (std::int64_t at = 0; at < rows; ++at) {
      const row_index row(shard, at);
      const Element* const dy = row.template in<const Element>(shard) + first;
      const Element* const x = row.template in<const Element>(with.operand[1]) + first;
      const number mean = *row.template in<const number>(with.operand[2]);
      const number rstd = *row.template in<const number>(with.operand[3]);
      const auto add = [=](std::int64_t i) {
        gain[i] += dy[i] * ((x[i] - mean) * rstd);
        bias[i] += dy[i];
      };
      team.for_each(n, add, [=](std::int64_t i) {
        team.fetch(dy + width + i);
        team.fetch(x + width + i);
      });
    }
  }
};

template <int Rank>
struct kernel_of<op::layer_norm<Rank>> : layer_norm_kernel {};
template <int Rank>
struct kernel_of<op::layer_norm_gradient_input<Rank>> : layer_norm_gradient_input_kernel {};
template <int Rank>
struct kernel_of<op::layer_norm_gradient_weights<Rank>> : layer_norm_gradient_weights_kernel {};

}  // namespace meshloom
