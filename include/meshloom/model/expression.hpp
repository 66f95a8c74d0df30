// SPDX-License-Identifier: Apache-2.0
// Pointwise arithmetic on typed tensors: `gelu(x + bias)` is one expression, fused into one operator when something
// that is not pointwise needs its value. Operands lacking axes of the result are broadcast.
// Law: the result has the axes of the operand that has all of them; there must be one.
#pragma once

#include <meshloom/model/scope.hpp>
#include <meshloom/op/pointwise.hpp>

#include <tuple>

namespace meshloom {

/// A pointwise expression over tensors, not yet an operator. `Structure` is an op/expression.hpp type over the leaves.
template <class Structure, class... Leaf>
struct expression {
  std::tuple<Leaf...> leaves;
};

namespace detail {

template <class Value>
inline constexpr bool is_tensor = false;
template <class... Axis>
inline constexpr bool is_tensor<tensor<Axis...>> = true;
template <class Value>
inline constexpr bool is_expression = false;
template <class Structure, class... Leaf>
inline constexpr bool is_expression<expression<Structure, Leaf...>> = true;

/// Renumbers the operands of a structure: operand I becomes operand I + Offset.
template <class Structure, int Offset>
struct shifted {
  using type = Structure;
};
template <int Index, int Offset>
struct shifted<op::operand<Index>, Offset> {
  using type = op::operand<Index + Offset>;
};
template <template <class> class Function, class Value, int Offset>
struct shifted<Function<Value>, Offset> {
  using type = Function<typename shifted<Value, Offset>::type>;
};
template <template <class, class> class Function, class Left, class Right, int Offset>
struct shifted<Function<Left, Right>, Offset> {
  using type = Function<typename shifted<Left, Offset>::type, typename shifted<Right, Offset>::type>;
};

template <class... Axis>
constexpr auto as_expression(tensor<Axis...> leaf) {
  return expression<op::operand<0>, tensor<Axis...>>{{leaf}};
}
template <class Structure, class... Leaf>
constexpr auto as_expression(const expression<Structure, Leaf...>& made) {
  return made;
}

template <template <class, class> class Function, class S1, class... L1, class S2, class... L2>
constexpr auto combine(const expression<S1, L1...>& left, const expression<S2, L2...>& right) {
  using structure = Function<S1, typename shifted<S2, static_cast<int>(sizeof...(L1))>::type>;
  return expression<structure, L1..., L2...>{std::tuple_cat(left.leaves, right.leaves)};
}

template <template <class> class Function, class Structure, class... Leaf>
constexpr auto apply(const expression<Structure, Leaf...>& value) {
  return expression<Function<Structure>, Leaf...>{value.leaves};
}

/// The longest of several axis lists.
template <class Longest, class... List>
struct longest {
  using type = Longest;
};
template <class Longest, class Next, class... List>
struct longest<Longest, Next, List...>
    : longest<std::conditional_t<(Next::count > Longest::count), Next, Longest>, List...> {};

template <class Result, class List>
inline constexpr bool all_in = false;
template <class Result, class... Axis>
inline constexpr bool all_in<Result, axes<Axis...>> = (has_axis<Result, Axis> && ...);

template <class Index, class List>
struct positions_of;
template <class Index, class... Axis>
struct positions_of<Index, axes<Axis...>> {
  using type = at<position_in<Axis>(Index{})...>;
};

}  // namespace detail

/// Anything pointwise arithmetic works on.
template <class Value>
concept pointwise_value = detail::is_tensor<Value> || detail::is_expression<Value>;

template <pointwise_value Left, pointwise_value Right>
constexpr auto operator+(const Left& left, const Right& right) {
  return detail::combine<op::add>(detail::as_expression(left), detail::as_expression(right));
}
template <pointwise_value Left, pointwise_value Right>
constexpr auto operator-(const Left& left, const Right& right) {
  return detail::combine<op::subtract>(detail::as_expression(left), detail::as_expression(right));
}
template <pointwise_value Left, pointwise_value Right>
constexpr auto operator*(const Left& left, const Right& right) {
  return detail::combine<op::multiply>(detail::as_expression(left), detail::as_expression(right));
}
template <pointwise_value Left, pointwise_value Right>
constexpr auto operator/(const Left& left, const Right& right) {
  return detail::combine<op::divide>(detail::as_expression(left), detail::as_expression(right));
}
template <pointwise_value Value>
constexpr auto operator-(const Value& value) {
  return detail::apply<op::negate>(detail::as_expression(value));
}
template <pointwise_value Value>
constexpr auto exp_of(const Value& value) {
  return detail::apply<op::exponential>(detail::as_expression(value));
}
template <pointwise_value Value>
constexpr auto tanh_of(const Value& value) {
  return detail::apply<op::hyperbolic_tangent>(detail::as_expression(value));
}
template <pointwise_value Value>
constexpr auto sigmoid_of(const Value& value) {
  return detail::apply<op::sigmoid>(detail::as_expression(value));
}
template <pointwise_value Value>
constexpr auto relu_of(const Value& value) {
  return detail::apply<op::relu>(detail::as_expression(value));
}
template <pointwise_value Value>
constexpr auto gelu_of(const Value& value) {
  return detail::apply<op::gelu>(detail::as_expression(value));
}
template <pointwise_value Value>
constexpr auto silu_of(const Value& value) {
  return detail::apply<op::silu>(detail::as_expression(value));
}

/// The value as a tensor: an expression becomes one fused operator, a tensor stays what it is.
template <class Scope, class... Axis>
constexpr tensor<Axis...> evaluate(Scope&, tensor<Axis...> value) {
  return value;
}
template <class Scope, class... Axis>
constexpr integers<Axis...> evaluate(Scope&, integers<Axis...> value) {
  return value;
}

template <class Scope, class Structure, class... Leaf>
auto evaluate(Scope& within, const expression<Structure, Leaf...>& made) {
  using result = typename detail::longest<typename Leaf::axes_type...>::type;
  static_assert((detail::all_in<result, typename Leaf::axes_type> && ...),
                "meshloom: a pointwise expression needs one operand that has all axes of the others; no operand here "
                "has them all");
  static_assert(sizeof...(Leaf) <= max_operands - 1,
                "meshloom: a pointwise expression reads too many tensors; evaluate a part of it first");
  using operation = op::pointwise<Structure, typename detail::positions_of<result, result>::type,
                                  typename detail::positions_of<result, typename Leaf::axes_type>::type...>;
  return std::apply(
      [&](const Leaf&... leaf) { return tensor_of<result>{within.template emit<operation>(result{}, {}, leaf...)[0]}; },
      made.leaves);
}

}  // namespace meshloom
