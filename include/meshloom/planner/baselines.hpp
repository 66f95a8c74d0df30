// SPDX-License-Identifier: Apache-2.0
// Baselines: what other systems search, as spaces of our own plans, priced by the same `predict` and measured by the
// same `lower`. They say what the automatic planner is worth, and each is a planner for who wants that space.
// Law: an answer fits in memory; there is none only if the space has no plan that fits, or none was met.
#pragma once

#include <meshloom/plan/manual.hpp>
#include <meshloom/planner/intra.hpp>
#include <meshloom/planner/metropolis.hpp>

#include <optional>
#include <string_view>

namespace meshloom {

enum class baseline : std::uint8_t {
  megatron,       ///< dp × tp × pp, see `megatron_grid` (Narayanan et al. 2021)
  deepspeed,      ///< ZeRO-2 and expert parallelism, see `deepspeed_grid` (Rajbhandari et al. 2020, 2022)
  data_parallel,  ///< one stage that splits the batch
  zero_3,         ///< the same with parameters, gradients and state split as well (ZeRO, section 5)
  pipeline_data,  ///< stages that split the batch, on as many ranks as they need (PipeDream, Narayanan et al. 2019,
                  ///< section 3.1; DAPPLE, Fan et al. 2021); equal ones also with activations computed again
  intra_only,     ///< one stage, whose strategies are solved for (Alpa, Zheng et al. 2022, section 8.2)
  inter_only,     ///< stages of one rank each, whose cuts are solved for (there)
  mcmc,           ///< one stage, a random walk over strategies and meshes, see `walk_strategies` (FlexFlow, Jia et al.
                  ///< 2019, section 6)
};

inline constexpr baseline all_baselines[] = {baseline::megatron,   baseline::deepspeed,     baseline::data_parallel,
                                             baseline::zero_3,     baseline::pipeline_data, baseline::intra_only,
                                             baseline::inter_only, baseline::mcmc};

/// "megatron", "deepspeed", "data", "zero-3", "pp-dp", "intra-only", "inter-only", "mcmc".
std::string_view name_of(baseline which);

/// All ways to factor the ranks into data × tensor × pipeline parallelism, tensor parallelism within a host, and stages
/// cut to about equal work; with whole optimizer state or, as of ZeRO-1, that of Megatron's distributed optimizer; and
/// as the grids below in every number of micro-batches of which each splitting rank gets a sample, with all activations
/// kept and with those of every repeated layer computed again.
vector<manual> megatron_grid(const graph& whole, const cluster& machine);

/// ZeRO-2 over all ranks; if the model has experts, they are split over any number of neighbouring ranks that divides
/// the ranks and is not more than the experts.
vector<manual> deepspeed_grid(const graph& whole, const cluster& machine);

/// ZeRO of a level, 0 for whole parameters, over all ranks.
vector<manual> data_grid(const graph& whole, const cluster& machine, std::int32_t zero_level);

/// All ways to factor the ranks into data × pipeline parallelism, stages cut to about equal work.
vector<manual> pipeline_data_grid(const graph& whole, const cluster& machine);

struct baseline_limits {
  intra_options intra = {};  ///< of what is solved for
  walk_limits walk = {};
};

/// The fastest plan that fits in memory of those that the baseline searches; or why it has none.
result<plan> solve(const graph& whole, const cluster& machine, baseline which, const baseline_limits& limits = {});

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/planner/baselines.inl>
#endif
