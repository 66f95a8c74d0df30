// SPDX-License-Identifier: Apache-2.0
// Pointwise expressions as types: what a fused operator computes per element, its derivative, and the operands in which
// it is linear. `add<operand<0>, gelu<operand<1>>>` is one operator, one kernel, one pass over memory.
// Law: derivative<E, I> is ∂E/∂operand I; linear_in<E, mask> holds only if E is jointly linear in the masked operands.
#pragma once

#include <cstdint>

namespace meshloom::op {

/// The tag of a function in `number_of`: no two share one, and none ever changes, since saved plans depend on them. A
/// function of your own takes one from 1000 on.
template <int Tag> struct tagged { static constexpr int tag = Tag; };

template <int Index> struct operand : tagged<1> {};    ///< the element of operand Index
template <int Index> struct attribute : tagged<2> {};  ///< the node's attribute Index
struct zero : tagged<3> {};
struct one : tagged<4> {};

template <class Left, class Right> struct add : tagged<5> {};
template <class Left, class Right> struct subtract : tagged<6> {};
template <class Left, class Right> struct multiply : tagged<7> {};
template <class Left, class Right> struct divide : tagged<8> {};
template <class Value> struct negate : tagged<9> {};
template <class Value> struct exponential : tagged<10> {};
template <class Value> struct hyperbolic_tangent : tagged<11> {};
template <class Value> struct sigmoid : tagged<12> {};
template <class Value> struct relu : tagged<13> {};
template <class Value> struct step : tagged<14> {};        ///< 1 where the value is > 0, else 0: the slope of relu
template <class Value> struct gelu : tagged<15> {};        ///< tanh approximation (Hendrycks and Gimpel 2016)
template <class Value> struct gelu_slope : tagged<16> {};  ///< the derivative of gelu
template <class Value> struct silu : tagged<17> {};        ///< x · sigmoid x (Elfwing et al. 2017)
template <class Value> struct silu_slope : tagged<18> {};  ///< the derivative of silu

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
template <class V, int I> struct derivative_of<silu<V>, I> : simple_multiply<silu_slope<V>, derivative<V, I>> {};
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

constexpr std::uint64_t mixed(std::uint64_t hash, std::uint64_t next) { return (hash ^ next) * 1099511628211u; }

/// The tags of an expression, root first, into a hash (FNV-1a).
template <class E> struct tags_of {
  static constexpr std::uint64_t into(std::uint64_t hash) { return mixed(hash, E::tag); }
};
template <int I> struct tags_of<operand<I>> {
  static constexpr std::uint64_t into(std::uint64_t hash) { return mixed(mixed(hash, operand<I>::tag), I); }
};
template <int I> struct tags_of<attribute<I>> {
  static constexpr std::uint64_t into(std::uint64_t hash) { return mixed(mixed(hash, attribute<I>::tag), I); }
};
template <template <class> class Function, class V> struct tags_of<Function<V>> {
  static constexpr std::uint64_t into(std::uint64_t hash) { return tags_of<V>::into(mixed(hash, Function<V>::tag)); }
};
template <template <class, class> class Function, class L, class R> struct tags_of<Function<L, R>> {
  static constexpr std::uint64_t into(std::uint64_t hash) {
    return tags_of<R>::into(tags_of<L>::into(mixed(hash, Function<L, R>::tag)));
  }
};

/// A number that tells expressions apart, the same under every compiler.
template <class E> inline constexpr std::uint64_t number_of = tags_of<E>::into(1469598103934665603u);

}  // namespace meshloom::op
