// SPDX-License-Identifier: Apache-2.0
// The referee accepts what `lower` makes, for every preset, product and schedule, and rejects what names nothing.
// Single random changes of a program are nearly all found; which are not is counted.
#include "programs.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/plan/adapt.hpp>
#include <meshloom/planner/solve.hpp>

#include <algorithm>
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

/// Draws changes of one program.
struct mutation {
  ml::program whole;
  std::mt19937 random;

  int below(std::size_t count) { return static_cast<int>(random() % count); }
  ml::stage_program& some_stage() { return programs::stage_of(whole, below(whole.stages.size())); }
  ml::vector<ml::action>& some_actions() { return programs::actions_of(whole, below(whole.stages.size())); }
  ml::vector<ml::instruction>& some_body(ml::stage_program& stage) {
    for (;;) {
      auto& body = stage.bodies[random() % stage.bodies.size()];
      if (body.size() > 1) return body;
    }
  }
  ml::buffer_id some_buffer(const ml::stage_program& stage) {
    return static_cast<ml::buffer_id>(below(stage.buffers.size()));
  }
  template <class List>
  auto some_place(List& list) {
    return list.begin() + below(list.size());
  }
  template <class Value>
  bool set(Value& old, Value fresh) {
    const bool other = !(old == fresh);
    old = fresh;
    return other;
  }
};

struct mutation_kind {
  const char* name;
  bool (*change)(mutation&);  ///< false if it changed nothing
};

bool reads_result(const ml::instruction& first, const ml::instruction& second) {
  return std::find_first_of(second.operands.begin(), second.operands.end(), first.results.begin(),
                            first.results.end()) != second.operands.end();
}

const mutation_kind kinds[] = {
    {"an action dropped",
     [](mutation& m) {
       auto& actions = m.some_actions();
       actions.erase(m.some_place(actions));
       return true;
     }},
    {"an action doubled",
     [](mutation& m) {
       auto& actions = m.some_actions();
       const ml::action again = *m.some_place(actions);
       actions.insert(m.some_place(actions), again);
       return true;
     }},
    {"two neighbouring actions swapped",
     [](mutation& m) {
       auto& actions = m.some_actions();
       const auto at = actions.begin() + m.below(actions.size() - 1);
       std::iter_swap(at, at + 1);
       return true;
     }},
    {"two actions swapped",
     [](mutation& m) {
       auto& actions = m.some_actions();
       const auto a = m.some_place(actions), b = m.some_place(actions);
       std::iter_swap(a, b);
       return !(*a == *b);
     }},
    {"an action of another micro-batch",
     [](mutation& m) {
       auto& actions = m.some_actions();
       return m.set(m.some_place(actions)->micro_batch, m.below(4));
     }},
    {"an action of another body or message",
     [](mutation& m) {
       auto& actions = m.some_actions();
       return m.set(m.some_place(actions)->index, m.below(4));
     }},
    {"an instruction dropped",
     [](mutation& m) {
       auto& body = m.some_body(m.some_stage());
       body.erase(m.some_place(body));
       return true;
     }},
    {"an instruction doubled",
     [](mutation& m) {
       auto& body = m.some_body(m.some_stage());
       const ml::instruction again = *m.some_place(body);
       body.insert(m.some_place(body), again);
       return true;
     }},
    {"an instruction before what it reads",
     [](mutation& m) {
       auto& body = m.some_body(m.some_stage());
       const auto at = body.begin() + m.below(body.size() - 1);
       const bool depends = reads_result(*at, *(at + 1));
       std::iter_swap(at, at + 1);
       return depends;
     }},
    {"another operand",
     [](mutation& m) {
       auto& stage = m.some_stage();
       auto at = m.some_place(m.some_body(stage));
       return !at->operands.empty() && m.set(*m.some_place(at->operands), m.some_buffer(stage));
     }},
    {"another result",
     [](mutation& m) {
       auto& stage = m.some_stage();
       auto at = m.some_place(m.some_body(stage));
       return !at->results.empty() && m.set(*m.some_place(at->results), m.some_buffer(stage));
     }},
    {"another mesh axis",
     [](mutation& m) {
       auto at = m.some_place(m.some_body(m.some_stage()));
       const bool grouped = at->kind == ml::instruction::exchange || at->kind == ml::instruction::redistribute;
       return grouped && m.set(at->mesh_axis, static_cast<std::int8_t>(m.below(3)));
     }},
    {"another collective",
     [](mutation& m) {
       auto at = m.some_place(m.some_body(m.some_stage()));
       return at->kind == ml::instruction::redistribute && m.set(at->how, static_cast<ml::collective>(m.below(6)));
     }},
    {"another operator",
     [](mutation& m) {
       auto& body = m.some_body(m.some_stage());
       const auto at = m.some_place(body), other = m.some_place(body);
       return at->kind == ml::instruction::compute && other->kind == ml::instruction::compute &&
              m.set(at->op, other->op);
     }},
    {"another part",
     [](mutation& m) {
       auto at = m.some_place(m.some_body(m.some_stage()));
       return at->kind == ml::instruction::compute && m.set(at->part, m.below(4) - 1);
     }},
    {"adding or not",
     [](mutation& m) {
       auto at = m.some_place(m.some_body(m.some_stage()));
       at->adds = !at->adds;
       return at->kind == ml::instruction::compute;
     }},
    {"again or not",
     [](mutation& m) {
       auto at = m.some_place(m.some_body(m.some_stage()));
       at->again = !at->again;
       return at->kind == ml::instruction::compute;
     }},
    {"another layout",
     [](mutation& m) {
       auto& stage = m.some_stage();
       ml::buffer& what = stage.buffers[m.some_buffer(stage)];
       const int axis = m.below(2), kind = m.below(3);
       const ml::placement on{static_cast<ml::placement::kind_type>(kind),
                              static_cast<std::int8_t>(kind == ml::placement::split ? m.below(3) : -1)};
       return m.set(what.layout, what.layout.without(axis).with(axis, on));
     }},
    {"another offset",
     [](mutation& m) {
       auto& stage = m.some_stage();
       ml::buffer& what = stage.buffers[m.some_buffer(stage)];
       return m.set(what.offset.count,
                    64 * std::int64_t{m.below(static_cast<std::size_t>(stage.transient.count / 64))});
     }},
    {"another region",
     [](mutation& m) {
       auto& stage = m.some_stage();
       return m.set(stage.buffers[m.some_buffer(stage)].where, static_cast<ml::memory>(m.below(3)));
     }},
    {"another extent",
     [](mutation& m) {
       auto& stage = m.some_stage();
       ml::buffer& what = stage.buffers[m.some_buffer(stage)];
       ++what.global[0];
       return what.rank > 0;
     }},
    {"another type",
     [](mutation& m) {
       auto& stage = m.some_stage();
       return m.set(stage.buffers[m.some_buffer(stage)].type, static_cast<ml::dtype>(m.below(3)));
     }},
};

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
        const std::string rest =
            ",tensor=" + std::to_string(tensor) + ",pipeline=" + std::to_string(ranks / data / tensor);
        for (const char* preset : {"data=", "zero1=", "zero2=", "zero3="}) {
          for (const std::int32_t micro_batches : {1, 4}) {
            accepts(preset + std::to_string(data) + rest, ranks, micro_batches);
          }
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
    const ml::program whole =
        ml::lower(programs::gpt_inference(), ml::adapt(programs::gpt(), made, programs::gpt_inference()), machine);
    for (const std::string& fault : ml::check(whole)) FAIL_CHECK(fault);
    REQUIRE(whole.results.size() == 1);
    CHECK(whole.results[0].batch_axis == 0);
  }
}

TEST_CASE("what names nothing is rejected") {
  const ml::program whole = program_of("data=2,pipeline=2", 4, 2);
  const auto stage = [](ml::program& p) -> ml::stage_program& { return programs::stage_of(p, 1); };
  const auto some = [&](ml::program& p) -> ml::instruction& {
    return programs::find(stage(p).bodies[0],
                          [](const ml::instruction& at) { return at.kind == ml::instruction::compute; });
  };
  rejects(
      whole, [&](auto& p) { p.micro_batches = 0; }, "the program has no micro-batch");
  rejects(
      whole, [&](auto& p) { stage(p).first_rank = 1; }, "rank 1 is in 2 stages");
  rejects(
      whole, [&](auto& p) { stage(p).first_rank = 3; }, "stage 1: uses rank 4 of 4");
  rejects(
      whole, [&](auto& p) { stage(p).mesh.size[0] = 0; }, "stage 1: a mesh axis of 0 ranks");
  rejects(
      whole, [&](auto& p) { stage(p).mesh_axes.clear(); }, "its mesh axes have no name each");
  rejects(
      whole, [&](auto& p) { stage(p).slots = 0; }, "stage 1: has 0 slots");
  rejects(
      whole, [&](auto& p) { some(p).operands[0] = static_cast<ml::buffer_id>(stage(p).buffers.size()); },
      "which does not exist");
  rejects(
      whole, [&](auto& p) { some(p).op = nullptr; }, "computes no operator");
  rejects(
      whole,
      [&](auto& p) {
        stage(p).buffers[some(p).results[0]].layout = ml::spec{}.with(1, {ml::placement::split, 0});
      },
      "has a layout that does not fit its shape and mesh");
  rejects(
      whole, [&](auto& p) { p.transfers[0].route.to_stage = p.transfers[0].route.from_stage; },
      "does not go from one stage to another");
  rejects(
      whole, [&](auto& p) { p.transfers[0].to = ml::buffer_id::none; }, "has no buffer at its receiving end");
  rejects(
      whole, [&](auto& p) { programs::actions_of(p, 0)[0].index = 4; },
      "names body or message 4, which does not exist");
  rejects(
      whole, [&](auto& p) { programs::actions_of(p, 0)[0].micro_batch = 2; }, "names micro-batch 2 of 2");
  rejects(
      whole, [&](auto& p) { p.results[0].buffer = ml::buffer_id::none; }, ": lies in a buffer that does not exist");
}

// What is not found leaves a program that is right by itself: two actions that do not depend on each other, a buffer in
// another free place, an operand of the same shape and layout.
TEST_CASE("single random changes are found") {
  constexpr int draws = 60;
  std::size_t found = 0, all = 0;
  std::string shares;
  for (const mutation_kind& kind : kinds) {
    std::size_t own = 0, drawn = 0;
    for (const char* plan : {"data=2,tensor=2,pipeline=2", "zero3=2,pipeline=3"}) {
      const ml::program whole = program_of(plan, plan[0] == 'd' ? 8 : 6, 4);
      mutation next{whole, std::mt19937(12345)};
      for (int draw = 0; draw < draws; next.whole = whole) {
        if (!kind.change(next)) continue;
        ++draw;
        ++drawn;
        if (!ml::check(next.whole).empty()) ++own;
      }
    }
    shares += "\n  " + std::string(kind.name) + ": " + std::to_string(own) + " of " + std::to_string(drawn);
    found += own;
    all += drawn;
  }
  MESSAGE("found " << found << " of " << all << shares);
  CHECK(found * 100 >= all * 95);
}
