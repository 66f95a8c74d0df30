// SPDX-License-Identifier: Apache-2.0
// Laws of plan/crossing.hpp: what a stage reads and does not make crosses to it, once, with no sum pending.
#include <meshloom/plan/crossing.hpp>

#include "models.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace ml = meshloom;

namespace {

/// Every value that a stage reads and another makes, by looking at every stage's nodes.
std::set<std::tuple<ml::instance, ml::stage_id, ml::stage_id>> foreign_reads(const ml::graph& graph,
                                                                             const ml::plan& made) {
  std::set<std::tuple<ml::instance, ml::stage_id, ml::stage_id>> found;
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const auto stage = static_cast<ml::stage_id>(s);
    for (const ml::block& here : ml::blocks_of(graph)) {
      for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
        const ml::node& at = graph.nodes[static_cast<ml::node_id>(n)];
        const bool updates = at.when == ml::phase::update;
        if (at.region != here.region) continue;
        if (updates ? !ml::updates_in(graph, made.stages[stage], at, here)
                    : ml::stage_of(made, ml::block_number(graph, here)) != stage)
          continue;
        for (const ml::value_id id : at.operands) {
          const ml::instance what = ml::resolve(graph, id, here);
          const ml::value& entry = graph.values[what.value];
          if (entry.kind != ml::value_kind::activation) continue;
          const ml::stage_id from = ml::stage_of(made, ml::block_number(graph, ml::maker_of(graph, what)));
          const bool own_update = updates && graph.nodes[entry.producer].when == ml::phase::update;
          if (from != stage && !own_update) found.insert({what, from, stage});
        }
      }
    }
  }
  return found;
}

}  // namespace

TEST_CASE("what a stage reads and does not make crosses to it once, forward onward and backward back") {
  for (const auto& [name, graph] : models::all()) {
    for (const std::string preset : {"data=2,pipeline=4", "zero2=2,tensor=2,gpipe=2", "pipeline=6", "tensor=8"}) {
      CAPTURE(name);
      CAPTURE(preset);
      const ml::plan made = models::planned(graph, preset, preset == "pipeline=6" ? 6 : 8, 2);
      const auto crossings = ml::find_crossings(graph, made);
      std::set<std::tuple<ml::instance, ml::stage_id, ml::stage_id>> found;
      for (const ml::crossing& each : crossings) {
        CHECK(found.insert({each.what, each.from, each.to}).second);
        CHECK(!each.wanted.has_partial());
        if (each.from_pass == ml::pass::forward) CHECK(index_of(each.from) < index_of(each.to));
        if (each.from_pass == ml::pass::backward) CHECK(index_of(each.from) > index_of(each.to));
        if (each.from_pass == ml::pass::reduce) CHECK(each.to_pass == ml::pass::update);
      }
      CHECK(found == foreign_reads(graph, made));
      CHECK(crossings.empty() == (made.stages.size() == 1));
    }
  }
}

TEST_CASE("nodes are visited as a stage runs them: before they are read, forward before backward before update") {
  const ml::graph& graph = models::all()[1].graph;
  const ml::plan made = models::planned(graph, "pipeline=3", 3);
  ml::vector<std::set<ml::instance>> done(made.stages.size());
  ml::vector<ml::pass> now(made.stages.size(), ml::pass::forward);
  std::size_t visited = 0;
  ml::for_each_node(graph, made, [&](ml::stage_id stage, ml::node_id id, const ml::block& here, ml::pass when) {
    const ml::node& at = graph.nodes[id];
    CHECK(when == ml::pass_of(at.when));
    CHECK(when >= now[index_of(stage)]);
    now[index_of(stage)] = when;
    for (const ml::value_id operand : at.operands) {
      const ml::instance what = ml::resolve(graph, operand, here);
      const bool activation = graph.values[what.value].kind == ml::value_kind::activation;
      if (activation && ml::stage_of(made, ml::block_number(graph, ml::maker_of(graph, what))) == stage)
        CHECK(done[index_of(stage)].count(what) == 1);
    }
    for (const ml::value_id result : at.results) CHECK(done[index_of(stage)].insert({result, here.copy}).second);
    ++visited;
  });
  CHECK(visited > graph.nodes.size());
}
