// SPDX-License-Identifier: Apache-2.0
// Pointwise expressions as types: what a fused operator computes per element, its derivative, and the operands in which
// it is linear. `add<operand<0>, gelu<operand<1>>>` is one operator, one kernel, one pass over memory.
// Law: derivative<E, I> is ∂E/∂operand I; linear_in<E, mask> holds only if E is jointly linear in the masked operands.
#pragma once

namespace meshloom::op {

template <int Index> struct operand {};    ///< the element of operand Index
template <int Index> struct attribute {};  ///< the node's attribute Index
struct zero {};
struct one {};

template <class Left, class Right> struct add {};
template <class Left, class Right> struct subtract {};
template <class Left, class Right> struct multiply {};
template <class Left, class Right> struct divide {};
template <class Value> struct negate {};
template <class Value> struct exponential {};
template <class Value> struct hyperbolic_tangent {};
template <class Value> struct sigmoid {};
template <class Value> struct relu {};
template <class Value> struct step {};        ///< 1 where the value is > 0, else 0: the slope of relu
template <class Value> struct gelu {};        ///< tanh approximation (Hendrycks and Gimpel 2016)
template <class Value> struct gelu_slope {};  ///< the derivative of gelu

/// Sums and products without the terms that vanish.
template <class L, class R> struct simple_add { using type = add<L, R>; };
template <class R> struct simple_add<zero, R> { using type = R; };
template <class L> struct simple_add<L, zero> { using type = L; };
template <> struct simple_add<zero, zero> { using type = zero; };
template <class L, class R> struct simple_multiply { using type = multiply<L, R>; };
template <class R> struct simple_multiply<zero, R> { using type = zero; };
template <class L> struct simple_multiply<L, zero> { using type = zero; };
template <class R> struct simple_multiply<one, R> { using type = R; };
template <class L> struct simple_multiply<L, one> { using type = L; };
template <> struct simple_multiply<zero, zero> { using type = zero; };
template <> struct simple_multiply<one, one> { using type = one; };
template <> struct simple_multiply<one, zero> { using type = zero; };
template <> struct simple_multiply<zero, one> { using type = zero; };
template <class V> struct simple_negate { using type = negate<V>; };
template <> struct simple_negate<zero> { using type = zero; };

template <class E, int I> struct derivative_of;
template <class E, int I> using derivative = typename derivative_of<E, I>::type;

template <int J, int I> struct derivative_of<operand<J>, I> { using type = zero; };
template <int I> struct derivative_of<operand<I>, I> { using type = one; };
template <int J, int I> struct derivative_of<attribute<J>, I> { using type = zero; };
template <int I> struct derivative_of<zero, I> { using type = zero; };
template <int I> struct derivative_of<one, I> { using type = zero; };
template <class L, class R, int I> struct derivative_of<add<L, R>, I> : simple_add<derivative<L, I>, derivative<R, I>> {};
template <class L, class R, int I> struct derivative_of<subtract<L, R>, I>
    : simple_add<derivative<L, I>, typename simple_negate<derivative<R, I>>::type> {};
template <class L, class R, int I> struct derivative_of<multiply<L, R>, I>
    : simple_add<typename simple_multiply<derivative<L, I>, R>::type, typename simple_multiply<L, derivative<R, I>>::type> {};
template <class L, class R, int I> struct derivative_of<divide<L, R>, I>
    : simple_add<typename simple_multiply<derivative<L, I>, divide<one, R>>::type,
                 typename simple_negate<typename simple_multiply<divide<L, multiply<R, R>>, derivative<R, I>>::type>::type> {};
template <class V, int I> struct derivative_of<negate<V>, I> : simple_negate<derivative<V, I>> {};
template <class V, int I> struct derivative_of<exponential<V>, I> : simple_multiply<exponential<V>, derivative<V, I>> {};
template <class V, int I> struct derivative_of<hyperbolic_tangent<V>, I>
    : simple_multiply<subtract<one, multiply<hyperbolic_tangent<V>, hyperbolic_tangent<V>>>, derivative<V, I>> {};
template <class V, int I> struct derivative_of<sigmoid<V>, I>
    : simple_multiply<multiply<sigmoid<V>, subtract<one, sigmoid<V>>>, derivative<V, I>> {};
template <class V, int I> struct derivative_of<relu<V>, I> : simple_multiply<step<V>, derivative<V, I>> {};
template <class V, int I> struct derivative_of<gelu<V>, I> : simple_multiply<gelu_slope<V>, derivative<V, I>> {};

/// How an expression depends on a set of operands.
enum class dependence { none, linear, other };

template <class E> struct dependence_of;
template <int I> struct dependence_of<operand<I>> {
  static constexpr dependence on(unsigned mask) { return mask >> I & 1 ? dependence::linear : dependence::none; }
};
template <int I> struct dependence_of<attribute<I>> {
  static constexpr dependence on(unsigned) { return dependence::none; }
};
template <> struct dependence_of<one> : dependence_of<attribute<0>> {};
template <> struct dependence_of<zero> : dependence_of<attribute<0>> {};
template <class L, class R> struct dependence_of<add<L, R>> {
  static constexpr dependence on(unsigned mask) {
    const dependence left = dependence_of<L>::on(mask), right = dependence_of<R>::on(mask);
    return left == right ? left : dependence::other;  // linear + constant is affine, not linear
  }
};
template <class L, class R> struct dependence_of<subtract<L, R>> : dependence_of<add<L, R>> {};
template <class L, class R> struct dependence_of<multiply<L, R>> {
  static constexpr dependence on(unsigned mask) {
    const dependence left = dependence_of<L>::on(mask), right = dependence_of<R>::on(mask);
    if (left == dependence::none) return right;
    return right == dependence::none ? left : dependence::other;
  }
};
template <class L, class R> struct dependence_of<divide<L, R>> {
  static constexpr dependence on(unsigned mask) {
    return dependence_of<R>::on(mask) == dependence::none ? dependence_of<L>::on(mask) : dependence::other;
  }
};
template <class V> struct dependence_of<negate<V>> : dependence_of<V> {};
template <template <class> class Function, class V> struct dependence_of<Function<V>> {
  static constexpr dependence on(unsigned mask) {
    return dependence_of<V>::on(mask) == dependence::none ? dependence::none : dependence::other;
  }
};

/// The number of arithmetic operations per element (a transcendental function counts as 10).
template <class E> inline constexpr int cost_of = 0;
template <class V> inline constexpr int cost_of<negate<V>> = 1 + cost_of<V>;
template <template <class> class Function, class V> inline constexpr int cost_of<Function<V>> = 10 + cost_of<V>;
template <template <class, class> class Function, class L, class R>
inline constexpr int cost_of<Function<L, R>> = 1 + cost_of<L> + cost_of<R>;

}  // namespace meshloom::op
