// SPDX-License-Identifier: Apache-2.0
// Planted faults of blocks that go around, each found by its own sentence.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/model/gpt.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/rotation.hpp>

#include "programs.hpp"

#include <algorithm>

namespace {

namespace ml = meshloom;
using ml::buffer_id;
using ml::instruction;
using ml::pass;
using programs::body_of;
using programs::rejects;
using programs::stage_of;

/// A sequence over 3 ranks, the batch over 2.
const ml::program& whole() {
  static const ml::program made = programs::program_of("data=2,context=3", 6, 1);
  return made;
}

instruction& rotation(ml::program& p, pass which) { return programs::find(body_of(p, 0, which), ml::rotates); }
ml::buffer& at(ml::program& p, buffer_id id) { return stage_of(p, 0).buffers[id]; }

}  // namespace

TEST_CASE("blocks go around the mesh axis that splits the keys, and no other") {
  rejects(
      whole(), [](auto& p) { rotation(p, pass::forward).mesh_axis = 0; },
      "sends blocks around mesh axis data where the layouts ask for mesh axis context");
  rejects(
      whole(),
      [](auto& p) {
        rotation(p, pass::backward).visiting.clear();
        rotation(p, pass::backward).mesh_axis = -1;
      },
      "sends blocks around no mesh axis where the layouts ask for mesh axis context");
  rejects(
      whole(), [](auto& p) { rotation(p, pass::forward).mesh_axis = 3; }, "its group lies along mesh axis 3 of 2");
  rejects(
      whole(),
      [](auto& p) {
        programs::find(body_of(p, 0, pass::forward), [](const instruction& each) {
          return each.kind == instruction::compute && each.op->op.name == "layer_norm";
        }).mesh_axis = 1;
      },
      "sends blocks around mesh axis context where the layouts ask for no mesh axis");
}

TEST_CASE("visiting blocks have places of their own, and no block is overwritten before it is passed on") {
  rejects(
      whole(), [](auto& p) { rotation(p, pass::forward).visiting.pop_back(); }, "has no place for visiting blocks of");
  rejects(
      whole(), [](auto& p) { rotation(p, pass::backward).visiting.clear(); }, "has no place for visiting blocks of");
  rejects(
      whole(),
      [](auto& p) {
        auto& visiting = rotation(p, pass::forward).visiting;
        visiting[1] = visiting[0];
      },
      "where it keeps something else");
  rejects(
      whole(),
      [](auto& p) {
        instruction& around = rotation(p, pass::backward);
        around.visiting.back() = around.results[2];
      },
      "where it keeps something else");
  rejects(
      whole(),
      [](auto& p) {
        auto& buffers = stage_of(p, 0).buffers;
        auto& visiting = rotation(p, pass::forward).visiting;
        visiting.push_back(buffers.add(ml::buffer(buffers[visiting[0]])));
      },
      "has 1 places for visiting blocks that nothing visits");
}

TEST_CASE("a place takes every block: shape, type, layout and size are those of its home") {
  rejects(
      whole(), [](auto& p) { at(p, rotation(p, pass::forward).visiting[0]).layout = {}; },
      "which has another shape, type or layout");
  rejects(
      whole(), [](auto& p) { --at(p, rotation(p, pass::backward).visiting[4]).global[1]; },
      "which has another shape, type or layout");
  rejects(
      whole(), [](auto& p) { at(p, rotation(p, pass::backward).visiting[0]).size -= ml::bytes{ml::arena_alignment}; },
      "bytes for a shard of");
  rejects(
      whole(), [](auto& p) { at(p, rotation(p, pass::forward).visiting[0]).where = ml::memory::kept; },
      "which is not of one pass");
  rejects(
      whole(),
      [](auto& p) {
        const instruction& around = rotation(p, pass::forward);
        at(p, around.visiting[1]).offset = at(p, around.visiting[0]).offset;
      },
      "share memory");
}

TEST_CASE("what visits is for the operator alone") {
  rejects(
      whole(),
      [](auto& p) {
        const instruction& around = rotation(p, pass::forward);
        const buffer_id key = around.operands[1], visitor = around.visiting[0];
        auto& body = body_of(p, 0, pass::forward);
        instruction copy{.kind = instruction::redistribute, .name = "copy", .operands = {visitor}, .results = {key}};
        copy.mesh_axis = 1;
        body.push_back(copy);
      },
      "where blocks of others come and go");
  rejects(
      whole(),
      [](auto& p) {
        instruction& other = programs::find(body_of(p, 0, pass::forward), [](const instruction& each) {
          return each.kind == instruction::compute && each.op->op.name == "layer_norm";
        });
        other.visiting = rotation(p, pass::forward).visiting;
        other.mesh_axis = -1;
      },
      "its group lies along mesh axis -1");
}
