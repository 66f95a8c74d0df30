// SPDX-License-Identifier: Apache-2.0
// The code that a device runs, on the host: a team whose members work on one element at a time.
#pragma once

#include <meshloom/kernel/kernel.hpp>

namespace law {

struct lone_team : meshloom::host_team {
  static constexpr int lanes = 1;
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
