// SPDX-License-Identifier: Apache-2.0
// planner/read_value.hpp: every reading of every instance is in exactly one value, what leaves a range of blocks is
// what crosses to another stage, and what is made again is what backward reads and does not find.
#include <meshloom/plan/crossing.hpp>
#include <meshloom/planner/read_value.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace ml = meshloom;

namespace {

ml::stage_plan stage_of(std::int32_t first, std::int32_t end) {
  ml::stage_plan stage;
  stage.first_block = first;
  stage.end_block = end;
  stage.recompute.assign(static_cast<std::size_t>(end - first), false);
  return stage;
}

/// Calls `visit(node, operand, instance, backward)` for every reading of the blocks of a stage that stands alone in a
/// plan, in the order in which it happens; inputs and states apart.
template <class Visit>
void for_each_reading(const ml::graph& graph, const ml::stage_plan& stage, const Visit& visit) {
  ml::plan made;
  made.stages.add(stage);
  made.stages[ml::stage_id{0}].parameters.resize(graph.parameters.size());
  ml::for_each_node(graph, made, [&](ml::stage_id, ml::node_id id, const ml::block& here, ml::pass when) {
    if (when != ml::pass::forward && when != ml::pass::backward) return;
    const auto& operands = graph.nodes[id].operands;
    for (std::size_t k = 0; k < operands.size(); ++k) {
      const ml::instance what = ml::resolve(graph, operands[k], here);
      const ml::value_kind kind = graph.values[what.value].kind;
      if (kind == ml::value_kind::input || kind == ml::value_kind::state) continue;
      visit(ml::reading{id, static_cast<std::int8_t>(k)}, what, when == ml::pass::backward);
    }
  });
}

/// Calls `visit(graph, stage)` for every range of blocks, none, all or some of which recompute.
template <class Visit>
void for_each_stage(const Visit& visit) {
  std::mt19937 random(7);
  ml::vector<models::named_graph> graphs = models::all();
  graphs.push_back({"bypassed", models::bypassed()});
  for (const auto& [name, graph] : graphs) {
    CAPTURE(name);
    const auto blocks = static_cast<std::int32_t>(ml::blocks_of(graph).size());
    for (std::int32_t first = 0; first < blocks; ++first) {
      for (std::int32_t end = first + 1; end <= blocks; ++end) {
        for (const int round : {0, 1, 2, 3}) {
          ml::stage_plan stage = stage_of(first, end);
          for (std::size_t b = 0; b < stage.recompute.size(); ++b)
            stage.recompute[b] = round == 1 || (round > 1 && random() % 2 == 0);
          visit(graph, stage);
        }
      }
    }
  }
}

/// A plan of two stages, as far as crossings look at it.
ml::plan cut_at(const ml::graph& graph, std::int32_t block) {
  ml::plan made = models::planned(graph, "pipeline=2", 2);
  made.stages[ml::stage_id{0}].end_block = made.stages[ml::stage_id{1}].first_block = block;
  return made;
}

template <class Visit>
void for_each_range(const Visit& visit) {
  for (const auto& [name, graph] : models::all()) {
    const auto blocks = static_cast<std::int32_t>(ml::blocks_of(graph).size());
    for (std::int32_t first = 0; first < blocks; ++first) {
      for (std::int32_t end = first + 1; end <= blocks; ++end) visit(graph, first, end);
    }
  }
}

}  // namespace

TEST_CASE("every reading of every copy is in exactly one value") {
  int again = 0;
  for_each_stage([&](const ml::graph& graph, const ml::stage_plan& stage) {
    std::map<std::pair<bool, ml::reading>, std::int32_t> found, read;
    for (const ml::read_value& each : ml::values_read(graph, stage)) {
      CHECK(each.copies > 0);
      for (const ml::reading& by : each.forward) found[{false, by}] += each.copies;
      for (const ml::reading& by : each.backward) {
        again += graph.nodes[by.node].when == ml::phase::forward ? 1 : 0;
        found[{true, by}] += each.copies;
      }
    }
    for_each_reading(graph, stage, [&](const ml::reading& by, const ml::instance&, bool backward) {
      ++read[{backward, by}];
    });
    CHECK(found == read);
  });
  CHECK(again > 1000);
}

TEST_CASE("what is found once for all stages of the same blocks is what is found for each") {
  std::map<std::uint64_t, ml::value_uses> of_graph;
  for (const int round : {0, 1}) {
    CAPTURE(round);
    for_each_stage([&](const ml::graph& graph, const ml::stage_plan& stage) {
      ml::value_uses& uses = of_graph.try_emplace(ml::hash_of(graph), ml::value_uses(graph)).first->second;
      CHECK(uses.known_in(stage, ml::recomputation(graph, stage)) == ml::values_read(graph, stage));
    });
  }
}

TEST_CASE("what is made again is what backward reads, and forward has dropped") {
  int made_again = 0, kept = 0;
  for_each_stage([&](const ml::graph& graph, const ml::stage_plan& stage) {
    const ml::recomputation recomputed(graph, stage);
    std::set<ml::instance> seen;
    std::map<ml::value_id, std::int32_t> dropped, found;
    for_each_reading(graph, stage, [&](const ml::reading&, const ml::instance& what, bool backward) {
      if (backward && recomputed.drops(what) && seen.insert(what).second) ++dropped[what.value];
    });
    for (const ml::read_value& each : ml::values_read(graph, stage)) {
      if (each.made_again) found[each.value] += each.copies;
      ++(each.made_again ? made_again : kept);
    }
    CHECK(found == dropped);
  });
  CHECK(made_again > 1000);
  CHECK(kept > 1000);
}

TEST_CASE("no input is among the values: it is loaded as it is wanted") {
  for_each_range([](const ml::graph& graph, std::int32_t first, std::int32_t end) {
    for (const ml::read_value& each : ml::values_read(graph, stage_of(first, end))) {
      const ml::value& entry = graph.values[each.value];
      CHECK((entry.kind == ml::value_kind::parameter || entry.producer != ml::node_id::none));
    }
  });
}

TEST_CASE("values are different, and what is made here is made by a node of the range") {
  for_each_stage([](const ml::graph& graph, const ml::stage_plan& stage) {
    const auto blocks = ml::blocks_of(graph);
    std::set<ml::region_id> inside;
    for (std::int32_t b = stage.first_block; b < stage.end_block; ++b)
      inside.insert(blocks[static_cast<std::size_t>(b)].region);
    const auto values = ml::values_read(graph, stage);
    for (std::size_t a = 0; a < values.size(); ++a) {
      const ml::read_value& each = values[a];
      if (each.made_here) CHECK(inside.count(graph.nodes[graph.values[each.value].producer].region) == 1);
      if (each.leaves || each.is_result) CHECK(each.made_here);
      for (std::size_t b = 0; b < a; ++b) {
        const bool same = values[b].value == each.value && values[b].made_here == each.made_here &&
                          values[b].leaves == each.leaves && values[b].is_result == each.is_result &&
                          values[b].made_again == each.made_again && values[b].forward == each.forward &&
                          values[b].backward == each.backward;
        CHECK(!same);
      }
    }
  });
}

TEST_CASE("what leaves a range of blocks is what crosses from its stage, once per instance") {
  int crossings = 0;
  for (const auto& [name, graph] : models::all()) {
    const auto blocks = static_cast<std::int32_t>(ml::blocks_of(graph).size());
    for (std::int32_t cut = 1; cut < blocks; ++cut) {
      std::map<std::pair<ml::stage_id, ml::value_id>, std::int32_t> crossing, leaving;
      for (const ml::crossing& each : ml::find_crossings(graph, cut_at(graph, cut))) {
        if (each.to_pass != ml::pass::update) ++crossing[{each.from, each.what.value}];
      }
      for (const int s : {0, 1}) {
        for (const ml::read_value& each : ml::values_read(graph, s == 0 ? stage_of(0, cut) : stage_of(cut, blocks))) {
          if (each.leaves) leaving[{ml::stage_id(s), each.value}] += each.copies;
        }
      }
      CHECK(leaving == crossing);
      crossings += static_cast<int>(crossing.size());
    }
  }
  CHECK(crossings > 30);
}

TEST_CASE("the loss is the result of the last block") {
  for (const auto& [name, graph] : models::all()) {
    const auto blocks = static_cast<std::int32_t>(ml::blocks_of(graph).size());
    for (std::int32_t first = 0; first < blocks; ++first) {
      for (std::int32_t end = first + 1; end <= blocks; ++end) {
        int results = 0;
        for (const ml::read_value& each : ml::values_read(graph, stage_of(first, end))) {
          if (each.is_result) CHECK(each.value == graph.results.at(0));
          results += each.is_result ? 1 : 0;
        }
        CHECK(results == (end == blocks ? 1 : 0));
      }
    }
  }
}
