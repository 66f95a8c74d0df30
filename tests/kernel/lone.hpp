// SPDX-License-Identifier: Apache-2.0
// The code that a device runs, on the host: a team whose members work on one element at a time.
#pragma once

#include <meshloom/kernel/kernel.hpp>

namespace law {

struct lone_team {
  static constexpr int lanes = 1;

  bool leader() const { return true; }
  template <class Function>
  void for_each(std::int64_t n, Function f) const {
    for (std::int64_t i = 0; i < n; ++i) f(i);
  }
};

/// Runs a whole call of an arranged kernel, member by member.
template <class Kernel, class Element>
void run_alone(const meshloom::call& with) {
  using inner = typename Kernel::kernel;
  const meshloom::call arranged = Kernel::arrange(with);
  const std::int64_t teams = inner::template teams<Element>(arranged);
  for (std::int64_t which = 0; which < teams; ++which) inner::template run<Element>(lone_team{}, which, arranged);
}

}  // namespace law
