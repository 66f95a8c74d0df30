// SPDX-License-Identifier: Apache-2.0
// Loss scaling: gradients of 16 bits are kept from vanishing by a loss that is multiplied by a number, by which
// gradients are divided again before anything reads them. A step whose gradients are not finite changes nothing and
// lowers the number; many good steps in a row raise it. Law: the next number depends on this one and on whether
// gradients were finite alone, so that all ranks agree. Source: Micikevicius et al., Mixed Precision Training (2018),
// section 3.2.
#pragma once

#include <meshloom/base/config.hpp>

#include <cstdint>

namespace meshloom {

struct loss_scaling {
  double initial = 0;            ///< what losses are multiplied by at first; 0: losses are not scaled
  double factor = 2;             ///< by which the scale is lowered and raised: a power of 2 rounds nothing
  std::int64_t patience = 2000;  ///< good steps in a row before it is raised; 0: never

  bool scales() const { return initial > 0; }
  bool operator==(const loss_scaling&) const = default;
};

/// The scale of a step, and the good steps since it was last changed.
struct loss_scale {
  double scale = 1;
  std::int64_t good_steps = 0;

  bool operator==(const loss_scale&) const = default;
};

/// The scale before the first step.
loss_scale first_scale(const loss_scaling& rule);

/// The scale after a step: `finite` if its gradients were.
loss_scale next_scale(const loss_scaling& rule, const loss_scale& of_step, bool finite);

/// True if its numbers mean something.
bool is_sound(const loss_scaling& rule);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/graph/loss_scaling.inl>
#endif
