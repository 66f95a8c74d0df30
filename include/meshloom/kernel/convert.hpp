// SPDX-License-Identifier: Apache-2.0
// Between two element types: one pass over memory, a team per part of a row. `Element` is the narrower of the two.
// Law: every element is rounded at most once, and to nearest.
#pragma once

#include <meshloom/kernel/collapse.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/convert.hpp>

namespace meshloom {

/// Operand `From` becomes result 0; both have the same extents and at least one axis.
template <int From, bool Narrows>
struct convert_kernel {
  static constexpr std::int64_t task = 8192;

  MESHLOOM_DEVICE static std::int64_t parts(const view& y) { return (y.extent[y.rank - 1] + task - 1) / task; }

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.result[0]) * parts(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    using source = std::conditional_t<Narrows, computed<Element>, Element>;
    using target = std::conditional_t<Narrows, Element, computed<Element>>;
    const view &x = with.operand[From], &y = with.result[0];
    const int last = y.rank - 1;
    const row_index row(y, which / parts(y));
    const std::int64_t begin = which % parts(y) * task, step = y.stride[last], from = x.stride[last];
    const std::int64_t count = y.extent[last] - begin < task ? y.extent[last] - begin : task;
    const source* const read = row.template in<const source>(x) + begin * from;
    target* const made = row.template in<target>(y) + begin * step;
    if (from == 1 && step == 1) return team.for_each(count, [=](std::int64_t i) { made[i] = target(read[i]); });
    team.for_each(count, [=](std::int64_t i) { made[i * step] = target(read[i * from]); });
  }
};

namespace detail {

template <int From, bool Narrows>
struct arranged_convert {
  using kernel = convert_kernel<From, Narrows>;
  static call arrange(const call& with) {
    call made = with;
    view* both[] = {&made.result[0], &made.operand[From]};
    collapse(both, 0, made.result[0].rank);
    for (view* tensor : both) add_axis_if_none(*tensor);
    return made;
  }
};

}  // namespace detail

template <int Rank>
struct kernel_of<op::narrow<Rank>> : detail::arranged_convert<0, true> {};
template <int Rank>
struct kernel_of<op::widen<Rank>> : detail::arranged_convert<0, false> {};
template <int Rank>
struct kernel_of<op::store_rounded<Rank>> : detail::arranged_convert<1, true> {};

}  // namespace meshloom
