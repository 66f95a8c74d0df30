// SPDX-License-Identifier: Apache-2.0
// Branch-free elementary functions for float and double, on host and device, which every compiler vectorises: std::
// functions are opaque calls, and even std::sqrt hides a branch for errno.
// Law: the stated error, in units in the last place (ulp) of the exact result, holds over the whole range unless said
// otherwise; NaN stays NaN; no function traps or branches.
// Source: argument reductions after Cephes and fdlibm; polynomials are our own Chebyshev fits, those of log are
// fdlibm's.
#pragma once

#include <meshloom/base/config.hpp>

#include <cstdint>

namespace meshloom::math {

inline constexpr double log2_of_e = 1.44269504088896341;

/// The bits of a floating-point type, and its limits as numbers that device code may name.
template <class Element>
struct float_format;

template <>
struct float_format<float> {
  using bits = std::uint32_t;
  using whole = std::int32_t;
  static constexpr int mantissa_bits = 23;
  static constexpr int bias = 127;
  static constexpr float lowest = -3.402823466e+38f;
  static constexpr float infinity = __builtin_huge_valf();
  static constexpr float not_a_number = __builtin_nanf("");
};

template <>
struct float_format<double> {
  using bits = std::uint64_t;
  using whole = std::int64_t;
  static constexpr int mantissa_bits = 52;
  static constexpr int bias = 1023;
  static constexpr double lowest = -1.7976931348623157e+308;
  static constexpr double infinity = __builtin_huge_val();
  static constexpr double not_a_number = __builtin_nan("");
};

namespace detail {

template <class Element>
inline constexpr bool is_single = sizeof(Element) == 4;

/// c₀ + x·(c₁ + x·(c₂ + …)).
template <class Element>
MESHLOOM_DEVICE constexpr Element horner(Element, Element last) {
  return last;
}
template <class Element, class... Rest>
MESHLOOM_DEVICE constexpr Element horner(Element x, Element first, Rest... rest) {
  return first + x * horner(x, rest...);
}

/// The smaller of two whole numbers. The unary plus makes rvalues, which g++ sees as a minimum from the start; of
/// lvalues it makes control flow.
template <class Whole>
MESHLOOM_DEVICE constexpr Whole least(Whole a, Whole b) {
  return +a < +b ? +a : +b;
}

/// 2ⁿ for a whole number n whose power is normal.
template <class Element>
MESHLOOM_DEVICE constexpr Element power_of_two(int n) {
  using format = float_format<Element>;
  return __builtin_bit_cast(Element, static_cast<typename format::bits>(n + format::bias) << format::mantissa_bits);
}

/// 1.5·2^mantissa + bias - 1: in its sum with x, n - 1 + bias is in the low bits, where n is the whole number nearest
/// x.
template <class Element>
inline constexpr Element rounding_magic = Element(1.5) * power_of_two<Element>(float_format<Element>::mantissa_bits) +
                                          Element(float_format<Element>::bias - 1);

/// 2^(n-1) of the n in such a sum, or 0 where that is not normal.
template <class Element>
MESHLOOM_DEVICE constexpr Element scale_in(Element shifted) {
  using format = float_format<Element>;
  using bits = typename format::bits;
  return __builtin_bit_cast(Element, static_cast<bits>(__builtin_bit_cast(bits, shifted) << format::mantissa_bits));
}

/// x = n·ln 2 + rest with whole n and |rest| <= 0.35, and scale = 2^(n-1), for |x| up to about 700 (float: 90).
template <class Element>
struct split_exponent {
  Element scale, rest;

  MESHLOOM_DEVICE constexpr explicit split_exponent(Element x) {
    constexpr Element magic = rounding_magic<Element>;
    const Element shifted = x * Element(1.44269504088896341) + magic;
    const Element n = shifted - magic;
    scale = scale_in(shifted);
    if constexpr (is_single<Element>)
      rest = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    else
      rest = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  }
};

}  // namespace detail

/// |x|, and |size| with the sign of another number.
template <class Element>
MESHLOOM_DEVICE constexpr Element magnitude(Element x) {
  if constexpr (detail::is_single<Element>)
    return __builtin_fabsf(x);
  else
    return __builtin_fabs(x);
}
template <class Element>
MESHLOOM_DEVICE constexpr Element with_sign_of(Element sign, Element size) {
  if constexpr (detail::is_single<Element>)
    return __builtin_copysignf(size, sign);
  else
    return __builtin_copysign(size, sign);
}

/// `chosen` if the condition holds, else `other`, by masking: a ternary is control flow to g++, which then specialises
/// the code after it for each outcome and loses the vector loop.
template <class Element>
MESHLOOM_DEVICE constexpr Element choose(bool condition, Element chosen, Element other) {
  using bits = typename float_format<Element>::bits;
  const bits mask = bits{0} - static_cast<bits>(condition);
  return __builtin_bit_cast(Element, static_cast<bits>((__builtin_bit_cast(bits, chosen) & mask) |
                                                       (__builtin_bit_cast(bits, other) & ~mask)));
}

/// x kept between low < 0 and high > 0, NaN as it is. Non-negative floats order like their bits as signed numbers,
/// negative ones of growing magnitude like theirs as unsigned numbers, and the shift wraps NaNs out of the way: so two
/// integer minima do it, for the reason above.
template <class Element>
MESHLOOM_DEVICE constexpr Element clamp(Element x, Element low, Element high) {
  using format = float_format<Element>;
  using bits = typename format::bits;
  using whole = typename format::whole;
  constexpr bits shift = (bits{1} << format::mantissa_bits) - 1;
  const auto shifted = static_cast<whole>(__builtin_bit_cast(bits, x) + shift);
  const auto top = static_cast<whole>(__builtin_bit_cast(bits, high) + shift);
  const auto below = static_cast<bits>(detail::least(shifted, top));
  const bits bottom = __builtin_bit_cast(bits, low) + shift;
  return __builtin_bit_cast(Element, static_cast<bits>(detail::least(below, bottom) - shift));
}

/// e^x, error <= 2 ulp; 0 below -87 (double: -708), where the result nears the smallest normal number.
template <class Element>
MESHLOOM_DEVICE constexpr Element exp(Element x) {
  // At the lower bound the scale is 0, at the upper one the product overflows: nothing else has to be decided.
  constexpr Element low = detail::is_single<Element> ? Element(-87.33654475) : Element(-708.3964185322641);
  constexpr Element high = detail::is_single<Element> ? Element(89) : Element(709.9);
  const detail::split_exponent<Element> part(clamp(x, low, high));
  if constexpr (detail::is_single<Element>) {
    return part.scale *
           detail::horner(part.rest, 2.0f, 2.0f, 1.0f, 0.333331536f, 0.0833331088f, 0.0167264059f, 0.0027852427f);
  } else {
    return part.scale * detail::horner(part.rest, 2.0, 2.0, 1.0, 0.333333333333333426, 0.0833333333333333426,
                                       0.0166666666666522231, 0.00277777777777674616, 0.000396825397498025173,
                                       0.0000496031746512106479, 5.5114510595939286e-6, 5.51145471402042803e-7,
                                       5.02105190768969871e-8, 4.1829434683432755e-9);
  }
}

/// tanh x, error <= 3 ulp.
template <class Element>
MESHLOOM_DEVICE constexpr Element tanh(Element x) {
  const Element bounded = magnitude(clamp(x, Element(-22), Element(22)));  // tanh rounds to 1 from there on
  const detail::split_exponent<Element> part(Element(-2) * bounded);
  const Element r = part.rest, scale = part.scale + part.scale;
  Element tail;  // e^r - 1
  if constexpr (detail::is_single<Element>) {
    tail = r + r * r * detail::horner(r, 0.5f, 0.166665768f, 0.0416665544f, 0.00836320297f, 0.00139262135f);
  } else {
    tail = r + r * r *
                   detail::horner(r, 0.5, 0.16666666666666671, 0.0416666666666666698, 0.00833333333332611205,
                                  0.00138888888888837318, 0.000198412698749012592, 0.0000248015873256053228,
                                  2.75572552979696444e-6, 2.75572735701021397e-7, 2.51052595384484934e-8,
                                  2.0914717341716376e-9);
  }
  const Element below = scale * tail + (scale - Element(1));  // e^(-2|x|) - 1, exact to the last bits near 0
  return with_sign_of(x, -below / (Element(2) + below));
}

/// 2^x, error <= 4 ulp; 0 at -126 (double: -1022) and below. Cheaper than e^x: what only needs an exponential of some
/// base, or can multiply its argument into another constant, should take this one.
template <class Element>
MESHLOOM_DEVICE constexpr Element exp2(Element x) {
  using format = float_format<Element>;
  constexpr Element bound = format::bias + 1;
  constexpr Element magic = detail::rounding_magic<Element>;
  const Element kept = clamp(x, Element(2) - bound, bound);
  const Element shifted = kept + magic;
  const Element rest = kept - (shifted - magic);
  const Element scale = detail::scale_in<Element>(shifted);
  if constexpr (detail::is_single<Element>) {
    return scale * detail::horner(rest, 2.0f, 1.38629436f, 0.480446981f, 0.11100762f, 0.019332737f, 0.00267626051f);
  } else {
    return scale * detail::horner(rest, 2.0, 1.38629436111989062, 0.480453013918201964, 0.111008217329643189,
                                  0.0192362582152137771, 0.00266671162928338706, 0.000308070608834721003,
                                  0.0000305054676596722368, 2.64308851758433793e-6, 2.0356124891691547e-7,
                                  1.41451718985384474e-8, 8.90992119637303679e-10);
  }
}

/// 1 / (1 + e^-x), error <= 4 ulp where the result is normal.
template <class Element>
MESHLOOM_DEVICE constexpr Element sigmoid(Element x) {
  return Element(1) / (Element(1) + exp(-x));
}

/// The natural logarithm, error <= 2 ulp; -infinity at 0, NaN below.
template <class Element>
MESHLOOM_DEVICE constexpr Element log(Element x) {
  using format = float_format<Element>;
  using bits = typename format::bits;
  constexpr Element tiny = detail::power_of_two<Element>(1 - format::bias);
  constexpr Element lift = detail::power_of_two<Element>(format::mantissa_bits + 2);
  const bool subnormal = x < tiny;
  const bits raw = __builtin_bit_cast(bits, choose(subnormal, x * lift, x));
  // Moves the mantissa to [sqrt(1/2), sqrt(2)) by choosing the exponent relative to sqrt(1/2).
  constexpr bits root = __builtin_bit_cast(bits, Element(0.70710678118654752));
  using whole = typename format::whole;
  const whole exponent = static_cast<whole>(raw - root) >> format::mantissa_bits;
  const bits mantissa = raw - (static_cast<bits>(exponent) << format::mantissa_bits);
  const Element f = __builtin_bit_cast(Element, mantissa) - Element(1);
  const Element k = static_cast<Element>(exponent) - choose(subnormal, Element(format::mantissa_bits + 2), Element(0));
  const Element s = f / (Element(2) + f), z = s * s, half_square = Element(0.5) * f * f;
  Element rest, high, low;
  if constexpr (detail::is_single<Element>) {
    rest = z * detail::horner(z, 0.66666662693f, 0.40000972152f, 0.28498786688f, 0.24279078841f);
    high = 0.693359375f, low = -2.12194440e-4f;
  } else {
    rest = z * detail::horner(z, 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
                              2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
                              1.479819860510658591e-01);
    high = 6.93147180369123816490e-01, low = 1.90821492927058770002e-10;
  }
  const Element inside = k * high - ((half_square - (s * (half_square + rest) + k * low)) - f);
  const Element positive = choose(x < format::infinity, inside, x);  // infinity and NaN are their own logarithms
  const Element from_zero = choose(x == Element(0), -format::infinity, positive);
  return choose(x < Element(0), format::not_a_number, from_zero);
}

/// The error function, error <= 3 ulp.
template <class Element>
MESHLOOM_DEVICE constexpr Element erf(Element x) {
  constexpr Element high = detail::is_single<Element> ? 4 : 6;  // erf rounds to 1 from here on
  const Element a = magnitude(clamp(x, -high, high)), square = a * a;
  const Element t = Element(1) / (Element(1) + Element(0.5) * a);
  Element near, scaled;  // erf(x)/x below 1; erfc(x)·e^(x²) above
  if constexpr (detail::is_single<Element>) {
    near = detail::horner(square, 1.12837916584835095f, -0.37612626666720331f, 0.112835947151602177f,
                          -0.0268542120106264124f, 0.00518908742343397399f, -0.000801686428716586953f,
                          0.0000787587506268548834f);
    scaled =
        detail::horner(t, 0.000537095817776063689f, 0.274476618047740607f, 0.326460598441123738f, 0.11305564562086766f,
                       0.386186258743323182f, -0.0433860383815338332f, -0.0580902074289692043f);
  } else {
    near = detail::horner(square, 1.12837916709551257, -0.376126389031835404, 0.112837916709450063,
                          -0.0268661706432377704, 0.00522397760711642273, -0.000854832597538969208,
                          0.000120552949048397079, -0.0000149247369074196603, 1.64474247033173624e-6,
                          -1.62084838018717059e-7, 1.37200645467776856e-8, -7.79589882700214224e-10);
    scaled =
        detail::horner(t, 1.20534331095473619e-7, 0.282090088722532832, 0.282179773442475113, 0.245890245505058495,
                       0.183481029398671118, 0.0441794310621778682, 0.158673085376998466, -0.565679402565048514,
                       1.14935727609462586, -2.12616179682921038, 2.74851877227836147, -2.23919910800058267,
                       1.08247747235354241, -0.254443678328595119, -0.000644332041411578535, 0.00928241234479700848);
  }
  const Element far = Element(1) - exp(-square) * scaled;
  return with_sign_of(x, choose(a < Element(1), a * near, far));
}

/// The square root, error <= 1 ulp; NaN below 0.
template <class Element>
MESHLOOM_DEVICE constexpr Element sqrt(Element x) {
  using format = float_format<Element>;
  using bits = typename format::bits;
  constexpr Element tiny = detail::power_of_two<Element>(1 - format::bias);
  constexpr bits guess = detail::is_single<Element> ? bits(0x5f375a86) : bits(0x5fe6eb50c7b537a9);
  const bool subnormal = x < tiny;
  const Element lifted = choose(subnormal, x * detail::power_of_two<Element>(2 * format::mantissa_bits), x);
  Element inverse = __builtin_bit_cast(Element, static_cast<bits>(guess - (__builtin_bit_cast(bits, lifted) >> 1)));
  const Element half = Element(0.5) * lifted;
  for (int round = 0; round < (detail::is_single<Element> ? 3 : 4);
       ++round) {  // Newton, then one correction of the root
    inverse = inverse * (Element(1.5) - half * inverse * inverse);
  }
  const Element root = lifted * inverse;
  const Element corrected = root + Element(0.5) * inverse * (lifted - root * root);
  const Element value = choose(subnormal, corrected * detail::power_of_two<Element>(-format::mantissa_bits), corrected);
  const Element positive = choose(x < format::infinity, value, x);
  return choose(x < Element(0), format::not_a_number, positive);
}

/// Sine and cosine of x, absolute error <= 3e-16 for |x| <= 2^20, growing in proportion to |x| beyond.
struct sine_and_cosine {
  double sine, cosine;

  MESHLOOM_DEVICE constexpr explicit sine_and_cosine(double x) {
    constexpr double magic = 6755399441055744.0;  // 1.5·2⁵²: a sum with it is rounded to a whole number
    const double shifted = x * 0.63661977236758134308 + magic, n = shifted - magic;
    const auto quarter = __builtin_bit_cast(std::uint64_t, shifted);  // in its lowest bits
    // x - n·π/2, where π/2 is a sum of three numbers; the products of the first two with n are exact.
    const double r =
        ((x - n * 1.57079632673412561417) - n * 6.07710050630396597660e-11) - n * 2.02226624879595063154e-21;
    const double z = r * r;
    const double s =
        r + r * z *
                detail::horner(z, -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
                               2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10);
    const double c = 1 + z * detail::horner(z, -0.5, 4.16666666666666019037e-02, -1.38888888888741095749e-03,
                                            2.48015872894767294178e-05, -2.75573143513906633035e-07,
                                            2.08757232129817482790e-09, -1.13596475577881948265e-11);
    const bool odd = (quarter & 1) != 0;
    sine = negated_if(quarter & 2, choose(odd, c, s));
    cosine = negated_if((quarter + 1) & 2, choose(odd, s, c));
  }

 private:
  /// `bit` is 0 or 2.
  MESHLOOM_DEVICE static constexpr double negated_if(std::uint64_t bit, double x) {
    return __builtin_bit_cast(double, __builtin_bit_cast(std::uint64_t, x) ^ bit << 62);
  }
};

}  // namespace meshloom::math
