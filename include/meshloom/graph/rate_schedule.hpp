// SPDX-License-Identifier: Apache-2.0
// A learning-rate schedule as plain data: what part of its peak a rate is, step by step. It grows linearly over a
// warm-up, then falls. Law: the factor depends on the number of the step alone, so that every rank of every plan takes
// the same without being told.
#pragma once

#include <meshloom/base/config.hpp>

#include <cstdint>

namespace meshloom {

struct rate_schedule {
  enum kind_type : std::uint8_t {
    constant,
    cosine,               ///< half a cosine from 1 to `floor` (Loshchilov and Hutter 2017)
    linear,               ///< a line from 1 to `floor`
    inverse_square_root,  ///< √(warmup / steps done) (Vaswani et al. 2017)
    staircase,            ///< times `floor` every `steps` steps
  } kind = constant;
  std::int64_t warmup = 0;  ///< steps; the last of them has the factor 1
  std::int64_t steps = 0;   ///< all steps, with the warm-up: from then on the factor is `floor`
  double floor = 0;

  bool operator==(const rate_schedule&) const = default;
};

/// The factor of a step, of which the first is step 0. The schedule is sound.
double factor_at(const rate_schedule& schedule, std::uint64_t step);

/// True if its numbers mean something: no step is counted backwards, what falls has steps to fall, no factor is
/// negative.
bool is_sound(const rate_schedule& schedule);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/rate_schedule.inl>
#endif
