// SPDX-License-Identifier: Apache-2.0
// program/check_ends.hpp: whatever stages have to agree on is planted otherwise on one of them, and found by its own
// sentence.
#include "programs.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/model/training.hpp>
#include <meshloom/planner/solve.hpp>

#include <algorithm>

namespace {

namespace ml = meshloom;
using namespace ml::axis;
using ml::instruction;
using ml::pass;
using programs::body_of;
using programs::rejects;
using programs::stage_of;

/// Two stages, whose ends share a table.
const ml::program& whole() {
  static const ml::program made = programs::program_of("data=2,tensor=2,pipeline=2", 8, 2);
  return made;
}

/// Its forward alone, which leaves as it is made.
const ml::program& answering() {
  static const ml::program made = [] {
    const ml::cluster machine = ml::local(2);
    const auto posed = ml::formulate(programs::gpt_inference(), machine, ml::pipeline(2));
    return ml::lower(posed.graph, ml::solve(posed).value(), machine);
  }();
  return made;
}

/// Two stages that clip their gradients by the norm of all.
const ml::program& clipping() {
  static const ml::program made = [] {
    const ml::graph graph = ml::trace(
        ml::training{.model = ml::linear<embed, mlp>{} | ml::gelu{} | ml::linear<mlp, vocab>{},
                     .loss = ml::cross_entropy<vocab>{},
                     .optimizer = ml::sgd{.clip = 1},
                     .sizes = ml::sizes{ml::size<batch>{4}, ml::size<embed>{6}, ml::size<mlp>{8}, ml::size<vocab>{10}},
                     .input = ml::tensor<batch, embed>{},
                     .target = ml::integers<batch>{}});
    const ml::cluster machine = ml::local(2);
    return ml::lower(graph, ml::solve(ml::formulate(graph, machine, ml::pipeline(2))).value(), machine);
  }();
  return made;
}

ml::buffer& sent(ml::program& p) {
  const ml::transfer& first = p.transfers[0];
  return stage_of(p, first.route.from_stage).buffers[first.from];
}

ml::buffer& received(ml::program& p) {
  const ml::transfer& first = p.transfers[0];
  return stage_of(p, first.route.to_stage).buffers[first.to];
}

/// A pending sum along the second mesh axis, whatever it was.
void leave_pending(ml::buffer& what) { what.layout = what.layout.without(1).with(1, {ml::placement::partial_sum, -1}); }

/// Windows of one element along the samples, which the first mesh axis splits.
void widen(ml::buffer& what) {
  what.widened.push_back({.axis = 0, .mesh_axis = 0, .shape = {.taps = 1}, .readers = what.global[0]});
}

/// The table that the embedding and the head share, as the head's stage keeps it.
ml::placed_value& table_of_head(ml::program& p) {
  auto& kept = stage_of(p, 1).placed_values;
  const auto found = std::find_if(kept.begin(), kept.end(), [](const auto& each) { return each.name == "tokens"; });
  REQUIRE(found != kept.end());
  return *found;
}

/// The body that has the instruction, and where.
struct found_instruction {
  ml::vector<instruction>& body;
  ml::vector<instruction>::iterator at;
};

found_instruction last_stage_has(ml::program& p, pass which, instruction::kind_type kind) {
  auto& body = body_of(p, static_cast<int>(p.stages.size()) - 1, which);
  const auto at = std::find_if(body.begin(), body.end(), [&](const instruction& each) { return each.kind == kind; });
  REQUIRE(at != body.end());
  return {body, at};
}

void do_again(const found_instruction& what) {
  const instruction copy = *what.at;
  what.body.push_back(copy);
}

}  // namespace

TEST_CASE("both ends of a message are shards of one tensor") {
  constexpr std::string_view other = ", which is another tensor";
  rejects(
      whole(), [](auto& p) { received(p).global[0] += 1; }, other);
  rejects(
      whole(), [](auto& p) { sent(p).rank -= 1; }, other);
  rejects(
      whole(), [](auto& p) { sent(p).type = ml::dtype::i32; }, other);
}

TEST_CASE("a message carries no windows and no pending sum") {
  for (const auto end : {sent, received}) {
    rejects(
        whole(), [&](auto& p) { widen(end(p)); }, "sends or receives windows of a tensor");
    rejects(
        whole(), [&](auto& p) { leave_pending(end(p)); }, "sends or receives a pending sum");
  }
}

TEST_CASE("a result that is summed lies whole, in its shape and type, on every rank of its stage") {
  constexpr std::string_view sentence = ": does not lie whole, in its shape and type, on every rank of its stage";
  rejects(
      whole(), [](auto& p) { p.results[0].extents = {2}; }, sentence);
  rejects(
      whole(), [](auto& p) { p.results[0].type = ml::dtype::i32; }, sentence);
  rejects(
      whole(), [](auto& p) { leave_pending(stage_of(p, 1).buffers[p.results[0].buffer]); }, sentence);
}

TEST_CASE("a result that leaves in parts is stored once") {
  REQUIRE(answering().results[0].batch_axis >= 0);
  const auto store = [](ml::program& p) { return last_stage_has(p, pass::forward, instruction::store); };
  rejects(
      answering(),
      [&](auto& p) {
        const auto [body, at] = store(p);
        body.erase(at);
      },
      ": is stored 0 times");
  rejects(
      answering(), [&](auto& p) { do_again(store(p)); }, ": is stored 2 times");
}

TEST_CASE("a parameter starts alike on all stages that keep it, and once on each") {
  constexpr std::string_view sentence = "parameter tokens: does not start alike on the stages that keep it";
  rejects(
      whole(), [](auto& p) { ++table_of_head(p).number; }, sentence);
  rejects(
      whole(), [](auto& p) { table_of_head(p).start.value *= 2; }, sentence);
  rejects(
      whole(), [](auto& p) { ++table_of_head(p).what.copy; }, sentence);
  rejects(
      whole(), [](auto& p) { stage_of(p, 1).buffers[table_of_head(p).buffer].global[0] += 1; }, sentence);
  rejects(
      whole(),
      [](auto& p) {
        const ml::placed_value again = table_of_head(p);
        stage_of(p, 1).placed_values.push_back(again);
      },
      sentence);
}

TEST_CASE("all stages add up as many totals") {
  const auto total = [](ml::program& p) { return last_stage_has(p, pass::update, instruction::total); };
  rejects(
      clipping(), [&](auto& p) { do_again(total(p)); }, "stage 1: has 2 totals where stage 0 has 1");
  rejects(
      clipping(),
      [&](auto& p) {
        const auto [body, at] = total(p);
        body.erase(at);
      },
      "stage 1: has 0 totals where stage 0 has 1");
}
