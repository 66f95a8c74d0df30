// SPDX-License-Identifier: Apache-2.0
// program/lower.hpp: a stage that is lowered alone is the stage of the program, all but its schedule and slots.
#include "programs.hpp"

#include <meshloom/cluster/presets.hpp>
#include <meshloom/planner/solve.hpp>

#include <tuple>

namespace ml = meshloom;

namespace {

auto parts_of(const ml::buffer& each) {
  return std::tie(each.name, each.rank, each.global, each.type, each.layout, each.where, each.size, each.offset);
}

auto parts_of(const ml::instruction& each) {
  return std::tie(each.kind, each.name, each.op, each.number, each.part, each.adds, each.again, each.operands,
                  each.results, each.exchanged, each.how, each.mesh_axis, each.combine, each.port);
}

auto parts_of(const ml::placed_value& each) {
  return std::tie(each.what, each.name, each.buffer, each.start, each.number);
}

template <class List>
void check_equal(const List& a, const List& b) {
  REQUIRE(a.size() == b.size());
  for (auto one = a.begin(), other = b.begin(); one != a.end(); ++one, ++other)
    CHECK(parts_of(*one) == parts_of(*other));
}

}  // namespace

TEST_CASE("a stage that is lowered alone is the stage of the program, all but its schedule and slots") {
  for (const auto& [preset, ranks] :
       {std::pair{"data=2,tensor=2", 4}, {"tensor=2,pipeline=4", 8}, {"zero3=2,gpipe=3", 6}}) {
    CAPTURE(preset);
    ml::manual asked = ml::parse_manual(preset, ranks).value();
    asked.micro_batches = 4;
    const ml::cluster machine = ml::local(ranks);
    ml::plan made = ml::solve(ml::formulate(programs::gpt(), machine, asked)).value();
    made.stages[ml::stage_id{0}].recompute.back() = true;
    const ml::program whole = ml::lower(programs::gpt(), made, machine);
    for (std::size_t s = 0; s < made.stages.size(); ++s) {
      const auto which = static_cast<ml::stage_id>(s);
      const ml::stage_program alone = ml::lower_stage(programs::gpt(), made, machine, which);
      const ml::stage_program& there = whole.stages[which];
      CHECK(alone.first_rank == there.first_rank);
      CHECK(alone.mesh == there.mesh);
      CHECK(alone.mesh_axes == there.mesh_axes);
      check_equal(alone.buffers, there.buffers);
      for (std::size_t body = 0; body < alone.bodies.size(); ++body)
        check_equal(alone.bodies[body], there.bodies[body]);
      check_equal(alone.placed_values, there.placed_values);
      CHECK(alone.fixed == there.fixed);
      CHECK(alone.kept == there.kept);
      CHECK(alone.transient == there.transient);
      CHECK(alone.transient_bound == there.transient_bound);
    }
  }
}
