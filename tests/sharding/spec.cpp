// SPDX-License-Identifier: Apache-2.0
// Laws of sharding/spec.hpp: specs are canonical, and the shards of a spec tile the tensor.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>
#include <meshloom/sharding/reshard.hpp>

#include <algorithm>
#include <array>
#include <random>
#include <string>

using namespace meshloom;

namespace {

constexpr placement whole{};
constexpr placement sum{placement::partial_sum, -1};
constexpr placement maximum{placement::partial_max, -1};
constexpr placement split(int axis) { return {placement::split, static_cast<std::int8_t>(axis)}; }

// Compile time: what is said in another order is the same spec, unless it orders cuts of one axis.
static_assert(spec{}.with(0, split(1)).with(1, split(0)) == spec{}.with(1, split(0)).with(0, split(1)));
static_assert(spec{}.with(0, split(1)).with(1, split(1)) != spec{}.with(1, split(1)).with(0, split(1)));
static_assert(spec{}.with(0, split(1)).with(1, sum).without(0) == spec{}.with(1, sum));
static_assert(spec{}.with(0, sum) != spec{}.with(0, maximum) && spec{}.with(2, whole) == spec{});
static_assert(spec{}.with(0, split(1)).with(1, sum).with(2, maximum).without_partial() == spec{}.with(0, split(1)));
static_assert(spec{}.is_whole() && !spec{}.with(0, sum).is_whole() && !spec{}.with(0, split(0)).is_whole());
static_assert(spec{}.with(2, split(0)).with(0, split(0)).innermost(0));
static_assert(!spec{}.with(2, split(0)).with(0, split(0)).innermost(2));
static_assert(!spec{}.with(0, sum).innermost(0) && !spec{}.innermost(0));

// Balanced parts: the first get one more, and parts may be empty.
static_assert(balanced_part({0, 7}, 3, 0) == interval{0, 3} && balanced_part({0, 7}, 3, 1) == interval{3, 2});
static_assert(balanced_part({0, 7}, 3, 2) == interval{5, 2} && balanced_part({10, 2}, 4, 1) == interval{11, 1});
static_assert(balanced_part({10, 2}, 4, 2) == interval{12, 0} && balanced_part({0, 0}, 2, 1) == interval{0, 0});

// Nested cuts of 10 elements on a 2×3 mesh: 5 = 2+2+1 inside the halves; 4, 3, 3 cut in two the other way round.
constexpr mesh_shape two_by_three{2, {2, 3}};
constexpr spec rows_outer = spec{}.with(0, split(0)).with(1, split(0));
constexpr spec columns_outer = spec{}.with(1, split(0)).with(0, split(0));
static_assert(shard_interval(rows_outer, two_by_three, {1, 0, 0}, 0, 10) == interval{5, 2});
static_assert(shard_interval(rows_outer, two_by_three, {1, 2, 0}, 0, 10) == interval{9, 1});
static_assert(shard_interval(columns_outer, two_by_three, {1, 0, 0}, 0, 10) == interval{2, 2});
static_assert(shard_interval(columns_outer, two_by_three, {1, 2, 0}, 0, 10) == interval{9, 1});
static_assert(shard_interval(columns_outer, two_by_three, {0, 2, 0}, 0, 10) == interval{7, 2});

const mesh_shape meshes[] = {{0, {}},     {1, {2}},    {1, {3}},       {1, {8}},      {2, {2, 2}},
                             {2, {2, 3}}, {2, {4, 1}}, {3, {2, 2, 2}}, {3, {3, 1, 2}}};
const std::array<std::int64_t, 3> shapes[] = {{8, 4, 2}, {7, 5, 3}, {4, 1, 9}, {0, 3, 2}, {1, 1, 1}};

using cut_law = interval (*)(const spec&, const mesh_shape&, const mesh_coordinates&, int, std::int64_t);

/// What is wrong with the shards of a spec without partials, as `interval_of` cuts them; empty if every element is held
/// by exactly ranks / (product of the sizes of the mesh axes that cut) ranks.
std::string fault(const spec& layout, const mesh_shape& mesh, const std::array<std::int64_t, 3>& extents,
                  cut_law interval_of) {
  std::int64_t copies = mesh.ranks();
  for (const cut& c : layout.cuts()) copies /= mesh.size[static_cast<std::size_t>(c.mesh_axis)];
  vector<std::int64_t> held(static_cast<std::size_t>(extents[0] * extents[1] * extents[2]));
  for (std::int32_t rank = 0; rank < mesh.ranks(); ++rank) {
    std::array<interval, 3> shard;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      shard[axis] = interval_of(layout, mesh, coordinates_of(mesh, rank), static_cast<int>(axis), extents[axis]);
      const std::int64_t end = shard[axis].origin + shard[axis].extent;
      if (shard[axis].origin < 0 || shard[axis].extent < 0 || end > extents[axis]) return "a shard leaves the tensor";
    }
    for (std::int64_t i = shard[0].origin; i < shard[0].origin + shard[0].extent; ++i) {
      for (std::int64_t j = shard[1].origin; j < shard[1].origin + shard[1].extent; ++j) {
        for (std::int64_t k = shard[2].origin; k < shard[2].origin + shard[2].extent; ++k) {
          ++held[static_cast<std::size_t>((i * extents[1] + j) * extents[2] + k)];
        }
      }
    }
  }
  const bool all = std::all_of(held.begin(), held.end(), [&](std::int64_t count) { return count == copies; });
  return all ? "" : "an element is held by too few or too many ranks";
}

/// A planted fault: the remainder of an uneven cut is lost.
interval forgetful(const spec& layout, const mesh_shape& mesh, const mesh_coordinates& at, int axis,
                   std::int64_t extent) {
  interval part{0, extent};
  for (const cut& c : layout.cuts()) {
    const auto mesh_axis = static_cast<std::size_t>(c.mesh_axis);
    const std::int64_t each = part.extent / mesh.size[mesh_axis];
    if (c.axis == axis) part = {part.origin + at[mesh_axis] * each, each};
  }
  return part;
}

}  // namespace

TEST_CASE("coordinates and ranks are the same thing") {
  for (const mesh_shape& mesh : meshes) {
    vector<bool> seen(static_cast<std::size_t>(mesh.ranks()));
    for (std::int32_t rank = 0; rank < mesh.ranks(); ++rank) {
      const mesh_coordinates at = coordinates_of(mesh, rank);
      for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
        CHECK(at[axis] >= 0);
        CHECK(at[axis] < mesh.size[axis]);
      }
      CHECK(rank_at(mesh, at) == rank);
      seen[static_cast<std::size_t>(rank_at(mesh, at))] = true;
    }
    CHECK(std::count(seen.begin(), seen.end(), true) == mesh.ranks());
  }
  CHECK(coordinates_of({2, {2, 3}}, 4) == mesh_coordinates{1, 1, 0});  // the last axis is the fastest
}

TEST_CASE("the shards of every spec tile the tensor") {
  for (const mesh_shape& mesh : meshes) {
    for (const auto& extents : shapes) {
      for (const spec& layout : all_specs(3, mesh, false)) CHECK(fault(layout, mesh, extents, shard_interval) == "");
    }
  }
}

TEST_CASE("the tiling law notices a lost remainder") {
  CHECK(fault(spec{}.with(0, split(0)), {1, {3}}, {7, 5, 3}, forgetful) != "");
  CHECK(fault(spec{}.with(0, split(0)), {1, {2}}, {8, 4, 2}, forgetful) == "");
}

TEST_CASE("the rank at coordinates 0 holds the largest shard") {
  for (const mesh_shape& mesh : meshes) {
    for (const auto& extents : shapes) {
      for (const spec& layout : all_specs(3, mesh, true)) {
        std::int64_t largest = 0;
        for (std::int32_t rank = 0; rank < mesh.ranks(); ++rank) {
          std::int64_t shard = 1;
          for (std::size_t axis = 0; axis < 3; ++axis) {
            shard *=
                shard_interval(layout, mesh, coordinates_of(mesh, rank), static_cast<int>(axis), extents[axis]).extent;
          }
          largest = std::max(largest, shard);
        }
        CHECK(largest_shard(layout, mesh, extents) == largest);
      }
    }
  }
}

TEST_CASE("a spec is the same however it came about") {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    // Placements set and undone at random; the model keeps, for each tensor axis, its cuts from outer to inner.
    spec layout;
    std::array<vector<int>, 4> cuts_of;
    std::array<placement, 3> now{};
    for (int step = 0; step < 12; ++step) {
      const auto mesh_axis = static_cast<int>(random() % 3);
      placement& here = now[static_cast<std::size_t>(mesh_axis)];
      if (here.kind == placement::split) erase(cuts_of[static_cast<std::size_t>(here.axis)], mesh_axis);
      const auto pick = static_cast<int>(random() % 7);
      here = pick == 0 ? whole : pick == 1 ? sum : pick == 2 ? maximum : split(pick - 3);
      if (here.kind == placement::split) cuts_of[static_cast<std::size_t>(here.axis)].push_back(mesh_axis);
      layout = layout.without(mesh_axis).with(mesh_axis, here);
    }
    // The same layout built afresh, tensor axes last to first.
    spec fresh;
    for (int mesh_axis = 2; mesh_axis >= 0; --mesh_axis) {
      const placement here = now[static_cast<std::size_t>(mesh_axis)];
      CHECK(layout.on(mesh_axis) == here);
      if (here.kind != placement::split) fresh = fresh.with(mesh_axis, here);
    }
    for (int axis = 3; axis >= 0; --axis) {
      const auto& cuts = cuts_of[static_cast<std::size_t>(axis)];
      for (const int mesh_axis : cuts) {
        fresh = fresh.with(mesh_axis, split(axis));
        CHECK(layout.innermost(mesh_axis) == (mesh_axis == cuts.back()));
      }
    }
    CHECK(layout == fresh);
  }
}

TEST_CASE("unequal specs lie differently") {
  // On a mesh of 2×3×2, with 12 elements along each tensor axis, two specs without partials differ on some rank.
  const mesh_shape mesh{3, {2, 3, 2}};
  const auto shards_of = [&](const spec& layout) {
    vector<std::int64_t> origins;
    for (std::int32_t rank = 0; rank < mesh.ranks(); ++rank) {
      for (int axis = 0; axis < 2; ++axis) {
        const interval part = shard_interval(layout, mesh, coordinates_of(mesh, rank), axis, 12);
        origins.insert(origins.end(), {part.origin, part.extent});
      }
    }
    return origins;
  };
  const auto specs = all_specs(2, mesh, false);
  for (std::size_t a = 0; a < specs.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) CHECK(shards_of(specs[a]) != shards_of(specs[b]));
  }
}
