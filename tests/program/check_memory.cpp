// SPDX-License-Identifier: Apache-2.0
// Planted faults of memory, each found by its own sentence.
#include "programs.hpp"

#include <algorithm>
#include <utility>

namespace {

namespace ml = meshloom;
using ml::buffer;
using ml::buffer_id;
using ml::instruction;
using ml::memory;
using ml::pass;
using programs::body_of;
using programs::rejects;
using programs::stage_of;

const ml::program& whole() {
  static const ml::program made = programs::program_of("zero2=2,pipeline=2", 4, 3);
  return made;
}

/// The n-th buffer of a region that is not empty.
buffer& buffer_in(ml::program& p, memory where, int n) {
  for (buffer& each : stage_of(p, 0).buffers) {
    if (each.where == where && each.size.count > 0 && n-- == 0) return each;
  }
  FAIL("the region has fewer buffers");
  return stage_of(p, 0).buffers[buffer_id{0}];
}

buffer& buffer_at(ml::program& p, buffer_id id) { return stage_of(p, 0).buffers[id]; }

instruction& first(ml::program& p, pass which, instruction::kind_type kind) {
  return programs::find(body_of(p, 0, which), [kind](const instruction& at) { return at.kind == kind; });
}

void drop(ml::vector<instruction>& body, const instruction& dropped) {
  body.erase(body.begin() + (&dropped - body.data()));
}

/// An operator of backward with two transient operands and a transient result, all alive while it runs.
instruction& of_transients(ml::program& p) {
  return programs::find(body_of(p, 0, pass::backward), [&](const instruction& at) {
    const auto transient = [&](buffer_id id) { return buffer_at(p, id).where == memory::transient; };
    return at.kind == instruction::compute && at.operands.size() > 1 && at.operands[0] != at.operands[1] &&
           transient(at.operands[0]) && transient(at.operands[1]) && transient(at.results[0]);
  });
}

instruction& optimizer_step(ml::program& p) {
  return programs::find(body_of(p, 0, pass::update),
                        [](const instruction& at) { return at.kind == instruction::compute && at.op->in_place; });
}

}  // namespace

TEST_CASE("buffers lie in their regions, aligned and of their size") {
  rejects(
      whole(), [](auto& p) { buffer_in(p, memory::fixed, 1).offset.count += 8; }, "off the alignment");
  rejects(
      whole(), [](auto& p) { buffer_in(p, memory::kept, 0).offset.count = -64; }, "outside its region");
  rejects(
      whole(), [](auto& p) { buffer_in(p, memory::fixed, 0).offset = stage_of(p, 0).fixed; }, "outside its region");
  rejects(
      whole(), [](auto& p) { buffer_in(p, memory::kept, 0).size.count -= 64; }, "bytes for a shard of");
  rejects(
      whole(), [](auto& p) { buffer_in(p, memory::transient, 0).size.count += 64; }, "bytes for a shard of");
  rejects(
      whole(), [](auto& p) { buffer_in(p, memory::fixed, 0).where = memory::kept; }, "the kept region has");
}

TEST_CASE("regions are exactly as large as their buffers need") {
  rejects(
      whole(), [](auto& p) { stage_of(p, 0).fixed.count -= 64; }, "outside its region");
  rejects(
      whole(), [](auto& p) { stage_of(p, 0).fixed.count += 64; }, "stage 0: the fixed region has");
  rejects(
      whole(), [](auto& p) { stage_of(p, 1).kept.count -= 64; }, "stage 1: the kept region has");
  rejects(
      whole(), [](auto& p) { stage_of(p, 1).kept.count += 64; }, "stage 1: the kept region has");
  rejects(
      whole(), [](auto& p) { stage_of(p, 0).transient.count -= 64; }, "stage 0: the transient region has");
  rejects(
      whole(), [](auto& p) { stage_of(p, 0).transient.count += 64; }, "stage 0: the transient region has");
  rejects(
      whole(), [](auto& p) { stage_of(p, 0).transient_bound.count = stage_of(p, 0).transient.count + 64; },
      "no packing is said to need less");
}

TEST_CASE("buffers that are alive together lie apart") {
  rejects(
      whole(), [](auto& p) { buffer_in(p, memory::fixed, 1).offset = buffer_in(p, memory::fixed, 0).offset; },
      "share memory in the fixed region");
  rejects(
      whole(), [](auto& p) { buffer_in(p, memory::kept, 3).offset = buffer_in(p, memory::kept, 2).offset; },
      "share memory in the kept region");
  rejects(
      whole(),
      [](auto& p) {
        const instruction& at = of_transients(p);
        buffer_at(p, at.operands[0]).offset = buffer_at(p, at.operands[1]).offset;
      },
      "share memory while both are alive in backward");
  rejects(
      whole(),
      [](auto& p) {
        const instruction& at = of_transients(p);
        buffer_at(p, at.results[0]).offset = buffer_at(p, at.operands[1]).offset;
      },
      "share memory while both are alive in backward");
}

TEST_CASE("what is sent lives to the end of its body") {
  const auto sent = [](ml::program& p) -> const ml::transfer& {
    return programs::message(p, {1, pass::backward, 0, pass::backward});
  };
  rejects(
      whole(),
      [&](auto& p) {
        const auto& body = body_of(p, 1, pass::backward);
        const auto made = std::find_if(body.begin(), body.end(), [&](const instruction& at) {
          return std::find(at.results.begin(), at.results.end(), sent(p).from) != at.results.end();
        });
        const auto last = std::find_if(body.rbegin(), body.rend(), [&](const instruction& at) {
          return at.kind == instruction::compute && stage_of(p, 1).buffers[at.results[0]].where == memory::transient;
        });
        REQUIRE(&*made < &*last);
        stage_of(p, 1).buffers[last->results[0]].offset = stage_of(p, 1).buffers[sent(p).from].offset;
      },
      "share memory while both are alive in backward");
}

TEST_CASE("nothing is read before it is written, or written twice") {
  rejects(
      whole(), [](auto& p) { drop(body_of(p, 0, pass::forward), first(p, pass::forward, instruction::load)); },
      "before it is written");
  rejects(
      whole(), [](auto& p) { drop(body_of(p, 0, pass::backward), of_transients(p)); }, "before it is written");
  rejects(
      whole(), [](auto& p) { drop(body_of(p, 0, pass::backward), first(p, pass::backward, instruction::accumulate)); },
      "before it is written");
  rejects(
      whole(),
      [](auto& p) { drop(body_of(p, 0, pass::backward), first(p, pass::backward, instruction::redistribute)); },
      "before it is written");
  rejects(
      whole(),
      [](auto& p) {
        auto& body = body_of(p, 0, pass::forward);
        std::reverse(body.begin(), body.end());
      },
      "before it is written");
  rejects(
      whole(),
      [](auto& p) {
        auto& body = body_of(p, 0, pass::backward);
        body.push_back(instruction(of_transients(p)));
      },
      "which was written before");
  rejects(
      whole(),
      [](auto& p) {  // what forward leaves in transient memory is gone in backward
        const buffer_id gone = first(p, pass::forward, instruction::load).results[0];
        first(p, pass::backward, instruction::compute).operands[0] = gone;
      },
      "before it is written in backward");
  rejects(
      whole(),
      [](auto& p) {  // a slot belongs to a micro-batch, the update to none
        for (std::size_t b = 0; b < stage_of(p, 0).buffers.size(); ++b) {
          if (buffer_at(p, static_cast<buffer_id>(b)).where == memory::kept) {
            first(p, pass::update, instruction::compute).operands[0] = static_cast<buffer_id>(b);
          }
        }
      },
      "before it is written in update");
}

TEST_CASE("sums are complete when they are read, and set by one instruction") {
  rejects(
      whole(),
      [](auto& p) {
        body_of(p, 0, pass::backward).push_back(instruction(first(p, pass::backward, instruction::accumulate)));
      },
      "which another sum sets as well");
  rejects(
      whole(),
      [](auto& p) {
        const buffer_id sum = first(p, pass::backward, instruction::accumulate).results[0];
        auto& body = body_of(p, 0, pass::backward);
        body.push_back(
            {.kind = instruction::redistribute, .name = "early", .operands = {sum}, .results = {sum}, .mesh_axis = 0});
      },
      "before the sum over micro-batches is complete");
  rejects(
      whole(),
      [](auto& p) {
        first(p, pass::backward, instruction::accumulate).results =
            first(p, pass::backward, instruction::accumulate).operands;
      },
      "which cannot hold a sum over micro-batches");
}

TEST_CASE("the update changes every parameter, once, and nothing else does") {
  rejects(
      whole(), [](auto& p) { drop(body_of(p, 0, pass::update), optimizer_step(p)); }, "is never updated");
  rejects(
      whole(), [](auto& p) { body_of(p, 0, pass::update).push_back(instruction(optimizer_step(p))); },
      "after it was updated");
  rejects(
      programs::program_of("zero2=2,pipeline=2", 4, 3, programs::gpt_in_bf16()),
      [](auto& p) {  // the parameter would be what its master was before the step
        const auto named = [&p](std::string_view name) -> instruction& {
          return programs::find(body_of(p, 0, pass::update), [name](const instruction& at) {
            return at.kind == instruction::compute && at.op->op.name == name;
          });
        };
        instruction &step = named("adamw"), &rounds = named("store_rounded");
        REQUIRE(rounds.operands[1] == step.results[0]);
        std::swap(step, rounds);
      },
      ".master) before it ");
  rejects(
      whole(), [](auto& p) { body_of(p, 0, pass::forward).back().results = {stage_of(p, 0).placed_values[0].buffer}; },
      "which was written before");
  rejects(
      whole(), [](auto& p) { stage_of(p, 0).placed_values[1].buffer = stage_of(p, 0).placed_values[0].buffer; },
      "shares its buffer with another");
  rejects(
      whole(), [](auto& p) { stage_of(p, 0).placed_values[0].buffer = of_transients(p).results[0]; },
      "does not lie in the fixed region");
}

TEST_CASE("messages and results lie where they are looked for") {
  rejects(
      whole(),
      [](auto& p) {
        buffer_at(p, programs::message(p, {1, pass::backward, 0, pass::backward}).to).where = memory::transient;
      },
      "lands in the transient region");
  rejects(
      whole(),
      [](auto& p) {
        programs::message(p, {0, pass::forward, 1, pass::forward}).from = of_transients(p).results[0];
      },
      ": sends buffer");
  rejects(
      whole(), [](auto& p) { p.results[0].buffer = stage_of(p, 1).placed_values[0].buffer; },
      "does not hold it at the end of the step");
}
