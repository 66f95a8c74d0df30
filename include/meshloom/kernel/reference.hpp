// SPDX-License-Identifier: Apache-2.0
// Every operator again, obviously right: loops over its index space in double precision, whatever the strides and
// types. It shares no code with the kernels and is the oracle of their tests. Law: it computes whole tensors
// (`all_parts`).
#pragma once

#include <meshloom/kernel/call.hpp>
#include <meshloom/op/clip.hpp>
#include <meshloom/op/cross_entropy.hpp>
#include <meshloom/op/dot.hpp>
#include <meshloom/op/fill.hpp>
#include <meshloom/op/layer_norm.hpp>
#include <meshloom/op/lookup.hpp>
#include <meshloom/op/pointwise.hpp>
#include <meshloom/op/softmax.hpp>
#include <meshloom/op/update.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace meshloom::reference {

/// One value per index of an operator.
using point = std::array<std::int64_t, max_indices>;

/// A call together with its operator's signature: elements are named by points of the index space.
struct space {
  const signature& op;
  const call& with;

  double operand(int which, const point& at) const { return read(with.operand[which], axes(op.operands, which), at); }
  double result(int which, const point& at) const { return read(with.result[which], axes(op.results, which), at); }
  double attribute(int which) const { return with.attribute[which]; }

  /// Writes an element, or adds to it if the call accumulates and `may_accumulate`.
  void write(int which, const point& at, double value, bool may_accumulate = false) const {
    const double before = may_accumulate && with.accumulate ? result(which, at) : 0;
    const view& shard = with.result[which];
    const std::int64_t offset = place(shard, axes(op.results, which), at);
    if (shard.type == dtype::i32)
      shard.as<std::int32_t>()[offset] = static_cast<std::int32_t>(value);
    else
      with_floating(shard.type, [&]<class Element>(Element) {
        shard.as<Element>()[offset] = static_cast<computed<Element>>(before + value);
      });
  }

  /// The length of an index, from any view that has it.
  std::int64_t extent(int index) const {
    for (int which = 0; which < op.operand_count; ++which) {
      const int axis = axes(op.operands, which).find(index);
      if (axis >= 0) return with.operand[which].extent[axis];
    }
    for (int which = 0; which < op.result_count; ++which) {
      const int axis = axes(op.results, which).find(index);
      if (axis >= 0) return with.result[which].extent[axis];
    }
    return 1;
  }

  /// Calls f for all values of the listed indices; the others stay as `at` has them.
  template <class Function>
  void over(const index_list& indices, point& at, Function f, int first = 0) const {
    if (first == indices.count) return f();
    const auto index = static_cast<std::size_t>(indices.at[static_cast<std::size_t>(first)]);
    for (at[index] = 0; at[index] < extent(static_cast<int>(index)); ++at[index]) over(indices, at, f, first + 1);
    at[index] = 0;
  }

  /// The sum of f over the listed indices.
  template <class Function>
  double sum(const index_list& indices, point& at, Function f) const {
    double total = 0;
    over(indices, at, [&] { total += f(); });
    return total;
  }

  /// The indices that no result has.
  index_list contracted() const {
    index_list made;
    for (int index = 0; index < op.index_count; ++index) {
      bool kept = false;
      for (int which = 0; which < op.result_count; ++which) kept = kept || axes(op.results, which).find(index) >= 0;
      if (!kept) made.at[static_cast<std::size_t>(made.count++)] = static_cast<std::int8_t>(index);
    }
    return made;
  }

 private:
  template <class Lists>
  static const index_list& axes(const Lists& lists, int which) {
    return lists[static_cast<std::size_t>(which)];
  }

  static std::int64_t place(const view& shard, const index_list& list, const point& at) {
    std::int64_t offset = 0;
    for (int axis = 0; axis < list.count; ++axis) {
      offset += at[static_cast<std::size_t>(list.at[static_cast<std::size_t>(axis)])] * shard.stride[axis];
    }
    return offset;
  }

  static double read(const view& shard, const index_list& list, const point& at) {
    const std::int64_t offset = place(shard, list, at);
    if (shard.type == dtype::i32) return shard.as<const std::int32_t>()[offset];
    return with_floating(
        shard.type, [&]<class Element>(Element) { return static_cast<double>(shard.as<const Element>()[offset]); });
  }
};

/// The value of a pointwise expression.
template <class Expression>
struct value_of;
template <int I>
struct value_of<op::operand<I>> {
  static double at(const double* x, const double*) { return x[I]; }
};
template <int I>
struct value_of<op::attribute<I>> {
  static double at(const double*, const double* a) { return a[I]; }
};
template <>
struct value_of<op::zero> {
  static double at(const double*, const double*) { return 0; }
};
template <>
struct value_of<op::one> {
  static double at(const double*, const double*) { return 1; }
};
template <class L, class R>
struct value_of<op::add<L, R>> {
  static double at(const double* x, const double* a) { return value_of<L>::at(x, a) + value_of<R>::at(x, a); }
};
template <class L, class R>
struct value_of<op::subtract<L, R>> {
  static double at(const double* x, const double* a) { return value_of<L>::at(x, a) - value_of<R>::at(x, a); }
};
template <class L, class R>
struct value_of<op::multiply<L, R>> {
  static double at(const double* x, const double* a) { return value_of<L>::at(x, a) * value_of<R>::at(x, a); }
};
template <class L, class R>
struct value_of<op::divide<L, R>> {
  static double at(const double* x, const double* a) { return value_of<L>::at(x, a) / value_of<R>::at(x, a); }
};
template <class V>
struct value_of<op::negate<V>> {
  static double at(const double* x, const double* a) { return -value_of<V>::at(x, a); }
};
template <class V>
struct value_of<op::exponential<V>> {
  static double at(const double* x, const double* a) { return std::exp(value_of<V>::at(x, a)); }
};
template <class V>
struct value_of<op::hyperbolic_tangent<V>> {
  static double at(const double* x, const double* a) { return std::tanh(value_of<V>::at(x, a)); }
};
template <class V>
struct value_of<op::sigmoid<V>> {
  static double at(const double* x, const double* a) { return 1 / (1 + std::exp(-value_of<V>::at(x, a))); }
};
template <class V>
struct value_of<op::relu<V>> {
  static double at(const double* x, const double* a) { return std::max(0.0, value_of<V>::at(x, a)); }
};
template <class V>
struct value_of<op::step<V>> {
  static double at(const double* x, const double* a) { return value_of<V>::at(x, a) > 0 ? 1 : 0; }
};
template <class V>
struct value_of<op::gelu<V>> {
  static double at(const double* x, const double* a) {
    const double v = value_of<V>::at(x, a);
    return 0.5 * v * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (v + 0.044715 * v * v * v)));
  }
};
template <class V>
struct value_of<op::gelu_slope<V>> {
  static double at(const double* x, const double* a) {
    const double v = value_of<V>::at(x, a), root = std::sqrt(2 / 3.14159265358979323846);
    const double t = std::tanh(root * (v + 0.044715 * v * v * v));
    return 0.5 * (1 + t) + 0.5 * v * (1 - t * t) * root * (1 + 3 * 0.044715 * v * v);
  }
};
template <class V>
struct value_of<op::silu<V>> {
  static double at(const double* x, const double* a) {
    const double v = value_of<V>::at(x, a);
    return v / (1 + std::exp(-v));
  }
};
template <class V>
struct value_of<op::silu_slope<V>> {
  static double at(const double* x, const double* a) {
    const double v = value_of<V>::at(x, a), share = 1 / (1 + std::exp(-v));
    return share * (1 + v * (1 - share));
  }
};

/// How one operator is computed.
template <class Operator>
struct rule;

/// Computes a whole call of an operator.
template <class Operator>
void run(const call& with) {
  rule<Operator>::run(space{Operator::signature, with});
}

template <class Left, class Right, class Result>
struct rule<op::dot<Left, Right, Result>> {
  static void run(const space& s) {
    point at{};
    s.over(Result::list, at, [&] {
      s.write(0, at, s.sum(s.contracted(), at, [&] { return s.operand(0, at) * s.operand(1, at); }), true);
    });
  }
};

template <class Operand, class Result>
struct rule<op::sum<Operand, Result>> {
  static void run(const space& s) {
    point at{};
    s.over(Result::list, at,
           [&] { s.write(0, at, s.attribute(0) * s.sum(s.contracted(), at, [&] { return s.operand(0, at); }), true); });
  }
};

template <class Operand, class Result>
struct rule<op::broadcast<Operand, Result>> {
  static void run(const space& s) {
    point at{};
    s.over(Result::list, at, [&] { s.write(0, at, s.attribute(0) * s.operand(0, at)); });
  }
};

template <>
struct rule<op::fill> {
  static void run(const space& s) { s.write(0, {}, s.attribute(0) * s.with.scale); }
};

template <class Expression, class Result, class... Operand>
struct rule<op::pointwise_gradient<Expression, Result, Operand...>> {
  static void run(const space& s) {
    point at{};
    s.over(Result::list, at, [&] {
      double x[max_operands] = {};
      for (int which = 0; which < s.op.operand_count; ++which) x[which] = s.operand(which, at);
      s.write(0, at, value_of<Expression>::at(x, s.with.attribute));
    });
  }
};
template <class Expression, class Result, class... Operand>
struct rule<op::pointwise<Expression, Result, Operand...>>
    : rule<op::pointwise_gradient<Expression, Result, Operand...>> {};

template <int Rank>
struct rule<op::lookup<Rank>> {
  static void run(const space& s) {
    point at{};
    s.over(s.op.results[0], at, [&] {
      const auto row = static_cast<std::int64_t>(s.operand(0, at)) - s.with.operand[1].origin[0];
      at[Rank] = row;
      s.write(0, at, row >= 0 && row < s.with.operand[1].extent[0] ? s.operand(1, at) : 0);
    });
  }
};

template <int Rank>
struct rule<op::lookup_gradient<Rank>> {
  static void run(const space& s) {
    point at{};
    s.over(s.op.results[0], at, [&] {
      const auto row = static_cast<double>(at[Rank] + s.with.result[0].origin[0]);
      s.write(0, at, s.sum(s.contracted(), at, [&] { return s.operand(0, at) == row ? s.operand(1, at) : 0; }), true);
    });
  }
};

template <int Rank>
struct rule<op::layer_norm<Rank>> {
  static void run(const space& s) {
    using o = op::layer_norm<Rank>;
    point at{};
    s.over(o::rows::list, at, [&] {
      const double count = static_cast<double>(s.extent(Rank - 1));
      const double mean = s.sum(o::last::list, at, [&] { return s.operand(0, at); }) / count;
      const double variance = s.sum(o::last::list, at, [&] { return std::pow(s.operand(0, at) - mean, 2); }) / count;
      const double rstd = 1 / std::sqrt(variance + s.attribute(0));
      s.over(o::last::list, at,
             [&] { s.write(0, at, (s.operand(0, at) - mean) * rstd * s.operand(1, at) + s.operand(2, at)); });
      s.write(1, at, mean);
      s.write(2, at, rstd);
    });
  }
};

template <int Rank>
struct rule<op::layer_norm_gradient_input<Rank>> {
  static void run(const space& s) {
    using o = op::layer_norm_gradient_input<Rank>;
    point at{};
    s.over(o::rows::list, at, [&] {
      const double count = static_cast<double>(s.extent(Rank - 1));
      const auto g = [&] { return s.operand(0, at) * s.operand(2, at); };
      const auto normal = [&] { return (s.operand(1, at) - s.operand(3, at)) * s.operand(4, at); };
      const double mean = s.sum(o::last::list, at, g) / count;
      const double slope = s.sum(o::last::list, at, [&] { return g() * normal(); }) / count;
      s.over(o::last::list, at, [&] { s.write(0, at, s.operand(4, at) * (g() - mean - normal() * slope)); });
    });
  }
};

template <int Rank>
struct rule<op::layer_norm_gradient_weights<Rank>> {
  static void run(const space& s) {
    using o = op::layer_norm_gradient_weights<Rank>;
    point at{};
    s.over(o::last::list, at, [&] {
      const auto normal = [&] { return (s.operand(1, at) - s.operand(2, at)) * s.operand(3, at); };
      s.write(0, at, s.sum(o::rows::list, at, [&] { return s.operand(0, at) * normal(); }), true);
      s.write(1, at, s.sum(o::rows::list, at, [&] { return s.operand(0, at); }), true);
    });
  }
};

template <int Rank, bool Causal>
struct rule<op::softmax<Rank, Causal>> {
  static void run(const space& s) {
    using o = op::softmax<Rank, Causal>;
    const index_list last = op::first<Rank - 1>::row::list;
    const view& x = s.with.operand[0];
    point at{};
    const auto seen = [&] {
      if constexpr (!Causal)
        return true;
      else
        return x.origin[Rank - 1] + at[Rank - 1] <= x.origin[Rank - 2] + at[Rank - 2];
    };
    s.over(o::rows::list, at, [&] {
      double top = -std::numeric_limits<double>::infinity();
      s.over(last, at, [&] { top = seen() ? std::max(top, s.attribute(0) * s.operand(0, at)) : top; });
      const auto share = [&] { return seen() ? std::exp(s.attribute(0) * s.operand(0, at) - top) : 0; };
      const double sum = s.sum(last, at, share);
      s.over(last, at, [&] { s.write(0, at, seen() ? share() / sum : 0); });
    });
  }
};

template <int Rank>
struct rule<op::softmax_gradient<Rank>> {
  static void run(const space& s) {
    const index_list last = op::first<Rank - 1>::row::list;
    point at{};
    s.over(op::softmax_gradient<Rank>::rows::list, at, [&] {
      const double sum = s.sum(last, at, [&] { return s.operand(0, at) * s.operand(1, at); });
      s.over(last, at, [&] { s.write(0, at, s.attribute(0) * s.operand(1, at) * (s.operand(0, at) - sum)); });
    });
  }
};

template <int Rank>
struct rule<op::cross_entropy<Rank>> {
  static void run(const space& s) {
    const index_list classes = op::first<Rank>::row::list;
    point at{};
    s.over(op::cross_entropy<Rank>::rows::list, at, [&] {
      double top = -std::numeric_limits<double>::infinity();
      s.over(classes, at, [&] { top = std::max(top, s.operand(0, at)); });
      const double logsum = top + std::log(s.sum(classes, at, [&] { return std::exp(s.operand(0, at) - top); }));
      const double share = s.attribute(0) / static_cast<double>(s.extent(Rank));
      const double uniform = share * s.sum(classes, at, [&] { return s.operand(0, at); });
      at[Rank] = static_cast<std::int64_t>(s.operand(1, at));
      const double expected = (1 - s.attribute(0)) * s.operand(0, at) + uniform;
      at[Rank] = 0;
      s.write(0, at, logsum - expected + s.attribute(1) * logsum * logsum);
      s.write(1, at, logsum);
    });
  }
};

template <int Rank>
struct rule<op::cross_entropy_gradient<Rank>> {
  static void run(const space& s) {
    point at{};
    s.over(op::cross_entropy_gradient<Rank>::logits::list, at, [&] {
      const double hit = static_cast<double>(at[Rank]) == s.operand(2, at) ? 1 - s.attribute(0) : 0;
      const double expected = hit + s.attribute(0) / static_cast<double>(s.extent(Rank));
      const double logsum = s.operand(3, at), growth = 1 + 2 * s.attribute(1) * logsum;
      s.write(0, at, s.operand(0, at) * (growth * std::exp(s.operand(1, at) - logsum) - expected));
    });
  }
};

template <int Rank>
struct rule<op::sgd<Rank>> {
  static void run(const space& s) {
    point at{};
    s.over(op::sgd<Rank>::list::list, at, [&] {
      const double p = s.operand(0, at), momentum = s.attribute(1), slope = s.operand(1, at) + s.attribute(2) * p;
      const double velocity = momentum * s.operand(2, at) + slope;
      s.write(0, at, p - s.attribute(0) * s.with.rate * (s.attribute(3) == 0 ? velocity : slope + momentum * velocity));
      s.write(1, at, velocity);
    });
  }
};

template <int Rank>
struct rule<op::adamw<Rank>> {
  static void run(const space& s) {
    const double rate = s.attribute(0) * s.with.rate, beta1 = s.attribute(1), beta2 = s.attribute(2),
                 steps = static_cast<double>(s.with.step + 1);
    point at{};
    s.over(op::adamw<Rank>::list::list, at, [&] {
      const double p = s.operand(0, at) * (1 - rate * s.attribute(4)), g = s.operand(1, at);
      const double first = beta1 * s.operand(2, at) + (1 - beta1) * g,
                   second = beta2 * s.operand(3, at) + (1 - beta2) * g * g;
      const double size = std::sqrt(second / (1 - std::pow(beta2, steps))) + s.attribute(3);
      s.write(0, at, p - rate * (first / (1 - std::pow(beta1, steps))) / size);
      s.write(1, at, first);
      s.write(2, at, second);
    });
  }
};

template <int Rank>
struct rule<op::square_sum<Rank>> {
  static void run(const space& s) {
    double sum = 0;
    point at{};
    s.over(op::square_sum<Rank>::list::list, at, [&] { sum += s.operand(0, at) * s.operand(0, at); });
    s.write(0, at, sum);
  }
};

template <int Rank>
struct rule<op::clip<Rank>> {
  static void run(const space& s) {
    point at{};
    s.over(op::clip<Rank>::list::list, at, [&] {
      const double norm = std::sqrt(s.operand(1, at)), limit = s.attribute(0);
      s.write(0, at, norm > limit ? s.operand(0, at) / norm * limit : s.operand(0, at));
    });
  }
};

template <int Rank>
struct rule<op::moving_average<Rank>> {
  static void run(const space& s) {
    const double batches = static_cast<double>(s.with.micro_batches), rows = s.attribute(1) / batches;
    point at{};
    s.over(op::moving_average<Rank>::list::list, at, [&] {
      const double seen = s.operand(1, at) / batches * (rows > 1 ? rows / (rows - 1) : 1);
      s.write(0, at, (1 - s.attribute(0)) * s.operand(0, at) + s.attribute(0) * seen);
    });
  }
};

}  // namespace meshloom::reference
