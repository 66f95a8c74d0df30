// SPDX-License-Identifier: Apache-2.0
// The table record → kernel of the host: exactly the operators a training can execute, for its precision and, where
// they may be computed in it, for its compute type. Law: a node whose record and type are not in the table is an error
// before step 0, never a fallback.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/kernel/contraction.hpp>
#include <meshloom/kernel/kernel.hpp>

namespace meshloom {

/// Runs one call; `arithmetic` is the rank's own.
using kernel_function = void (*)(const call& with, void* arithmetic);

struct kernel_entry {
  const record* op = nullptr;
  dtype type = dtype::f32;  ///< that it computes in
  kernel_function run = nullptr;
};

using kernel_table = vector<kernel_entry>;

namespace detail {

template <class Operator, class Element, class Arithmetic>
void run_kernel(const call& with, void* arithmetic) {
  if constexpr (product_kernel<kernel_of<Operator>>) {
    kernel_of<Operator>::template run<Element>(*static_cast<Arithmetic*>(arithmetic), with);
  } else {
    run_on_host<kernel_of<Operator>, Element>(with);
  }
}

}  // namespace detail

/// Collects the kernels of the operators it visits: see `for_each_operator`.
template <class Element, class Arithmetic>
struct kernel_collector {
  kernel_table made;

  template <class Operator>
  void operator()(operators<Operator>) {
    static_assert(has_kernel<Operator>,
                  "meshloom: start: an operator of the model has no kernel; give its type a nested `kernel`, or "
                  "specialise meshloom::kernel_of for it (it is `Operator` in the lines around this one)");
    for (const kernel_entry& known : made) {
      if (known.op == &record_of<Operator>) return;
    }
    collect<Operator, computed<Element>>();
    if constexpr (half_type<Element>) {
      if constexpr (record_of<Operator>.rounded.any()) collect<Operator, Element>();
    }
  }

 private:
  template <class Operator, class Type>
  void collect() {
    made.push_back({&record_of<Operator>, dtype_of<Type>, &detail::run_kernel<Operator, Type, Arithmetic>});
  }
};

}  // namespace meshloom
