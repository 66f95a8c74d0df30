// SPDX-License-Identifier: Apache-2.0
// The host backend: `start(host{}, program, task)`. Vendor arithmetic is a type: `host<plain>` needs nothing installed,
// `host<cblas>` (include exec/cblas.hpp) uses the CBLAS that is linked, `host<onednn>` (exec/onednn.hpp) oneDNN.
#pragma once

#include <meshloom/exec/host_run.hpp>
#include <meshloom/kernel/gemm.hpp>
#include <meshloom/kernel/kernels.hpp>
#include <meshloom/model/training.hpp>

namespace meshloom {

template <class Arithmetic = plain>
struct host {};

/// What must hold while ranks use an arithmetic: `Arithmetic::session` if it has one.
template <class Arithmetic>
std::shared_ptr<void> session_of() {
  if constexpr (requires { typename Arithmetic::session; })
    return std::make_shared<typename Arithmetic::session>();
  else
    return nullptr;
}

namespace detail {

template <class Arithmetic, class Training>
host_run start_host(const program& made, const Training& task, std::uint64_t seed, host_run* parameters) {
  kernel_collector<std::remove_cvref_t<decltype(task.precision)>, Arithmetic> kernels;
  for_each_operator(task, kernels);
  const auto maker = [] { return std::static_pointer_cast<void>(std::make_shared<Arithmetic>()); };
  return host_run(made, std::move(kernels.made), maker, session_of<Arithmetic>(), seed, parameters);
}

}  // namespace detail

/// Starts a program on threads of this process. `task` is the training that was traced: it says which kernels to
/// instantiate. Parameters start as their layers say, drawn from `seed`, like what dropout drops in every step.
template <class Arithmetic, class Training>
host_run start(host<Arithmetic>, const program& made, const Training& task, std::uint64_t seed = 0) {
  return detail::start_host<Arithmetic>(made, task, seed, nullptr);
}

/// Starts a second program (evaluation, generation) on the parameters of a run, which must outlive it.
template <class Arithmetic, class Training>
host_run start(host<Arithmetic>, const program& made, const Training& task, host_run& parameters) {
  return detail::start_host<Arithmetic>(made, task, 0, &parameters);
}

}  // namespace meshloom
