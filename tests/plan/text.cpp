// SPDX-License-Identifier: Apache-2.0
// Laws of plan/text.hpp: every plan reads back as itself; whatever else is offered is refused with its line and a cure,
// or is a plan that check accepts.
#include <meshloom/plan/text.hpp>
#include <meshloom/plan/words.hpp>
#include <meshloom/sharding/reshard.hpp>

#include "../cluster/mutations.hpp"
#include "models.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <random>

namespace ml = meshloom;

namespace {

using random_bits = std::mt19937_64;

constexpr ml::placement sum{ml::placement::partial_sum, -1};

std::size_t draw(random_bits& bits, std::size_t count) { return static_cast<std::size_t>(bits() % count); }

ml::vector<std::string> lines_of(const std::string& text) {
  ml::vector<std::string> lines{""};
  for (const char letter : text) {
    if (letter == '\n') {
      lines.push_back("");
    } else {
      lines.back() += letter;
    }
  }
  lines.pop_back();
  return lines;
}

/// The text with its first `from` replaced.
std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

/// Of all orders that cut alike, the first: found by comparing positions, pair by pair.
std::uint8_t first_order_like(const ml::choice_table& table, int mesh_rank, const ml::strategy& how) {
  const auto place = [](std::uint8_t order, int axis) {
    const auto& sequence = ml::cut_orders[order];
    return std::find(sequence.begin(), sequence.end(), axis) - sequence.begin();
  };
  for (std::uint8_t order = 0; order < how.order; ++order) {
    bool alike = true;
    for (int a = 0; a < mesh_rank; ++a) {
      for (int b = a + 1; b < mesh_rank; ++b) {
        const ml::choice& first = table.rows[how.row[static_cast<std::size_t>(a)]];
        const ml::choice& second = table.rows[how.row[static_cast<std::size_t>(b)]];
        if (first.kind != ml::choice::split || second.kind != ml::choice::split) continue;
        const bool keys = first.rotated == second.index || first.index == second.rotated;
        if (first.index != second.index && !keys) continue;
        alike = alike && (place(order, a) < place(order, b)) == (place(how.order, a) < place(how.order, b));
      }
    }
    if (alike) return order;
  }
  return how.order;
}

void draw_mesh(ml::stage_plan& stage, random_bits& bits) {
  const ml::vector<std::string> names{"data",         "tensor", "my axis", "a>b@c", "100%=#1",
                                      "\xc3\xa9tage", "whole",  "none",    "order"};
  const std::size_t first = draw(bits, names.size());
  stage.mesh.rank = static_cast<std::int32_t>(draw(bits, ml::max_mesh_rank + 1));
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage.mesh.rank); ++axis) {
    stage.mesh.size[axis] = static_cast<std::int32_t>(1 + draw(bits, 3));
    stage.mesh_axes.push_back(names[(first + axis) % names.size()]);
  }
}

ml::strategy draw_strategy(const ml::choice_table& table, int mesh_rank, random_bits& bits) {
  ml::strategy how;
  do {
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh_rank); ++axis) {
      const bool again = axis > 0 && draw(bits, 2) == 0;  // two mesh axes on one index
      how.row[axis] = again ? how.row[draw(bits, axis)]
                            : static_cast<std::uint8_t>(draw(bits, static_cast<std::size_t>(table.count)));
    }
  } while (!ml::is_legal(table, mesh_rank, how));
  how.order = static_cast<std::uint8_t>(draw(bits, ml::cut_orders.size()));
  how.order = first_order_like(table, mesh_rank, how);
  return how;
}

ml::parameter_plan draw_parameter(const ml::graph& whole, const ml::parameter& each, const ml::mesh_shape& mesh,
                                  random_bits& bits) {
  const int rank = static_cast<int>(whole.values[each.value].axes.size());
  const auto shardings = ml::all_specs(rank, mesh, false), specs = ml::all_specs(rank, mesh, true);
  ml::parameter_plan kept{true, shardings[draw(bits, shardings.size())], shardings[draw(bits, shardings.size())], {}};
  for (std::size_t g = 0; g < each.gradients.size(); ++g) kept.accumulated.push_back(specs[draw(bits, specs.size())]);
  return kept;
}

ml::stage_plan random_stage(const ml::graph& whole, random_bits& bits, std::int32_t first_block,
                            std::int32_t end_block) {
  ml::stage_plan stage;
  stage.first_block = first_block;
  stage.end_block = end_block;
  draw_mesh(stage, bits);
  for (std::int32_t b = first_block; b < end_block; ++b) stage.recompute.push_back(draw(bits, 2) == 0);
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const auto id = static_cast<ml::node_id>(n);
    const bool run = ml::runs(whole, stage, id);
    stage.strategies.add(run ? draw_strategy(whole.nodes[id].op->choices, stage.mesh.rank, bits) : ml::strategy{});
  }
  for (const ml::parameter& each : whole.parameters) {
    const bool kept = ml::reads(whole, stage, each);
    stage.parameters.push_back(kept ? draw_parameter(whole, each, stage.mesh, bits) : ml::parameter_plan{});
  }
  return stage;
}

/// What a stage makes of an instance; whole, if it makes nothing of it.
ml::spec made_as(const ml::graph& whole, const ml::stage_plan& stage, const ml::instance& what) {
  const ml::value& entry = whole.values[what.value];
  if (entry.kind != ml::value_kind::activation) return {};
  const ml::node& maker = whole.nodes[entry.producer];
  const std::int32_t number = ml::block_number(whole, ml::maker_of(whole, what));
  const bool here = stage.first_block <= number && number < stage.end_block;
  if (maker.when != ml::phase::update && !here) return {};
  const auto which = std::find(maker.results.begin(), maker.results.end(), what.value) - maker.results.begin();
  return ml::result_spec_in(whole, stage, entry.producer, static_cast<std::size_t>(which));
}

/// The mesh axes, as bits, over which an operand of a node is wanted as a pending sum but is not one.
unsigned missing_sums(const ml::graph& whole, const ml::stage_plan& stage, ml::node_id id, std::size_t operand) {
  const ml::node& at = whole.nodes[id];
  unsigned pending = 7;
  for (std::int32_t copy = 0; copy < whole.regions[at.region].count; ++copy) {
    const ml::block here{at.region, copy};
    const std::int32_t number = ml::block_number(whole, here);
    const bool updates = at.when == ml::phase::update;
    const bool runs =
        updates ? ml::updates_in(whole, stage, at, here) : stage.first_block <= number && number < stage.end_block;
    if (!runs) continue;
    const ml::instance what = ml::resolve(whole, at.operands[operand], here);
    ml::spec made = made_as(whole, stage, what);
    for (std::size_t p = 0; updates && made.has_partial() && p < whole.parameters.size(); ++p) {
      const auto& all = whole.parameters[p].gradients;
      const auto which =
          static_cast<std::size_t>(std::find(all.begin(), all.end(), at.operands[operand]) - all.begin());
      if (which < all.size()) made = stage.parameters[p].accumulated[which];
    }
    pending &= made.partial_sum();
  }
  return ml::operand_spec_in(whole, stage, id, operand).partial_sum() & ~pending;
}

/// Has everything summed that nobody leaves pending; what is summed may be missing elsewhere, so again until all is.
void settle(const ml::graph& whole, ml::stage_plan& stage) {
  for (bool again = true; again;) {
    again = false;
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
      const auto id = static_cast<ml::node_id>(n);
      ml::strategy& how = stage.strategies[id];
      for (std::size_t k = 0; ml::runs(whole, stage, id) && k < whole.nodes[id].operands.size(); ++k) {
        const unsigned missing = missing_sums(whole, stage, id, k);
        for (std::size_t axis = 0; axis < how.row.size(); ++axis) {
          if (missing >> axis & 1) how.row[axis] = 0;
        }
        again = again || missing != 0;
      }
      how.order = first_order_like(whole.nodes[id].op->choices, stage.mesh.rank, how);
    }
    for (std::size_t p = 0; p < whole.parameters.size(); ++p) {
      for (std::size_t g = 0; g < stage.parameters[p].accumulated.size(); ++g) {
        const ml::value_id id = whole.parameters[p].gradients[g];
        const ml::spec made = made_as(whole, stage, ml::resolve(whole, id, {whole.values[id].region, 0}));
        ml::spec& layout = stage.parameters[p].accumulated[g];
        for (int axis = 0; axis < stage.mesh.rank; ++axis) {
          if (layout.on(axis) != sum || made.on(axis) == sum) continue;
          layout = layout.without(axis);
          again = true;
        }
      }
    }
  }
}

/// Up to 7 bytes of any kind, spaces among them.
std::string any_text(random_bits& bits) {
  std::string text(draw(bits, 8), ' ');
  for (char& letter : text) letter = static_cast<char>(draw(bits, 3) == 0 ? ' ' : bits() % 256);
  return text;
}

/// Any plan that `check` accepts, however bad: random cuts, meshes, strategies and specs.
ml::plan random_plan(const ml::graph& whole, random_bits& bits) {
  const auto blocks = static_cast<std::int32_t>(ml::blocks_of(whole).size());
  ml::plan made{.model = ml::hash_of(whole),
                .sizes = whole.sizes,
                .ranks = 0,
                .micro_batches = draw(bits, 2) == 0 ? 1 : 8,
                .schedule = draw(bits, 2) == 0 ? ml::schedule_kind::gpipe : ml::schedule_kind::one_f_one_b,
                .stages = {},
                .predicted = {static_cast<std::int64_t>(bits() >> (1 + draw(bits, 62)))},
                .bound = {static_cast<std::int64_t>(draw(bits, 2) * (bits() >> (1 + draw(bits, 62))))}};
  if (draw(bits, 2) == 0)
    made.runner_up = {any_text(bits), {static_cast<std::int64_t>(bits() >> (1 + draw(bits, 62)))}};
  for (std::int32_t first = 0; first < blocks;) {
    const auto end = static_cast<std::int32_t>(static_cast<std::size_t>(first) + 1 +
                                               draw(bits, static_cast<std::size_t>(blocks - first)));
    ml::stage_plan stage = random_stage(whole, bits, first, end);
    settle(whole, stage);
    stage.first_rank = made.ranks;
    made.ranks += stage.mesh.ranks();
    made.stages.add(stage);
    first = end;
  }
  return made;
}

const ml::plan& sample_plan() {
  static const ml::plan made = models::planned(models::all()[1].graph, "data=2,tensor=2,pipeline=2", 8, 4);
  return made;
}

const std::string& sample_text() {
  static const std::string text = ml::to_text(models::all()[1].graph, sample_plan());
  return text;
}

std::string refusal_of(const std::string& text) {
  const auto read = ml::from_text(text, models::all()[1].graph, 8);
  return read ? "accepted" : read.error();
}

}  // namespace

TEST_CASE("every plan of the presets and their products reads back as itself") {
  int plans = 0;
  for (const auto& [name, graph] : models::all()) {
    for (const std::int32_t ranks : {1, 2, 3, 4, 6, 8}) {
      for (const std::string& preset : models::products(ranks)) {
        CAPTURE(name);
        CAPTURE(preset);
        const auto made = ml::solve(models::posed(graph, preset, ranks, 4));
        if (!made) {
          CHECK(made.error().find("stages, but the model can be cut into at most") != std::string::npos);
          continue;
        }
        const std::string text = ml::to_text(graph, made.value());
        const auto read = ml::from_text(text, graph, ranks);
        REQUIRE_MESSAGE(read, read.error());
        CHECK(read.value() == made.value());
        CHECK(ml::to_text(graph, read.value()) == text);
        ++plans;
      }
    }
  }
  CHECK(plans > 250);
}

TEST_CASE("random plans read back as themselves, and different plans differ") {
  random_bits bits(7);
  for (int round = 0; round < 300; ++round) {
    const ml::graph& graph = models::all()[draw(bits, models::all().size())].graph;
    const ml::plan made = random_plan(graph, bits);
    REQUIRE(ml::check(graph, made).empty());
    const std::string text = ml::to_text(graph, made);
    const auto read = ml::from_text(text, graph, made.ranks);
    REQUIRE_MESSAGE(read, read.error());
    CHECK(read.value() == made);
    const ml::plan other = random_plan(graph, bits);
    CHECK((ml::to_text(graph, other) == text) == (other == made));
  }
}

TEST_CASE("a plan reads as people would say it") {
  const ml::graph graph = models::vectors({.layers = 2});
  ml::plan made = models::planned(graph, "zero2=2,tensor=2,pipeline=2", 8, 4);
  made.predicted = {12'345'678'901};
  made.stages[ml::stage_id{0}].recompute[1] = true;
  const std::string text = ml::to_text(graph, made);
  CHECK(text.starts_with(
      "meshloom plan 1\nmodel " + ml::hex_word(ml::hash_of(graph)) +
      "\nsizes batch=24 embed=12 mlp=16 vocab=10\nranks 8\nmicro_batches 4\nschedule 1f1b\n"
      "predicted 12345678901  # picoseconds: 12.3 ms\nbound 0  # nothing is proven\n\nstage 0\n  ranks 0+4\n"
      "  mesh data=2 tensor=2\n  blocks layer_norm .. repeat[0]\n  recompute only repeat[0]\n"));
  const auto has_line = [&](const std::string& line) { return text.find("\n  " + line + "\n") != std::string::npos; };
  CHECK(
      has_line("parameter repeat.linear.weight: stored split(mlp@tensor); state split(embed@data, mlp@tensor); "
               "accumulated split(embed@data, mlp@tensor)"));
  CHECK(has_line("operator repeat.linear.dot: split batch | split mlp"));
  CHECK(has_line("operator loss.sum: split batch | split batch | order data>tensor"));
  CHECK(has_line("ranks 4+4"));
  CHECK(text.ends_with("\n\nend\n"));
}

TEST_CASE("a runner-up has a line where there is one, in words") {
  const ml::graph& graph = models::all()[1].graph;
  CHECK(sample_text().find("runner_up") == std::string::npos);
  ml::plan made = sample_plan();
  made.runner_up = {"2 stages of 1 rank, 8 micro-batches, 1f1b", {12'345'678'901}};
  const std::string line = "runner_up 12345678901 2 stages of 1 rank, 8 micro-batches, 1f1b",
                    text = ml::to_text(graph, made);
  CHECK(text == with(sample_text(), "nothing is proven\n", "nothing is proven\n" + line + "  # 12.3 ms\n"));
  CHECK(ml::from_text(text, graph, 8).value() == made);

  const auto read = [&](const std::string& other) { return ml::from_text(with(text, line, other), graph, 8); };
  CHECK(read("runner_up \t 7 \t ").value().runner_up == ml::alternative{"", {7}});
  CHECK(read("runner_up 7 \\23\\5c\\20").value().runner_up == ml::alternative{"#\\ ", {7}});
  const auto refused = [&](const std::string& other) { return refusal_of(with(text, line, other)); };
  CHECK(refused("runner_up") == "plan, line 9: '' does not do; write a whole number from 0 to 9223372036854775807");
  CHECK(refused("runner_up -1 stage") ==
        "plan, line 9: '-1' does not do; write a whole number from 0 to 9223372036854775807");
  CHECK(refused("runner_up 7 a\\b") ==
        "plan, line 9: '7 a\\b' is no runner-up; write \\5c for a backslash, and no control characters");
  CHECK(refused(line + "\n" + line) ==
        "plan, line 10: expected 'end' or 'stage', found 'runner_up'; keep the lines of "
        "a written plan, in their order");
}

TEST_CASE("spaces, comments, empty lines, foreign line ends and the order of operators are free") {
  const ml::graph& graph = models::all()[1].graph;
  std::string text;
  ml::vector<std::string> lines = lines_of(sample_text());
  const auto first =
      std::find_if(lines.begin(), lines.end(), [](const auto& line) { return line.starts_with("  parameter"); });
  const auto end = std::find(first, lines.end(), "");
  std::reverse(first, end);
  for (const std::string& line : lines) text += "\t " + line + "   # a comment\r\n\n";
  const auto read = ml::from_text(text, graph, 8);
  REQUIRE_MESSAGE(read, read.error());
  CHECK(read.value() == sample_plan());
}

TEST_CASE("what is not this plan's head is refused with its line and a cure") {
  const std::string& text = sample_text();
  const std::string here = ml::hex_word(sample_plan().model);
  CHECK(refusal_of("") == "plan, line 0: this is no plan; a plan begins with the line 'meshloom plan 1'");
  CHECK(refusal_of("{\"plan\": 1}\n") ==
        "plan, line 1: this is no plan; a plan begins with the line 'meshloom plan 1'");
  CHECK(refusal_of(with(text, "plan 1", "plan 2")) ==
        "plan, line 1: this is 'plan 2', and only 'plan 1' can be read; solve again");
  CHECK(refusal_of(with(text, here, "0123456789abcdef")) ==
        "plan, line 2: the plan belongs to another model, '0123456789abcdef'; this one is '" + here +
            "', solve again for it");
  CHECK(refusal_of(with(text, "batch=24", "batch=32")) ==
        "plan, line 3: the plan is for batch=32, but the model has batch=24; solve again for these sizes");
  CHECK(refusal_of(with(text, "batch=24", "btach=24")) == "plan, line 3: the model has no axis 'btach'; remove it");
  CHECK(refusal_of(with(text, "seq=6", "batch=24")) == "plan, line 3: axis 'batch' is given twice; remove one");
  CHECK(refusal_of(with(text, " seq=6", "")) == "plan, line 3: axis 'seq' has no size; add it");
  CHECK(refusal_of(with(text, "batch=24", "batch=99999999999999999999")) ==
        "plan, line 3: '99999999999999999999' does not do; write a whole number from 0 to 9223372036854775807");
  CHECK(refusal_of(with(text, "batch=24", "batch")) ==
        "plan, line 3: '' does not do; write a whole number from 0 to 9223372036854775807");
  CHECK(refusal_of(with(text, "ranks 8", "ranks 4")) ==
        "plan, line 4: the plan is for 4 ranks, but there are 8; solve again for them");
  CHECK(refusal_of(with(text, "ranks 8", "ranks 8589934592")) ==
        "plan, line 4: '8589934592' does not do; write a whole number from 1 to 2147483647");
  CHECK(refusal_of(with(text, "micro_batches 4", "micro_batches 4.5")) ==
        "plan, line 5: '4.5' does not do; write a whole number from 1 to 2147483647");
  CHECK(refusal_of(with(text, "micro_batches 4", "micro_batches 0")) ==
        "plan, line 5: '0' does not do; write a whole number from 1 to 2147483647");
  CHECK(refusal_of(with(text, "1f1b", "zigzag")) ==
        "plan, line 6: there is no schedule 'zigzag'; write forward, gpipe or 1f1b");
  CHECK(refusal_of(with(text, "predicted ", "predicted -"))
            .ends_with("' does not do; write a whole number from 0 to 9223372036854775807"));
  CHECK(refusal_of(with(text, "schedule 1f1b", "schedule forward")).find("forward only") != std::string::npos);
  CHECK(refusal_of(with(text, "bound 0", "schedule gpipe")) ==
        "plan, line 8: expected 'bound', found 'schedule'; keep the lines of a written plan, in their order");
}

TEST_CASE("a stage that is not one is refused with its line and a cure") {
  const std::string& text = sample_text();
  CHECK(refusal_of(with(text, "stage 0", "stage 1")) ==
        "plan, line 10: expected 'stage 0', found 'stage 1'; number stages from 0");
  CHECK(refusal_of(with(text, "0+4", "0-3")) ==
        "plan, line 11: '0-3' are no ranks; write the first and how many, as in 0+4");
  CHECK(refusal_of(with(text, "0+4", "0+9")) == "plan, line 11: '9' does not do; write a whole number from 1 to 8");
  CHECK(refusal_of(with(text, "0+4", "8+1")) == "plan, line 11: '8' does not do; write a whole number from 0 to 7");
  CHECK(refusal_of(with(text, "0+4", "0+2")) == "plan, line 12: '2' does not do; write a whole number from 1 to 1");
  CHECK(refusal_of(with(text, "0+4", "0+5")) ==
        "plan, line 12: the mesh has 4 ranks, but the stage has 5; make them equal");
  CHECK(refusal_of(with(text, "0+4", "1+4")) == "plan: rank 0 is in no stage; correct the text, or solve again");
  CHECK(refusal_of(with(text, "4+4", "0+4")) == "plan: rank 0 is in two stages; correct the text, or solve again");
  CHECK(refusal_of(with(text, "data=2 tensor=2", "data=2 tensor")) ==
        "plan, line 12: 'tensor' is no mesh axis; write none, or name=size, as in data=4");
  CHECK(refusal_of(with(text, "data=2 tensor=2", "da(ta=2 tensor=2")) ==
        "plan, line 12: 'da(ta=2' is no mesh axis; write none, or name=size, as in data=4");
  CHECK(refusal_of(with(text, "data=2 tensor=2", "data=2 data=2")) ==
        "plan, line 12: mesh axis data is given twice; remove one");
  CHECK(refusal_of(with(text, "data=2 tensor=2", "data=1 tensor=1 a=1 b=4")) ==
        "plan, line 12: a mesh has at most 3 axes; remove the rest");
  CHECK(refusal_of(with(text, "  mesh", "  mash")) ==
        "plan, line 12: expected 'mesh', found 'mash'; keep the lines of a written plan, in their order");
  CHECK(refusal_of(with(text, "blocks embedding .. ", "blocks embedding to ")) ==
        "plan, line 13: 'embedding to repeat[1]' are no blocks; write the first and the last, as in embedding .. "
        "repeat[3]");
  CHECK(refusal_of(with(text, "blocks embedding", "blocks imbedding")) ==
        "plan, line 13: there is no block 'imbedding' from embedding to loss; name one of these");
  CHECK(refusal_of(with(text, "embedding .. repeat[1]", "repeat[1] .. embedding")) ==
        "plan, line 13: there is no block 'embedding' from repeat[1] to loss; name one of these");
  CHECK(refusal_of(with(text, "recompute none", "recompute some")) ==
        "plan, line 14: 'some' does not say what to recompute; write none, all, or only and names of blocks");
  CHECK(refusal_of(with(text, "recompute none", "recompute only")) ==
        "plan, line 14: 'only' does not say what to recompute; write none, all, or only and names of blocks");
  CHECK(refusal_of(with(text, "recompute none", "recompute only repeat[2]")) ==
        "plan, line 14: there is no block 'repeat[2]' from embedding to repeat[1]; name one of these");
  CHECK(refusal_of(with(text, "recompute none", "recompute only embedding embedding")) ==
        "plan, line 14: block 'embedding' is named twice; remove one");
  CHECK(refusal_of(with(text, "recompute none", "recompute none\n  memory 4")) ==
        "plan, line 15: expected 'end' or 'stage', found 'memory'; keep the lines of a written plan, in their order");
  CHECK(refusal_of(text + "more\n").ends_with("the text goes on after its end; remove what follows"));
}

TEST_CASE("a parameter that is not kept so is refused with its line and a cure") {
  const std::string& text = sample_text();
  const std::string line = "positions.weight: stored whole; state whole; accumulated partial(sum@data)";
  const std::string at = "plan, line 16: ";
  CHECK(refusal_of(with(text, "parameter positions.weight", "parameter position.weight")) ==
        at + "the model has no parameter 'position.weight'; remove the line");
  CHECK(refusal_of(with(text, "parameter positions.weight", "parameter layer_norm.gain")) ==
        at + "stage 0 does not read parameter 'layer_norm.gain'; remove the line");
  CHECK(refusal_of(with(text, line, line + "\n  parameter " + line)) ==
        "plan, line 17: stage 0 has two lines for parameter 'positions.weight'; remove one");
  CHECK(
      refusal_of(with(text, line, "positions.weight: stored whole; state whole")) ==
      at +
          "parameter 'positions.weight' has 2 parts; write stored, state and 1 times accumulated, with ; between them");
  CHECK(
      refusal_of(with(text, line, "positions.weight")) ==
      at +
          "parameter 'positions.weight' has 1 parts; write stored, state and 1 times accumulated, with ; between them");
  CHECK(refusal_of(with(text, line, "positions.weight: kept whole; state whole; accumulated whole")) ==
        at + "expected 'stored …', found 'kept whole'; write a spec after it");
  CHECK(refusal_of(with(text, line, "positions.weight: stored split(heads@data); state whole; accumulated whole")) ==
        at + "stored \"split(heads@data)\", column 7: \"heads\" is no axis of this tensor; write one of seq, embed");
  CHECK(refusal_of(with(text, line, "positions.weight: stored whole; state split(seq@dat); accumulated whole")) ==
        at + "state \"split(seq@dat)\", column 11: \"dat\" is no axis of the mesh; write one of data, tensor");
  CHECK(refusal_of(with(text, line, "positions.weight: stored partial(sum@data); state whole; accumulated whole")) ==
        "plan: parameter positions.weight: stored or updated in a layout that is no sharding of it; correct the text, "
        "or solve again");
  CHECK(refusal_of(with(text, "  parameter " + line + "\n", ""))
            .find("stage 0 reads parameter 'positions.weight', which has no line before this one; add it") !=
        std::string::npos);
}

TEST_CASE("an operator that cannot run so is refused with its line and a cure") {
  const std::string& text = sample_text();
  const auto lines = lines_of(text);
  const auto found = std::find_if(lines.begin(), lines.end(),
                                  [](const auto& each) { return each.starts_with("  operator positions.pointwise:"); });
  REQUIRE(found != lines.end());
  const std::string line = found->substr(std::string("  operator ").size());
  const std::string at = "plan, line " + std::to_string(found - lines.begin() + 1) + ": ",
                    rows = "'; write whole or split batch or split seq or split embed or partial 0,1";
  CHECK(refusal_of(with(text, line, "position.pointwise: split batch | whole")) ==
        at + "the model has no operator 'position.pointwise'; remove the line");
  CHECK(refusal_of(with(text, line, "loss.sum: split batch | whole")) ==
        at + "stage 0 does not run operator 'loss.sum'; remove the line");
  CHECK(refusal_of(with(text, line, "embedding.lookup: whole | whole")) ==
        at + "stage 0 has two lines for operator 'embedding.lookup'; remove one");
  CHECK(refusal_of(with(text, "  operator " + line + "\n", ""))
            .ends_with("stage 0 runs operator 'positions.pointwise', which has no line before this one; add it"));
  CHECK(refusal_of(with(text, line, "positions.pointwise: split batch")) ==
        at + "operator 'positions.pointwise' has 1 strategies, but the mesh has 2 axes; write one for each, with | "
             "between them");
  CHECK(refusal_of(with(text, line, "positions.pointwise: split heads | whole")) ==
        at + "operator 'positions.pointwise' has no strategy 'split heads" + rows);
  CHECK(refusal_of(with(text, line, "positions.pointwise: whole | partial 0")) ==
        at + "operator 'positions.pointwise' has no strategy 'partial 0" + rows);
  CHECK(refusal_of(with(text, line, "positions.pointwise: split seq | split seq")) ==
        at + "operator 'positions.pointwise': two mesh axes split one axis; say at the end of the line which cuts "
             "first, as in 'order data>tensor'");
  CHECK(refusal_of(with(text, line, "positions.pointwise: split seq | whole | order data>tensor")) ==
        at + "operator 'positions.pointwise': no two mesh axes split one axis; remove 'order data>tensor'");
  CHECK(refusal_of(with(text, line, "positions.pointwise: split seq | split seq | order data>expert")) ==
        at + "operator 'positions.pointwise': two mesh axes split one axis; say at the end of the line which cuts "
             "first, as in 'order data>tensor'");
  CHECK(refusal_of(with(text, line, "positions.pointwise: split seq | split seq | order tensor>data")) == "accepted");
}

TEST_CASE("a plan for one rank has whole operators and no mesh") {
  const ml::graph graph = models::vectors({.layers = 1});
  const std::string text = ml::to_text(graph, models::planned(graph, "data=1", 1));
  CHECK(text.find("\n  mesh none\n") != std::string::npos);
  CHECK(text.find("\n  operator loss.sum: whole\n") != std::string::npos);
  CHECK(ml::from_text(with(text, "loss.sum: whole", "loss.sum: split batch"), graph, 1)
            .error()
            .ends_with("operator 'loss.sum' has no strategy 'split batch'; write whole"));
}

TEST_CASE("no truncated text is a plan") {
  const std::string& text = sample_text();
  for (std::size_t length = 0; length + 1 < text.size();
       length += length < 600 ? 1 : 41) {  // the last line end may lack
    const std::string sentence = refusal_of(text.substr(0, length));
    CHECK(sentence.starts_with("plan, line "));
  }
  CHECK(refusal_of(text.substr(0, text.size() - 4))
            .ends_with("the text stops here, where 'end' or 'stage' should follow; get the missing part"));
}

TEST_CASE("2000 mutated texts are refused in a sentence or are plans that check accepts") {
  struct sample {
    const ml::graph& graph;
    ml::plan made;
    std::string text;
  };
  const ml::graph &tied = models::all()[1].graph, &vectors = models::all()[2].graph;
  ml::vector<sample> samples{{tied, sample_plan(), ""},
                             {vectors, ml::solve(ml::formulate(vectors, models::near_ranks(4))).value(), ""}};
  for (sample& each : samples) each.text = ml::to_text(each.graph, each.made);
  random_bits bits(11);
  int accepted = 0, refused = 0;
  for (int round = 0; round < 2000; ++round) {
    CAPTURE(round);
    const auto& [graph, made, whole] = samples[draw(bits, samples.size())];
    std::string text = whole;
    for (std::size_t faults = 1 + draw(bits, 1 + draw(bits, 3)); faults > 0; --faults) mutations::mutate(text, bits);
    const auto read = ml::from_text(text, graph, made.ranks);
    if (!read) {
      ++refused;
      CHECK(mutations::fault_of(read.error(), read.error().starts_with("plan: ") ? "plan: " : "plan, line ") == "");
      continue;
    }
    ++accepted;
    CHECK(ml::check(graph, read.value()).empty());
    const auto again = ml::from_text(ml::to_text(graph, read.value()), graph, made.ranks);
    REQUIRE_MESSAGE(again, again.error());
    CHECK(again.value() == read.value());
  }
  MESSAGE(accepted << " accepted, " << refused << " refused");
  CHECK(accepted > 50);  // other times, swapped operators, comments
  CHECK(refused > 1000);
}

TEST_CASE("names of any letters survive, ambiguous ones are refused") {
  const auto odd = ml::trace(models::token_training(ml::embedding<ml::axis::vocab, ml::axis::embed>{} |
                                                    ml::named("a b|c:d#e;f=\\2", models::perceptron()) |
                                                    ml::linear<ml::axis::embed, ml::axis::vocab>{}));
  const ml::plan made = models::planned(odd, "data=2,tensor=2", 4);
  const std::string text = ml::to_text(odd, made);
  CHECK(text.find("operator a\\20b\\7cc\\3ad\\23e\\3bf\\3d\\5c2.linear.dot: split batch | split mlp\n") !=
        std::string::npos);
  CHECK(ml::from_text(text, odd, 4).value() == made);

  ml::graph twice = odd;
  twice.nodes[ml::node_id{1}].name = twice.nodes[ml::node_id{0}].name;
  CHECK(ml::from_text(text, twice, 4).error() == "plan: the model has two of operator embedding.lookup; rename one");
  CHECK_THROWS_WITH_AS(ml::to_text(twice, made), "to_text: the model has two of operator embedding.lookup; rename one",
                       ml::error);
  ml::graph square = odd;
  square.nodes[ml::node_id{0}].indices[1] = square.nodes[ml::node_id{0}].indices[0];
  CHECK(ml::from_text(text, square, 4).error() ==
        "plan: operator embedding.lookup has two axes named batch; rename one");
}

TEST_CASE("only plans that check accepts are written") {
  ml::plan broken = sample_plan();
  broken.micro_batches = 5;
  CHECK_THROWS_WITH_AS(ml::to_text(models::all()[1].graph, broken),
                       "to_text: 5 micro-batches do not divide a batch of 24; write only a plan that check accepts",
                       ml::error);
}

TEST_CASE("plans are kept in files, and errors name the path") {
  namespace files = std::filesystem;
  const ml::graph& graph = models::all()[1].graph;
  const files::path folder =
      files::temp_directory_path() / ("meshloom_plans_" + std::to_string(std::random_device{}()));
  files::create_directory(folder);
  const std::string path = (folder / "gpt.plan").string(), nowhere = (folder / "none" / "gpt.plan").string();
  ml::save_plan(path, graph, sample_plan());
  CHECK(ml::load_plan(path, graph, 8).value() == sample_plan());
  CHECK(ml::load_plan(path, graph, 4).error() ==
        path + ": plan, line 4: the plan is for 8 ranks, but there are 4; solve again for them");
  CHECK(ml::load_plan(nowhere, graph, 8).error() == nowhere + ": cannot be read; check the path");
  CHECK(ml::load_plan(folder.string(), graph, 8).error().starts_with(folder.string() + ": "));
  CHECK_THROWS_WITH_AS(
      ml::save_plan(nowhere, graph, sample_plan()),
      ("save_plan: " + nowhere + " cannot be written; check that its folder exists and has room").c_str(), ml::error);
  std::ofstream(path) << sample_text().substr(0, 700);
  CHECK(ml::load_plan(path, graph, 8).error().starts_with(path + ": plan, line "));
  files::remove_all(folder);
}
