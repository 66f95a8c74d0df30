// SPDX-License-Identifier: Apache-2.0
// The bodies of reshard.hpp: Dijkstra's algorithm over specs, which are numbered densely.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/sharding/reshard.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <queue>
#include <tuple>

namespace meshloom {

namespace detail {

static_assert(max_mesh_rank == 3);

inline constexpr std::size_t most_specs = spec_count(max_mesh_rank, max_rank);

MESHLOOM_INLINE std::size_t number_of(const spec& layout, int mesh_rank, int tensor_rank) {
  int number = 0;
  for (int mesh_axis = 0; mesh_axis < mesh_rank; ++mesh_axis) {
    const placement here = layout.on(mesh_axis);
    const int code = here.kind == placement::whole         ? 0
                     : here.kind == placement::partial_sum ? 1
                     : here.kind == placement::partial_max ? 2
                                                           : 3 + here.axis;
    number = number * placement_count(tensor_rank) + code;
  }
  int orders = 0;
  const auto cuts = layout.cuts();
  for (std::size_t outer = 0; outer < cuts.size(); ++outer) {
    for (std::size_t inner = outer + 1; inner < cuts.size(); ++inner) {
      const int a = cuts[outer].mesh_axis, b = cuts[inner].mesh_axis;
      if (cuts[outer].axis == cuts[inner].axis && a > b) orders |= 1 << (a + b - 1);
    }
  }
  return static_cast<std::size_t>(number * 8 + orders);
}

MESHLOOM_INLINE collective kind_of(placement before, placement after) {
  if (before.kind == placement::whole) return collective::slice;
  if (before.kind == placement::split) {
    return after.kind == placement::whole ? collective::all_gather : collective::all_to_all;
  }
  return after.kind == placement::whole ? collective::all_reduce : collective::reduce_scatter;
}

/// The tensor that a step is about, and what it costs to move.
struct reshard_terrain {
  std::span<const std::int64_t> extents;
  bytes element;
  const mesh_shape& mesh;
  const mesh_links& links;

  picoseconds time_of(const reshard_step& step) const {
    const auto axis = static_cast<std::size_t>(step.mesh_axis);
    std::int64_t shard = 0;  // the larger of the shards that the mesh axis splits
    if (step.from_axis >= 0) shard = largest_shard(step.before, mesh, extents);
    if (step.to_axis >= 0) shard = std::max(shard, largest_shard(step.after, mesh, extents));
    const bool reduces = step.kind == collective::all_reduce;
    const std::int64_t largest = reduces ? largest_shard(step.before, mesh, extents) : shard * mesh.size[axis];
    return price(step.kind, mesh.size[axis], largest * element, links.axis[axis]);
  }

  /// Calls `visit` with every legal step from `before`, not priced yet, by mesh axis and then by the tensor axis that
  /// it splits.
  template <class Visit>
  void for_each_step(const spec& before, Visit visit) const {
    for (std::int8_t mesh_axis = 0; mesh_axis < mesh.rank; ++mesh_axis) {
      const placement here = before.on(mesh_axis);
      if (here.kind == placement::split && !before.innermost(mesh_axis)) continue;
      for (std::int8_t axis = -1; axis < static_cast<int>(extents.size()); ++axis) {
        const placement there = axis < 0 ? placement{} : placement{placement::split, axis};
        if (there == here) continue;
        const reshard_step step{.kind = kind_of(here, there),
                                .mesh_axis = mesh_axis,
                                .from_axis = here.axis,
                                .to_axis = axis,
                                .combine = here.kind == placement::partial_max ? reduction::max : reduction::sum,
                                .before = before,
                                .after = before.without(mesh_axis).with(mesh_axis, there)};
        visit(step);
      }
    }
  }
};

/// The best way found so far to reach a spec: its last step leaves place `previous`.
struct reshard_place {
  spec layout{};
  picoseconds time{};
  int steps = 0;
  int previous = -1;
  reshard_step last{};
};

MESHLOOM_INLINE reshard_path trace_back(const vector<reshard_place>& places, int end) {
  reshard_path path{.time = places[static_cast<std::size_t>(end)].time, .possible = true};
  const reshard_place* place = &places[static_cast<std::size_t>(end)];
  for (; place->previous >= 0; place = &places[static_cast<std::size_t>(place->previous)]) {
    path.steps.push_back(place->last);
  }
  std::reverse(path.steps.begin(), path.steps.end());
  return path;
}

/// Searches from `from` until `to` is met, if there is one, and returns its place; −1 if it is not met, when `places`
/// holds every spec that can be reached and the best way to it.
MESHLOOM_INLINE int search(const reshard_terrain& terrain, const spec& from, const spec* to,
                           vector<reshard_place>& places) {
  const int mesh_rank = terrain.mesh.rank, tensor_rank = static_cast<int>(terrain.extents.size());
  std::array<std::int16_t, most_specs> place_of;
  std::fill_n(place_of.begin(), spec_count(mesh_rank, tensor_rank), std::int16_t{-1});
  places.assign(1, {.layout = from});
  place_of[number_of(from, mesh_rank, tensor_rank)] = 0;

  using candidate = std::tuple<std::int64_t, int, int>;  // time, steps, place
  std::priority_queue<candidate, vector<candidate>, std::greater<>> queue;
  queue.push({0, 0, 0});
  while (!queue.empty()) {
    const auto [time, steps, at] = queue.top();
    queue.pop();
    const reshard_place here = places[static_cast<std::size_t>(at)];
    if (std::tie(time, steps) != std::tie(here.time.count, here.steps)) continue;  // a better way was found since
    if (to != nullptr && here.layout == *to) return at;
    terrain.for_each_step(here.layout, [&](reshard_step step) {
      std::int16_t& place = place_of[number_of(step.after, mesh_rank, tensor_rank)];
      const bool is_new = place < 0;
      if (is_new) {
        place = static_cast<std::int16_t>(places.size());
        places.push_back({.layout = step.after});
      }
      reshard_place& known = places[static_cast<std::size_t>(place)];
      const int next_steps = here.steps + 1;
      if (!is_new && std::tie(here.time, next_steps) >= std::tie(known.time, known.steps)) return;  // whatever it costs
      step.time = terrain.time_of(step);
      const picoseconds next = here.time + step.time;
      if (!is_new && std::tie(next, next_steps) >= std::tie(known.time, known.steps)) return;
      known = {step.after, next, next_steps, at, step};
      queue.push({next.count, next_steps, place});
    });
  }
  return -1;
}

}  // namespace detail

MESHLOOM_INLINE reshard_path reshard(const spec& from, const spec& to, std::span<const std::int64_t> extents,
                                     bytes element, const mesh_shape& mesh, const mesh_links& links) {
  if ((to.partial_sum() & ~from.partial_sum()) != 0 || (to.partial_max() & ~from.partial_max()) != 0) return {};
  if (from == to) return {.possible = true};
  vector<detail::reshard_place> places;
  const int end = detail::search({extents, element, mesh, links}, from, &to, places);
  return end < 0 ? reshard_path{} : detail::trace_back(places, end);
}

MESHLOOM_INLINE vector<reachable_spec> reachable_from(const spec& from, std::span<const std::int64_t> extents,
                                                      bytes element, const mesh_shape& mesh, const mesh_links& links) {
  vector<detail::reshard_place> places;
  detail::search({extents, element, mesh, links}, from, nullptr, places);
  vector<reachable_spec> found;
  for (const detail::reshard_place& each : places) found.push_back({each.layout, each.time});
  return found;
}

MESHLOOM_INLINE vector<spec> all_specs(int tensor_rank, const mesh_shape& mesh, bool partial_sum) {
  const int choices = 1 + tensor_rank + (partial_sum ? 1 : 0);  // of one mesh axis: whole, a split, a pending sum
  int combinations = 1;
  for (int axis = 0; axis < mesh.rank; ++axis) combinations *= choices;

  vector<spec> found;
  vector<bool> seen(detail::spec_count(mesh.rank, tensor_rank));
  std::array<std::int8_t, max_mesh_rank> order{0, 1, 2};  // of the cuts, outer first
  do {
    for (int combination = 0; combination < combinations; ++combination) {
      spec layout;
      for (int depth = 0, rest = combination; depth < mesh.rank; ++depth, rest /= choices) {
        const auto axis = static_cast<std::int8_t>(rest % choices - 1);
        const placement what = axis < 0              ? placement{}
                               : axis == tensor_rank ? placement{placement::partial_sum, -1}
                                                     : placement{placement::split, axis};
        layout = layout.with(order[static_cast<std::size_t>(depth)], what);
      }
      const std::size_t number = detail::number_of(layout, mesh.rank, tensor_rank);
      if (!seen[number]) found.push_back(layout);
      seen[number] = true;
    }
  } while (std::next_permutation(order.begin(), order.begin() + mesh.rank));
  return found;
}

}  // namespace meshloom
