// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/stage_memory.hpp>

namespace meshloom {
namespace detail {

/// Blocks on one rank: no strategy but one.
inline stage_plan on_one_rank(const graph& whole, std::int32_t first_block, std::int32_t end_block) {
  stage_plan made;
  made.first_block = first_block;
  made.end_block = end_block;
  made.recompute.assign(static_cast<std::size_t>(end_block - first_block), false);
  made.strategies = table<node_id, strategy>(whole.nodes.size());
  for (const parameter& each : whole.parameters) {
    made.parameters.push_back({.used = reads(whole, made, each),
                               .stored = {},
                               .state = {},
                               .accumulated = vector<spec>(each.gradients.size())});
  }
  return made;
}

/// The stage, and around it the other blocks, each side on one rank.
struct stage_alone {
  plan made;
  stage_id which;
};

inline stage_alone stand_alone(const problem& posed, const stage_plan& stage, std::int32_t micro_batches) {
  const graph& whole = posed.graph;
  const auto blocks = static_cast<std::int32_t>(blocks_of(whole).size());
  plan made{.model = {},
            .sizes = whole.sizes,
            .ranks = posed.cluster.ranks(),
            .micro_batches = micro_batches,
            .schedule = schedule_kind::one_f_one_b,
            .stages = {},
            .predicted = {},
            .bound = {}};
  if (stage.first_block > 0) made.stages.add(on_one_rank(whole, 0, stage.first_block));
  const stage_id which = made.stages.add(stage);
  if (stage.end_block < blocks) made.stages.add(on_one_rank(whole, stage.end_block, blocks));
  return {std::move(made), which};
}

}  // namespace detail

MESHLOOM_INLINE stage_memory memory_of(const problem& posed, const stage_plan& stage, std::int32_t micro_batches) {
  const auto [made, which] = detail::stand_alone(posed, stage, micro_batches);
  return memory_of(posed.graph, made, posed.cluster, which);
}

MESHLOOM_INLINE bytes slot_of(const problem& posed, const stage_plan& stage, std::int32_t micro_batches) {
  const auto [made, which] = detail::stand_alone(posed, stage, micro_batches);
  return slot_of(posed.graph, made, posed.cluster, which);
}

MESHLOOM_INLINE stage_price price_of(const problem& posed, const stage_plan& stage, std::int32_t micro_batches) {
  const auto [made, which] = detail::stand_alone(posed, stage, micro_batches);
  return price_of(posed.graph, made, posed.cluster, which);
}

}  // namespace meshloom
