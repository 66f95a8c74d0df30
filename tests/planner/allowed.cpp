// SPDX-License-Identifier: Apache-2.0
// planner/allowed.hpp: without constraints everything is open, with every mesh axis ruled nothing is; rules and pins
// leave what they say, and all of it.
#include <meshloom/model/pin.hpp>
#include <meshloom/planner/allowed.hpp>
#include <meshloom/sharding/reshard.hpp>

#include "../plan/models.hpp"
#include "../plan/refines.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

constexpr ml::placement split(int axis) { return {ml::placement::split, static_cast<std::int8_t>(axis)}; }

/// A stage of all blocks; where a mesh axis has no size, `size` is its size.
ml::stage_plan stage_of(const ml::problem& posed, std::int32_t size) {
  ml::stage_plan stage;
  for (const auto& axis : posed.constraints.mesh) {
    stage.mesh_axes.push_back(axis.name);
    stage.mesh.size[static_cast<std::size_t>(stage.mesh.rank++)] = axis.size > 0 ? axis.size : size;
  }
  stage.end_block = static_cast<std::int32_t>(ml::blocks_of(posed.graph).size());
  return stage;
}

ml::problem automatic_on(const ml::graph& graph, ml::vector<ml::mesh_axis_size> mesh) {
  ml::manual asked = ml::automatic();
  asked.mesh = std::move(mesh);
  return ml::formulate(graph, ml::local(4), asked);
}

using strategies = ml::vector<ml::strategy>;

/// The strategies of an operator's table, cuts in the order of the mesh axes, that satisfy `meets`.
strategies those_of(const ml::node& at, int mesh_rank, const std::function<bool(const ml::strategy&)>& meets) {
  strategies found;
  ml::for_each_strategy(at.op->choices, mesh_rank, [&](const ml::strategy& how) {
    if (how.order == 0 && meets(how)) found.push_back(how);
  });
  return found;
}

template <class Visit>
void for_each_operator(const ml::graph& graph, const Visit& visit) {
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    if (graph.nodes[id].when != ml::phase::update) visit(id, graph.nodes[id]);
  }
}

const ml::choice& row_of(const ml::node& at, const ml::strategy& how, std::size_t mesh_axis) {
  return at.op->choices.rows[how.row[mesh_axis]];
}

/// The specs of a tensor on a mesh whose cuts are in the order of the mesh axes, and none of which pends.
ml::vector<ml::spec> ordered_specs(int tensor_rank, const ml::mesh_shape& mesh) {
  ml::vector<ml::spec> found;
  for (const ml::spec& each : ml::all_specs(tensor_rank, mesh, false)) {
    ml::spec again;
    for (int axis = 0; axis < mesh.rank; ++axis) again = again.with(axis, each.on(axis));
    if (again == each) found.push_back(each);
  }
  return found;
}

bool has(const ml::vector<ml::storage>& all, const ml::storage& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

TEST_CASE("without constraints every row of every operator's table is allowed") {
  for (const auto& [name, graph] : models::all()) {
    for (const ml::vector<ml::mesh_axis_size>& mesh :
         {ml::vector<ml::mesh_axis_size>{{"outer", 2}}, {{"outer", 2}, {"inner", 3}}}) {
      const ml::problem posed = automatic_on(graph, mesh);
      const ml::stage_plan stage = stage_of(posed, 2);
      for_each_operator(graph, [&](ml::node_id id, const ml::node& at) {
        const strategies allowed = ml::allowed_strategies(posed, stage, id);
        CHECK(allowed == those_of(at, stage.mesh.rank, [](const ml::strategy&) { return true; }));
        const auto rows = static_cast<std::size_t>(at.op->choices.count);
        const std::size_t crowded = at.op->op.rotates.of >= 0 ? 1 : 0;  // blocks go around one mesh axis at most
        CHECK(allowed.size() == (stage.mesh.rank == 1 ? rows : rows * rows - crowded));
      });
    }
  }
}

TEST_CASE("a rule leaves one row to an operator that can split its axis, and all rows to any other") {
  for (std::size_t model = 0; model < 2 * models::all().size(); ++model) {
    const auto& [name, graph] = models::all()[model / 2];
    const bool around = model % 2 == 1;
    ml::manual asked = ml::automatic() & ml::split_all<seq, ml::mesh::expert>(3);
    asked.rules.front().around = around;
    asked.mesh.push_back({"outer", 2});
    const ml::problem posed = ml::formulate(graph, ml::local(6), asked);
    int ruled = 0;
    for_each_operator(graph, [&](ml::node_id id, const ml::node& at) {
      const bool rotates = around && at.op->op.rotates.of >= 0;
      const auto splits = [&, &sizes = graph.sizes](const ml::choice& row) {
        return row.kind == ml::choice::split && (row.rotated >= 0) == rotates &&
               sizes[at.indices[static_cast<std::size_t>(row.index)]].name == "seq";
      };
      const auto rows = at.op->choices.rows;
      const bool can = std::any_of(rows.begin(), rows.begin() + at.op->choices.count, splits);
      const auto meets = [&](const ml::strategy& how) { return !can || splits(row_of(at, how, 0)); };
      CHECK_MESSAGE(ml::allowed_strategies(posed, stage_of(posed, 2), id) == those_of(at, 2, meets), at.name);
      ruled += can ? 1 : 0;
    });
    CHECK((ruled > 0) == (name == "gpt" || name == "tied"));
  }
}

TEST_CASE("what rules make the manual solver choose is allowed, and nothing that a rule forbids") {
  for (const auto& [name, graph] : models::all()) {
    for (const std::string& preset : models::products(4)) {
      const ml::problem posed = models::posed(graph, preset, 4);
      const ml::plan made = ml::solve(posed).value();
      for (const ml::stage_plan& stage : made.stages) {
        for_each_operator(graph, [&](ml::node_id id, const ml::node& at) {
          if (!ml::runs(graph, stage, id)) return;
          const strategies allowed = ml::allowed_strategies(posed, stage, id);
          CHECK_MESSAGE(std::find(allowed.begin(), allowed.end(), stage.strategies[id]) != allowed.end(), at.name);
        });
      }
    }
  }
}

TEST_CASE("a pinned result leaves the rows that make it so, and a pin that nothing meets leaves none") {
  const ml::graph& graph = models::all()[0].graph;
  const ml::node_id pinned = models::node_named(graph, "repeat.residual_2.linear.dot");  // [batch, seq, mlp]
  for (const std::string axis : {"batch", "seq", "mlp", "", "vocab"}) {
    ml::manual asked = ml::automatic();
    asked.pins = {{graph.nodes[pinned].name, "tensor", axis}};
    const ml::problem posed = ml::formulate(graph, ml::local(4), asked);
    REQUIRE(posed.constraints.mesh.size() == 2);
    const int place = axis == "batch" ? 0 : axis == "seq" ? 1 : axis == "mlp" ? 2 : -1;
    for_each_operator(graph, [&](ml::node_id id, const ml::node& at) {
      const auto meets = [&](const ml::strategy& how) {
        if (id != pinned) return true;
        if (axis == "vocab") return false;  // not an axis of the result
        return ml::result_placement(at.op->op, 0, row_of(at, how, 0)) == (place < 0 ? ml::placement{} : split(place));
      };
      CHECK(ml::allowed_strategies(posed, stage_of(posed, 2), id) == those_of(at, 2, meets));
    });
  }
}

TEST_CASE("a stage needs the mesh axes over which pins split what it makes") {
  const ml::graph& graph = models::all()[0].graph;
  const ml::node_id pinned = models::node_named(graph, "repeat.residual_2.linear.dot");
  const std::string path = graph.nodes[pinned].name;
  ml::manual asked = ml::automatic();
  asked.pins = {
      {path, "tensor", "mlp"}, {path, "expert", "seq"}, {path, "data", ""}, {"positions.pointwise", "data", ""}};
  const ml::problem posed = ml::formulate(graph, ml::local(4), asked);
  for_each_operator(graph, [&](ml::node_id id, const ml::node& at) {
    CHECK(ml::pinned_axes(posed, at) ==
          (id == pinned ? ml::vector<std::string>{"tensor", "expert"} : ml::vector<std::string>{}));
  });
}

TEST_CASE("what a model pins in the copies of a layer binds whoever makes it") {
  const auto layer = ml::pinned(models::perceptron(), ml::split<seq, ml::mesh::tensor>{});
  const ml::graph graph = ml::trace(models::token_training(ml::embedding<vocab, embed>{} | ml::repeat(3, layer) |
                                                           ml::layer_norm<embed>{} | ml::linear<embed, vocab>{}));
  const ml::problem posed = ml::formulate(graph, ml::local(4));
  const ml::stage_plan stage = stage_of(posed, 2);
  const ml::value_id made = graph.regions[graph.values[graph.pins.at(0).value].region].forward.body_out;
  int bound = 0;
  for_each_operator(graph, [&](ml::node_id id, const ml::node& at) {
    const auto end = at.results.end();
    const bool makes = std::find(at.results.begin(), end, made) != end ||
                       std::find(at.results.begin(), end, graph.pins[0].value) != end;
    const auto meets = [&](const ml::strategy& how) {
      return !makes || ml::result_placement(at.op->op, 0, row_of(at, how, 0)) == split(1);
    };
    CHECK(ml::allowed_strategies(posed, stage, id) == those_of(at, 2, meets));
    CHECK(ml::pinned_axes(posed, at) == ml::vector<std::string>(makes ? 1 : 0, "tensor"));
    bound += makes ? 1 : 0;
  });
  CHECK(bound == 1);
}

TEST_CASE("with every mesh axis ruled a parameter is kept as the rules say") {
  for (const auto& [name, graph] : models::all()) {
    for (const std::string& preset : models::products(8)) {
      const ml::problem posed = models::posed(graph, preset, 8);
      const ml::stage_plan stage = stage_of(posed, 2);
      for (const ml::parameter& each : graph.parameters) {
        const ml::value& entry = graph.values[each.value];
        const ml::parameter_plan ruled = ml::storage_of(posed, stage, entry);
        CHECK(ml::allowed_storages(posed, stage, entry) == ml::vector<ml::storage>{{ruled.stored, ruled.state}});
      }
    }
  }
}

TEST_CASE("with none ruled it is kept in every way in which the state refines what is stored") {
  for (const auto& [name, graph] : models::all()) {
    for (const ml::vector<ml::mesh_axis_size>& mesh :
         {ml::vector<ml::mesh_axis_size>{{"outer", 3}}, {{"outer", 2}, {"inner", 3}}}) {
      const ml::problem posed = automatic_on(graph, mesh);
      const ml::stage_plan stage = stage_of(posed, 2);
      for (const ml::parameter& each : graph.parameters) {
        const ml::value& entry = graph.values[each.value];
        const auto extents = ml::extents_of(graph.sizes, entry.axes);
        const auto specs = ordered_specs(static_cast<int>(entry.axes.size()), stage.mesh);
        std::size_t refined = 0;
        const auto allowed = ml::allowed_storages(posed, stage, entry);
        for (const ml::spec& stored : specs) {
          for (const ml::spec& state : specs) {
            const bool fits = refines(state, stored, stage.mesh, extents);
            CHECK(has(allowed, {stored, state}) == fits);
            refined += fits ? 1 : 0;
          }
        }
        CHECK(allowed.size() == refined);  // so none is there twice
        CHECK(allowed.front() == ml::storage{});
      }
    }
  }
}

TEST_CASE("beside a ruled mesh axis the free one is free, and the state refines what is stored") {
  for (const auto& [name, graph] : models::all()) {
    for (const std::int32_t level : {0, 1, 2, 3}) {
      for (const bool free_first : {true, false}) {
        ml::manual asked = ml::automatic();
        asked.mesh = {{free_first ? "free" : "tensor", 2}, {free_first ? "tensor" : "free", 2}};
        asked.rules = {{"mlp", "tensor"}, {"embed", "tensor"}};
        if (level > 0) asked.zero = {{"tensor", level}};
        const ml::problem posed = ml::formulate(graph, ml::local(4), asked);
        REQUIRE(ml::check(posed).empty());
        const ml::stage_plan stage = stage_of(posed, 2);
        const int ruled_axis = free_first ? 1 : 0;
        for (const ml::parameter& each : graph.parameters) {
          const ml::value& entry = graph.values[each.value];
          const auto extents = ml::extents_of(graph.sizes, entry.axes);
          const auto allowed = ml::allowed_storages(posed, stage, entry);
          const ml::parameter_plan ruled = ml::storage_of(posed, stage, entry);
          CHECK(allowed.size() > entry.axes.size());
          for (std::size_t k = 0; k < allowed.size(); ++k) {
            CHECK(allowed[k].stored.on(ruled_axis) == ruled.stored.on(ruled_axis));
            CHECK(allowed[k].state.on(ruled_axis) == ruled.state.on(ruled_axis));
            CHECK(refines(allowed[k].state, allowed[k].stored, stage.mesh, extents));
            CHECK(std::find(allowed.begin(), allowed.begin() + static_cast<std::ptrdiff_t>(k), allowed[k]) ==
                  allowed.begin() + static_cast<std::ptrdiff_t>(k));
          }
        }
      }
    }
  }
}

TEST_CASE("the update computes where the state is") {
  for (const auto& [name, graph] : models::all()) {
    const ml::problem posed = automatic_on(graph, {{"outer", 2}, {"inner", 2}});
    const ml::stage_plan stage = stage_of(posed, 2);
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      const ml::node& at = graph.nodes[static_cast<ml::node_id>(n)];
      if (at.when != ml::phase::update) continue;
      const ml::value& entry = graph.values[graph.parameters[*ml::updated_by(graph, at)].value];
      for (const ml::storage& how : ml::allowed_storages(posed, stage, entry)) {
        const ml::strategy chosen = ml::update_strategy(at, stage.mesh, how.state);
        CHECK(ml::result_spec(at.op->op, at.op->choices, stage.mesh.rank, chosen, 0) == how.state);
      }
    }
  }
}
