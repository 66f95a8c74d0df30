// SPDX-License-Identifier: Apache-2.0
// Fused pointwise operators: one expression per element in one pass over memory, operands broadcast by strides of 0.
// Law: a result may be the same memory as an operand of the same layout.
#pragma once

#include <meshloom/kernel/collapse.hpp>
#include <meshloom/kernel/math.hpp>
#include <meshloom/kernel/rows.hpp>
#include <meshloom/op/fill.hpp>
#include <meshloom/op/pointwise.hpp>

namespace meshloom {

namespace math {

/// Of x, gelu keeps the share 1 / (1 + e^-2u) with u = √(2/π)·(x + 0.044715·x³), that is 1 / (1 + 2^(c₁·x + c₃·x³)).
inline constexpr double gelu_linear = -1.5957691216057308 * log2_of_e, gelu_cubic = 0.044715 * gelu_linear;

/// x·Φ(x) in its tanh approximation.
template <class Element>
MESHLOOM_DEVICE constexpr Element gelu(Element x) {
  return x / (Element(1) + exp2(x * (Element(gelu_linear) + Element(gelu_cubic) * (x * x))));
}

/// The derivative of gelu.
template <class Element>
MESHLOOM_DEVICE constexpr Element gelu_slope(Element x) {
  const Element near = clamp(x, Element(-30), Element(30));  // it is 0 or 1 beyond
  const Element square = near * near;
  const Element share = Element(1) / (Element(1) + exp2(near * (Element(gelu_linear) + Element(gelu_cubic) * square)));
  const Element growth = near * (Element(1.5957691216057308) + Element(3 * 0.044715 * 1.5957691216057308) * square);
  return share + share * (Element(1) - share) * growth;
}

/// x · sigmoid x.
template <class Element>
MESHLOOM_DEVICE constexpr Element silu(Element x) {
  return x / (Element(1) + exp2(x * Element(-log2_of_e)));
}

/// The derivative of silu.
template <class Element>
MESHLOOM_DEVICE constexpr Element silu_slope(Element x) {
  const Element near = clamp(x, Element(-80), Element(80));  // it is 0 or 1 beyond
  const Element share = Element(1) / (Element(1) + exp2(near * Element(-log2_of_e)));
  return share + share * (Element(1) - share) * near;
}

}  // namespace math

/// The operands' elements that one evaluation reads: `Stride` 1 for dense loops, 0 if strides are known at run time.
template <class Element, int Operands, int Stride>
struct element_source {
  using element = computed<Element>;
  const Element* data[Operands + 1];
  std::int64_t stride[Operands + 1];
  element attribute[max_attributes];

  template <int I>
  MESHLOOM_DEVICE element operand(std::int64_t i) const {
    return data[I][Stride == 1 ? i : i * stride[I]];
  }
};

/// The value of an expression at element i. Specialise it, beside dependence_of and derivative_of, for a new function.
template <class Expression>
struct evaluation;

namespace detail {

template <class Value>
struct unary_evaluation {
  template <class Source>
  MESHLOOM_DEVICE static typename Source::element inner(const Source& x, std::int64_t i) {
    return evaluation<Value>::at(x, i);
  }
};

template <class Left, class Right>
struct binary_evaluation {
  template <class Source>
  MESHLOOM_DEVICE static typename Source::element left(const Source& x, std::int64_t i) {
    return evaluation<Left>::at(x, i);
  }
  template <class Source>
  MESHLOOM_DEVICE static typename Source::element right(const Source& x, std::int64_t i) {
    return evaluation<Right>::at(x, i);
  }
};

}  // namespace detail

template <int I>
struct evaluation<op::operand<I>> {
  template <class Source>
  MESHLOOM_DEVICE static typename Source::element at(const Source& x, std::int64_t i) {
    return x.template operand<I>(i);
  }
};
template <int I>
struct evaluation<op::attribute<I>> {
  template <class Source>
  MESHLOOM_DEVICE static typename Source::element at(const Source& x, std::int64_t) {
    return x.attribute[I];
  }
};
template <>
struct evaluation<op::zero> {
  template <class Source>
  MESHLOOM_DEVICE static typename Source::element at(const Source&, std::int64_t) {
    return 0;
  }
};
template <>
struct evaluation<op::one> {
  template <class Source>
  MESHLOOM_DEVICE static typename Source::element at(const Source&, std::int64_t) {
    return 1;
  }
};
template <class L, class R>
struct evaluation<op::add<L, R>> : detail::binary_evaluation<L, R> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return evaluation::left(x, i) + evaluation::right(x, i);
  }
};
template <class L, class R>
struct evaluation<op::subtract<L, R>> : detail::binary_evaluation<L, R> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return evaluation::left(x, i) - evaluation::right(x, i);
  }
};
template <class L, class R>
struct evaluation<op::multiply<L, R>> : detail::binary_evaluation<L, R> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return evaluation::left(x, i) * evaluation::right(x, i);
  }
};
template <class L, class R>
struct evaluation<op::divide<L, R>> : detail::binary_evaluation<L, R> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return evaluation::left(x, i) / evaluation::right(x, i);
  }
};
template <class V>
struct evaluation<op::negate<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return -evaluation::inner(x, i);
  }
};
template <class V>
struct evaluation<op::exponential<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return math::exp(evaluation::inner(x, i));
  }
};
template <class V>
struct evaluation<op::hyperbolic_tangent<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return math::tanh(evaluation::inner(x, i));
  }
};
template <class V>
struct evaluation<op::sigmoid<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return math::sigmoid(evaluation::inner(x, i));
  }
};
template <class V>
struct evaluation<op::relu<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static typename Source::element at(const Source& x, std::int64_t i) {
    const typename Source::element value = evaluation::inner(x, i);
    return value < 0 ? 0 : value;  // NaN stays NaN
  }
};
template <class V>
struct evaluation<op::step<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static typename Source::element at(const Source& x, std::int64_t i) {
    return evaluation::inner(x, i) > 0 ? 1 : 0;
  }
};
template <class V>
struct evaluation<op::gelu<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return math::gelu(evaluation::inner(x, i));
  }
};
template <class V>
struct evaluation<op::gelu_slope<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return math::gelu_slope(evaluation::inner(x, i));
  }
};
template <class V>
struct evaluation<op::silu<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return math::silu(evaluation::inner(x, i));
  }
};
template <class V>
struct evaluation<op::silu_slope<V>> : detail::unary_evaluation<V> {
  template <class Source>
  MESHLOOM_DEVICE static auto at(const Source& x, std::int64_t i) {
    return math::silu_slope(evaluation::inner(x, i));
  }
};

/// Evaluates `Expression` for views that all have the same extents and at least one axis. A task is a part of a row.
template <class Expression, int Operands>
struct pointwise_kernel {
  static constexpr std::int64_t task = 8192;
  static constexpr std::int64_t block = 256;  ///< elements whose operands are made dense at a time

  MESHLOOM_DEVICE static std::int64_t parts(const view& y) { return (y.extent[y.rank - 1] + task - 1) / task; }

  template <class Element>
  MESHLOOM_DEVICE static std::int64_t teams(const call& with) {
    return row_count(with.result[0]) * parts(with.result[0]);
  }

  template <class Element, class Team>
  MESHLOOM_DEVICE static void run(Team team, std::int64_t which, const call& with) {
    const view& y = with.result[0];
    const int last = y.rank - 1;
    const std::int64_t step = y.stride[last];
    const row_index row(y, which / parts(y));
    const std::int64_t begin = which % parts(y) * task;
    const std::int64_t count = y.extent[last] - begin < task ? y.extent[last] - begin : task;
    Element* const out = row.template in<Element>(y) + begin * step;
    element_source<Element, Operands, 0> x;
    for (int k = 0; k < Operands; ++k) {
      x.stride[k] = with.operand[k].stride[last];
      x.data[k] = row.template in<const Element>(with.operand[k]) + begin * x.stride[k];
    }
    for (int k = 0; k < max_attributes; ++k) x.attribute[k] = static_cast<computed<Element>>(with.attribute[k]);
    if constexpr (Team::lanes == 1) {
      team.for_each(count, [&](std::int64_t i) { out[i * step] = evaluation<Expression>::at(x, i); });
    } else if constexpr (half_type<Element>) {
      run_widened(team, count, x, out, step);
    } else {
      run_in_blocks(team, count, x, out, step);
    }
  }

 private:
  /// SIMD lanes want neighbours: operands with another stride than 1 are first copied to a block of their own.
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run_in_blocks(Team team, std::int64_t count,
                                            const element_source<Element, Operands, 0>& x, Element* out,
                                            std::int64_t step) {
    const std::int64_t ahead = team.ahead(task);
    Element copied[Operands + 1][block];
    element_source<Element, Operands, 1> dense;
    for (int k = 0; k < max_attributes; ++k) dense.attribute[k] = x.attribute[k];
    for (std::int64_t begin = 0; begin < count; begin += block) {
      const std::int64_t n = count - begin < block ? count - begin : block;
      for (int k = 0; k < Operands; ++k) {
        const Element* const from = x.data[k] + begin * x.stride[k];
        dense.data[k] = x.stride[k] == 1 ? from : copied[k];
        if (x.stride[k] == 1 || (x.stride[k] == 0 && begin > 0)) continue;
        for (std::int64_t i = 0; i < n; ++i) copied[k][i] = from[i * x.stride[k]];
      }
      Element* const into = step == 1 ? out + begin : copied[Operands];
      team.for_each(
          n, [&](std::int64_t i) { into[i] = evaluation<Expression>::at(dense, i); },
          [&](std::int64_t i) {
            for (int k = 0; k < Operands; ++k) team.fetch(dense.data[k] + (x.stride[k] == 1 ? ahead : 0) + i);
            team.fetch(into + (step == 1 ? ahead : 0) + i);
          });
      if (step == 1) continue;
      for (std::int64_t i = 0; i < n; ++i) out[(begin + i) * step] = into[i];
    }
  }

  /// And of one width: numbers of 16 bits are widened, computed with and rounded by loops of their own.
  template <class Element, class Team>
  MESHLOOM_DEVICE static void run_widened(Team team, std::int64_t count, const element_source<Element, Operands, 0>& x,
                                          Element* out, std::int64_t step) {
    using number = computed<Element>;
    const std::int64_t ahead = team.ahead(task);
    number wide[Operands + 1][block];
    element_source<number, Operands, 1> dense;
    for (int k = 0; k < Operands; ++k) dense.data[k] = wide[k];
    for (int k = 0; k < max_attributes; ++k) dense.attribute[k] = x.attribute[k];
    for (std::int64_t begin = 0; begin < count; begin += block) {
      const std::int64_t n = count - begin < block ? count - begin : block;
      for (int k = 0; k < Operands; ++k) {
        if (x.stride[k] == 0 && begin > 0) continue;
        convert(team, n, x.data[k] + begin * x.stride[k], x.stride[k], wide[k], 1, ahead);
      }
      number* const made = wide[Operands];
      team.for_each(n, [&](std::int64_t i) { made[i] = evaluation<Expression>::at(dense, i); });
      convert(team, n, made, 1, out + begin * step, step, 0);
    }
  }

  template <class From, class To, class Team>
  MESHLOOM_DEVICE static void convert(Team team, std::int64_t n, const From* from, std::int64_t from_step, To* to,
                                      std::int64_t to_step, std::int64_t ahead) {
    if (from_step == 1 && to_step == 1) {
      team.for_each(
          n, [=](std::int64_t i) { to[i] = from[i]; }, [=](std::int64_t i) { team.fetch(from + ahead + i); });
    } else {
      for (std::int64_t i = 0; i < n; ++i) to[i * to_step] = from[i * from_step];
    }
  }
};

namespace detail {

/// Gives the operands the result's axes and merges all that can be merged.
template <class Result, class... Operand>
call arrange_pointwise(const call& with) {
  constexpr int count = sizeof...(Operand);
  const index_list lists[count + 1] = {Operand::list..., Result::list};
  call made = with;
  view* tensors[count + 1] = {&made.result[0]};
  for (int k = 0; k < count; ++k) {
    made.operand[k] = realigned(with.operand[k], lists[k], Result::list, with.result[0]);
    tensors[k + 1] = &made.operand[k];
  }
  collapse(tensors, 0, made.result[0].rank);
  for (view* tensor : tensors) add_axis_if_none(*tensor);
  return made;
}

}  // namespace detail

template <class Expression, class Result, class... Operand>
struct kernel_of<op::pointwise_gradient<Expression, Result, Operand...>> {
  using kernel = pointwise_kernel<Expression, sizeof...(Operand)>;
  static call arrange(const call& with) { return detail::arrange_pointwise<Result, Operand...>(with); }
};

template <class Expression, class Result, class... Operand>
struct kernel_of<op::pointwise<Expression, Result, Operand...>>
    : kernel_of<op::pointwise_gradient<Expression, Result, Operand...>> {};

template <class Operand, class Result>
struct kernel_of<op::broadcast<Operand, Result>> {
  using kernel = pointwise_kernel<op::multiply<op::operand<0>, op::attribute<0>>, 1>;
  static call arrange(const call& with) { return detail::arrange_pointwise<Result, Operand>(with); }
};

template <>
struct kernel_of<op::fill> {
  using kernel = pointwise_kernel<op::attribute<0>, 0>;
  static call arrange(const call& with) {
    call made = detail::arrange_pointwise<at<>>(with);
    made.attribute[0] *= with.scale;
    return made;
  }
};

}  // namespace meshloom
