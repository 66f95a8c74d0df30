// SPDX-License-Identifier: Apache-2.0
// The referee's promise, kept on the host: a changed program that it accepts ends, and leaves the same loss and the
// same parameters, bit by bit, as the program that `lower` made.
#include "programs.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/exec/host.hpp>
#include <meshloom/model/gpt.hpp>
#include <meshloom/planner/solve.hpp>

#include <random>
#include <tuple>

namespace {

namespace ml = meshloom;

constexpr ml::gpt_shape tiny{
    .name = "", .vocab = 24, .seq = 4, .batch = 8, .embed = 8, .layers = 4, .heads = 2, .tied = true};

/// The loss of two steps, then all parameters and states.
template <class Training>
ml::vector<double> numbers_after(const ml::program& whole, const Training& task) {
  ml::vector<std::int32_t> tokens(32), targets(32);
  for (std::size_t k = 0; k < tokens.size(); ++k) {
    tokens[k] = static_cast<std::int32_t>(k * 7 % 24);
    targets[k] = static_cast<std::int32_t>((k * 5 + 3) % 24);
  }
  auto run = ml::start(ml::host{}, whole, task, 3);
  ml::vector<double> numbers{run.step({tokens, targets}).loss, run.step({tokens, targets}).loss};
  for (const std::string& name : run.names()) {
    const auto values = run.read(name);
    numbers.insert(numbers.end(), values.begin(), values.end());
  }
  return numbers;
}

/// Swaps two neighbouring actions or instructions, or moves a buffer of the transient region.
void change(ml::program& whole, std::mt19937& random) {
  ml::stage_program& stage = whole.stages[static_cast<ml::stage_id>(random() % whole.stages.size())];
  const auto swap_neighbours = [&random](auto& list) {
    if (list.size() < 2) return;
    const std::size_t at = random() % (list.size() - 1);
    std::swap(list[at], list[at + 1]);
  };
  const auto kind = random() % 3;
  if (kind == 0) {
    auto actions = ml::expand(stage.schedule);
    swap_neighbours(actions);
    stage.schedule = {{1, actions}};
  } else if (kind == 1) {
    swap_neighbours(stage.bodies[random() % stage.bodies.size()]);
  } else {
    ml::buffer& moved = stage.buffers[static_cast<ml::buffer_id>(random() % stage.buffers.size())];
    const auto places = static_cast<std::uint64_t>(stage.transient.count / ml::arena_alignment);
    if (moved.where == ml::memory::transient)
      moved.offset.count = ml::arena_alignment * static_cast<std::int64_t>(random() % places);
  }
}

}  // namespace

TEST_CASE("changed programs that are accepted run to the same numbers") {
  const auto task = ml::tied_gpt_training(tiny, ml::adamw{});
  const ml::graph graph = ml::trace(task);
  std::mt19937 random(5);
  for (const auto& [plan, ranks, again] : {std::tuple{"tensor=2,pipeline=2", 4, false},
                                           {"zero3=2,pipeline=3", 6, false},
                                           {"gpipe", 3, false},
                                           {"tensor=2,pipeline=2", 4, true}}) {
    CAPTURE(plan);
    ml::manual asked = ml::parse_manual(plan, ranks).value();
    if (again) asked = asked & ml::recompute();
    asked.micro_batches = 4;
    const ml::cluster machine = ml::local(ranks);
    const ml::program whole = ml::lower(graph, ml::solve(ml::formulate(graph, machine, asked)).value(), machine);
    const auto wanted = numbers_after(whole, task);
    int accepted = 0, rejected = 0, wrong = 0;
    for (int draw = 0; draw < 200; ++draw) {
      ml::program changed = whole;
      change(changed, random);
      if (!ml::check(changed).empty()) {
        ++rejected;
        continue;
      }
      ++accepted;
      if (numbers_after(changed, task) != wanted) ++wrong;
    }
    CHECK(wrong == 0);
    CHECK(accepted > 20);
    CHECK(rejected > 20);
  }
}
