// SPDX-License-Identifier: Apache-2.0
// Updates of parameters and averages, in place. `Rank` is the rank of the parameter. Law: every axis is mapped, so
// parameter, gradient and state may be split in any way, as long as it is the same way. The rate is attribute 0 times
// what the schedule leaves of it in the step, `call::rate`.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

/// SGD with momentum: s = g + decay·p; v ← momentum·v + s; p ← p − rate·v, or with Nesterov's momentum (Sutskever et
/// al. 2013) p ← p − rate·(s + momentum·v). Operands: p, g, v. Results: p, v.
/// Attributes: rate, momentum, decay, whether the momentum is Nesterov's.
template <int Rank>
struct sgd {
  using list = typename first<Rank>::list;
  static constexpr auto signature = describe("sgd").operands<list, list, list>().template results<list, list>().made;
  static constexpr double flops_per_point = 6;
  static constexpr std::array<std::int8_t, max_results> replaces{0, 2};
  using gradient = operators<>;
};

/// AdamW (Loshchilov and Hutter 2019). Operands: p, g, first moment, second moment. Results: p and both moments.
/// Attributes: rate, beta1, beta2, epsilon, decay. The step number comes from the call.
template <int Rank>
struct adamw {
  using list = typename first<Rank>::list;
  static constexpr auto signature =
      describe("adamw").operands<list, list, list, list>().template results<list, list, list>().made;
  static constexpr double flops_per_point = 16;
  static constexpr std::array<std::int8_t, max_results> replaces{0, 2, 3};
  using gradient = operators<>;
};

/// An average over steps, each time a little of the new: p ← p + momentum·(observed / B · correction − p), where B is
/// the number of micro-batches of a step and `observed` the sum of what each of them found. Operands: p, observed.
/// Result: p. Attributes: momentum, and the rows of a whole batch if what is observed are biased variances of rows (0
/// if it is not): N of them in one micro-batch make the variance unbiased by correction = N / (N − 1).
template <int Rank>
struct moving_average {
  using list = typename first<Rank>::list;
  static constexpr auto signature = describe("moving_average").operands<list, list>().template results<list>().made;
  static constexpr double flops_per_point = 3;
  static constexpr std::array<std::int8_t, max_results> replaces{0};
  using gradient = operators<>;
};

}  // namespace meshloom::op
