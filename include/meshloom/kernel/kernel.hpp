// SPDX-License-Identifier: Apache-2.0
// What a kernel is, and which kernel an operator has. A row kernel divides a call into independent tasks, each run by
// one team. A user's operator provides its kernel as a nested `kernel`, or by specialising `kernel_of`.
// Law: the tasks 0, …, teams-1 of one call may run in any order or at once.
#pragma once

#include <meshloom/kernel/call.hpp>
#include <meshloom/kernel/team.hpp>

#include <concepts>

namespace meshloom {

/// The kernel of an operator type; beside each kernel stand the specialisations of the operators that it computes.
template <class Operator>
struct kernel_of;

template <class Operator>
  requires requires { typename Operator::kernel; }
struct kernel_of<Operator> : Operator::kernel {};

template <class Kernel>
concept row_kernel = requires(const call& with, std::int64_t which) {
  { Kernel::template teams<float>(with) } -> std::same_as<std::int64_t>;
  Kernel::template run<float>(host_team{}, which, with);
};

/// Operators that differ in their axes only share one row kernel: `arrange` rewrites the call's views on the host, once
/// per call, so that the row kernel need not know the axes.
template <class Kernel>
concept arranged_kernel = requires(const call& with) {
  requires row_kernel<typename Kernel::kernel>;
  { Kernel::arrange(with) } -> std::same_as<call>;
};

/// A kernel made of matrix products: `run<Element>(arithmetic, call)` runs a whole call on the arithmetic that does
/// them. It says that it is one by a nested type `products`.
template <class Kernel>
concept product_kernel = requires {
  typename Kernel::products;
};

template <class Operator>
concept has_kernel =
    row_kernel<kernel_of<Operator>> || arranged_kernel<kernel_of<Operator>> || product_kernel<kernel_of<Operator>>;

/// Runs a whole call on this thread.
template <class Kernel, class Element>
  requires row_kernel<Kernel> || arranged_kernel<Kernel>
void run_on_host(const call& with) {
  if constexpr (arranged_kernel<Kernel>) {
    run_on_host<typename Kernel::kernel, Element>(Kernel::arrange(with));
  } else {
    const std::int64_t teams = Kernel::template teams<Element>(with);
    for (std::int64_t which = 0; which < teams; ++which) Kernel::template run<Element>(host_team{}, which, with);
  }
}

}  // namespace meshloom
