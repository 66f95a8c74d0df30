// SPDX-License-Identifier: Apache-2.0
// plan/storage.hpp: what rules and ZeRO make of a parameter. Law: the state's spec refines the stored one, shard by
// shard, and is gathered to it by as many all-gathers as it has cuts more.
#include <meshloom/plan/storage.hpp>

#include "models.hpp"
#include "refines.hpp"

#include <doctest/doctest.h>

namespace ml = meshloom;

namespace {

constexpr ml::placement sum{ml::placement::partial_sum, -1};
constexpr ml::placement split(int axis) { return {ml::placement::split, static_cast<std::int8_t>(axis)}; }

/// A stage on the mesh that is asked for.
ml::stage_plan stage_on(const ml::manual& asked) {
  ml::stage_plan stage;
  for (const auto& axis : asked.mesh) {
    stage.mesh_axes.push_back(axis.name);
    stage.mesh.size[static_cast<std::size_t>(stage.mesh.rank++)] = axis.size;
  }
  return stage;
}

/// A problem with a graph of nothing but sizes.
ml::problem with_sizes(ml::vector<ml::axis_size> sizes, const ml::manual& asked) {
  ml::problem posed{.graph = {}, .cluster = {}, .constraints = asked};
  for (ml::axis_size& size : sizes) posed.graph.sizes.add(std::move(size));
  return posed;
}

ml::value all_axes(const ml::problem& posed) {
  ml::value entry{.name = "weight"};
  for (std::size_t axis = 0; axis < posed.graph.sizes.size(); ++axis) {
    entry.axes.push_back(static_cast<ml::axis_id>(axis));
  }
  return entry;
}

ml::parameter_plan stored(const ml::vector<ml::axis_size>& sizes, const ml::manual& asked) {
  const ml::problem posed = with_sizes(sizes, asked);
  return ml::storage_of(posed, stage_on(asked), all_axes(posed));
}

}  // namespace

TEST_CASE("an axis rule splits what has the axis") {
  const ml::manual asked = ml::data_parallel(2) & ml::megatron(2);
  const ml::problem posed = with_sizes({{"embed", 12}, {"mlp", 16}}, asked);
  CHECK(ml::ruled_placement(posed, "data", all_axes(posed)) == ml::placement{});
  CHECK(ml::ruled_placement(posed, "tensor", all_axes(posed)) == split(1));
}

TEST_CASE("ZeRO splits the state, from level 3 on the parameter too") {
  const ml::vector<ml::axis_size> sizes{{"embed", 12}, {"head", 16}};
  for (const std::int32_t level : {1, 2, 3}) {
    const auto kept = stored(sizes, ml::zero(level, 4));
    CHECK(kept.used);
    CHECK(kept.state == ml::spec{}.with(0, split(1)));  // both divide: the longest
    CHECK(kept.stored == (level == 3 ? kept.state : ml::spec{}));
  }
  CHECK(stored(sizes, ml::data_parallel(4)).state == ml::spec{});
}

TEST_CASE("ZeRO takes an axis that nothing else splits, then one that divides, then the longest") {
  CHECK(stored({{"embed", 12}, {"head", 15}}, ml::zero(1, 4)).state == ml::spec{}.with(0, split(0)));
  CHECK(stored({{"embed", 10}, {"head", 15}}, ml::zero(1, 4)).state == ml::spec{}.with(0, split(1)));
  CHECK(stored({{"embed", 2}, {"mlp", 16}}, ml::zero(1, 4) & ml::megatron(2)).state ==
        ml::spec{}.with(0, split(0)).with(1, split(1)));
  CHECK(stored({{"mlp", 16}}, ml::megatron(2) & ml::zero(1, 4)).state ==
        ml::spec{}.with(0, split(0)).with(1, split(0)));  // inside the cut that is stored
  CHECK(stored({}, ml::zero(3, 4)).state == ml::spec{});  // a number cannot be split
}

TEST_CASE("ZeRO does not cut around what is stored: a gather undoes the innermost cut only") {
  for (const std::int32_t level : {1, 2, 3}) {
    const auto kept = stored({{"mlp", 16}}, ml::zero(level, 4) & ml::megatron(2));
    CHECK(kept.stored == ml::spec{}.with(1, split(0)));
    CHECK(kept.state == kept.stored);
  }
  ml::manual both = ml::zero(1, 2) & ml::split_all<ml::axis::seq, ml::mesh::expert>(2);  // two mesh axes with ZeRO
  both.zero.push_back({"expert", 3});
  const auto kept = stored({{"embed", 16}}, both);
  CHECK(kept.stored == ml::spec{});
  CHECK(kept.state == ml::spec{}.with(0, split(0)));
}

TEST_CASE("the state refines what is stored, for every model and product") {
  for (const auto& [name, graph] : models::all()) {
    for (const std::int32_t ranks : {2, 4, 8}) {
      for (const std::string& preset : models::products(ranks)) {
        const ml::problem posed = models::posed(graph, preset, ranks);
        const ml::stage_plan stage = stage_on(posed.constraints);
        for (const ml::parameter& each : graph.parameters) {
          const auto kept = ml::storage_of(posed, stage, graph.values[each.value]);
          CHECK(!kept.stored.has_partial());
          CHECK(!kept.state.has_partial());
          CHECK(
              refines(kept.state, kept.stored, stage.mesh, ml::extents_of(graph.sizes, graph.values[each.value].axes)));
        }
      }
    }
  }
}

TEST_CASE("a pending gradient is accumulated as it is, from level 2 on like the state") {
  const ml::spec state = ml::spec{}.with(0, split(0)).with(1, split(1));
  const ml::spec pending = ml::spec{}.with(0, sum).with(1, split(1));
  for (const std::int32_t level : {0, 1, 2, 3}) {
    const ml::manual asked = ml::zero(level, 2) & ml::megatron(2);
    const ml::problem posed = with_sizes({{"embed", 12}, {"mlp", 16}}, asked);
    CHECK(ml::accumulated_as(posed, stage_on(asked), pending, state) == (level >= 2 ? state : pending));
    CHECK(ml::accumulated_as(posed, stage_on(asked), ml::spec{}, state) == ml::spec{});  // nothing pends
    CHECK(ml::accumulated_as(posed, stage_on(asked), pending, ml::spec{}) == pending);   // no part to keep: sum once
    const ml::spec other = ml::spec{}.with(0, split(1)).with(1, sum);                    // no ZeRO along tensor
    CHECK(ml::accumulated_as(posed, stage_on(asked), other, state) == other);
  }
}
