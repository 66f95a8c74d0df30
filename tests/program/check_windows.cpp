// SPDX-License-Identifier: Apache-2.0
// Planted faults of windows, each found by its own sentence.
#include <meshloom/cluster/presets.hpp>
#include <meshloom/planner/solve.hpp>

#include "../exec/stencil_training.hpp"
#include "programs.hpp"

#include <algorithm>

namespace {

namespace ml = meshloom;
using ml::buffer_id;
using ml::collective;
using ml::instruction;
using ml::pass;
using programs::body_of;
using programs::rejects;
using programs::stage_of;

/// Images split along high over 3 ranks and along wide over 2.
const ml::program& whole() {
  static const ml::program made = [] {
    const ml::graph graph = ml::trace(stencils::training_of(stencils::uneven));
    const ml::manual asked = stencils::split_high(3) & stencils::split_wide(2);
    const ml::cluster machine = ml::local(6);
    return ml::lower(graph, ml::solve(ml::formulate(graph, machine, asked)).value(), machine);
  }();
  return made;
}

/// The first halo of a pass along a mesh axis.
instruction& halo(ml::program& p, pass which, int mesh_axis) {
  return programs::find(body_of(p, 0, which), [mesh_axis](const instruction& at) {
    return at.kind == instruction::redistribute && at.how == collective::halo && at.mesh_axis == mesh_axis;
  });
}

instruction& operator_named(ml::program& p, pass which, std::string_view name) {
  return programs::find(body_of(p, 0, which), [name](const instruction& at) {
    return at.kind == instruction::compute && at.op->op.name == name;
  });
}

ml::buffer& at(ml::program& p, buffer_id id) { return stage_of(p, 0).buffers[id]; }

/// The buffer that the first blur of a pass reads, with both its halos.
ml::buffer& read_by(ml::program& p, pass which, std::string_view name) {
  return at(p, operator_named(p, which, name).operands[0]);
}

}  // namespace

TEST_CASE("what is read is there") {
  REQUIRE(halo(const_cast<ml::program&>(whole()), pass::forward, 0).operands.size() == 1);
  // One tap, then one position's worth, too few, at either end; and the other way round in a gradient.
  rejects(
      whole(), [](auto& p) { --read_by(p, pass::forward, "blur").widened[0].shape.taps; }, "operand 0, buffer ");
  rejects(
      whole(), [](auto& p) { --read_by(p, pass::forward, "blur").widened[0].shape.taps; },
      "lacks element 4 of axis 1 on rank 0, whose part of the operator reads it");
  rejects(
      whole(), [](auto& p) { --read_by(p, pass::forward, "blur").widened[0].shape.padding; },
      "of axis 1 on rank 2, whose part of the operator reads it");
  rejects(
      whole(), [](auto& p) { --read_by(p, pass::forward, "blur").widened[1].shape.dilation; },
      "of axis 2 on rank 0, whose part of the operator reads it");
  rejects(
      whole(), [](auto& p) { --read_by(p, pass::backward, "blur_image_gradient").widened[0].shape.padding; },
      "whose part of the operator reads it");
  rejects(
      whole(), [](auto& p) { read_by(p, pass::backward, "blur_image_gradient").widened[0].transposed = false; },
      "whose part of the operator reads it");
  rejects(
      whole(), [](auto& p) { operator_named(p, pass::forward, "blur").attributes[0] = 5; },
      "of axis 1 on rank 0, whose part of the operator reads it");
}

TEST_CASE("a halo that is missing is missed") {
  rejects(
      whole(),
      [](auto& p) {  // the operator reads what was to be widened
        auto& body = body_of(p, 0, pass::forward);
        operator_named(p, pass::forward, "blur").operands[0] = halo(p, pass::forward, 0).operands[0];
        erase_if(body, [](const instruction& each) { return each.how == collective::halo; });
      },
      "lacks element 4 of axis 1 on rank 0, whose part of the operator reads it");
  rejects(
      whole(),
      [](auto& p) {
        auto& body = body_of(p, 0, pass::forward);
        body.erase(body.begin() + (&halo(p, pass::forward, 1) - body.data()));
      },
      "before it is written");
}

TEST_CASE("a halo lies along the mesh axis that splits the image, and moves nothing else") {
  rejects(
      whole(), [](auto& p) { halo(p, pass::forward, 0).mesh_axis = 1; },
      "halo along mesh axis columns: does not lead from what ranks hold of input to windows along the axis that it "
      "splits");
  rejects(
      whole(),
      [](auto& p) {
        ml::halo& first = read_by(p, pass::forward, "blur").widened[0];
        first.mesh_axis = 1;
      },
      "holds windows along an axis that is not split once");
  rejects(
      whole(), [](auto& p) { read_by(p, pass::forward, "blur").widened[0].axis = 0; },
      "holds windows along an axis that is not split once");
  rejects(
      whole(), [](auto& p) { read_by(p, pass::forward, "blur").widened[0].shape.stride = 0; },
      "holds windows that no index reads");
  rejects(
      whole(), [](auto& p) { halo(p, pass::forward, 0).results = halo(p, pass::forward, 0).operands; },
      "which is not the same tensor, laid out alike, in a place of its own");
  rejects(
      whole(), [](auto& p) { at(p, halo(p, pass::forward, 0).results[0]).widened.clear(); },
      "does not lead from what ranks hold of input to windows");
  rejects(
      whole(), [](auto& p) { halo(p, pass::forward, 0).how = collective::all_gather; },
      "moves windows of a tensor, which only operators read");
}

TEST_CASE("windows are for the operators that read them, within a pass") {
  rejects(
      whole(),
      [](auto& p) {
        const buffer_id wide = operator_named(p, pass::forward, "blur").operands[0];
        at(p, operator_named(p, pass::forward, "blur").results[0]).widened = at(p, wide).widened;
      },
      "writes windows of result 0");
  rejects(
      whole(),
      [](auto& p) {
        const auto windows = read_by(p, pass::forward, "blur").widened;
        read_by(p, pass::forward, "pointwise").widened = windows;
      },
      "reads none");
  rejects(
      whole(), [](auto& p) { read_by(p, pass::forward, "blur").where = ml::memory::kept; },
      "holds windows, but is not of one pass");
  rejects(
      whole(),
      [](auto& p) {
        ml::buffer& wide = read_by(p, pass::forward, "blur");
        wide.size -= ml::bytes{ml::arena_alignment};
      },
      "bytes for a shard of");
}
