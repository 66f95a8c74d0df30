// SPDX-License-Identifier: Apache-2.0
// Folding is undone by expanding, and the folded size does not grow with the number of micro-batches.
#include <meshloom/schedule/loops.hpp>

#include <doctest/doctest.h>

#include <random>

namespace ml = meshloom;
using ml::action;
using ml::pass;
using ml::schedule_kind;

namespace {

/// The orders of a pipeline, with messages that skip stages if asked.
ml::vector<ml::vector<action>> pipeline(schedule_kind kind, int stages, int micro_batches, bool skipping = false) {
  ml::vector<ml::vector<ml::task>> tasks;
  ml::vector<ml::message> messages;
  for (int s = 0; s < stages; ++s) tasks.push_back(ml::order_of(kind, stages, s, micro_batches));
  for (int s = 0; s + 1 < stages; ++s) {
    messages.push_back({s, pass::forward, s + 1, pass::forward});
    messages.push_back({s + 1, pass::backward, s, pass::backward});
  }
  for (int s = 0; skipping && s + 2 < stages; ++s) {
    messages.push_back({s, pass::forward, s + 2, pass::forward});
    messages.push_back({stages - 1, pass::backward, s, pass::backward});
  }
  if (stages > 1) messages.push_back({0, pass::reduce, stages - 1, pass::update});
  if (stages > 1) messages.push_back({stages - 1, pass::reduce, 0, pass::update});
  return ml::linearise(tasks, messages);
}

std::size_t folded_size(const ml::vector<ml::loop>& loops) {
  std::size_t size = 0;
  for (const auto& loop : loops) size += loop.body.size();
  return size;
}

}  // namespace

TEST_CASE("expand undoes fold") {
  for (const auto kind : {schedule_kind::forward_only, schedule_kind::gpipe, schedule_kind::one_f_one_b}) {
    for (int stages = 1; stages <= 8; ++stages) {
      for (int m = 1; m <= 16; ++m) {
        for (const auto& actions : pipeline(kind, stages, m)) CHECK(ml::expand(ml::fold(actions)) == actions);
      }
    }
  }
}

TEST_CASE("expand undoes fold on actions without any sense") {
  std::mt19937 random(77);
  const auto below = [&](unsigned count) { return static_cast<std::int32_t>(random() % count); };
  for (int round = 0; round < 500; ++round) {
    ml::vector<ml::loop> planted;
    for (int loops = below(5); loops >= 0; --loops) {
      ml::loop next{1 + below(5), {}, 1 + below(2)};
      for (int size = below(4); size >= 0; --size)
        next.body.push_back({static_cast<action::kind_type>(below(3)), below(2), below(3)});
      planted.push_back(next);
    }
    const auto actions = ml::expand(planted);
    const auto folded = ml::fold(actions);
    CHECK(ml::expand(folded) == actions);
    CHECK(folded_size(folded) <= actions.size());
  }
  CHECK(ml::fold({}).empty());
}

TEST_CASE("a steady state is one loop") {
  const ml::vector<action> warm_up{{action::receive, 0, 0}, {action::run, 0, 0}};
  const ml::vector<action> steady{{action::receive, 0, 1}, {action::run, 0, 1}, {action::run, 1, 0}};
  const ml::vector<action> end{{action::run, 1, 5}, {action::run, 2, 0}, {action::run, 3, 0}};
  const ml::vector<ml::loop> loops{{1, warm_up}, {5, steady}, {1, end}};
  CHECK(ml::fold(ml::expand(loops)) == loops);
  CHECK(ml::expand(ml::vector<ml::loop>{{2, warm_up, 3}})[3] == action{action::run, 0, 3});
  const ml::vector<ml::loop> in_pairs{
      {4, {{action::run, 0, 0}, {action::receive, 0, 0}, {action::receive, 0, 1}, {action::run, 0, 1}}, 2}};
  CHECK(ml::fold(ml::expand(in_pairs)) == in_pairs);
}

TEST_CASE("the folded size does not depend on the number of micro-batches") {
  for (const auto kind : {schedule_kind::forward_only, schedule_kind::gpipe, schedule_kind::one_f_one_b}) {
    for (int stages = 1; stages <= 8; ++stages) {
      const auto few = pipeline(kind, stages, 16), many = pipeline(kind, stages, 256);
      for (std::size_t s = 0; s < few.size(); ++s) {
        CAPTURE(ml::name_of(kind));
        CAPTURE(stages);
        CAPTURE(s);
        CHECK(many[s].size() > 10 * few[s].size());
        CHECK(folded_size(ml::fold(few[s])) == folded_size(ml::fold(many[s])));
        CHECK(folded_size(ml::fold(many[s])) <= 14);  // two tasks, four messages, and an uneven begin and end
        for (const auto& loop : ml::fold(many[s])) CHECK(loop.advance == 1);
      }
    }
  }
}

TEST_CASE("nor does it where messages skip stages") {
  for (const auto kind : {schedule_kind::gpipe, schedule_kind::one_f_one_b}) {
    for (int stages = 3; stages <= 6; ++stages) {
      const auto few = pipeline(kind, stages, 64, true), many = pipeline(kind, stages, 256, true);
      for (std::size_t s = 0; s < few.size(); ++s) {
        CAPTURE(ml::name_of(kind));
        CAPTURE(stages);
        CAPTURE(s);
        CHECK(ml::expand(ml::fold(many[s])) == many[s]);
        CHECK(folded_size(ml::fold(few[s])) == folded_size(ml::fold(many[s])));
      }
    }
  }
}
