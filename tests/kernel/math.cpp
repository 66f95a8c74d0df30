// SPDX-License-Identifier: Apache-2.0
#include <meshloom/kernel/pointwise.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace {

namespace math = meshloom::math;

/// The largest error of f over [low, high], in units in the last place of the exact result.
template <class Element, class Function, class Exact>
double worst_error(Element low, Element high, Function f, Exact exact) {
  constexpr int points = 400'000;
  double worst = 0;
  for (int at = 0; at <= points; ++at) {
    const Element x = low + (high - low) * (static_cast<Element>(at) / static_cast<Element>(points));
    const long double truth = exact(static_cast<long double>(x));
    const auto near = std::abs(static_cast<Element>(truth));
    const Element ulp = std::nextafter(near, std::numeric_limits<Element>::infinity()) - near;
    const long double error = std::abs(static_cast<long double>(f(x)) - truth) / static_cast<long double>(ulp);
    if (std::isnan(error)) return std::numeric_limits<double>::quiet_NaN();
    worst = std::max(worst, static_cast<double>(error));
  }
  return worst;
}

template <class Element>
void check_errors() {
  constexpr bool single = sizeof(Element) == 4;
  const auto pick = [](float for_single, double for_double) {
    return single ? static_cast<Element>(for_single) : static_cast<Element>(for_double);
  };
  using exact = long double;
  const auto error = [](Element low, Element high, auto f, auto truth) { return worst_error(low, high, f, truth); };
  const auto exp = [](Element x) { return math::exp(x); };
  const auto exact_exp = [](exact x) { return std::exp(x); };
  CHECK(error(pick(-86.9f, -707.9), pick(88.72f, 709.78), exp, exact_exp) <= 2);
  CHECK(error(-1, 1, exp, exact_exp) <= 2);
  const auto exp2 = [](Element x) { return math::exp2(x); };
  const auto exact_exp2 = [](exact x) { return std::exp2(x); };
  CHECK(error(pick(-125.4f, -1021.4), pick(127.9f, 1023.9), exp2, exact_exp2) <= 4);
  CHECK(error(-1, 1, exp2, exact_exp2) <= 4);
  const auto tanh = [](Element x) { return math::tanh(x); };
  const auto exact_tanh = [](exact x) { return std::tanh(x); };
  CHECK(error(-25, 25, tanh, exact_tanh) <= 3);
  CHECK(error(Element(-1e-3), Element(1e-3), tanh, exact_tanh) <= 3);
  const auto sigmoid = [](Element x) { return math::sigmoid(x); };
  const auto exact_sigmoid = [](exact x) { return 1 / (1 + std::exp(-x)); };
  CHECK(error(pick(-86, -700), 100, sigmoid, exact_sigmoid) <= 4);
  CHECK(error(-5, 5, sigmoid, exact_sigmoid) <= 4);
  const auto log = [](Element x) { return math::log(x); };
  const auto exact_log = [](exact x) { return std::log(x); };
  CHECK(error(Element(1e-3), 1000, log, exact_log) <= 2);
  CHECK(error(Element(0.5), 2, log, exact_log) <= 2);
  CHECK(error(std::numeric_limits<Element>::denorm_min(), std::numeric_limits<Element>::min(), log, exact_log) <= 2);
  CHECK(error(1, std::numeric_limits<Element>::max(), log, exact_log) <= 2);
  const auto erf = [](Element x) { return math::erf(x); };
  const auto exact_erf = [](exact x) { return std::erf(x); };
  CHECK(error(-7, 7, erf, exact_erf) <= 3);
  CHECK(error(Element(-1e-3), Element(1e-3), erf, exact_erf) <= 3);
  CHECK(error(Element(0.9), Element(1.1), erf, exact_erf) <= 3);
  const auto sqrt = [](Element x) { return math::sqrt(x); };
  const auto exact_sqrt = [](exact x) { return std::sqrt(x); };
  CHECK(error(0, 4, sqrt, exact_sqrt) <= 1);
  CHECK(error(1, std::numeric_limits<Element>::max(), sqrt, exact_sqrt) <= 1);
  CHECK(error(0, std::numeric_limits<Element>::min(), sqrt, exact_sqrt) <= 1);
}

template <class Element>
void check_edges() {
  constexpr Element infinity = std::numeric_limits<Element>::infinity(),
                    nan = std::numeric_limits<Element>::quiet_NaN();
  for (const Element bad : {nan, -nan}) {
    CHECK(std::isnan(math::exp(bad)));
    CHECK(std::isnan(math::exp2(bad)));
    CHECK(std::isnan(math::tanh(bad)));
    CHECK(std::isnan(math::sigmoid(bad)));
    CHECK(std::isnan(math::log(bad)));
    CHECK(std::isnan(math::erf(bad)));
    CHECK(std::isnan(math::sqrt(bad)));
    CHECK(std::isnan(math::gelu(bad)));
    CHECK(std::isnan(math::gelu_slope(bad)));
    CHECK(std::isnan(math::silu(bad)));
    CHECK(std::isnan(math::silu_slope(bad)));
    CHECK(std::isnan(math::sine_and_cosine(bad).sine));
    CHECK(std::isnan(math::sine_and_cosine(bad).cosine));
  }
  CHECK(std::isnan(math::log(Element(-1))));
  CHECK(std::isnan(math::sqrt(Element(-1))));
  for (const Element low : {-infinity, std::numeric_limits<Element>::lowest(), Element(-1e9)}) {
    CHECK(math::exp(low) == 0);
    CHECK(math::exp2(low) == 0);
    CHECK(math::tanh(low) == -1);
    CHECK(math::erf(low) == -1);
    CHECK(math::sigmoid(low) == 0);
  }
  for (const Element high : {infinity, std::numeric_limits<Element>::max(), Element(1e9)}) {
    CHECK(math::exp(high) == infinity);
    CHECK(math::exp2(high) == infinity);
    CHECK(math::tanh(high) == 1);
    CHECK(math::erf(high) == 1);
    CHECK(math::sigmoid(high) == 1);
  }
  CHECK(math::log(Element(0)) == -infinity);
  CHECK(math::log(infinity) == infinity);
  CHECK(math::sqrt(infinity) == infinity);
  CHECK(math::sqrt(Element(0)) == 0);
  CHECK(math::exp(Element(0)) == 1);
  CHECK(math::exp2(Element(0)) == 1);
  CHECK(math::exp2(Element(10)) == 1024);
  CHECK(math::tanh(Element(0)) == 0);
  CHECK(std::signbit(math::tanh(Element(-0.0))));
}

}  // namespace

TEST_CASE("errors stay below what the functions promise") {
  check_errors<float>();
  check_errors<double>();
}

TEST_CASE("infinities, zeros and NaN") {
  check_edges<float>();
  check_edges<double>();
}

TEST_CASE("a clamp keeps what is inside, and NaN") {
  for (const float x : {-5.0f, -2.0f, -0.0f, 0.0f, 1e-40f, 3.0f, 7.0f, 1e38f, -1e38f}) {
    CHECK(math::clamp(x, -2.0f, 3.0f) == std::min(3.0f, std::max(-2.0f, x)));
    CHECK(math::clamp(static_cast<double>(x), -2.0, 3.0) == std::min(3.0, std::max(-2.0, static_cast<double>(x))));
  }
}

TEST_CASE("gelu and its slope agree with each other and with the definition") {
  for (double x = -12; x <= 12; x += 1.0 / 64) {
    const double u = std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
    CHECK(std::abs(math::gelu(x) - 0.5 * x * (1 + std::tanh(u))) <= 1e-14 * (1 + std::abs(x)));
    const double difference = (math::gelu(x + 1e-5) - math::gelu(x - 1e-5)) / 2e-5;
    CHECK(std::abs(math::gelu_slope(x) - difference) <= 1e-8);
  }
}

TEST_CASE("the measure of errors rejects a wrong last place and NaN") {
  const auto exact = [](long double x) { return x; };
  CHECK(worst_error<float>(
            1, 2, [](float x) { return x; }, exact) == 0);
  CHECK(worst_error<float>(
            1, 2, [](float x) { return std::nextafter(std::nextafter(x, 3.0f), 3.0f); }, exact) >= 1);
  CHECK(std::isnan(worst_error<float>(
      1, 2, [](float x) { return x == 1.5f ? NAN : x; }, exact)));
}

TEST_CASE("silu and its slope agree with each other and with the definition") {
  for (double x = -90; x <= 90; x += 1.0 / 64) {
    CHECK(std::abs(math::silu(x) - x / (1 + std::exp(-x))) <= 1e-14 * (1 + std::abs(x)));
    const double difference = (math::silu(x + 1e-5) - math::silu(x - 1e-5)) / 2e-5;
    CHECK(std::abs(math::silu_slope(x) - difference) <= 1e-8);
  }
}

TEST_CASE("sines and cosines are exact to 3e-16 up to 2^20") {
  double worst = 0;
  for (const double high : {1e-3, 1.0, 10.0, 1e4, 0x1p20}) {
    constexpr int points = 200'000;
    for (int at = -points; at <= points; ++at) {
      const double x = high * (at / static_cast<double>(points));
      const math::sine_and_cosine made(x);
      const auto exact = static_cast<long double>(x);
      const long double sine = std::abs(static_cast<long double>(made.sine) - std::sin(exact));
      const long double cosine = std::abs(static_cast<long double>(made.cosine) - std::cos(exact));
      worst = std::max(worst, static_cast<double>(std::max(sine, cosine)));
    }
  }
  MESSAGE("largest error: " << worst);
  CHECK(worst <= 3e-16);
  CHECK(math::sine_and_cosine(0).sine == 0);
  CHECK(math::sine_and_cosine(0).cosine == 1);
}
