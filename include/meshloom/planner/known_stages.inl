// SPDX-License-Identifier: Apache-2.0
#include <meshloom/cluster/groups.hpp>
#include <meshloom/planner/allowed.hpp>
#include <meshloom/planner/known_stages.hpp>
#include <meshloom/planner/space.hpp>
#include <meshloom/program/memories.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// What stages are priced by: how many hosts there are does not matter beyond whether there are others.
inline cluster priced_cluster(cluster machine) {
  machine.name.clear();
  machine.device.name.clear();
  machine.device.memory = {};
  machine.hosts = std::min(machine.hosts, 2);
  return machine;
}

inline manual priced_constraints(manual asked) {
  asked.automatic = true;
  asked.stages = asked.micro_batches = 0;
  asked.cuts.clear();
  return asked;
}

inline bool same_limits(const intra_options& a, const intra_options& b) {
  const auto numbers = [](const intra_options& each) {
    return std::tuple(each.most_entries, each.quick_entries, each.rounds, each.neighbourhoods, each.nodes,
                      each.most_work, each.most_binaries, each.seed, each.exact);
  };
  return numbers(a) == numbers(b) && a.starts == b.starts;
}

inline cluster without_memory(cluster machine) {
  machine.device.memory = {};
  return machine;
}

/// True if all that `less` asks for is asked for by the other as well, and nothing but pins besides.
inline bool adds_pins(const manual& less, manual more) {
  const vector<path_pin> pins = std::move(more.pins);
  more.pins = less.pins;
  const auto is_kept = [&](const path_pin& each) { return std::find(pins.begin(), pins.end(), each) != pins.end(); };
  return less == more && std::all_of(less.pins.begin(), less.pins.end(), is_kept);
}

/// True if both name the same mesh axes: else stages stand on other meshes.
inline bool names_alike(const problem& posed, const problem& other) {
  const vector<mesh_axis_size>& axes = posed.constraints.mesh;
  return std::all_of(axes.begin(), axes.end(), [&](const mesh_axis_size& axis) {
    return is_named(posed, axis.name) == is_named(other, axis.name);
  });
}

/// True if every operator of the plan runs as the constraints allow.
inline bool keeps_pins(const problem& posed, const plan& made) {
  const auto blocks = blocks_of(posed.graph);
  for (const stage_plan& stage : made.stages) {
    for (std::size_t n = 0; n < posed.graph.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      const node& at = posed.graph.nodes[id];
      const auto runs = [&](const block& each) { return each.region == at.region; };
      if (at.when == phase::update ||
          std::none_of(blocks.begin() + stage.first_block, blocks.begin() + stage.end_block, runs))
        continue;
      const auto allowed = allowed_strategies(posed, stage, id);
      if (std::find(allowed.begin(), allowed.end(), stage.strategies[id]) == allowed.end()) return false;
      for (const std::string& axis : pinned_axes(posed, at)) {
        if (std::find(stage.mesh_axes.begin(), stage.mesh_axes.end(), axis) == stage.mesh_axes.end()) return false;
      }
    }
  }
  return true;
}

/// True if no rank of the plan's program holds more than its device has.
inline bool fits(const problem& posed, const plan& made) {
  const vector<bytes> peaks = peaks_of(posed.graph, made, posed.cluster);
  std::size_t number = 0;
  return std::all_of(made.stages.begin(), made.stages.end(), [&](const stage_plan& each) {
    return peaks[number++] <= device_of(posed.cluster, each.first_rank).memory;
  });
}

}  // namespace detail

MESHLOOM_INLINE bool priced_stages::are_freer_than(const problem& posed, const intra_options& limits) const {
  return detail::priced_cluster(posed.cluster) == detail::priced_cluster(posed_.cluster) &&
         detail::adds_pins(detail::priced_constraints(posed_.constraints),
                           detail::priced_constraints(posed.constraints)) &&
         posed.graph == posed_.graph && detail::same_limits(limits, limits_);
}

MESHLOOM_INLINE bool priced_stages::are_of(const problem& posed, const intra_options& limits) const {
  return posed.constraints.pins == posed_.constraints.pins && are_freer_than(posed, limits);
}

MESHLOOM_INLINE std::shared_ptr<stage_ways> priced_stages::freer(const stage_family& of,
                                                                 std::int32_t micro_batches) const {
  for (const priced_stages* stages = freer_; stages != nullptr; stages = stages->freer_) {
    for (const auto& each : stages->found_) {
      if (each->is_about(of, micro_batches)) return each;
    }
  }
  return nullptr;
}

MESHLOOM_INLINE std::int64_t priced_stages::work() const {
  std::int64_t sum = freer_ != nullptr ? freer_->work() : 0;
  for (const auto& each : found_) sum += each->work();
  return sum;
}

MESHLOOM_INLINE priced_stages::known_ways priced_stages::find(const stage_family& of,
                                                              std::int32_t micro_batches) const {
  known_ways best;
  for (const auto& each : found_) {
    const stage_ways::section section = each->section_of(of, micro_batches);
    if (section.count > best.section.count) best = {each, section};
  }
  return best;
}

MESHLOOM_INLINE std::shared_ptr<stage_ways> priced_stages::price(stage_family of, std::int32_t micro_batches) {
  found_.push_back(std::make_shared<stage_ways>(posed_, micro_batches, limits_, std::move(of), &tables_));
  return found_.back();
}

MESHLOOM_INLINE std::optional<plan> known_stages::answer_for(const problem& posed, const intra_options& limits) const {
  const bytes memory = posed.cluster.device.memory;
  for (const solved_problem* each : plans_for(posed)) {
    if (each->posed.cluster.device.memory < memory || !detail::same_limits(each->limits, limits)) continue;
    if (!detail::names_alike(posed, each->posed) || !detail::fits(posed, each->found)) continue;
    plan made = each->found;
    const bool same = each->posed.cluster.device.memory == memory && each->posed.constraints == posed.constraints;
    if (!same) made.runner_up.reset();  // which may not be a plan for this problem
    return made;
  }
  return std::nullopt;
}

MESHLOOM_INLINE void known_stages::remember(const problem& posed, const intra_options& limits, const plan& found) {
  constexpr std::size_t most = 8;
  solved_.push_front({posed, limits, found});
  if (solved_.size() > most) solved_.pop_back();
}

MESHLOOM_INLINE vector<const solved_problem*> known_stages::plans_for(const problem& posed) const {
  vector<const solved_problem*> found;
  for (const solved_problem& each : solved_) {
    const bool alike = detail::without_memory(each.posed.cluster) == detail::without_memory(posed.cluster) &&
                       detail::adds_pins(each.posed.constraints, posed.constraints) && each.posed.graph == posed.graph;
    if (alike && (each.posed.constraints == posed.constraints || detail::keeps_pins(posed, each.found)))
      found.push_back(&each);
  }
  return found;
}

MESHLOOM_INLINE picoseconds known_stages::bound_for(const problem& posed) const {
  picoseconds most;
  for (const solved_problem& each : solved_) {
    if (detail::names_alike(posed, each.posed) &&
        detail::without_memory(each.posed.cluster) == detail::without_memory(posed.cluster) &&
        each.posed.cluster.device.memory >= posed.cluster.device.memory &&
        detail::adds_pins(each.posed.constraints, posed.constraints) && each.posed.graph == posed.graph)
      most = std::max(most, each.found.bound);
  }
  return most;
}

MESHLOOM_INLINE const plan* known_stages::last_for(const graph& whole) const {
  const auto last = std::find_if(solved_.begin(), solved_.end(),
                                 [&](const solved_problem& each) { return each.posed.graph == whole; });
  return last == solved_.end() ? nullptr : &last->found;
}

MESHLOOM_INLINE priced_stages& known_stages::of(const problem& posed, const intra_options& limits) {
  for (priced_stages& each : all_) {
    if (each.are_of(posed, limits)) return each;
  }
  const priced_stages* freer = nullptr;
  for (const priced_stages& each : all_) {
    if (each.are_freer_than(posed, limits) && (freer == nullptr || freer->work() < each.work())) freer = &each;
  }
  return all_.emplace_back(posed, limits, freer);
}

}  // namespace meshloom
