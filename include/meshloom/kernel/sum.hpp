// SPDX-License-Identifier: Apache-2.0
// Sums over any axes, times attribute 0. Where the innermost axis is kept (gradients of biases) a team adds whole rows
// to a block of columns; where it is summed (a mean loss) a team reduces to one element.
// Law: a sum over no elements is 0, and is not rounded to fewer bits.
#pragma once

#include <meshloom/kernel/collapse.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/sum.hpp>

namespace meshloom {

/// Takes a call whose operand has at least one axis: first the result's, then the summed ones.
struct sum_kernel {
  static constexpr std::int64_t columns = 1024;  ///< of one task, where the innermost axis is kept

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    const view& y = with.result[0];
    return keeps_columns(with) ? row_count(y) * blocks(y) : y.count();
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    if (keeps_columns(with))
      add_rows<Element>(team, which, with);
    else
      reduce_row<Element>(team, which, with);
  }

 private:
  MESHLOOM_DEVICE static std::int64_t blocks(const view& y) { return (y.extent[y.rank - 1] + columns - 1) / columns; }

  MESHLOOM_DEVICE static bool keeps_columns(const call& with) {
    const view& x = with.operand[0];
    const int kept = with.result[0].rank;
    return kept > 0 && (x.rank == kept || x.stride[kept - 1] < x.stride[x.rank - 1]);
  }

  /// The elements of the summed axes from the first of `axes` on.
  MESHLOOM_DEVICE static std::int64_t summed(const view& x, int first, int last) {
    std::int64_t count = 1;
    for (int axis = first; axis < last; ++axis) count *= x.extent[axis];
    return count;
  }

  /// Where element `which` of axes `first` … `last - 1` lies, relative to the first.
  MESHLOOM_DEVICE static std::int64_t offset(const view& x, int first, int last, std::int64_t which) {
    std::int64_t sum = 0;
    for (int axis = last - 1; axis >= first; --axis) {
      sum += which % x.extent[axis] * x.stride[axis];
      which /= x.extent[axis];
    }
    return sum;
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void add_rows(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& x = with.operand[0];
    const view& y = with.result[0];
    const int kept = y.rank;
    const row_index row(y, which / blocks(y));
    const std::int64_t first = which % blocks(y) * columns, width = y.extent[kept - 1];
    const std::int64_t n = width - first < columns ? width - first : columns;
    const std::int64_t from = x.stride[kept - 1], to = y.stride[kept - 1];
    const number scale = static_cast<number>(with.attribute[0]);
    number* const sum = row.template in<number>(y) + first * to;
    const Element* const block = row.template in<const Element>(x) + first * from;
    if (!with.accumulate) team.for_each(n, [=](std::int64_t i) { sum[i * to] = 0; });
    const std::int64_t rows = summed(x, kept, x.rank);
    for (std::int64_t at = 0; at < rows; ++at) {
      const Element* const added = block + offset(x, kept, x.rank, at);
      const std::int64_t ahead = x.stride[x.rank - 1];
      if (from == 1 && to == 1) {
        team.for_each(
            n, [=](std::int64_t i) { sum[i] += scale * number(added[i]); },
            [=](std::int64_t i) { team.fetch(added + ahead + i); });
        continue;
      }
      team.for_each(n, [=](std::int64_t i) { sum[i * to] += scale * number(added[i * from]); });
    }
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void reduce_row(Team team, std::int64_t which, const call& with) {
    using number = computed<Element>;
    const view& x = with.operand[0];
    const view& y = with.result[0];
    const int last = x.rank - 1;
    const std::int64_t step = x.stride[last];
    const Element* const block = x.as<const Element>() + offset(x, 0, y.rank, which);
    const std::int64_t rows = summed(x, y.rank, last);
    number sum = 0;
    for (std::int64_t at = 0; at < rows; ++at) {
      const Element* const row = block + offset(x, y.rank, last, at);
      sum += step == 1 ? team.template reduce<number>(x.extent[last], 0, addition{},
                                                      [=](std::int64_t i) { return number(row[i]); })
                       : team.template reduce<number>(x.extent[last], 0, addition{},
                                                      [=](std::int64_t i) { return number(row[i * step]); });
    }
    if (!team.leader()) return;
    number* const to = y.as<number>() + offset(y, 0, y.rank, which);
    *to = (with.accumulate ? *to : number(0)) + static_cast<number>(with.attribute[0]) * sum;
  }
};

template <class Operand, class Result>
struct kernel_of<op::sum<Operand, Result>> {
  using kernel = sum_kernel;

  static call arrange(const call& with) {
    const view& x = with.operand[0];
    index_list axes = Result::list;  // the result's, then the summed ones
    view pattern = with.result[0];
    for (int axis = 0; axis < x.rank; ++axis) {
      const auto index = Operand::list.at[static_cast<std::size_t>(axis)];
      if (Result::list.find(index) >= 0) continue;
      pattern.extent[axes.count] = x.extent[axis];
      axes.at[static_cast<std::size_t>(axes.count++)] = index;
    }
    call made = with;
    made.operand[0] = realigned(x, Operand::list, axes, pattern);
    made.result[0] = realigned(with.result[0], Result::list, axes, pattern);
    view* both[] = {&made.operand[0], &made.result[0]};
    const int kept = collapse(both, 0, Result::list.count);
    view* alone[] = {&made.operand[0]};
    collapse(alone, kept, made.operand[0].rank);
    made.result[0].rank = kept;
    if (kept == 0) add_axis_if_none(made.operand[0]);  // a sum to a scalar has something to loop over
    return made;
  }
};

}  // namespace meshloom
