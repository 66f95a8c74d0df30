// SPDX-License-Identifier: Apache-2.0
// graph/unroll.hpp: blocks, instances, and the law of carries: copies of a repeated layer compute what the same layers
// compute when they are written one after the other.
#include <meshloom/graph/unroll.hpp>

#include "../plan/models.hpp"

#include <doctest/doctest.h>

#include <map>

namespace ml = meshloom;
using namespace ml::axis;

namespace {

/// Compares two graphs, block by block, through what their nodes read.
struct comparison {
  const ml::graph& repeated;
  const ml::graph& written;
  std::map<ml::instance, ml::instance> partner = {};  ///< of instances of `repeated`

  void compare(ml::phase when) {
    const auto blocks = ml::blocks_of(repeated), others = ml::blocks_of(written);
    REQUIRE(blocks.size() == others.size());
    for (std::size_t k = 0; k < blocks.size(); ++k) {
      const std::size_t at = when == ml::phase::backward ? blocks.size() - 1 - k : k;
      const auto nodes = ml::nodes_of(repeated, blocks[at].region, when),
                 other_nodes = ml::nodes_of(written, others[at].region, when);
      REQUIRE(nodes.size() == other_nodes.size());
      for (std::size_t n = 0; n < nodes.size(); ++n) {
        compare(repeated.nodes[nodes[n]], blocks[at], written.nodes[other_nodes[n]], others[at]);
      }
    }
  }

  void compare(const ml::node& node, const ml::block& here, const ml::node& other, const ml::block& there) {
    CHECK(node.op == other.op);
    REQUIRE(node.operands.size() == other.operands.size());
    for (std::size_t k = 0; k < node.operands.size(); ++k) {
      const ml::instance what = ml::resolve(repeated, node.operands[k], here),
                         wanted = ml::resolve(written, other.operands[k], there);
      const ml::value_kind kind = repeated.values[what.value].kind;
      CHECK(kind == written.values[wanted.value].kind);
      const bool made = kind == ml::value_kind::activation;
      if (!made) partner.insert({what, wanted});  // inputs, parameters and states: at first sight
      REQUIRE(partner.count(what) == 1);
      CHECK_MESSAGE(partner.at(what) == wanted, node.name);
      if (made) {
        CHECK(ml::maker_of(repeated, what).region == repeated.nodes[repeated.values[what.value].producer].region);
      }
    }
    for (std::size_t k = 0; k < node.results.size(); ++k) {
      partner.insert({{node.results[k], here.copy}, {other.results[k], there.copy}});
    }
  }
};

}  // namespace

TEST_CASE("blocks are the copies of regions, in order") {
  const ml::graph graph = models::gpt({.layers = 3});
  std::string names;
  for (const ml::block& each : ml::blocks_of(graph)) names += ml::name_of(graph, each) + " ";
  CHECK(names == "embedding positions repeat[0] repeat[1] repeat[2] layer_norm linear loss ");
  CHECK(ml::name_of(models::gpt({.layers = 1}), {ml::region_id{2}, 0}) == "repeat[0]");
}

TEST_CASE("every node is in the block list of its region and phase, once and in order") {
  for (const auto& [name, graph] : models::all()) {
    std::size_t found = 0;
    for (std::size_t r = 0; r < graph.regions.size(); ++r) {
      for (const ml::phase when : {ml::phase::forward, ml::phase::backward, ml::phase::update}) {
        const auto nodes = ml::nodes_of(graph, static_cast<ml::region_id>(r), when);
        CHECK(std::is_sorted(nodes.begin(), nodes.end()));
        for (const ml::node_id id : nodes) {
          CHECK((graph.nodes[id].region == static_cast<ml::region_id>(r) && graph.nodes[id].when == when));
        }
        found += nodes.size();
      }
    }
    CHECK(found == graph.nodes.size());
  }
}

TEST_CASE("carries chain copies forward and backward") {
  const ml::graph graph = models::gpt({.layers = 5});
  const ml::region_id area{2};
  const ml::carry forward = graph.regions[area].forward, backward = graph.regions[area].backward;
  const ml::block before{ml::region_id{1}, 0}, after{ml::region_id{3}, 0};
  const ml::instance entering = ml::resolve(graph, forward.outer_in, before),
                     returning = ml::resolve(graph, backward.outer_in, after);
  for (std::int32_t copy = 0; copy < 5; ++copy) {
    const ml::instance in = ml::resolve(graph, forward.body_in, {area, copy});
    CHECK(in == (copy == 0 ? entering : ml::instance{forward.body_out, copy - 1}));
    const ml::instance slope = ml::resolve(graph, backward.body_in, {area, copy});
    CHECK(slope == (copy == 4 ? returning : ml::resolve(graph, backward.body_out, {area, copy + 1})));
    CHECK(ml::resolve(graph, forward.body_out, {area, copy}) == ml::instance{forward.body_out, copy});
    CHECK(ml::resolve(graph, graph.parameters[models::parameter_named(graph, "repeat.residual.layer_norm.gain")].value,
                      {area, copy})
              .copy == copy);
    CHECK(ml::resolve(graph, graph.inputs[0], {area, copy}).copy == 0);
  }
  CHECK(ml::resolve(graph, forward.outer_out, after) == ml::instance{forward.body_out, 4});
  CHECK(ml::resolve(graph, backward.outer_out, before) == ml::resolve(graph, backward.body_out, {area, 0}));
  CHECK(ml::maker_of(graph, ml::resolve(graph, forward.outer_out, after)) == ml::block{area, 4});
}

TEST_CASE("one repeat reads another's last copy") {
  const auto graph =
      ml::trace(models::token_training(ml::embedding<vocab, embed>{} | ml::repeat(3, models::perceptron()) |
                                       ml::repeat(2, models::perceptron()) | ml::linear<embed, vocab>{}));
  CHECK(ml::check(graph).empty());
  const ml::carry first = graph.regions[ml::region_id{1}].forward, second = graph.regions[ml::region_id{2}].forward;
  CHECK(ml::resolve(graph, second.body_in, {ml::region_id{2}, 0}) == ml::instance{first.body_out, 2});
  const ml::instance slope =
      ml::resolve(graph, graph.regions[ml::region_id{1}].backward.body_in, {ml::region_id{1}, 2});
  CHECK(ml::maker_of(graph, slope) == ml::block{ml::region_id{2}, 0});
}

TEST_CASE("copies compute what the same layers compute one after the other") {
  const auto block = models::perceptron();
  const auto head = ml::linear<embed, vocab>{};
  const auto table = ml::embedding<vocab, embed>{};
  const ml::graph repeated = ml::trace(models::token_training(table | ml::repeat(3, block) | head));
  const ml::graph written = ml::trace(models::token_training(table | block | block | block | head));
  comparison both{repeated, written};
  both.compare(ml::phase::forward);
  both.compare(ml::phase::backward);
  both.compare(ml::phase::update);
  CHECK(both.partner.size() > 100);
  std::map<ml::instance, ml::instance> back;  // partners are one to one
  for (const auto& [one, other] : both.partner) CHECK(back.insert({other, one}).second);
}

TEST_CASE("one copy computes what the layer computes alone") {
  const auto block = models::attention();
  const auto table = ml::embedding<vocab, embed>{.table = "tokens"};
  const auto head = ml::unembedding<embed, vocab>{.table = "tokens"};
  const ml::graph repeated = ml::trace(models::token_training(table | ml::repeat(1, block) | head));
  const ml::graph written = ml::trace(models::token_training(table | block | head));
  comparison both{repeated, written};
  for (const ml::phase when : {ml::phase::forward, ml::phase::backward, ml::phase::update}) both.compare(when);
  CHECK(both.partner.size() > 50);
}
