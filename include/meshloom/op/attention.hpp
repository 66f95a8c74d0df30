// SPDX-License-Identifier: Apache-2.0
// Attention (Vaswani et al. 2017): out = softmax(scale · q·kᵀ)·v in every head; with `Causal`, a query sees the keys up
// to its own place. Beside it goes the logarithm of each query's sum of exponentials, from which the gradient finds the
// shares again: the matrix of scores is never kept (Dao et al. 2022). `Rows` axes come before the queries. `Grouped`:
// several heads of queries share one head of keys and values (Ainslie et al. 2023). Law: of two windows of the keys,
// logsum = log(e^logsum₁ + e^logsum₂) and out = out₁·e^(logsum₁ − logsum) + out₂·e^(logsum₂ − logsum). So keys may go
// around the ranks that share the queries (ring attention: Liu, Zaharia and Abbeel 2023), and no rank has them all.
#pragma once

#include <meshloom/op/record.hpp>

namespace meshloom::op {

namespace detail {

template <bool Grouped, class Sequence>
struct attention_axes;
template <int... Row>
struct attention_axes<false, std::integer_sequence<int, Row...>> {
  static constexpr int rows = sizeof...(Row);
  using queries = at<Row..., rows, rows + 1, rows + 2>;   // rows…, seq, heads, head
  using keys = at<Row..., rows + 3, rows + 1, rows + 2>;  // rows…, keys, heads, head
  using logsum = at<Row..., rows + 1, rows>;              // rows…, heads, seq
  using added = at<rows, rows + 3>;                       // seq, keys
  using whole = at<rows + 2, rows + 3>;                   // head, keys
  using feature = at<rows + 2>;                           // head
  static constexpr int seq = rows, key = rows + 3;
};
template <int... Row>
struct attention_axes<true, std::integer_sequence<int, Row...>> {
  static constexpr int rows = sizeof...(Row);
  using queries = at<Row..., rows, rows + 1, rows + 2, rows + 3>;  // rows…, seq, group, share, head
  using keys = at<Row..., rows + 4, rows + 1, rows + 3>;           // rows…, keys, group, head
  using logsum = at<Row..., rows + 1, rows + 2, rows>;             // rows…, group, share, seq
  using added = at<rows, rows + 2, rows + 4>;                      // seq, share, keys
  using whole = at<rows + 3, rows + 4>;                            // head, keys
  using feature = at<rows + 3>;                                    // head
  static constexpr int seq = rows, key = rows + 4;
};

}  // namespace detail

/// The axes of attention's tensors.
template <int Rows, bool Grouped>
using attention_axes = detail::attention_axes<Grouped, std::make_integer_sequence<int, Rows>>;

/// Operands: dout, q, k, v, out, logsum. Results: dq, dk, dv. Attribute 0: the scale. A shard of the queries makes a
/// part of dq and summands of dk and dv; a shard of the keys, the other way round.
template <int Rows, bool Causal, bool Grouped = false>
struct attention_gradient {
  using list = attention_axes<Rows, Grouped>;
  using queries = typename list::queries;
  using keys = typename list::keys;
  static constexpr auto signature = describe("attention_gradient")
                                        .operands<queries, queries, keys, keys, queries, typename list::logsum>()
                                        .template results<queries, keys, keys>()
                                        .is(role::contracted, list::added::list)
                                        .is(role::blocked, list::feature::list)
                                        .linear_in(1)
                                        .rotates(list::seq, list::key)
                                        .made;
  static constexpr std::uint64_t variant = Causal;
  static constexpr double flops_per_point = Causal ? 5 : 10;  // five products
  static constexpr bool products = true;
  static constexpr rounding rounded{.operands = 0b11111, .always = true};
  using gradient = operators<>;
};

/// Operands: q, k, v. Results: out, logsum. Attribute 0: the scale. A causal mask spares half of all pairs of query and
/// key, on the whole: of the shards of a split sequence the last sees nearly all of its own.
template <int Rows, bool Causal, bool Grouped = false>
struct attention {
  using list = attention_axes<Rows, Grouped>;
  using queries = typename list::queries;
  using keys = typename list::keys;
  static constexpr auto signature = describe("attention")
                                        .operands<queries, keys, keys>()
                                        .template results<queries, typename list::logsum>()
                                        .is(role::blocked, list::whole::list)
                                        .rotates(list::seq, list::key)
                                        .made;
  static constexpr std::uint64_t variant = Causal;
  static constexpr double flops_per_point = Causal ? 2 : 4;  // two products
  static constexpr bool products = true;
  static constexpr rounding rounded{.operands = 0b111, .results = 1, .always = true};
  using gradient = operators<attention_gradient<Rows, Causal, Grouped>>;

  static void differentiate(differentiation& d) {
    const auto made =
        d.emit(record_of<attention_gradient<Rows, Causal, Grouped>>,
               {d.gradient(0), d.operand(0), d.operand(1), d.operand(2), d.result(0), d.result(1)}, d.attributes());
    for (int operand = 0; operand < 3; ++operand) d.contribute(operand, made[static_cast<std::size_t>(operand)]);
  }
};

}  // namespace meshloom::op
