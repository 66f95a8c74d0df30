// SPDX-License-Identifier: Apache-2.0
// Mixture of experts: which experts a token goes to, the way there, and the way back (GShard, Lepikhin et al. 2021;
// Switch Transformer, Fedus et al. 2022). Every expert has a buffer of slots; a token has at most one slot per expert.
// `Rows` is the number of axes before the tokens. The buffers' first axis is the expert's, so that what the experts do
// is one batch of large matrix products. Law: dispatch and combine are each other's transposes.
#pragma once

#include <meshloom/op/record.hpp>

#include <span>

namespace meshloom::op {

namespace detail {

template <class Sequence>
struct routed_axes;
template <int... I>
struct routed_axes<std::integer_sequence<int, I...>> {
  static constexpr int token = sizeof...(I), expert = token + 1, slot = token + 2, feature = token + 3;
  using rows = at<I...>;
  using choices = at<I..., token, expert>;
  using features = at<I..., token, feature>;
  using buffers = at<expert, I..., slot, feature>;
};

}  // namespace detail

/// The indices of a routing of `Rows` row axes, and the lists built from them.
template <int Rows>
using routed_axes = detail::routed_axes<std::make_integer_sequence<int, Rows>>;

/// The gradient of `route`, through the shares and their normalisation and not through the choices. Operands: dweight,
/// dbalance (if `Balanced`), shares, slot. Result: the gradient of the shares. Attributes as those of `route`.
template <int Rows, int Choices, bool Balanced>
struct route_gradient {
  using lists = routed_axes<Rows>;
  static constexpr auto signature = [] {
    describe made("route_gradient");
    made.operands<typename lists::choices>();
    if constexpr (Balanced) made.operands<typename lists::rows>();
    made.operands<typename lists::choices, typename lists::choices>().template results<typename lists::choices>();
    return made.is(role::blocked, at<lists::token, lists::expert>::list).linear_in(Balanced ? 3 : 1).made;
  }();
  static constexpr std::uint64_t variant = Choices;
  static constexpr double flops_per_point = 8;
  using gradient = operators<>;
};

/// Operand: shares [rows…, token, expert], the probabilities of the experts. Results: weight [rows…, token, expert],
/// how much each expert counts for the token, 0 where it has no slot; slot [rows…, token, expert], the slot that the
/// token takes in the expert's buffer, −1 if none; balance [rows…], the auxiliary loss E · Σ fₑ · Pₑ, where fₑ is the
/// share of tokens whose first choice is e, a constant to gradients, and Pₑ the mean share of e; a mean over groups.
/// Tokens compete in groups, consecutive runs of attribute 0 tokens (0: all of a row), for attribute 1 slots of each
/// expert; group g has slots g · capacity and up. A token's first choice is its largest share (of equal ones the first
/// expert); with `Choices` = 2 its second is the next largest. First choices take slots in the order of tokens, then
/// second ones do; who finds none left is dropped. Weights: the share with one choice (Switch); with two, shares of
/// the kept choices over their sum (GShard).
template <int Rows, int Choices>
struct route {
  static_assert(Choices == 1 || Choices == 2, "meshloom: route: a token has 1 choice or 2; give one of these");
  using lists = routed_axes<Rows>;
  using choices = typename lists::choices;
  static constexpr auto signature = describe("route")
                                        .operands<choices>()
                                        .template results<choices, choices, typename lists::rows>()
                                        .is(role::blocked, at<lists::token, lists::expert>::list)
                                        .returns_integers(2)
                                        .made;
  static constexpr std::uint64_t variant = Choices;
  static constexpr double flops_per_point = 8;
  using gradient = operators<route_gradient<Rows, Choices, true>, route_gradient<Rows, Choices, false>>;

  static void differentiate(differentiation& d) {
    const handle weight = d.gradient(0), balance = d.gradient(2), shares = d.operand(0), slot = d.result(1);
    const auto made =
        balance
            ? d.emit(record_of<route_gradient<Rows, Choices, true>>, {weight, balance, shares, slot}, d.attributes())
            : d.emit(record_of<route_gradient<Rows, Choices, false>>, {weight, shares, slot}, d.attributes());
    d.contribute(0, made[0]);
  }
};

/// The gradient of weights. Operands: dy [rows…, token, feature], slot, buffers [expert, rows…, slot, feature].
/// Result [rows…, token, expert]: Σ dy · buffers of the token's slot. Like its kin it moves data and no more: bytes
/// are its price.
template <int Rows>
struct combine_gradient_weight {
  using lists = routed_axes<Rows>;
  static constexpr auto signature =
      describe("combine_gradient_weight")
          .operands<typename lists::features, typename lists::choices, typename lists::buffers>()
          .template results<typename lists::choices>()
          .is(role::contracted, at<lists::slot, lists::feature>::list)
          .linear_in(1)
          .linear_in(4)
          .made;
  static constexpr rounding rounded{.operands = 5};
  static constexpr double flops_per_point = 0;
  using gradient = operators<>;
};

template <int Rows, bool Weighted>
struct combine;

/// Operands: weight (if `Weighted`), slot, x [rows…, token, feature]. Result: buffers [expert, rows…, slot, feature],
/// zeros in slots that no token takes.
template <int Rows, bool Weighted>
struct dispatch {
  using lists = routed_axes<Rows>;
  static constexpr int slot = Weighted ? 1 : 0, x = slot + 1;
  static constexpr auto signature = [] {
    describe made("dispatch");
    if constexpr (Weighted) made.operands<typename lists::choices>().linear_in(1);
    made.operands<typename lists::choices, typename lists::features>().template results<typename lists::buffers>();
    return made.is(role::contracted, at<lists::token>::list).linear_in(1u << x).made;
  }();
  static constexpr rounding rounded{.operands = 1 << x, .results = 1};
  static constexpr double flops_per_point = 0;
  using gradient = operators<combine<Rows, Weighted>, combine_gradient_weight<Rows>>;

  static void differentiate(differentiation& d) {
    const record& back = record_of<combine<Rows, Weighted>>;
    const handle dy = d.gradient(0), taken = d.operand(slot);
    if constexpr (!Weighted) {
      d.contribute(x, d.emit(back, {taken, dy}, {})[0]);
    } else {
      if (d.wanted(x)) d.contribute(x, d.emit(back, {d.operand(0), taken, dy}, {})[0]);
      if (d.wanted(0))
        d.contribute(0, d.emit(record_of<combine_gradient_weight<Rows>>, {d.operand(x), taken, dy}, {})[0]);
    }
  }
};

/// Operands: weight (if `Weighted`), slot, buffers [expert, rows…, slot, feature]. Result [rows…, token, feature]:
/// Σ weight · buffers of the token's slots, over the experts.
template <int Rows, bool Weighted>
struct combine {
  using lists = routed_axes<Rows>;
  static constexpr int slot = Weighted ? 1 : 0, buffers = slot + 1;
  static constexpr auto signature = [] {
    describe made("combine");
    if constexpr (Weighted) made.operands<typename lists::choices>().linear_in(1);
    made.operands<typename lists::choices, typename lists::buffers>().template results<typename lists::features>();
    return made.is(role::contracted, at<lists::expert, lists::slot>::list).linear_in(1u << buffers).made;
  }();
  static constexpr rounding rounded{.operands = 1 << buffers, .results = 1};
  static constexpr double flops_per_point = 0;
  using gradient = operators<dispatch<Rows, Weighted>, combine_gradient_weight<Rows>>;

  static void differentiate(differentiation& d) {
    const record& back = record_of<dispatch<Rows, Weighted>>;
    const axis_id slots = d.index(lists::slot);
    const handle dy = d.gradient(0), taken = d.operand(slot);
    if constexpr (!Weighted) {
      d.contribute(buffers, d.emit(back, {taken, dy}, {}, std::span(&slots, 1))[0]);
    } else {
      if (d.wanted(buffers))
        d.contribute(buffers, d.emit(back, {d.operand(0), taken, dy}, {}, std::span(&slots, 1))[0]);
      if (d.wanted(0))
        d.contribute(0, d.emit(record_of<combine_gradient_weight<Rows>>, {dy, taken, d.operand(buffers)}, {})[0]);
    }
  }
};

}  // namespace meshloom::op
