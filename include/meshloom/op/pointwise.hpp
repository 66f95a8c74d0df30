// SPDX-License-Identifier: Apache-2.0
// A fused pointwise operator: one expression, evaluated per element; operands lacking an axis of the result are
// broadcast along it. Its gradients are pointwise operators, summed over the broadcast axes.
#pragma once

#include <meshloom/op/expression.hpp>
#include <meshloom/op/sum.hpp>

#include <type_traits>
#include <utility>

namespace meshloom::op {

/// The operator without its derivative: what gradients of pointwise operators are made of.
template <class Expression, class Result, class... Operand>
struct pointwise_gradient {
  static constexpr auto signature = [] {
    auto made = describe("pointwise").operands<Operand...>().template results<Result>().made;
    for (unsigned mask = 1; mask < (1u << sizeof...(Operand)) && made.linear_count < max_linear; ++mask) {
      if (dependence_of<Expression>::on(mask) == dependence::linear) {
        made.linear[static_cast<std::size_t>(made.linear_count++)] = static_cast<std::uint16_t>(mask);
      }
    }
    return made;
  }();
  static constexpr std::uint64_t variant = number_of<Expression>;
  static constexpr double flops_per_point = cost_of<Expression>;
  static constexpr rounding rounded{.operands = (1u << sizeof...(Operand)) - 1, .results = 1};
  using gradient = operators<>;
};

template <class Expression, class Result, class... Operand>
struct pointwise {
  static constexpr auto signature = pointwise_gradient<Expression, Result, Operand...>::signature;
  static constexpr std::uint64_t variant = number_of<Expression>;
  static constexpr double flops_per_point = cost_of<Expression>;
  static constexpr rounding rounded{.operands = (1u << sizeof...(Operand)) - 1, .results = 1};

 private:
  static constexpr int slope_operand = sizeof...(Operand);  // the incoming gradient comes after the operands

  template <int I>
  using slope_expression =
      typename simple_multiply<derivative<Expression, I>, meshloom::op::operand<slope_operand>>::type;
  template <int I>
  using slope = pointwise_gradient<slope_expression<I>, Result, Operand..., Result>;
  template <class List>
  using reduce = sum<Result, List>;

  template <int I>
  static constexpr bool has_slope =
      !std::is_same_v<derivative<Expression, I>, zero> && !std::is_same_v<derivative<Expression, I>, one>;

  template <int I, class List>
  static auto created_for() {
    using slopes = std::conditional_t<has_slope<I>, operators<slope<I>>, operators<>>;
    using sums = std::conditional_t<std::is_same_v<List, Result>, operators<>, operators<reduce<List>>>;
    return typename join_operators<slopes, sums>::type{};
  }
  template <class Sequence>
  struct created;
  template <int... I>
  struct created<std::integer_sequence<int, I...>> {
    using type = typename join_operators<operators<>, decltype(created_for<I, Operand>())...>::type;
  };

  template <int I, class List>
  static void differentiate_operand(differentiation& d) {
    if constexpr (!std::is_same_v<derivative<Expression, I>, zero>) {
      if (!d.wanted(I)) return;
      handle part = d.gradient(0);
      if constexpr (has_slope<I>) {
        part = emit_slope<I>(d, std::make_integer_sequence<int, slope_operand>{});
      }
      if constexpr (!std::is_same_v<List, Result>) part = d.emit(record_of<reduce<List>>, {part}, {1.0})[0];
      d.contribute(I, part);
    }
  }

  template <int I, int... J>
  static handle emit_slope(differentiation& d, std::integer_sequence<int, J...>) {
    return d.emit(record_of<slope<I>>, {d.operand(J)..., d.gradient(0)}, d.attributes())[0];
  }

  template <int... I>
  static void differentiate_all(differentiation& d, std::integer_sequence<int, I...>) {
    (differentiate_operand<I, Operand>(d), ...);
  }

 public:
  using gradient = typename created<std::make_integer_sequence<int, sizeof...(Operand)>>::type;

  static void differentiate(differentiation& d) {
    differentiate_all(d, std::make_integer_sequence<int, sizeof...(Operand)>{});
  }
};

}  // namespace meshloom::op
