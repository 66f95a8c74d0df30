// SPDX-License-Identifier: Apache-2.0
// Programs that recompute: accepted by the referee under every plan, with the memory and the time that this takes, to
// the byte and the picosecond; and the faults that a lowering could plant, each rejected by its own sentence.
#include "programs.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/exec/simulate.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/planner/solve.hpp>

#include <algorithm>
#include <random>

namespace ml = meshloom;
using ml::instruction;
using ml::pass;
using programs::body_of;
using programs::rejects;
using programs::stage_of;

namespace {

ml::plan plan_of(const std::string& preset, std::int32_t ranks, std::int32_t micro_batches) {
  ml::manual asked = ml::parse_manual(preset, ranks).value();
  asked.micro_batches = micro_batches;
  return ml::solve(ml::formulate(programs::gpt(), ml::local(ranks), asked)).value();
}

/// The same plan, every block of which recomputes.
ml::plan recomputing(ml::plan made) {
  for (ml::stage_plan& stage : made.stages) stage.recompute.assign(stage.recompute.size(), true);
  return made;
}

ml::program lowered(const ml::plan& made) { return ml::lower(programs::gpt(), made, ml::local(made.ranks)); }

ml::vector<instruction> recomputed_in(const ml::stage_program& stage) {
  ml::vector<instruction> found;
  for (const instruction& at : stage.bodies[static_cast<std::size_t>(pass::backward)]) {
    if (at.again) found.push_back(at);
  }
  return found;
}

constexpr std::string_view gelu = "[0].residual_2.linear_2.pointwise";  // with the bias before it

const ml::program& whole() {
  static const ml::program made = lowered(recomputing(plan_of("tensor=2,pipeline=2", 4, 3)));
  return made;
}

/// The first operator of the first stage that runs again with this name.
instruction& again(ml::program& p, std::string_view named) {
  return programs::find(body_of(p, 0, pass::backward),
                        [&](const instruction& at) { return at.again && at.name.find(named) != std::string::npos; });
}

instruction& in_forward(ml::program& p, std::uint64_t number) {
  return programs::find(body_of(p, 0, pass::forward), [&](const instruction& at) { return at.number == number; });
}

}  // namespace

TEST_CASE("a program whose blocks recompute is accepted, whichever they are, and keeps a fraction if all do") {
  std::mt19937_64 bits(3);
  for (const auto& [preset, ranks] : {std::pair{"data=1", 1},
                                      {"data=3", 3},
                                      {"zero3=2", 2},
                                      {"tensor=4", 4},
                                      {"pipeline=3", 3},
                                      {"gpipe=4", 4},
                                      {"zero2=2,tensor=2,pipeline=2", 8}}) {
    CAPTURE(preset);
    const ml::plan keeping = plan_of(preset, ranks, 4);
    const ml::program before = lowered(keeping);
    for (int round = 0; round < 6; ++round) {
      ml::plan made = recomputing(keeping);
      for (ml::stage_plan& stage : made.stages) {
        for (std::size_t b = 0; round > 0 && b < stage.recompute.size(); ++b) stage.recompute[b] = bits() % 2 == 0;
      }
      const ml::program after = lowered(made);
      const auto faults = ml::check(after);
      CHECK_MESSAGE(faults.empty(), faults.front());
      for (std::size_t s = 0; s < made.stages.size(); ++s) {
        const auto which = static_cast<ml::stage_id>(s);
        CHECK(after.stages[which].fixed == before.stages[which].fixed);
        CHECK(after.stages[which].slots == before.stages[which].slots);
        if (round == 0) CHECK(after.stages[which].kept * 2 < before.stages[which].kept);
      }
    }
  }
}

TEST_CASE("on one rank what is kept is what enters the blocks that need it, and nothing else") {
  const ml::graph& graph = programs::gpt();
  const auto elements = [&](std::initializer_list<std::string_view> axes) {
    std::int64_t product = 4;  // bytes of a number
    for (const std::string_view axis : axes)
      product *= graph.sizes[ml::find_axis(graph.sizes, std::string(axis))].extent;
    return ml::bytes{product};
  };
  const ml::bytes carry = elements({"batch", "seq", "embed"}), logits = elements({"batch", "seq", "vocab"});
  const ml::stage_program made = lowered(recomputing(plan_of("data=1", 1, 1))).stages[ml::stage_id{0}];
  CHECK(made.kept == carry * (6 + 2) + logits);  // into 6 copies, the norm, the head; into the loss
}

TEST_CASE("a step takes longer by what runs again") {
  const ml::cluster machine = ml::local(1);
  for (const std::int32_t micro_batches : {1, 3}) {
    const ml::plan keeping = plan_of("data=1", 1, micro_batches), again = recomputing(keeping);
    const ml::program before = lowered(keeping), after = lowered(again);
    const ml::stage_program& stage = after.stages[ml::stage_id{0}];
    ml::picoseconds more;
    for (const instruction& at : recomputed_in(stage)) more += ml::price(stage, at, machine.device, {}) * micro_batches;
    CHECK(more > ml::picoseconds{});
    CHECK(ml::simulate(after, machine).step == ml::simulate(before, machine).step + more);
    CHECK(ml::predict(programs::gpt(), again, machine) == ml::predict(programs::gpt(), keeping, machine) + more);
    const auto prices = ml::prices_of(programs::gpt(), again, machine).front();
    const auto without = ml::prices_of(programs::gpt(), keeping, machine).front();
    CHECK(prices.forward == without.forward);
    CHECK(prices.backward * micro_batches == without.backward * micro_batches + more);
    CHECK(prices.update == without.update);
  }
}

TEST_CASE("collectives and exchanged statistics inside a block run again with it") {
  const auto count = [](const ml::program& p, instruction::kind_type kind) {
    const auto& body = p.stages[ml::stage_id{0}].bodies[static_cast<std::size_t>(pass::backward)];
    return std::count_if(body.begin(), body.end(),
                         [&](const instruction& at) { return at.kind == kind && at.how != ml::collective::slice; });
  };
  ml::manual asked = ml::split_all<ml::axis::embed, ml::mesh::tensor>(2);  // norms exchange statistics
  asked.micro_batches = 2;
  const ml::plan norms = ml::solve(ml::formulate(programs::gpt(), ml::local(2), asked)).value();
  const ml::plan megatron = plan_of("tensor=2", 2, 2);
  CHECK(count(lowered(recomputing(norms)), instruction::exchange) > count(lowered(norms), instruction::exchange));
  CHECK(count(lowered(recomputing(megatron)), instruction::redistribute) >
        count(lowered(megatron), instruction::redistribute));
}

TEST_CASE("a value is not read before it is made again") {
  rejects(
      whole(),
      [](auto& p) {
        auto& body = body_of(p, 0, pass::backward);
        body.erase(body.begin() + (&again(p, gelu) - body.data()));
      },
      "before it is written");
  rejects(
      whole(),
      [](auto& p) {
        auto& body = body_of(p, 0, pass::backward);
        const auto at = body.begin() + (&again(p, "[0].residual.layer_norm") - body.data());
        std::rotate(at, at + 1, body.end());
      },
      "before it is written");
}

TEST_CASE("what forward dropped is not there in backward") {
  rejects(
      whole(),
      [](auto& p) {
        const instruction remade = again(p, gelu);
        const ml::buffer_id dropped = in_forward(p, remade.number).results[0];
        instruction& reader = programs::find(body_of(p, 0, pass::backward), [&](const instruction& at) {
          return !at.operands.empty() && at.operands[0] == remade.results[0];
        });
        reader.operands[0] = dropped;
      },
      "before it is written in backward");
}

TEST_CASE("what runs again is what forward ran, by the same number") {
  rejects(
      whole(), [](auto& p) { again(p, gelu).number = ~std::uint64_t{}; },
      "runs again, but forward has no operator of its number");
  rejects(
      whole(), [](auto& p) { again(p, gelu).again = false; },
      "has the number of an operator of forward, which it does not say to run again");
  rejects(
      whole(), [](auto& p) { in_forward(p, again(p, gelu).number).again = true; }, "runs again outside of backward");
  rejects(
      whole(), [](auto& p) { again(p, gelu).attributes[0] += 1; }, "runs again in another way than in forward");
  rejects(
      whole(),
      [](auto& p) {
        auto& body = body_of(p, 0, pass::forward);
        instruction& changed = again(p, gelu);
        changed.number = programs::find(body, [](const instruction& at) {
                           return at.name.find("[1].residual_2.linear_2.pointwise") != std::string::npos;
                         }).number;
      },
      "runs again in another way than in forward");
}
