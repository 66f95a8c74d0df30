// SPDX-License-Identifier: Apache-2.0
// The linear orders against a strict machine: one blocking queue per stage, a send completes only with its receive.
#include <meshloom/schedule/rendezvous.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <random>
#include <string>
#include <utility>

namespace ml = meshloom;
using ml::action;
using ml::pass;
using ml::schedule_kind;

namespace {

using task_lists = ml::vector<ml::vector<ml::task>>;
using action_lists = ml::vector<ml::vector<action>>;

task_lists tasks_of(schedule_kind kind, int stages, int micro_batches) {
  task_lists tasks;
  for (int s = 0; s < stages; ++s) tasks.push_back(ml::order_of(kind, stages, s, micro_batches));
  return tasks;
}

/// Activations forward, gradients backward, and the gradients of a parameter tied between first and last stage.
ml::vector<ml::message> pipeline_messages(int stages) {
  ml::vector<ml::message> messages;
  for (int s = 0; s + 1 < stages; ++s) {
    messages.push_back({s, pass::forward, s + 1, pass::forward});
    messages.push_back({s + 1, pass::backward, s, pass::backward});
  }
  if (stages > 1) {
    messages.push_back({0, pass::reduce, stages - 1, pass::update});
    messages.push_back({stages - 1, pass::reduce, 0, pass::update});
  }
  return messages;
}

bool runs(const ml::vector<ml::task>& tasks, pass what, std::int32_t k) {
  return std::find(tasks.begin(), tasks.end(), ml::task{what, k}) != tasks.end();
}

/// Messages (number, micro-batch) that exist and that `wanted` picks.
template <class Predicate>
ml::vector<std::pair<int, int>> exchanges(const task_lists& tasks, const ml::vector<ml::message>& messages,
                                          Predicate wanted) {
  ml::vector<std::pair<int, int>> found;
  for (std::size_t n = 0; n < messages.size(); ++n) {
    const ml::message& m = messages[n];
    for (const ml::task& t : tasks[static_cast<std::size_t>(m.from_stage)]) {
      if (t.what != m.from || !runs(tasks[static_cast<std::size_t>(m.to_stage)], m.to, t.micro_batch)) continue;
      if (wanted(m, t.micro_batch)) found.emplace_back(static_cast<int>(n), t.micro_batch);
    }
  }
  return found;
}

enum class receives { in_their_gap, early_too };

/// Looks at one stage alone: tasks in order; every send after its task and before the next; every receive before its
/// task and, if asked, after the task before.
std::string stage_fault(const task_lists& tasks, const ml::vector<ml::message>& messages, int stage,
                        const ml::vector<action>& actions, receives rule) {
  const auto& order = tasks[static_cast<std::size_t>(stage)];
  ml::vector<std::pair<int, int>> sent, received;
  std::size_t next = 0;
  const auto sends_fault = [&] {
    const auto made = exchanges(tasks, messages, [&](const ml::message& m, int k) {
      return next > 0 && m.from_stage == stage && ml::task{m.from, k} == order[next - 1];
    });
    std::sort(sent.begin(), sent.end());
    return std::exchange(sent, {}) == made ? "" : "the sends after a task are not the task's messages";
  };
  for (const action& now : actions) {
    const bool more = next < order.size();
    if (now.kind == action::send) {
      sent.emplace_back(now.index, now.micro_batch);
    } else if (now.kind == action::receive) {
      const ml::task reader{messages[static_cast<std::size_t>(now.index)].to, now.micro_batch};
      if (rule == receives::in_their_gap && (!more || order[next] != reader)) return "received outside its gap";
      received.emplace_back(now.index, now.micro_batch);
    } else {
      if (std::string why = sends_fault(); !why.empty()) return why;
      if (!more || order[next] != ml::task{static_cast<pass>(now.index), now.micro_batch}) return "tasks out of order";
      for (const auto& need : exchanges(tasks, messages, [&](const ml::message&m, int k) {
             return m.to_stage == stage && ml::task{m.to, k} == order[next];
           })) {
        if (std::count(received.begin(), received.end(), need) != 1) return "a task without what it needs";
      }
      ++next;
    }
  }
  return next < order.size() ? "a task never runs" : sends_fault();
}

/// Executes all stages. Empty if they end, else why they do not.
std::string machine_fault(const ml::vector<ml::message>& messages, const action_lists& actions) {
  ml::vector<std::size_t> at(actions.size(), 0);
  const auto head = [&](std::size_t s) { return at[s] < actions[s].size() ? &actions[s][at[s]] : nullptr; };
  for (bool progress = true; progress;) {
    progress = false;
    for (std::size_t s = 0; s < actions.size(); ++s) {
      const action* mine = head(s);
      if (mine == nullptr || mine->kind == action::receive) continue;  // the sender moves both
      if (mine->kind == action::send) {
        const ml::message& m = messages[static_cast<std::size_t>(mine->index)];
        if (m.from_stage != static_cast<int>(s)) return "a send of another stage's message";
        const action* other = head(static_cast<std::size_t>(m.to_stage));
        if (other == nullptr || *other != action{action::receive, mine->index, mine->micro_batch}) continue;
        ++at[static_cast<std::size_t>(m.to_stage)];
      }
      ++at[s];
      progress = true;
    }
  }
  for (std::size_t s = 0; s < actions.size(); ++s) {
    if (head(s) != nullptr) return "deadlock";
  }
  return "";
}

std::string fault(const task_lists& tasks, const ml::vector<ml::message>& messages, const action_lists& actions,
                  receives rule = receives::in_their_gap) {
  if (actions.size() != tasks.size()) return "a stage is missing";
  for (std::size_t s = 0; s < actions.size(); ++s) {
    const auto found = stage_fault(tasks, messages, static_cast<int>(s), actions[s], rule);
    if (!found.empty()) return found;
  }
  return machine_fault(messages, actions);
}

}  // namespace

TEST_CASE("every schedule runs under rendezvous sends") {
  for (const auto kind : {schedule_kind::gpipe, schedule_kind::one_f_one_b, schedule_kind::forward_only}) {
    for (int stages = 1; stages <= 8; ++stages) {
      const auto messages = pipeline_messages(stages);
      for (int m = 1; m <= 16; ++m) {
        CAPTURE(ml::name_of(kind));
        CAPTURE(stages);
        CAPTURE(m);
        const auto tasks = tasks_of(kind, stages, m);
        const auto actions = ml::linearise(tasks, messages);
        CHECK(fault(tasks, messages, actions) == "");
        CHECK(ml::linearise(tasks, messages) == actions);
      }
    }
  }
}

TEST_CASE("the checker rejects every planted fault") {
  const auto tasks = tasks_of(schedule_kind::one_f_one_b, 4, 6);
  const auto messages = pipeline_messages(4);
  const auto right = ml::linearise(tasks, messages);
  REQUIRE(fault(tasks, messages, right) == "");
  int dropped = 0, swapped = 0;
  for (std::size_t s = 0; s < right.size(); ++s) {
    for (std::size_t i = 0; i < right[s].size(); ++i) {
      auto wrong = right;
      wrong[s].erase(wrong[s].begin() + static_cast<std::ptrdiff_t>(i));
      CHECK(fault(tasks, messages, wrong) != "");
      if (right[s][i].kind != action::run) CHECK(machine_fault(messages, wrong) != "");
      ++dropped;
    }
    for (std::size_t i = 1; i < right[s].size(); ++i) {
      if (right[s][i].kind != action::run && right[s][i - 1].kind != action::run) continue;  // may be harmless
      auto wrong = right;
      std::swap(wrong[s][i - 1], wrong[s][i]);
      CHECK(fault(tasks, messages, wrong) != "");
      ++swapped;
    }
  }
  CHECK(dropped > 100);
  CHECK(swapped > 50);
  const ml::vector<ml::message> both_ways{{0, pass::reduce, 1, pass::update}, {1, pass::reduce, 0, pass::update}};
  const action_lists crossed{{{action::send, 0, 0}, {action::receive, 1, 0}},
                             {{action::send, 1, 0}, {action::receive, 0, 0}}};
  CHECK(machine_fault(both_ways, crossed) == "deadlock");
}

TEST_CASE("messages may skip stages") {
  std::mt19937 random(1907);
  for (int round = 0; round < 600; ++round) {
    const int stages = 2 + static_cast<int>(random() % 5), m = 1 + static_cast<int>(random() % 12);
    const auto kind = random() % 2 == 0 ? schedule_kind::gpipe : schedule_kind::one_f_one_b;
    auto messages = pipeline_messages(stages);
    for (auto extra = random() % 5; extra > 0; --extra) {
      const int from = static_cast<int>(random() % static_cast<unsigned>(stages - 1));
      const int to = from + 1 + static_cast<int>(random() % static_cast<unsigned>(stages - from - 1));
      messages.push_back({from, pass::forward, to, pass::forward});
      messages.push_back({to, pass::backward, from, pass::backward});
    }
    std::shuffle(messages.begin(), messages.end(), random);
    CAPTURE(round);
    const auto tasks = tasks_of(kind, stages, m);
    const auto actions = ml::linearise(tasks, messages);
    CHECK(fault(tasks, messages, actions, receives::early_too) == "");
    if (kind == schedule_kind::gpipe) CHECK(fault(tasks, messages, actions) == "");  // the gap rule is enough
    for (std::size_t n = 0; n < messages.size(); ++n) {
      const auto& [from_stage, from, to_stage, to] = messages[n];
      const int landing = ml::landing_slots(actions[static_cast<std::size_t>(to_stage)], messages, static_cast<int>(n));
      CHECK(landing >= 1);
      CHECK(landing <= std::max(1, std::abs(from_stage - to_stage)));
    }
  }
}

TEST_CASE("a message that skips stages is received early where the gap rule alone would deadlock") {
  const ml::vector<ml::message> messages{{0, pass::forward, 1, pass::forward},
                                         {1, pass::forward, 2, pass::forward},
                                         {0, pass::forward, 2, pass::backward}};
  const auto tasks = tasks_of(schedule_kind::gpipe, 3, 4);  // stage 2 goes backward only after all forwards of stage 0
  const auto actions = ml::linearise(tasks, messages);
  CHECK(fault(tasks, messages, actions, receives::early_too) == "");
  CHECK(fault(tasks, messages, actions) == "received outside its gap");
  CHECK(ml::landing_slots(actions[2], messages, 2) == 3);  // nobody waits for the sender of the fourth
  CHECK(ml::landing_slots(actions[2], messages, 1) == 1);
  CHECK(ml::landing_slots(actions[0], messages, 2) == 0);
}

TEST_CASE("what no order can satisfy is refused with the names of those who wait") {
  const task_lists tasks{{{pass::forward, 0}, {pass::backward, 0}}, {{pass::forward, 0}, {pass::backward, 0}}};
  const ml::vector<ml::message> circle{{0, pass::backward, 1, pass::forward}, {1, pass::backward, 0, pass::forward}};
  CHECK_THROWS_WITH_AS(ml::linearise(tasks, circle),
                       "linearise: the stages wait for each other; stage 0 receives message 1 of micro-batch 0 "
                       "(backward of stage 1 to forward of stage 0); stage 1 receives message 0 of micro-batch 0 "
                       "(backward of stage 0 to forward of stage 1)",
                       ml::error);
  CHECK_THROWS_AS(ml::linearise(tasks, ml::vector<ml::message>{{0, pass::forward, 0, pass::backward}}), ml::error);
  CHECK_THROWS_AS(ml::linearise(tasks, ml::vector<ml::message>{{0, pass::forward, 2, pass::forward}}), ml::error);
  CHECK_THROWS_AS(ml::linearise({{{pass::forward, 0}, {pass::forward, 0}}}, {}), ml::error);
  CHECK_THROWS_AS(ml::linearise({{{pass::forward, -1}}}, {}), ml::error);
}
