// SPDX-License-Identifier: Apache-2.0
// Operators as functions on typed tensors: contraction, sum, softmax, attention, lookup, normalisation. Shapes are
// checked by the compiler and every message names function, argument and cure.
#pragma once

#include <meshloom/base/sentence.hpp>
#include <meshloom/model/expression.hpp>
#include <meshloom/op/attention.hpp>
#include <meshloom/op/cross_entropy.hpp>
#include <meshloom/op/dot.hpp>
#include <meshloom/op/dropout.hpp>
#include <meshloom/op/layer_norm.hpp>
#include <meshloom/op/lookup.hpp>
#include <meshloom/op/rms_norm.hpp>
#include <meshloom/op/rotary.hpp>
#include <meshloom/op/softmax.hpp>
#include <meshloom/op/sum.hpp>

namespace meshloom {

/// Σ left · right over the axes that `Result` lacks: `dot_to<axes<batch, seq, mlp>>(scope, x, w)`.
template <class Result, class Scope, pointwise_value Left, pointwise_value Right>
auto dot_to(Scope& within, const Left& left, const Right& right) {
  const auto l = evaluate(within, left);
  const auto r = evaluate(within, right);
  using left_axes = typename decltype(l)::axes_type;
  using right_axes = typename decltype(r)::axes_type;
  using index = join<left_axes, without<right_axes, left_axes>>;
  static_assert(detail::all_in<index, Result>,
                "meshloom: dot_to: the result names an axis that neither operand has; name axes of the operands");
  using operation = op::dot<typename detail::positions_of<index, left_axes>::type,
                            typename detail::positions_of<index, right_axes>::type,
                            typename detail::positions_of<index, Result>::type>;
  return tensor_of<Result>{within.template emit<operation>(index{}, {}, l, r)[0]};
}

/// Contracts the named axes, which both operands must have: `dot<embed>(scope, x, w)`. The result has the other axes of
/// `left`, then those of `right`.
template <class... Contracted, class Scope, pointwise_value Left, pointwise_value Right>
auto dot(Scope& within, const Left& left, const Right& right) {
  using left_axes = typename decltype(evaluate(within, left))::axes_type;
  using right_axes = typename decltype(evaluate(within, right))::axes_type;
  constexpr bool in_left = (has_axis<left_axes, Contracted> && ...);
  constexpr bool in_right = (has_axis<right_axes, Contracted> && ...);
  static_assert(
      in_left,
      "meshloom: dot: the left operand does not have the axis to contract; name an axis that both operands have");
  static_assert(
      in_right,
      "meshloom: dot: the right operand does not have the axis to contract; name an axis that both operands have");
  if constexpr (in_left && in_right) {
    using kept = without<left_axes, axes<Contracted...>>;
    return dot_to<join<kept, without<without<right_axes, axes<Contracted...>>, kept>>>(within, left, right);
  } else {
    return left;
  }
}

/// The sum over the named axes.
template <class... Summed, class Scope, pointwise_value Value>
auto sum(Scope& within, const Value& value, double scale = 1) {
  const auto x = evaluate(within, value);
  using all = typename decltype(x)::axes_type;
  static_assert((has_axis<all, Summed> && ...),
                "meshloom: sum: the tensor does not have the axis to sum over; name an axis that it has");
  using result = without<all, axes<Summed...>>;
  using operation =
      op::sum<typename detail::positions_of<all, all>::type, typename detail::positions_of<all, result>::type>;
  return tensor_of<result>{within.template emit<operation>(all{}, {scale}, x)[0]};
}

/// Softmax of scale · x over `Over`, which must be the last axis; `Causal`: query q sees keys 0 … q, where queries are
/// the axis before the last.
template <class Over, bool Causal = false, class Scope, pointwise_value Value>
auto softmax(Scope& within, const Value& value, double scale = 1) {
  const auto x = evaluate(within, value);
  using all = typename decltype(x)::axes_type;
  static_assert(position_in<Over>(all{}) == all::count - 1,
                "meshloom: softmax: the axis must be the last one of the tensor; "
                "name the last one, or make it the last");
  return tensor_of<all>{within.template emit<op::softmax<all::count, Causal>>(all{}, {scale}, x)[0]};
}

/// Queries q [rows…, seq, heads, head] mix the values v of the keys k, both [rows…, keys, heads, head], each by the
/// softmax of scale · q·k over the keys; `Causal`: query i sees keys 0 … i. Where the queries are
/// [rows…, seq, group, share, head] and keys and values [rows…, keys, group, head], the heads of a group share them.
template <bool Causal = false, class Scope, pointwise_value Queries, pointwise_value Keys, pointwise_value Values>
auto attention_of(Scope& within, const Queries& queries, const Keys& keys, const Values& values, double scale) {
  const auto q = evaluate(within, queries);
  const auto k = evaluate(within, keys);
  const auto v = evaluate(within, values);
  using query_axes = typename decltype(q)::axes_type;
  using key_axes = typename decltype(k)::axes_type;
  using index = join<query_axes, without<key_axes, query_axes>>;
  constexpr bool grouped = query_axes::count > key_axes::count;
  constexpr int rows = key_axes::count < 3 ? 0 : key_axes::count - 3;
  constexpr bool in_order = std::is_same_v<typename decltype(v)::axes_type, key_axes> &&
                            std::is_same_v<typename detail::positions_of<index, key_axes>::type,
                                           typename op::attention_axes<rows, grouped>::keys>;
  static_assert(in_order,
                "meshloom: attention_of: queries must be [rows, seq, heads, head] and keys and values [rows, keys, "
                "heads, head], or with grouped heads [rows, seq, group, share, head] and [rows, keys, group, head]; "
                "make them in that order, and rename the axis of the keys");
  if constexpr (in_order) {
    return tensor_of<query_axes>{
        within.template emit<op::attention<rows, Causal, grouped>>(index{}, {scale}, q, k, v)[0]};
  } else {
    return q;
  }
}

/// Rows of `table` chosen by integers.
template <class Row, class Column, class Scope, class... Axis>
tensor<Axis..., Column> lookup(Scope& within, tensor<Row, Column> table, integers<Axis...> which) {
  return {within.template emit<op::lookup<sizeof...(Axis)>>(axes<Axis..., Row, Column>{}, {}, which, table)[0]};
}

/// Normalises the last axis, then scales and shifts it.
template <class Scope, class... Axis, class Last>
tensor<Axis...> layer_norm_of(Scope& within, tensor<Axis...> x, tensor<Last> gain, tensor<Last> bias, double epsilon) {
  static_assert(position_in<Last>(axes<Axis...>{}) == static_cast<int>(sizeof...(Axis)) - 1,
                "meshloom: layer_norm: the normalised axis must be the last axis of the input; name the last one, or "
                "make it the last");
  return {within.template emit<op::layer_norm<sizeof...(Axis)>>(axes<Axis...>{}, {epsilon}, x, gain, bias)[0]};
}

/// Divides the last axis by its root mean square, then scales it.
template <class Scope, class... Axis, class Last>
tensor<Axis...> rms_norm_of(Scope& within, tensor<Axis...> x, tensor<Last> gain, double epsilon) {
  static_assert(position_in<Last>(axes<Axis...>{}) == static_cast<int>(sizeof...(Axis)) - 1,
                "meshloom: rms_norm: the normalised axis must be the last axis of the input; name the last one, or "
                "make it the last");
  return {within.template emit<op::rms_norm<sizeof...(Axis)>>(axes<Axis...>{}, {epsilon}, x, gain)[0]};
}

/// Rotary positions: turns the pairs (i, i + half) of Head, the last axis, by the position along Seq times
/// base^(−i / half). For queries and keys alike; throws meshloom::error if Head has an odd size.
template <class Seq, class Head, class Scope, pointwise_value Value>
auto rotary(Scope& within, const Value& value, double base = 10000) {
  const auto x = evaluate(within, value);
  using all = typename decltype(x)::axes_type;
  constexpr int seq = position_in<Seq>(all{}), rank = all::count;
  static_assert(
      seq >= 0 && seq < rank - 1 && position_in<Head>(all{}) == rank - 1,
      "meshloom: rotary: the tensor must have the axis Seq, and Head as its last axis; name axes that it has");
  const std::int64_t elements = within.template size_of<Head>();
  if (elements % 2 != 0) {
    throw error(sentence(
        {"rotary: ", name_of<Head>(), " has ", elements, " elements, which cannot be paired; give it an even size"}));
  }
  return tensor_of<all>{within.template emit<op::rotary<rank, seq>>(all{}, {base, 1}, x)[0]};
}

/// Drops elements with the probability `rate` in training, each one the same under every plan, and divides the others
/// by 1 − rate; nothing else. Throws meshloom::error unless 0 <= rate < 1.
template <class Scope, pointwise_value Value>
auto dropout_of(Scope& within, const Value& value, double rate) {
  const auto x = evaluate(within, value);
  using all = typename decltype(x)::axes_type;
  if (!(rate >= 0 && rate < 1)) {
    throw error(
        sentence({"dropout: a rate of ", std::to_string(rate), " is no share to drop; give one from 0 to below 1"}));
  }
  if (!within.trains() || rate == 0) return x;
  const double stream = within.new_stream(), batched = within.micro_batched_in(all{});
  return tensor_of<all>{within.template emit<op::dropout<all::count>>(all{}, {rate, stream, batched}, x)[0]};
}

/// One loss per row of logits: see op::cross_entropy for smoothing and z-loss.
template <class Class, class Scope, class... Axis, class... Row>
tensor<Row...> cross_entropy_of(Scope& within, tensor<Axis...> logits, integers<Row...> targets, double smoothing = 0,
                                double z_loss = 0) {
  static_assert(std::is_same_v<axes<Axis...>, axes<Row..., Class>>,
                "meshloom: cross_entropy: logits must have the axes of the targets, then the class axis; change the "
                "target of the training, or the "
                "last layer of the model");
  return {within.template emit<op::cross_entropy<sizeof...(Row)>>(axes<Axis...>{}, {smoothing, z_loss}, logits,
                                                                  targets)[0]};
}

}  // namespace meshloom
