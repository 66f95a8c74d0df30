// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/adapt.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

inline std::int32_t region_blocks(const graph& whole, std::string_view name) {
  for (const region& area : whole.regions) {
    if (area.name == name) return area.count;
  }
  return 0;
}

/// The number of blocks of `other` that come before block `before` of `training`.
inline std::int32_t moved_block(const graph& training, std::int32_t before, const graph& other) {
  std::int32_t count = 0, seen = 0;
  for (const region& area : training.regions) {
    const std::int32_t here = std::clamp(before - seen, 0, area.count);
    count += std::min(here, region_blocks(other, area.name));
    seen += area.count;
  }
  return count;
}

inline stage_plan adapted_stage(const graph& training, const stage_plan& stage, const graph& other) {
  stage_plan made = stage;
  made.first_block = moved_block(training, stage.first_block, other);
  made.end_block = moved_block(training, stage.end_block, other);
  made.recompute.assign(static_cast<std::size_t>(made.end_block - made.first_block), false);
  made.strategies = table<node_id, strategy>(other.nodes.size());
  for (std::size_t n = 0; n < other.nodes.size(); ++n) {
    for (std::size_t t = 0; t < training.nodes.size(); ++t) {
      if (other.nodes[node_id(n)].name == training.nodes[node_id(t)].name)
        made.strategies[node_id(n)] = stage.strategies[node_id(t)];
    }
  }
  made.parameters.assign(other.parameters.size(), {});
  for (std::size_t p = 0; p < other.parameters.size(); ++p) {
    const std::string& name = other.values[other.parameters[p].value].name;
    for (std::size_t t = 0; t < training.parameters.size(); ++t) {
      if (training.values[training.parameters[t].value].name == name) made.parameters[p] = stage.parameters[t];
    }
    made.parameters[p].accumulated.clear();
  }
  return made;
}

}  // namespace detail

MESHLOOM_INLINE plan adapt(const graph& training, const plan& made, const graph& other) {
  plan adapted = made;
  adapted.model = hash_of(other);
  adapted.sizes = other.sizes;
  adapted.schedule = schedule_kind::forward_only;
  adapted.predicted = adapted.bound = {};
  adapted.runner_up.reset();
  const std::int64_t batch = other.sizes[other.micro_batched].extent;
  if (batch % adapted.micro_batches != 0) adapted.micro_batches = 1;
  for (stage_plan& stage : adapted.stages) stage = detail::adapted_stage(training, stage, other);
  return adapted;
}

}  // namespace meshloom
