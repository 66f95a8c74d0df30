// SPDX-License-Identifier: Apache-2.0
// Laws of the order of tasks, and the makespan against closed forms and the longest path.
#include <meshloom/schedule/order.hpp>

#include <doctest/doctest.h>

#include <random>
#include <string>

namespace ml = meshloom;
using ml::pass;
using ml::schedule_kind;

namespace {

constexpr schedule_kind all_kinds[] = {schedule_kind::forward_only, schedule_kind::gpipe, schedule_kind::one_f_one_b};

/// What the papers say, as a rule for the next task: go forward while a slot is free, else backward.
ml::vector<ml::task> order_by_rule(schedule_kind kind, int stages, int stage, int micro_batches) {
  const bool trains = kind != schedule_kind::forward_only;
  const int room = kind == schedule_kind::one_f_one_b ? stages - stage : micro_batches;
  ml::vector<ml::task> order;
  for (int forwards = 0, backwards = 0; forwards < micro_batches || (trains && backwards < micro_batches);) {
    if (forwards < micro_batches && forwards - backwards < room) {
      order.push_back({pass::forward, forwards++});
    } else {
      order.push_back({pass::backward, backwards++});
    }
  }
  order.push_back({pass::reduce, 0});
  if (trains) order.push_back({pass::update, 0});
  return order;
}

/// Empty if micro-batch k can keep its activations in slot k mod `slots`, from its forward to its backward, else why
/// not.
std::string slot_fault(const ml::vector<ml::task>& order, int slots) {
  ml::vector<int> holder(static_cast<std::size_t>(slots), -1);
  for (const ml::task& t : order) {
    int& slot = holder[static_cast<std::size_t>(t.micro_batch % slots)];
    if (t.what == pass::forward && slot != -1) return "slot taken";
    if (t.what == pass::backward && slot != t.micro_batch) return "slot lost";
    if (t.what == pass::forward) slot = t.micro_batch;
    if (t.what == pass::backward) slot = -1;
  }
  return "";
}

/// The longest path through the tasks of all stages, by relaxing every edge until nothing changes.
std::int64_t longest_path(schedule_kind kind, const ml::vector<ml::stage_times>& times,
                          const ml::vector<ml::transfer_times>& transfers, int micro_batches) {
  struct edge {
    std::size_t from, to;
    std::int64_t delay;
  };
  const std::size_t m = static_cast<std::size_t>(micro_batches), p = times.size();
  const auto node = [&](std::size_t stage, pass what, int k) {
    return (stage * 2 + (what == pass::forward ? 0 : 1)) * m + static_cast<std::size_t>(k);
  };
  ml::vector<std::int64_t> end(p * 2 * m, 0);
  ml::vector<edge> edges;
  for (std::size_t s = 0; s < p; ++s) {
    const auto order = order_by_rule(kind, static_cast<int>(p), static_cast<int>(s), micro_batches);
    for (std::size_t i = 0; i < order.size() && order[i].what <= pass::backward; ++i) {
      const pass what = order[i].what;
      const std::size_t here = node(s, what, order[i].micro_batch);
      const std::int64_t cost = (what == pass::forward ? times[s].forward : times[s].backward).count;
      const auto follows = [&](std::size_t from, std::int64_t delay) { edges.push_back({from, here, delay + cost}); };
      end[here] = cost;
      if (i > 0) follows(node(s, order[i - 1].what, order[i - 1].micro_batch), 0);
      const int k = order[i].micro_batch;
      if (what == pass::forward && s > 0) follows(node(s - 1, what, k), transfers[s - 1].forward.count);
      if (what == pass::backward && s + 1 < p) follows(node(s + 1, what, k), transfers[s].backward.count);
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (const edge& e : edges) {
      if (end[e.from] + e.delay <= end[e.to]) continue;
      end[e.to] = end[e.from] + e.delay;
      changed = true;
    }
  }
  return *std::max_element(end.begin(), end.end());
}

/// When the last task ends, if every stage runs its tasks one after the other, each as soon as what it reads is there.
std::int64_t walked(schedule_kind kind, const ml::vector<ml::stage_times>& times,
                    const ml::vector<ml::transfer_times>& transfers, int micro_batches) {
  struct clock {
    ml::vector<ml::task> order;
    std::size_t next = 0;
    std::int64_t now = 0;
    ml::vector<std::int64_t> ends[2];  // by pass
  };
  ml::vector<clock> clocks(times.size());
  for (std::size_t s = 0; s < times.size(); ++s)
    clocks[s].order = order_by_rule(kind, static_cast<int>(times.size()), static_cast<int>(s), micro_batches);
  const auto runs_next = [&](std::size_t s) {
    clock& here = clocks[s];
    const ml::task next = here.order[here.next];
    if (next.what > pass::backward) return false;
    const bool forward = next.what == pass::forward;
    if (forward ? s > 0 : s + 1 < times.size()) {
      const auto& made = clocks[forward ? s - 1 : s + 1].ends[forward ? 0 : 1];
      const auto k = static_cast<std::size_t>(next.micro_batch);
      if (k >= made.size()) return false;
      const auto delay = forward ? transfers[s - 1].forward : transfers[s].backward;
      here.now = std::max(here.now, made[k] + delay.count);
    }
    here.now += (forward ? times[s].forward : times[s].backward).count;
    here.ends[forward ? 0 : 1].push_back(here.now);
    ++here.next;
    return true;
  };
  std::int64_t last = 0;
  for (bool progress = true; progress;) {
    progress = false;
    for (std::size_t s = 0; s < times.size(); ++s) {
      while (runs_next(s)) progress = true;
      last = std::max(last, clocks[s].now);
    }
  }
  return last;
}

}  // namespace

TEST_CASE("schedules have names") {
  for (const auto kind : all_kinds) CHECK(ml::schedule_named(ml::name_of(kind)) == kind);
  CHECK(ml::schedule_named("1f1b") == schedule_kind::one_f_one_b);
  CHECK_FALSE(ml::schedule_named("2f2b").has_value());
}

TEST_CASE("the order is the one of the papers") {
  for (const auto kind : all_kinds) {
    for (int stages = 1; stages <= 8; ++stages) {
      for (int stage = 0; stage < stages; ++stage) {
        for (int m = 1; m <= 16; ++m) {
          CHECK(ml::order_of(kind, stages, stage, m) == order_by_rule(kind, stages, stage, m));
        }
      }
    }
  }
  const auto middle = ml::order_of(schedule_kind::one_f_one_b, 4, 2, 3);
  CHECK(middle == ml::vector<ml::task>{{pass::forward, 0},
                                       {pass::forward, 1},
                                       {pass::backward, 0},
                                       {pass::forward, 2},
                                       {pass::backward, 1},
                                       {pass::backward, 2},
                                       {pass::reduce, 0},
                                       {pass::update, 0}});
}

TEST_CASE("the slots in flight suffice, and one less does not") {
  for (const auto kind : {schedule_kind::gpipe, schedule_kind::one_f_one_b}) {
    for (int stages = 1; stages <= 8; ++stages) {
      for (int stage = 0; stage < stages; ++stage) {
        for (int m = 1; m <= 16; ++m) {
          const auto order = ml::order_of(kind, stages, stage, m);
          int alive = 0, most = 0;
          for (const ml::task& t : order) {
            alive += t.what == pass::forward ? 1 : t.what == pass::backward ? -1 : 0;
            most = std::max(most, alive);
          }
          const int slots = ml::slots_in_flight(kind, stages, stage, m);
          CHECK(slots == most);
          CHECK(slot_fault(order, slots).empty());
          if (slots > 1) CHECK_FALSE(slot_fault(order, slots - 1).empty());
        }
      }
    }
  }
  CHECK(ml::slots_in_flight(schedule_kind::forward_only, 4, 0, 8) == 1);
}

TEST_CASE("equal stages: makespan and bubble have closed forms") {
  const ml::stage_times each{{700}, {1300}};
  const std::int64_t on = 90, back = 40;
  for (int p = 1; p <= 8; ++p) {
    const ml::vector<ml::stage_times> times(static_cast<std::size_t>(p), each);
    const ml::vector<ml::transfer_times> none(times.size() - 1), some(times.size() - 1, {{on}, {back}});
    for (int m = 1; m <= 16; ++m) {
      const std::int64_t busy = 2000 * m, span = 2000 * (m + p - 1);
      CHECK(ml::makespan(schedule_kind::gpipe, times, none, m).count == span);
      CHECK(ml::makespan(schedule_kind::one_f_one_b, times, none, m).count == span);
      CHECK(ml::bubble(p, m) == doctest::Approx(1.0 - static_cast<double>(busy) / static_cast<double>(span)));
      CHECK(ml::makespan(schedule_kind::gpipe, times, some, m).count == span + (p - 1) * (on + back));
      CHECK(ml::makespan(schedule_kind::forward_only, times, some, m).count == 700 * (m + p - 1) + (p - 1) * on);
    }
  }
}

TEST_CASE("unequal stages: the makespan is the longest path") {
  std::mt19937 random(20210);
  const auto below = [&](unsigned n) { return static_cast<std::int64_t>(random() % n); };
  for (int round = 0; round < 300; ++round) {
    const int p = static_cast<int>(1 + below(6)), m = static_cast<int>(1 + below(9));
    ml::vector<ml::stage_times> times;
    ml::vector<ml::transfer_times> transfers;
    for (int s = 0; s < p; ++s) times.push_back({{1 + below(50)}, {1 + below(90)}});
    for (int s = 1; s < p; ++s) transfers.push_back({{below(40)}, {below(40)}});
    for (const auto kind : all_kinds) {
      CHECK(ml::makespan(kind, times, transfers, m).count == longest_path(kind, times, transfers, m));
    }
  }
}

TEST_CASE("however many micro-batches there are, the makespan is that of running them one by one") {
  std::mt19937 random(4711);
  const auto below = [&](std::int64_t n) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(n)); };
  for (int round = 0; round < 400; ++round) {
    const int p = static_cast<int>(1 + below(9));
    const std::int64_t spread = below(2) == 0 ? 3 : 1000;     // few different times: several circuits set the pace
    const std::int64_t far = below(2) == 0 ? 2 : 4 * spread;  // or messages set it, between stages
    ml::vector<ml::stage_times> times;
    ml::vector<ml::transfer_times> transfers;
    for (int s = 0; s < p; ++s) times.push_back({{below(spread)}, {below(2 * spread)}});
    for (int s = 1; s < p; ++s) transfers.push_back({{below(far)}, {below(far)}});
    for (const int m : {p, p + 1, 3 * p + 2, 64, 211}) {
      for (const auto kind : all_kinds)
        CHECK(ml::makespan(kind, times, transfers, m).count == walked(kind, times, transfers, m));
    }
  }
  const ml::vector<ml::stage_times> two{{{3}, {4}}, {{3}, {4}}};
  const ml::vector<ml::transfer_times> slow{
      {{50}, {51}}};  // two micro-batches go around, the second right behind the first
  CHECK(ml::makespan(schedule_kind::one_f_one_b, two, slow, 100'000).count == 50'000 * (3 + 50 + 7 + 51 + 4) + 7);
}

TEST_CASE("bad questions are refused") {
  CHECK_THROWS_AS(ml::order_of(schedule_kind::gpipe, 4, 4, 1), ml::error);
  CHECK_THROWS_AS(ml::order_of(schedule_kind::gpipe, 4, -1, 1), ml::error);
  CHECK_THROWS_AS(ml::order_of(schedule_kind::gpipe, 4, 0, 0), ml::error);
  const ml::vector<ml::stage_times> two(2);
  CHECK_THROWS_AS(ml::makespan(schedule_kind::gpipe, two, {}, 1), ml::error);
  CHECK_THROWS_AS(ml::makespan(schedule_kind::gpipe, {}, {}, 1), ml::error);
}
