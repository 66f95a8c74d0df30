// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/graph.hpp>

#include <doctest/doctest.h>

#include <cmath>

using meshloom::factor_at;
using meshloom::is_sound;
using meshloom::rate_schedule;

TEST_CASE("a constant rate keeps its peak") {
  for (std::uint64_t step = 0; step < 100; step += 7) CHECK(factor_at({}, step) == 1);
}

TEST_CASE("a warm-up is a line that ends at the peak, whatever follows") {
  for (const auto kind : {rate_schedule::cosine, rate_schedule::linear, rate_schedule::inverse_square_root}) {
    const rate_schedule of{kind, 8, 20, 0.1};
    for (std::uint64_t step = 0; step < 8; ++step) CHECK(factor_at(of, step) == static_cast<double>(step + 1) / 8);
  }
}

TEST_CASE("what falls is its closed form, and stays on the floor") {
  const rate_schedule cosine{rate_schedule::cosine, 10, 50, 0.1}, linear{rate_schedule::linear, 10, 50, 0.1};
  CHECK(factor_at(cosine, 10) == 1);
  CHECK(factor_at(linear, 10) == 1);
  // a quarter, half and three quarters of the way: cos 45°, 90° and 135°
  CHECK(factor_at(cosine, 20) == doctest::Approx(0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2).epsilon(1e-14));
  CHECK(factor_at(cosine, 30) == doctest::Approx(0.55).epsilon(1e-14));
  CHECK(factor_at(cosine, 40) == doctest::Approx(0.1 + 0.9 * (1 - std::sqrt(0.5)) / 2).epsilon(1e-14));
  for (std::uint64_t step = 10; step < 50; ++step) {
    CHECK(factor_at(linear, step) == doctest::Approx(1 - 0.9 * static_cast<double>(step - 10) / 40).epsilon(1e-14));
    CHECK(factor_at(cosine, step + 1) < factor_at(cosine, step));
  }
  for (const std::uint64_t step : {50u, 51u, 1000u}) {
    CHECK(factor_at(cosine, step) == doctest::Approx(0.1).epsilon(1e-14));
    CHECK(factor_at(linear, step) == doctest::Approx(0.1).epsilon(1e-14));
  }
}

TEST_CASE("an inverse square root falls by half when the steps are four times as many") {
  const rate_schedule of{rate_schedule::inverse_square_root, 16};
  CHECK(factor_at(of, 15) == 1);
  CHECK(factor_at(of, 63) == 0.5);
  CHECK(factor_at(of, 255) == 0.25);
  CHECK(factor_at({rate_schedule::inverse_square_root, 0}, 3) == 0.5);
}

TEST_CASE("a staircase falls at every landing") {
  const rate_schedule of{rate_schedule::staircase, 0, 30, 0.1};
  for (std::uint64_t step = 0; step < 30; ++step) CHECK(factor_at(of, step) == 1);
  for (std::uint64_t step = 30; step < 60; ++step) CHECK(factor_at(of, step) == doctest::Approx(0.1).epsilon(1e-14));
  CHECK(factor_at(of, 60) == doctest::Approx(0.01).epsilon(1e-14));
}

TEST_CASE("a schedule that means nothing is a fault of the graph") {
  CHECK(is_sound(rate_schedule{}));
  CHECK(is_sound(rate_schedule{rate_schedule::cosine, 0, 1}));
  CHECK(is_sound(rate_schedule{rate_schedule::inverse_square_root, 0}));
  const rate_schedule faulty[] = {{rate_schedule::cosine, 10, 10},      {rate_schedule::linear, -1, 10},
                                  {rate_schedule::linear, 0, 10, -0.1}, {rate_schedule::staircase, 0, 0, 0.1},
                                  {rate_schedule::constant, 0, 0, NAN}, {rate_schedule::inverse_square_root, -1}};
  for (const rate_schedule& each : faulty) {
    meshloom::graph whole;
    CHECK(check(whole).empty());
    whole.rate = each;
    CHECK(check(whole) == meshloom::vector<std::string>{
                              "the graph: the schedule of its rate has a negative number, or too few steps to fall "
                              "in after its warm-up"});
  }
}
