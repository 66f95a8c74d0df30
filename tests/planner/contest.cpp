// SPDX-License-Identifier: Apache-2.0
// planner/contest.hpp: in any order of entries the fastest that fits wins, the fastest of another shape is next, and
// only who would win is asked whether it fits.
#include <meshloom/planner/contest.hpp>

#include <doctest/doctest.h>

#include <random>

namespace ml = meshloom;

namespace {

ml::plan plan_on(const ml::vector<ml::mesh_shape>& meshes, std::int32_t micro_batches = 1,
                 ml::schedule_kind schedule = ml::schedule_kind::one_f_one_b) {
  ml::plan made;
  made.micro_batches = micro_batches;
  made.schedule = schedule;
  for (const ml::mesh_shape& mesh : meshes) {
    ml::stage_plan stage;
    stage.mesh = mesh;
    made.stages.add(stage);
  }
  return made;
}

struct entry {
  ml::plan made;
  bool fits = true;
};

/// Few shapes and few times, so that entries tie.
ml::vector<entry> random_entries(std::mt19937& from, bool all_fit) {
  ml::vector<entry> entries(1 + from() % 12);
  for (entry& each : entries) {
    each.made = plan_on({{}}, 1 + static_cast<std::int32_t>(from() % 3));
    each.made.predicted = {1 + static_cast<std::int64_t>(from() % 9)};
    each.fits = all_fit || from() % 2 == 0;
  }
  return entries;
}

/// The first of the fastest that satisfy `counts`, or none.
template <class Counts>
const ml::plan* fastest(const ml::vector<entry>& entries, const Counts& counts) {
  const ml::plan* found = nullptr;
  for (const entry& each : entries) {
    if (counts(each) && (found == nullptr || each.made.predicted < found->predicted)) found = &each.made;
  }
  return found;
}

/// Lets all take part; returns those that were not refused.
ml::vector<entry> enter_all(ml::contest& plans, const ml::vector<entry>& entries) {
  ml::vector<entry> accepted;
  for (const entry& each : entries) {
    const bool would_win =
        fastest(accepted, [&](const entry& other) { return other.made.predicted <= each.made.predicted; }) == nullptr;
    CHECK(plans.is_open_to(each.made.predicted) == would_win);
    int asked = 0;
    const bool entered = plans.enter(each.made, [&] {
      ++asked;
      return each.fits;
    });
    CHECK(asked == (would_win ? 1 : 0));
    CHECK(entered == (each.fits || !would_win));
    if (entered) accepted.push_back(each);
  }
  return accepted;
}

void check_winner(const ml::contest& plans, const ml::vector<entry>& entries, const ml::vector<entry>& accepted) {
  const ml::plan* best = fastest(entries, [](const entry& each) { return each.fits; });
  REQUIRE(plans.best().has_value() == (best != nullptr));
  if (best == nullptr) return;
  CHECK(*plans.best() == *best);
  const ml::plan winner = plans.winner();
  CHECK(winner.micro_batches == best->micro_batches);
  const ml::plan* next = fastest(accepted, [&](const entry& each) { return shape_of(each.made) != shape_of(*best); });
  REQUIRE(winner.runner_up.has_value() == (next != nullptr));
  if (next == nullptr) return;
  CHECK(winner.runner_up->predicted == next->predicted);
  CHECK(winner.runner_up->shape != shape_of(winner));
}

}  // namespace

TEST_CASE("in any order the fastest that fits wins, and the fastest of another shape is next") {
  std::mt19937 from(7);
  int without = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto entries = random_entries(from, round % 2 == 0);
    ml::contest plans;
    CHECK(!plans.best());
    const auto accepted = enter_all(plans, entries);
    CHECK((round % 2 != 0 || accepted.size() == entries.size()));
    check_winner(plans, entries, accepted);
    without += plans.best() ? 0 : 1;
  }
  CHECK(without > 0);
}

TEST_CASE("the shape of a plan is one line for people") {
  const ml::mesh_shape one, two{1, {2}}, flat{2, {2, 4}};
  CHECK(ml::shape_of(plan_on({one})) == "1 stage on 1 rank, 1 micro-batch");
  CHECK(ml::shape_of(plan_on({two}, 3)) == "1 stage on 2 ranks, 3 micro-batches");
  CHECK(ml::shape_of(plan_on({one, one}, 4)) == "2 stages on 1 rank, 4 micro-batches, 1f1b");
  CHECK(ml::shape_of(plan_on({flat, flat}, 16)) == "2 stages on 2x4 ranks, 16 micro-batches, 1f1b");
  CHECK(ml::shape_of(plan_on({two, one, flat}, 2, ml::schedule_kind::gpipe)) ==
        "3 stages on 2, 1, 2x4 ranks, 2 micro-batches, gpipe");
}
