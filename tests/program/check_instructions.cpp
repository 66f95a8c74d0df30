// SPDX-License-Identifier: Apache-2.0
// Planted faults of instructions, each found by its own sentence.
#include "programs.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/model/moe.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/place.hpp>

#include <algorithm>
#include <utility>

namespace {

namespace ml = meshloom;
using ml::buffer_id;
using ml::collective;
using ml::instruction;
using ml::pass;
using ml::placement;
using programs::body_of;
using programs::rejects;
using programs::stage_of;

/// Two mesh axes, vocabulary and heads split over the second, a table shared by both stages.
const ml::program& whole() {
  static const ml::program made = programs::program_of("data=2,tensor=2,pipeline=2", 8, 2);
  return made;
}

/// The same in bf16.
const ml::program& whole_in_bf16() {
  static const ml::program made = programs::program_of("data=2,tensor=2,pipeline=2", 8, 2, programs::gpt_in_bf16());
  return made;
}

instruction& operator_named(ml::program& p, int stage, pass which, std::string_view name) {
  return programs::find(body_of(p, stage, which), [name](const instruction& at) {
    return at.kind == instruction::compute && at.op->op.name == name;
  });
}

instruction& moved(ml::program& p, int stage, pass which, collective how) {
  return programs::find(body_of(p, stage, which),
                        [how](const instruction& at) { return at.kind == instruction::redistribute && at.how == how; });
}

instruction& first(ml::program& p, int stage, pass which, instruction::kind_type kind) {
  return programs::find(body_of(p, stage, which), [kind](const instruction& at) { return at.kind == kind; });
}

ml::buffer& buffer_at(ml::program& p, int stage, buffer_id id) { return stage_of(p, stage).buffers[id]; }

/// Lays a buffer out anew along one mesh axis.
void lay(ml::buffer& what, int mesh_axis, placement on) {
  what.layout = what.layout.without(mesh_axis).with(mesh_axis, on);
}

/// Plants another type in one tensor of an operator of stage 0 in bf16, which is found in these words.
void rejects_type(pass which, std::string_view name, ml::vector<buffer_id> instruction::*side, std::size_t k,
                  ml::dtype type, const std::string& words) {
  ml::program half = whole_in_bf16();
  const instruction& at = operator_named(half, 0, which, name);
  const buffer_id id = (at.*side)[k];
  const std::string tensor = (side == &instruction::results ? "result " : "operand ") + std::to_string(k) + ", " +
                             ml::place_of(stage_of(half, 0), id);
  const std::string sentence = ml::place_of(0, which, at) + ": " + tensor + ", is of type " + words;
  rejects(
      half, [=](auto& p) { buffer_at(p, 0, id).type = type; }, sentence);
}

}  // namespace

TEST_CASE("results are integers where the signature says so, and nowhere else") {
  const ml::graph graph = ml::trace(ml::moe_training(ml::find_moe("moe-tiny"), ml::sgd{}));
  const ml::cluster machine = ml::local(2);
  const ml::plan plan = ml::solve(ml::formulate(graph, machine, ml::expert_parallel(2))).value();
  const ml::program mixture = ml::lower(graph, plan, machine);
  const auto retyped = [&mixture](std::size_t result, ml::dtype type, std::string_view sentence) {
    rejects(
        mixture,
        [=](auto& p) { buffer_at(p, 0, operator_named(p, 0, pass::forward, "route").results[result]).type = type; },
        sentence);
  };
  retyped(0, ml::dtype::i32, "is of type i32 in a program of f32");
  retyped(1, ml::dtype::f32, "is of type f32 and has to be of integers");
}

TEST_CASE("an instruction computes in one type, and rounds no more than its operator may") {
  using enum ml::dtype;
  rejects_type(pass::forward, "dot", &instruction::operands, 1, f32, "f32 where the operator computes in bf16");
  rejects_type(pass::forward, "layer_norm", &instruction::results, 0, f32, "f32 where the operator computes in bf16");
  rejects_type(pass::update, "pointwise", &instruction::results, 0, bf16, "bf16 where the operator computes in f32");
  rejects_type(pass::forward, "dot", &instruction::operands, 0, f16, "f16 in a program of f32");
  rejects_type(pass::forward, "layer_norm", &instruction::operands, 1, bf16, "bf16 in a program of f32");
  rejects_type(pass::forward, "layer_norm", &instruction::results, 1, bf16, "bf16 in a program of f32");
  rejects_type(pass::backward, "layer_norm_gradient_weights", &instruction::results, 0, bf16,
               "bf16 in a program of f32");
}

TEST_CASE("sums over micro-batches may be wide, and may not be rounded") {
  ml::program half = whole_in_bf16();
  const instruction& at = programs::find(
      body_of(half, 0, pass::backward), [](const instruction& each) { return each.adds && each.op->op.name == "dot"; });
  REQUIRE(buffer_at(half, 0, at.operands[0]).type == ml::dtype::bf16);
  REQUIRE(buffer_at(half, 0, at.results[0]).type == ml::dtype::f32);
  CHECK(ml::check(half).empty());
  rejects(
      half, [&](auto& p) { buffer_at(p, 0, at.results[0]).type = ml::dtype::bf16; },
      ml::place_of(0, pass::backward, at) + ": sums micro-batches in a type that rounds each of them");
  rejects(
      half,
      [&](auto& p) {
        const instruction& sum = first(p, 1, pass::forward, instruction::accumulate);
        for (const buffer_id id : {sum.operands[0], sum.results[0]}) buffer_at(p, 1, id).type = ml::dtype::bf16;
      },
      ml::place_of(1, pass::forward, first(half, 1, pass::forward, instruction::accumulate)) +
          ": sums micro-batches in a type that rounds each of them");
}

TEST_CASE("operands and results match the signature") {
  rejects(
      whole(), [](auto& p) { operator_named(p, 0, pass::forward, "dot").operands.pop_back(); },
      "has 1 operands and 1 results, its signature has 2 and 1");
  rejects(
      whole(), [](auto& p) { operator_named(p, 0, pass::forward, "layer_norm").results.pop_back(); },
      "its signature has 3 and 3");
  rejects(
      whole(),
      [](auto& p) {
        instruction& at = operator_named(p, 0, pass::forward, "layer_norm");
        std::swap(at.operands[0], at.operands[1]);
      },
      "has 1 axes where the operator has 3");
  rejects(
      whole(), [](auto& p) { buffer_at(p, 0, operator_named(p, 0, pass::forward, "dot").operands[0]).global[0] += 1; },
      "elements along an axis of");
  rejects(
      whole(),
      [](auto& p) { buffer_at(p, 0, operator_named(p, 0, pass::forward, "dot").results[0]).type = ml::dtype::i32; },
      "is of type i32 in a program of f32");
  rejects(
      whole(),
      [](auto& p) {
        instruction& at = operator_named(p, 0, pass::update, "adamw");
        std::swap(at.results[1], at.results[2]);
      },
      "does not write result 1 in place");
  rejects(
      whole(), [](auto& p) { operator_named(p, 0, pass::backward, "attention_gradient").adds = true; },
      "adds to its results, which attention_gradient cannot");
  rejects(
      whole(), [](auto& p) { operator_named(p, 0, pass::forward, "dot").adds = true; },
      "adds to its results outside of backward");
}

TEST_CASE("layouts are rows of the operator's table") {
  rejects(
      whole(),
      [](auto& p) { lay(buffer_at(p, 0, operator_named(p, 0, pass::forward, "attention").results[0]), 0, {}); },
      "is cut along axis 0 in another way than its neighbours");
  rejects(
      whole(),
      [](auto& p) {
        lay(buffer_at(p, 0, operator_named(p, 0, pass::forward, "layer_norm").operands[0]), 1,
            {placement::partial_sum, -1});
      },
      "is a pending sum along mesh axis tensor, in which layer_norm is not linear");
  rejects(
      whole(),
      [](auto& p) {
        lay(buffer_at(p, 0, operator_named(p, 0, pass::forward, "layer_norm").results[1]), 1,
            {placement::partial_sum, -1});
      },
      "no row of the table of layer_norm explains the layouts of its operands and results along mesh axis tensor");
  rejects(
      whole(),
      [](auto& p) {  // an axis split by both mesh axes, in another order in the result
        ml::stage_program& stage = stage_of(p, 0);
        const auto [from, to] = [&] {
          instruction& at = operator_named(p, 0, pass::forward, "attention");
          return std::pair(at.operands[0], at.results[0]);
        }();
        stage.buffers[from].layout = ml::spec{}.with(0, {placement::split, 0}).with(1, {placement::split, 0});
        stage.buffers[to].layout = ml::spec{}.with(1, {placement::split, 0}).with(0, {placement::split, 0});
      },
      "is cut along axis 0 in another way than its neighbours");
}

TEST_CASE("statistics are exchanged where something splits them, and only there") {
  const auto cross_entropy = [](ml::program& p) -> instruction& {
    return operator_named(p, 1, pass::forward, "cross_entropy");
  };
  const auto body = [](ml::program& p) -> ml::vector<instruction>& { return body_of(p, 1, pass::forward); };
  const auto exchange = [](ml::program& p) -> instruction& {
    return first(p, 1, pass::forward, instruction::exchange);
  };
  rejects(
      whole(), [&](auto& p) { body(p).erase(body(p).begin() + (&exchange(p) - body(p).data())); },
      "statistic 0 is not exchanged over mesh axis tensor, which splits it");
  rejects(
      whole(), [&](auto& p) { exchange(p).mesh_axis = 0; },
      "is not the exchange of statistic 0 that the operator asks for");
  rejects(
      whole(), [&](auto& p) { exchange(p).combine = ml::reduction::sum; },
      "is not the exchange of statistic 0 that the operator asks for");
  rejects(
      whole(), [&](auto& p) { exchange(p).exchanged = {cross_entropy(p).exchanged[1]}; },
      "is not the exchange of statistic 0");
  rejects(
      whole(),
      [&](auto& p) {
        const instruction again = exchange(p);
        body(p).push_back(again);
      },
      "exchanges statistics that no operator asks for");
  rejects(
      whole(), [&](auto& p) { cross_entropy(p).part = 1; }, "begins at part 1");
  rejects(
      whole(), [&](auto& p) { ml::erase_if(body(p), [](const instruction& at) { return at.part == 2; }); },
      "part 2 is missing");
  rejects(
      whole(), [&](auto& p) { cross_entropy(p).exchanged.clear(); },
      "keeps 0 statistics where the split of its axes asks for 2");
  rejects(
      whole(),
      [&](auto& p) {
        lay(buffer_at(p, 1, cross_entropy(p).exchanged[1]), 1, {placement::split, 0});
      },
      "keeps statistic 1 in");
  rejects(
      whole(),
      [&](auto& p) {  // nothing splits what this layer norm sums over
        instruction& at = operator_named(p, 1, pass::forward, "layer_norm");
        at.exchanged = {at.results[1], at.results[2]};
      },
      "keeps 2 statistics where the split of its axes asks for 0");
}

TEST_CASE("reshards are their collective, along their mesh axis") {
  const auto reduce = [](ml::program& p) -> instruction& { return moved(p, 0, pass::update, collective::all_reduce); };
  rejects(
      whole(), [&](auto& p) { reduce(p).mesh_axis = 2; }, "its group lies along mesh axis 2 of 2");
  rejects(
      whole(), [&](auto& p) { reduce(p).mesh_axis = 1; },
      "all_reduce along mesh axis tensor: changes the layout on another mesh axis");
  rejects(
      whole(), [&](auto& p) { reduce(p).how = collective::reduce_scatter; },
      "does not lead from the layout of its operand to that of its result");
  rejects(
      whole(), [&](auto& p) { reduce(p).how = collective::broadcast; },
      "does not lead from the layout of its operand to that of its result");
  rejects(
      whole(), [&](auto& p) { reduce(p).combine = ml::reduction::max; },
      "combines by another reduction than is pending");
  rejects(
      whole(), [&](auto& p) { reduce(p).results = reduce(p).operands; },
      "which is not the same tensor in a place of its own");
  rejects(
      whole(), [&](auto& p) { buffer_at(p, 0, reduce(p).results[0]).global[1] += 1; },
      "which is not the same tensor in a place of its own");
  rejects(
      whole(), [&](auto& p) { reduce(p).operands.push_back(reduce(p).operands[0]); }, "moves 2 values to 1");
  rejects(
      whole(),
      [&](auto& p) {  // undoes the outer of two cuts
        instruction& at = reduce(p);
        buffer_at(p, 0, at.operands[0]).layout =
            ml::spec{}.with(0, {placement::split, 0}).with(1, {placement::split, 0});
        buffer_at(p, 0, at.results[0]).layout = ml::spec{}.with(1, {placement::split, 0});
        at.how = collective::all_gather;
      },
      "undoes a cut that is not the innermost");
}

TEST_CASE("sums and inputs keep shape, type and layout") {
  rejects(
      whole(),
      [](auto& p) { lay(buffer_at(p, 1, first(p, 1, pass::forward, instruction::accumulate).results[0]), 1, {}); },
      "which has another shape, type or layout");
  rejects(
      whole(),
      [](auto& p) {
        const instruction sum = first(p, 1, pass::forward, instruction::accumulate);
        body_of(p, 1, pass::update).push_back(sum);
      },
      "sums micro-batches in update");
  rejects(
      whole(), [](auto& p) { p.inputs[0].extents[1] += 1; },
      "has another shape or type than one micro-batch of port input");
  rejects(
      whole(), [](auto& p) { p.inputs[1].type = ml::dtype::f32; },
      "has another shape or type than one micro-batch of port target");
  rejects(
      whole(),
      [](auto& p) {
        lay(buffer_at(p, 0, first(p, 0, pass::forward, instruction::load).results[0]), 1, {placement::partial_sum, -1});
      },
      "holds a pending reduction of port input");
}
