// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/loss_scaling.hpp>

#include <cmath>

namespace meshloom {

MESHLOOM_INLINE loss_scale first_scale(const loss_scaling& rule) { return {rule.scales() ? rule.initial : 1, 0}; }

MESHLOOM_INLINE loss_scale next_scale(const loss_scaling& rule, const loss_scale& of_step, bool finite) {
  if (!rule.scales()) return of_step;
  if (!finite) return {of_step.scale / rule.factor, 0};
  if (of_step.good_steps + 1 != rule.patience) return {of_step.scale, of_step.good_steps + 1};
  return {of_step.scale * rule.factor, 0};
}

MESHLOOM_INLINE bool is_sound(const loss_scaling& rule) {
  return rule.initial >= 0 && std::isfinite(rule.initial) && rule.factor >= 1 && std::isfinite(rule.factor) &&
         rule.patience >= 0;
}

}  // namespace meshloom
