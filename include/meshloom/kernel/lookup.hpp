// SPDX-License-Identifier: Apache-2.0
// Rows of a table chosen by integers, and the scatter-add that is its gradient.
// Law: integers of rows outside this shard of the table choose zeros; the gradient adds in the order of the integers,
// so it is deterministic: a team owns a block of columns and no two teams add to one element.
#pragma once

#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/lookup.hpp>

namespace meshloom {

/// A team per integer.
struct lookup_kernel {
  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const view& table = with.operand[1];
    const row_index at(with.result[0], which);
    const std::int64_t row = *at.template in<const std::int32_t>(with.operand[0]) - table.origin[0];
    Element* const y = at.template in<Element>(with.result[0]);
    const std::int64_t n = table.extent[1];
    if (row >= 0 && row < table.extent[0]) {
      const Element* const chosen = table.as<const Element>() + row * table.stride[0];
      team.for_each(n, [=](std::int64_t i) { y[i] = chosen[i]; });
    } else {
      team.for_each(n, [=](std::int64_t i) { y[i] = Element{}; });
    }
  }
};

/// A team per block of columns.
struct lookup_gradient_kernel {
  static constexpr std::int64_t columns = 1024;

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return (with.result[0].extent[1] + columns - 1) / columns;
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const view& table = with.result[0];
    const view& slopes = with.operand[1];
    const std::int64_t first = which * columns;
    const std::int64_t n = table.extent[1] - first < columns ? table.extent[1] - first : columns;
    using number = computed<Element>;
    number* const gradient = table.as<number>() + first;
    for (std::int64_t row = 0; row < table.extent[0] && !with.accumulate; ++row) {
      number* const cleared = gradient + row * table.stride[0];
      team.for_each(n, [=](std::int64_t i) { cleared[i] = 0; });
    }
    const std::int64_t integers = row_count(slopes);
    for (std::int64_t each = 0; each < integers; ++each) {
      const row_index at(slopes, each);
      const std::int64_t row = *at.template in<const std::int32_t>(with.operand[0]) - table.origin[0];
      if (row < 0 || row >= table.extent[0]) continue;
      const Element* const dy = at.template in<const Element>(slopes) + first;
      number* const sum = gradient + row * table.stride[0];
      team.for_each(n, [=](std::int64_t i) { sum[i] += dy[i]; });
    }
  }
};

template <int Rank>
struct kernel_of<op::lookup<Rank>> : lookup_kernel {};
template <int Rank>
struct kernel_of<op::lookup_gradient<Rank>> : lookup_gradient_kernel {};

}  // namespace meshloom
