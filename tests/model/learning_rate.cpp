// SPDX-License-Identifier: Apache-2.0
#include <meshloom/model/learning_rate.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

using namespace meshloom;

namespace {

double rate_at(const learning_rate& of, std::uint64_t step) { return of.peak * factor_at(of.schedule, step); }

}  // namespace

TEST_CASE("schedules are what their formulas say, as rates") {
  const double peak = 3e-4, floor = 3e-5;
  for (std::uint64_t step = 0; step < 300; ++step) {
    const double n = static_cast<double>(step);
    const double fallen = std::min((n - 20) / 180, 1.0);
    const double cosine = floor + (peak - floor) * 0.5 * (1 + std::cos(std::numbers::pi * fallen));
    const double line = peak + (floor - peak) * fallen;
    const auto same = [](double rate) { return doctest::Approx(rate).epsilon(1e-13); };
    CHECK(rate_at(0.1, step) == 0.1);
    CHECK(rate_at(warmup_cosine{peak, 20, 200, floor}, step) == same(step < 20 ? peak * (n + 1) / 20 : cosine));
    CHECK(rate_at(warmup_linear{peak, 20, 200, floor}, step) == same(step < 20 ? peak * (n + 1) / 20 : line));
    CHECK(rate_at(inverse_square_root{peak, 50}, step) ==
          same(peak * std::sqrt(50.0) * std::min(1 / std::sqrt(n + 1), (n + 1) * std::pow(50.0, -1.5))));
    CHECK(rate_at(step_decay{0.1, 30, 0.5}, step) == same(0.1 * std::pow(0.5, static_cast<double>(step / 30))));
  }
}

TEST_CASE("a schedule without a floor ends at 0") {
  CHECK(rate_at(warmup_linear{1, 0, 10}, 10) == 0);
  CHECK(rate_at(warmup_cosine{0, 0, 10}, 5) == 0);
}
