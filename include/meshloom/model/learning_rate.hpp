// SPDX-License-Identifier: Apache-2.0
// Learning rates: a number, or a schedule of them. `adamw{.rate = 3e-4}` and
// `adamw{.rate = warmup_cosine{.peak = 3e-4, .warmup = 100, .steps = 5000}}` are both optimizers. Warm-ups are linear,
// and the last step of one has the peak; steps are counted from the start of the run.
// Law: step by step the rate is what the formula says.
#pragma once

#include <meshloom/graph/rate_schedule.hpp>

namespace meshloom {

/// From the peak along half a cosine (Loshchilov and Hutter 2017) to the floor, reached after `steps` steps in all.
struct warmup_cosine {
  double peak = 1e-3;
  std::int64_t warmup = 0;
  std::int64_t steps = 1;
  double floor = 0;
};

/// From the peak along a line to the floor, reached after `steps` steps in all.
struct warmup_linear {
  double peak = 1e-3;
  std::int64_t warmup = 0;
  std::int64_t steps = 1;
  double floor = 0;
};

/// The peak times √(warmup / n) in the n-th step (Vaswani et al. 2017).
struct inverse_square_root {
  double peak = 1e-3;
  std::int64_t warmup = 1;
};

/// The peak, and a factor times it after every `every` steps.
struct step_decay {
  double peak = 0.1;
  std::int64_t every = 1;
  double factor = 0.1;
};

/// What an optimizer is given as its rate.
struct learning_rate {
  double peak;
  rate_schedule schedule = {};

  constexpr learning_rate(double rate) : peak(rate) {}
  constexpr learning_rate(const warmup_cosine& of)
      : peak(of.peak), schedule{rate_schedule::cosine, of.warmup, of.steps, part_of_peak(of.floor)} {}
  constexpr learning_rate(const warmup_linear& of)
      : peak(of.peak), schedule{rate_schedule::linear, of.warmup, of.steps, part_of_peak(of.floor)} {}
  constexpr learning_rate(const inverse_square_root& of)
      : peak(of.peak), schedule{rate_schedule::inverse_square_root, of.warmup} {}
  constexpr learning_rate(const step_decay& of)
      : peak(of.peak), schedule{rate_schedule::staircase, 0, of.every, of.factor} {}

 private:
  constexpr double part_of_peak(double floor) const { return floor == 0 ? 0 : floor / peak; }
};

}  // namespace meshloom
