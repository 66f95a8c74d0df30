// SPDX-License-Identifier: Apache-2.0
// Laws of graph/loss_scaling.hpp: overflow lowers the scale at once, patience raises it, and nothing else changes it.
#include <doctest/doctest.h>

#include <meshloom/graph/loss_scaling.hpp>

#include <initializer_list>
#include <limits>

using namespace meshloom;

TEST_CASE("a loss that is not scaled stays as it is") {
  const loss_scaling none;
  CHECK_FALSE(none.scales());
  CHECK(first_scale(none) == loss_scale{1, 0});
  for (const bool finite : {true, false}) CHECK(next_scale(none, {1, 0}, finite) == loss_scale{1, 0});
}

TEST_CASE("gradients that overflow lower the scale, many that do not raise it") {
  const loss_scaling rule{.initial = 64, .factor = 4, .patience = 3};
  loss_scale now = first_scale(rule);
  CHECK(now == loss_scale{64, 0});
  now = next_scale(rule, now, false);
  CHECK(now == loss_scale{16, 0});
  now = next_scale(rule, next_scale(rule, now, true), true);
  CHECK(now == loss_scale{16, 2});
  CHECK(next_scale(rule, now, true) == loss_scale{64, 0});
  CHECK(next_scale(rule, now, false) == loss_scale{4, 0});
}

TEST_CASE("without patience the scale is only lowered") {
  const loss_scaling rule{.initial = 8, .patience = 0};
  loss_scale now = first_scale(rule);
  for (int step = 0; step < 5000; ++step) now = next_scale(rule, now, true);
  CHECK(now.scale == 8);
  CHECK(next_scale(rule, now, false).scale == 4);
}

TEST_CASE("numbers that mean nothing are told from those that do") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(is_sound(loss_scaling{}));
  CHECK(is_sound({.initial = 1, .factor = 1, .patience = 0}));
  CHECK_FALSE(is_sound({.initial = -1}));
  CHECK_FALSE(is_sound({.initial = infinity}));
  CHECK_FALSE(is_sound({.initial = 2, .factor = 0.5}));
  CHECK_FALSE(is_sound({.initial = 2, .factor = infinity}));
  CHECK_FALSE(is_sound({.initial = 2, .patience = -1}));
}
