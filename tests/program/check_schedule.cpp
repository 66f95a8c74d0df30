// SPDX-License-Identifier: Apache-2.0
// Planted faults of schedules, each found by its own sentence.
#include "programs.hpp"

#include <algorithm>
#include <utility>

namespace {

namespace ml = meshloom;
using ml::action;
using ml::pass;
using programs::actions_of;
using programs::rejects;
using programs::stage_of;
using action_list = ml::vector<action>;

action run(pass what, std::int32_t micro_batch) { return {action::run, static_cast<std::int32_t>(what), micro_batch}; }

action_list::iterator place(action_list& actions, const action& wanted) {
  const auto found = std::find(actions.begin(), actions.end(), wanted);
  REQUIRE(found != actions.end());
  return found;
}

void swap_actions(action_list& actions, const action& a, const action& b) {
  std::iter_swap(place(actions, a), place(actions, b));
}

void move_behind(action_list& actions, const action& moved, const action& behind) {
  actions.erase(place(actions, moved));
  actions.insert(place(actions, behind) + 1, moved);
}

std::int32_t number_of(ml::program whole, const ml::message& route) {
  return static_cast<std::int32_t>(&programs::message(whole, route) - whole.transfers.data());
}

/// Three stages; activations go down, gradients go up, and the gradients of the shared table cross both ways.
struct pipeline {
  ml::program whole = programs::program_of("pipeline", 3, 4);
  std::int32_t down = number_of(whole, {0, pass::forward, 1, pass::forward});
  std::int32_t up = number_of(whole, {1, pass::backward, 0, pass::backward});
  std::int32_t across = number_of(whole, {0, pass::reduce, 2, pass::update});
  std::int32_t back = number_of(whole, {2, pass::reduce, 0, pass::update});
};

}  // namespace

TEST_CASE("tasks that are missing, doubled or out of order are found") {
  const ml::program whole = pipeline{}.whole;
  rejects(
      whole, [](auto& p) { actions_of(p, 2).erase(place(actions_of(p, 2), run(pass::backward, 2))); },
      "stage 2: never runs backward of micro-batch 2");
  rejects(
      whole, [](auto& p) { actions_of(p, 1).erase(place(actions_of(p, 1), run(pass::update, 0))); },
      "stage 1: never runs update of micro-batch 0");
  rejects(
      whole, [](auto& p) { actions_of(p, 0).push_back(run(pass::forward, 0)); },
      "stage 0: forward of micro-batch 0 comes twice");
  rejects(
      whole, [](auto& p) { actions_of(p, 0).push_back(run(pass::update, 3)); },
      "stage 0: runs update of micro-batch 3, but update runs once per step");
  rejects(
      whole, [](auto& p) { swap_actions(actions_of(p, 2), run(pass::forward, 1), run(pass::backward, 1)); },
      "stage 2: runs backward of micro-batch 1 before forward of micro-batch 1");
  rejects(
      whole, [](auto& p) { swap_actions(actions_of(p, 0), run(pass::forward, 1), run(pass::forward, 2)); },
      "stage 0: runs forward of micro-batch 2 before forward of micro-batch 1");
  rejects(
      whole, [](auto& p) { swap_actions(actions_of(p, 1), run(pass::backward, 2), run(pass::backward, 3)); },
      "stage 1: runs backward of micro-batch 3 before backward of micro-batch 2");
  rejects(
      whole, [](auto& p) { swap_actions(actions_of(p, 1), run(pass::reduce, 0), run(pass::update, 0)); },
      "stage 1: runs update of micro-batch 0 before reduce of micro-batch 0");
  rejects(
      whole, [](auto& p) { swap_actions(actions_of(p, 1), run(pass::backward, 3), run(pass::reduce, 0)); },
      "stage 1: runs reduce of micro-batch 0 before backward of micro-batch 3");
}

TEST_CASE("messages without both ends, too early or too late are found") {
  const auto [whole, down, up, across, back] = pipeline{};
  const std::string named = "message " + std::to_string(down);
  rejects(
      whole,
      [&](auto& p) {
        actions_of(p, 1).erase(place(actions_of(p, 1), {action::receive, down, 2}));
      },
      "the receive of " + named);
  rejects(
      whole,
      [&](auto& p) {
        actions_of(p, 0).erase(place(actions_of(p, 0), {action::send, down, 2}));
      },
      "the send of " + named);
  rejects(
      whole,
      [&](auto& p) {
        ml::erase(actions_of(p, 0), action{action::receive, up, 1});
      },
      "of micro-batch 1 is missing");
  rejects(
      whole,
      [&](auto& p) {
        actions_of(p, 2).push_back({action::receive, down, 1});
      },
      "is not its own");
  rejects(
      whole,
      [&](auto& p) {
        actions_of(p, 0).push_back({action::send, across, 1});
      },
      "is one too many: there are 1");
  rejects(
      whole,
      [&](auto& p) {
        swap_actions(actions_of(p, 0), run(pass::forward, 0), {action::send, down, 0});
      },
      "comes before forward of micro-batch 0 makes it");
  rejects(
      whole,
      [&](auto& p) {
        move_behind(actions_of(p, 0), {action::send, down, 0}, run(pass::forward, 1));
      },
      "of micro-batch 0 comes after forward of micro-batch 1, which uses its memory again");
  rejects(
      whole,
      [&](auto& p) {
        move_behind(actions_of(p, 1), {action::receive, down, 3}, run(pass::forward, 3));
      },
      "comes after forward of micro-batch 3 reads it");
  rejects(
      whole,
      [&](auto& p) {
        move_behind(actions_of(p, 0), {action::receive, back, 0}, run(pass::update, 0));
      },
      "comes after update of micro-batch 0 reads it");
}

TEST_CASE("slots are as many as micro-batches in flight") {
  const auto [whole, down, up, across, back] = pipeline{};
  rejects(
      whole, [](auto& p) { stage_of(p, 0).slots = 2; },
      "stage 0: with 2 slots, micro-batch 2 takes the slot of micro-batch 0, which is still in flight");
  rejects(
      whole, [](auto& p) { stage_of(p, 2).slots = 2; }, "stage 2: has 2 slots where 1 would do");
  rejects(
      programs::program_of("gpipe", 2, 5), [](auto& p) { stage_of(p, 0).slots = 4; },
      "stage 0: with 4 slots, micro-batch 4 takes the slot of micro-batch 0");
  // Received before the backward that frees its slot.
  rejects(
      whole,
      [&](auto& p) {
        move_behind(actions_of(p, 1), {action::receive, down, 2}, run(pass::forward, 1));
      },
      "stage 1: with 2 slots, micro-batch 2 takes the slot of micro-batch 0");
}

TEST_CASE("stages that wait for each other for ever are found, and named") {
  const auto [whole, down, up, across, back] = pipeline{};
  // Stages 0 and 2 exchange the gradients of the shared table; on one of them the order is turned round.
  rejects(
      whole,
      [&](auto& p) {
        swap_actions(actions_of(p, 0), {action::send, across, 0}, {action::receive, back, 0});
      },
      "the stages wait for each other for ever: stage 0 stands at the ");
  // Both sides of the turn send first.
  const ml::program crossing = programs::program_of("pipeline", 2, 4);
  const std::int32_t one_way = number_of(crossing, {0, pass::reduce, 1, pass::update});
  const std::int32_t other_way = number_of(crossing, {1, pass::reduce, 0, pass::update});
  ml::program turned = crossing;
  for (const int stage : {0, 1}) {
    action_list& actions = actions_of(turned, stage);
    const action sent{action::send, stage == 0 ? one_way : other_way, 0},
        received{action::receive, stage == 0 ? other_way : one_way, 0};
    if (place(actions, received) < place(actions, sent)) swap_actions(actions, sent, received);
  }
  const auto faults = ml::check(turned);
  REQUIRE(faults.size() == 1);
  CHECK(faults[0].find("stage 0 stands at the send of") != std::string::npos);
  CHECK(faults[0].find("; stage 1 stands at the send of") != std::string::npos);
}

TEST_CASE("the folded schedule is unrolled as its loops say") {
  ml::program whole = programs::program_of("pipeline", 2, 16);
  const auto loops = [](ml::program& p) -> ml::loop& {
    auto& schedule = stage_of(p, 0).schedule;
    const auto longest = std::max_element(schedule.begin(), schedule.end(),
                                          [](const auto& a, const auto& b) { return a.count < b.count; });
    REQUIRE(longest->count > 2);
    return *longest;
  };
  rejects(
      whole, [&](auto& p) { --loops(p).count; }, "is missing");
  rejects(
      whole, [&](auto& p) { loops(p).advance = 0; }, "rounds that advance by 0");
  rejects(
      whole, [&](auto& p) { ++loops(p).count; }, "stage 0: ");
}
