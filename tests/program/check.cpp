// SPDX-License-Identifier: Apache-2.0
// The referee accepts what `lower` makes, for every preset, product and schedule, and rejects what names nothing.
// Single random changes of a program are nearly all found; which are not is counted.
#include "programs.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/plan/solve.hpp>

#include <random>

namespace {

namespace ml = meshloom;
using ml::pass;
using programs::program_of;
using programs::rejects;

void accepts(const std::string& plan, std::int32_t ranks, std::int32_t micro_batches) {
  CAPTURE(plan);
  CAPTURE(micro_batches);
  for (const std::string& fault : ml::check(program_of(plan, ranks, micro_batches))) FAIL_CHECK(fault);
}

}  // namespace

TEST_CASE("pipelines of both schedules are accepted") {
  for (std::int32_t stages = 1; stages <= 8; ++stages) {
    for (std::int32_t micro_batches = 1; micro_batches <= 16; ++micro_batches) {
      accepts("pipeline", stages, micro_batches);
      accepts("gpipe", stages, micro_batches);
    }
  }
}

TEST_CASE("presets and their products are accepted") {
  for (const std::int32_t ranks : {1, 2, 3, 4, 6, 8}) {
    for (const char* preset : {"data", "tensor", "zero1", "zero2", "zero3"}) accepts(preset, ranks, 2);
    for (std::int32_t data = 1; data <= ranks; ++data) {
      for (std::int32_t tensor = 1; ranks % data == 0 && tensor <= ranks / data; ++tensor) {
        if (ranks % (data * tensor) != 0) continue;
        const std::string rest = ",tensor=" + std::to_string(tensor) + ",pipeline=" + std::to_string(ranks / data / tensor);
        for (const char* preset : {"data=", "zero1=", "zero2=", "zero3="}) {
          for (const std::int32_t micro_batches : {1, 4}) accepts(preset + std::to_string(data) + rest, ranks, micro_batches);
        }
      }
    }
  }
}

TEST_CASE("inference under the plan of its training is accepted") {
  for (const char* plan : {"data=2,tensor=2", "tensor=2,pipeline=2", "zero3=2,pipeline=2", "pipeline=4"}) {
    CAPTURE(plan);
    ml::manual asked = ml::parse_manual(plan, 4).value();
    asked.micro_batches = 3;
    const ml::cluster machine = ml::local(4);
    const ml::plan made = ml::solve(ml::formulate(programs::gpt(), machine, asked)).value();
    const ml::program whole = ml::lower(programs::gpt_inference(), ml::adapt(programs::gpt(), made, programs::gpt_inference()), machine);
    for (const std::string& fault : ml::check(whole)) FAIL_CHECK(fault);
    REQUIRE(whole.results.size() == 1);
    CHECK(whole.results[0].batch_axis == 0);
  }
}

TEST_CASE("what names nothing is rejected") {
  const ml::program whole = program_of("data=2,pipeline=2", 4, 2);
  const auto stage = [](ml::program& p) -> ml::stage_program& { return programs::stage_of(p, 1); };
  const auto some = [&](ml::program& p) -> ml::instruction& {
    return programs::find(stage(p).bodies[0], [](const ml::instruction& at) { return at.kind == ml::instruction::compute; });
  };
  rejects(whole, [&](auto& p) { p.micro_batches = 0; }, "the program has no micro-batch");
  rejects(whole, [&](auto& p) { stage(p).first_rank = 1; }, "rank 1 is in 2 stages");
  rejects(whole, [&](auto& p) { stage(p).first_rank = 3; }, "stage 1: uses rank 4 of 4");
  rejects(whole, [&](auto& p) { stage(p).mesh.size[0] = 0; }, "stage 1: a mesh axis of 0 ranks");
  rejects(whole, [&](auto& p) { stage(p).mesh_axes.clear(); }, "its mesh axes have no name each");
  rejects(whole, [&](auto& p) { stage(p).slots = 0; }, "stage 1: has 0 slots");
  rejects(whole, [&](auto& p) { some(p).operands[0] = static_cast<ml::buffer_id>(stage(p).buffers.size()); }, "which does not exist");
  rejects(whole, [&](auto& p) { some(p).op = nullptr; }, "computes no operator");
  rejects(whole, [&](auto& p) { stage(p).buffers[some(p).results[0]].layout = ml::spec{}.with(1, {ml::placement::split, 0}); },
          "has a layout that does not fit its shape and mesh");
  rejects(whole, [&](auto& p) { p.transfers[0].route.to_stage = p.transfers[0].route.from_stage; }, "does not go from one stage to another");
  rejects(whole, [&](auto& p) { p.transfers[0].to = ml::buffer_id::none; }, "has no buffer at its receiving end");
  rejects(whole, [&](auto& p) { programs::steps_of(p, 0)[0].index = 4; }, "names body or message 4, which does not exist");
  rejects(whole, [&](auto& p) { programs::steps_of(p, 0)[0].micro_batch = 2; }, "names micro-batch 2 of 2");
  rejects(whole, [&](auto& p) { p.results[0].buffer = ml::buffer_id::none; }, ": lies in a buffer that does not exist");
}
