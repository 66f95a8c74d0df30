// SPDX-License-Identifier: Apache-2.0
// planner/read_value.hpp: every reading of every instance is in exactly one value, and what leaves a range of blocks is
// what crosses to another stage.
#include <meshloom/plan/crossing.hpp>
#include <meshloom/planner/read_value.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

namespace ml = meshloom;

namespace {

/// How often each operand of each node is read in the blocks of a range; inputs and states apart.
std::map<ml::reading, std::int32_t> readings_in(const ml::graph& graph, std::int32_t first, std::int32_t end) {
  std::map<ml::reading, std::int32_t> found;
  const auto blocks = ml::blocks_of(graph);
  for (std::int32_t b = first; b < end; ++b) {
    for (const ml::phase when : {ml::phase::forward, ml::phase::backward}) {
      const ml::block here = blocks[static_cast<std::size_t>(b)];
      for (const ml::node_id id : ml::nodes_of(graph, here.region, when)) {
        const auto& operands = graph.nodes[id].operands;
        for (std::size_t k = 0; k < operands.size(); ++k) {
          const ml::value_kind kind = graph.values[ml::resolve(graph, operands[k], here).value].kind;
          if (kind != ml::value_kind::input && kind != ml::value_kind::state)
            ++found[{id, static_cast<std::int8_t>(k)}];
        }
      }
    }
  }
  return found;
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
  for_each_range([](const ml::graph& graph, std::int32_t first, std::int32_t end) {
    std::map<ml::reading, std::int32_t> found;
    for (const ml::read_value& each : ml::values_read(graph, first, end)) {
      CHECK(each.copies > 0);
      for (const ml::reading& by : each.forward) {
        CHECK(graph.nodes[by.node].when == ml::phase::forward);
        found[by] += each.copies;
      }
      for (const ml::reading& by : each.backward) {
        CHECK(graph.nodes[by.node].when == ml::phase::backward);
        found[by] += each.copies;
      }
    }
    CHECK(found == readings_in(graph, first, end));
  });
}

TEST_CASE("no input is among the values: it is loaded as it is wanted") {
  for_each_range([](const ml::graph& graph, std::int32_t first, std::int32_t end) {
    for (const ml::read_value& each : ml::values_read(graph, first, end)) {
      const ml::value& entry = graph.values[each.value];
      CHECK((entry.kind == ml::value_kind::parameter || entry.producer != ml::node_id::none));
    }
  });
}

TEST_CASE("values are different, and what is made here is made by a node of the range") {
  for_each_range([](const ml::graph& graph, std::int32_t first, std::int32_t end) {
    const auto blocks = ml::blocks_of(graph);
    std::set<ml::region_id> inside;
    for (std::int32_t b = first; b < end; ++b) inside.insert(blocks[static_cast<std::size_t>(b)].region);
    const auto values = ml::values_read(graph, first, end);
    for (std::size_t a = 0; a < values.size(); ++a) {
      const ml::read_value& each = values[a];
      if (each.made_here) CHECK(inside.count(graph.nodes[graph.values[each.value].producer].region) == 1);
      if (each.leaves || each.is_result) CHECK(each.made_here);
      for (std::size_t b = 0; b < a; ++b) {
        const bool same = values[b].value == each.value && values[b].made_here == each.made_here &&
                          values[b].leaves == each.leaves && values[b].is_result == each.is_result &&
                          values[b].forward == each.forward && values[b].backward == each.backward;
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
        for (const ml::read_value& each : ml::values_read(graph, s == 0 ? 0 : cut, s == 0 ? cut : blocks)) {
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
        for (const ml::read_value& each : ml::values_read(graph, first, end)) {
          if (each.is_result) CHECK(each.value == graph.results.at(0));
          results += each.is_result ? 1 : 0;
        }
        CHECK(results == (end == blocks ? 1 : 0));
      }
    }
  }
}
