// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/stage_search.hpp>
#include <meshloom/sharding/meshes.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// True if constraints or the model name a mesh axis: then it matters which of two is called so.
inline bool is_named(const problem& posed, const std::string& mesh_axis) {
  const auto names = [&](const auto& each) { return each.mesh_axis == mesh_axis; };
  const manual& asked = posed.constraints;
  return is_ruled(posed, mesh_axis) || std::any_of(asked.pins.begin(), asked.pins.end(), names) ||
         std::any_of(posed.graph.pins.begin(), posed.graph.pins.end(), names);
}

/// Calls `visit(sizes)` with every way to give the free axes sizes whose product with the others is `ranks`.
template <class Visit>
void for_each_size(const std::vector<mesh_axis_size>& axes, std::int32_t ranks, std::size_t axis,
                   std::vector<std::int32_t>& sizes, const Visit& visit) {
  if (axis == axes.size()) {
    if (ranks == 1) visit(sizes);
    return;
  }
  for (std::int32_t size = 1; size <= ranks; ++size) {
    if (ranks % size != 0 || (axes[axis].size > 0 && axes[axis].size != size)) continue;
    sizes.push_back(size);
    for_each_size(axes, ranks / size, axis + 1, sizes, visit);
    sizes.pop_back();
  }
}

/// True if the first copy of a region does not do what the others do: it reads an input, or makes a gradient in vain.
inline bool first_copy_differs(const graph& whole, const region& area) {
  if (!area.repeated) return false;
  const auto reads = [&](const node& at) {
    return std::find(at.operands.begin(), at.operands.end(), area.backward.outer_out) != at.operands.end();
  };
  return whole.values[area.forward.outer_in].kind == value_kind::input ||
         std::none_of(whole.nodes.begin(), whole.nodes.end(), reads);
}

/// What `cost` becomes between two numbers of copies, where one assignment is best.
inline stage_cost between(const stage_cost& low, const stage_cost& high, std::int64_t part, std::int64_t of) {
  const auto along = [&](auto a, auto b) { return decltype(a){a.count + (b.count - a.count) / of * part}; };
  return {along(low.time, high.time), along(low.once, high.once), along(low.fixed, high.fixed),
          along(low.slot, high.slot), std::max(low.transient, high.transient)};
}

}  // namespace detail

MESHLOOM_INLINE stage_search::stage_search(const problem& posed, std::int32_t micro_batches,
                                           const intra_options& limits)
    : posed_(posed), micro_batches_(micro_batches), limits_(limits) {
  find_meshes();
  find_work();
}

MESHLOOM_INLINE void stage_search::run(bool whole, picoseconds worth) {
  const auto blocks = static_cast<std::int32_t>(blocks_of(posed_.graph).size());
  for (const family& each : families()) {
    for (std::size_t mesh = 0; mesh < meshes_.size(); ++mesh) {
      const std::int32_t ranks = meshes_[mesh].mesh.ranks();
      // Whoever has all blocks has all ranks, and the other way round.
      if ((ranks == posed_.cluster.ranks()) != whole) continue;
      family here{each.copies, {}};
      for (const auto& range : each.ranges) {
        const bool all = range.second - range.first == blocks;
        if (all == whole && least_time(range.first, range.second, ranks) <= worth) here.ranges.push_back(range);
      }
      if (!here.ranges.empty()) solve_family(here, mesh);
    }
  }
}

MESHLOOM_INLINE void stage_search::find_work() {
  const graph& whole = posed_.graph;
  const size_table sizes = micro_batch_sizes(whole, micro_batches_);
  device free_launch = posed_.cluster.device;
  free_launch.launch = {};
  std::vector<picoseconds> of_region(whole.regions.size());
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const node& at = whole.nodes[static_cast<node_id>(n)];
    if (at.when != phase::update)
      of_region[index_of(at.region)] += price(whole, sizes, static_cast<node_id>(n), {}, {}, free_launch, {});
  }
  work_.push_back({});
  for (const block& each : blocks_of(whole)) work_.push_back(work_.back() + of_region[index_of(each.region)]);
}

MESHLOOM_INLINE picoseconds stage_search::least_time(std::int32_t first_block, std::int32_t end_block,
                                                     std::int32_t ranks) const {
  const picoseconds work = work_[static_cast<std::size_t>(end_block)] - work_[static_cast<std::size_t>(first_block)];
  return {work.count / ranks * micro_batches_};
}

MESHLOOM_INLINE void stage_search::find_meshes() {
  std::vector<std::vector<std::pair<std::string, std::int32_t>>> seen;
  for (const submesh& each : submeshes_of(posed_.cluster)) {
    std::vector<std::int32_t> sizes;
    detail::for_each_size(posed_.constraints.mesh, each.ranks(), 0, sizes, [&](const auto& chosen) {
      stage_plan next;
      std::vector<std::pair<std::string, std::int32_t>> alike;
      for (std::size_t axis = 0; axis < chosen.size(); ++axis) {
        const std::string& name = posed_.constraints.mesh[axis].name;
        if (chosen[axis] == 1) continue;
        next.mesh_axes.push_back(name);
        next.mesh.size[static_cast<std::size_t>(next.mesh.rank++)] = chosen[axis];
        alike.push_back({detail::is_named(posed_, name) ? name : "", chosen[axis]});
      }
      if (std::find(seen.begin(), seen.end(), alike) != seen.end()) return;
      seen.push_back(std::move(alike));
      meshes_.push_back(std::move(next));
    });
  }
}

MESHLOOM_INLINE bool stage_search::is_possible(std::int32_t first_block, std::int32_t end_block) const {
  const auto& cuts = posed_.constraints.cuts;
  const auto blocks = static_cast<std::int32_t>(blocks_of(posed_.graph).size());
  const std::int32_t stages = posed_.constraints.stages;
  const bool whole = first_block == 0 && end_block == blocks;
  if (stages > 0 && (stages == 1) != whole) return false;
  if (cuts.empty()) return true;
  const auto is_cut = [&](std::int32_t at) {
    return at == 0 || at == blocks || std::find(cuts.begin(), cuts.end(), at) != cuts.end();
  };
  const bool crosses =
      std::any_of(cuts.begin(), cuts.end(), [&](std::int32_t at) { return at > first_block && at < end_block; });
  return is_cut(first_block) && is_cut(end_block) && !crosses;
}

MESHLOOM_INLINE std::vector<stage_search::family> stage_search::families() const {
  const auto count = static_cast<std::int32_t>(blocks_of(posed_.graph).size());
  std::vector<family> found;
  for (std::int32_t length = 1; length <= count; ++length) {
    for (std::int32_t first = 0; first + length <= count; ++first) {
      if (!is_possible(first, first + length)) continue;
      family next{copies_in(first, first + length), {{first, first + length}}};
      const auto most = std::max_element(next.copies.begin(), next.copies.end());
      const std::int32_t copies = *most;
      if (copies > 1) *most = -1;
      const auto known =
          std::find_if(found.begin(), found.end(), [&](const family& each) { return each.copies == next.copies; });
      if (known == found.end())
        found.push_back(std::move(next));
      else if (known->ranges.back().second - known->ranges.back().first < length && copies > 1)
        known->ranges.push_back(next.ranges.front());
    }
  }
  return found;
}

MESHLOOM_INLINE void stage_search::solve_family(const family& each, std::size_t mesh) {
  const auto low = solve_range(each.ranges.front().first, each.ranges.front().second, mesh, 0);
  if (!low) return;
  add(*low);
  if (each.ranges.size() == 1) return;
  const auto high = solve_range(each.ranges.back().first, each.ranges.back().second, mesh, 0);
  if (!high) return;
  add(*high);
  solve_between(each, *low, *high, 0, each.ranges.size() - 1);
}

MESHLOOM_INLINE void stage_search::solve_between(const family& each, const stage_answer& low, const stage_answer& high,
                                                 std::size_t a, std::size_t b) {
  if (b - a < 2) return;
  const auto length = [&](std::size_t at) { return each.ranges[at].second - each.ranges[at].first; };
  if (low.options == high.options) {
    for (std::size_t at = a + 1; at < b; ++at) {
      stage_answer next = low;
      next.first_block = each.ranges[at].first;
      next.end_block = each.ranges[at].second;
      const std::int64_t part = length(at) - length(a), of = length(b) - length(a);
      next.cost = detail::between(low.cost, high.cost, part, of);
      next.bound.count = low.bound.count + (high.bound.count - low.bound.count) / of * part;
      add(next);
    }
    return;
  }
  const std::size_t middle = (a + b) / 2;
  const auto found = solve_range(each.ranges[middle].first, each.ranges[middle].second, low.mesh, 0);
  if (!found) return;
  add(*found);
  solve_between(each, low, *found, a, middle);
  solve_between(each, *found, high, middle, b);
}

MESHLOOM_INLINE stage_plan stage_search::stage_on(std::int32_t first_block, std::int32_t end_block,
                                                  std::size_t mesh) const {
  stage_plan stage = meshes_[mesh];
  stage.first_block = first_block;
  stage.end_block = end_block;
  stage.recompute.assign(static_cast<std::size_t>(end_block - first_block), false);
  return stage;
}

MESHLOOM_INLINE std::optional<stage_answer> stage_search::solve_range(std::int32_t first_block, std::int32_t end_block,
                                                                      std::size_t mesh, std::int32_t slots) {
  const std::optional<bytes> limit = slots > 0 ? std::optional(posed_.cluster.device.memory) : std::nullopt;
  const stage_choices choices(posed_, stage_on(first_block, end_block, mesh), micro_batches_, std::max(slots, 1),
                              limit);
  if (!choices.stuck().empty()) {
    stuck_ = choices.stuck();
    return std::nullopt;
  }
  if (limit && choices.least_held() > *limit) return std::nullopt;  // seen at once, where a proof takes a search
  const auto answer = solve_intra(choices.made(), limits_);
  if (!answer) return std::nullopt;
  const intra_answer& found = answer.value();
  return stage_answer{first_block, end_block, mesh, slots, found.options, choices.cost_of(found.options), found.bound};
}

MESHLOOM_INLINE std::int32_t stage_search::most_slots() const {
  const auto blocks = static_cast<std::int32_t>(blocks_of(posed_.graph).size());
  const std::int32_t stages = std::min(blocks, posed_.cluster.ranks());
  return std::min(micro_batches_, posed_.constraints.stages > 0 ? posed_.constraints.stages : stages);
}

MESHLOOM_INLINE void stage_search::add(const stage_answer& found) {
  answers_.push_back(found);
  stage_answer last = found;
  for (std::int32_t slots = 1; slots <= most_slots(); ++slots) {
    if (last.held() + last.cost.slot * slots <= posed_.cluster.device.memory) continue;
    const auto fits = solve_range(found.first_block, found.end_block, found.mesh, slots);
    if (!fits) return;
    answers_.push_back(*fits);
    last = *fits;
  }
}

MESHLOOM_INLINE std::vector<std::int32_t> stage_search::copies_in(std::int32_t first_block,
                                                                  std::int32_t end_block) const {
  const auto blocks = blocks_of(posed_.graph);
  std::vector<std::int32_t> copies(posed_.graph.regions.size());
  for (std::int32_t b = first_block; b < end_block; ++b) ++copies[index_of(blocks[static_cast<std::size_t>(b)].region)];
  const block& first = blocks[static_cast<std::size_t>(first_block)];
  const bool differs = first.copy == 0 && detail::first_copy_differs(posed_.graph, posed_.graph.regions[first.region]);
  copies.push_back(differs ? 1 : 0);
  return copies;
}

template <class Visit>
void stage_search::for_each_candidate(const Visit& visit) const {
  const auto count = static_cast<std::int32_t>(blocks_of(posed_.graph).size());
  std::vector<std::vector<std::int32_t>> copies;
  for (const stage_answer& each : answers_) copies.push_back(copies_in(each.first_block, each.end_block));
  for (std::int32_t first = 0; first < count; ++first) {
    for (std::int32_t end = first + 1; end <= count; ++end) {
      if (!is_possible(first, end)) continue;
      const auto wanted = copies_in(first, end);
      for (std::size_t a = 0; a < answers_.size(); ++a) {
        if (copies[a] == wanted) visit(answers_[a], first, end);
      }
    }
  }
}

MESHLOOM_INLINE std::vector<stage_candidate> stage_search::candidates(bool bounds) const {
  std::vector<stage_candidate> found;
  for_each_candidate([&](const stage_answer& each, std::int32_t first, std::int32_t end) {
    found.push_back({.first_block = first,
                     .end_block = end,
                     .ranks = meshes_[each.mesh].mesh.ranks(),
                     .time = bounds ? picoseconds{} : each.cost.time,
                     .once = bounds ? each.bound : each.cost.once,
                     .held = each.held(),
                     .slot = each.cost.slot});
  });
  return found;
}

MESHLOOM_INLINE stage_plan stage_search::plan_of(std::size_t candidate, std::int32_t first_rank) const {
  stage_plan made;
  std::size_t number = 0;
  for_each_candidate([&](const stage_answer& each, std::int32_t first, std::int32_t end) {
    if (number++ != candidate) return;
    made = stage_on(first, end, each.mesh);
    const std::optional<bytes> limit = each.slots > 0 ? std::optional(posed_.cluster.device.memory) : std::nullopt;
    const stage_choices choices(posed_, made, micro_batches_, std::max(each.slots, 1), limit);
    const bool own = each.first_block == first && each.end_block == end;  // ranges like it number their choices anew
    made = choices.plan_of(own ? each.options : solve_intra(choices.made(), limits_).value().options);
    made.first_rank = first_rank;
  });
  return made;
}

}  // namespace meshloom
