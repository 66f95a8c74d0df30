// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/vector.hpp>
#include <meshloom/exec/meeting.hpp>

#include <doctest/doctest.h>

#include <numeric>
#include <thread>
#include <vector>

using namespace meshloom;

namespace {

constexpr waiting both_ways[] = {waiting::block, waiting::spin_then_block};

template <class Body>
void on_threads(int count, Body body) {
  vector<std::thread> threads;
  for (int member = 0; member < count; ++member) threads.emplace_back([&body, member] { body(member); });
  for (std::thread& thread : threads) thread.join();
}

/// How often a member read something old from another after `meet`, twice a round, should have made all of it current.
template <class Cell, class Meet>
int stale_reads(int members, int rounds, Meet meet) {
  std::vector<Cell> written(static_cast<std::size_t>(members));
  vector<int> stale(written.size());
  on_threads(members, [&](int member) {
    const auto mine = static_cast<std::size_t>(member);
    for (int round = 1; round <= rounds; ++round) {
      written[mine] = round;
      meet(member);
      for (const Cell& other : written) stale[mine] += other != round;
      meet(member);
    }
  });
  return std::accumulate(stale.begin(), stale.end(), 0);
}

bool throws_stopped(meeting& door) {
  try {
    door.arrive_and_wait();
  } catch (const stopped&) {
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("after a meeting each member sees what all did before it") {
  for (const waiting how : both_ways) {
    for (const int members : {1, 2, 3, 5, 8}) {
      meeting door(members, how);
      CHECK(stale_reads<int>(members, 300, [&](int) { door.arrive_and_wait(); }) == 0);
    }
  }
}

TEST_CASE("the check of meetings sees a member that does not wait") {
  std::atomic<bool> gone{false};
  int calls = 0;
  CHECK(stale_reads<std::atomic<int>>(2, 10, [&](int member) {
          if (member == 1) return gone.wait(false);
          if (++calls < 20) return;
          gone = true;
          gone.notify_all();
        }) > 0);
}

TEST_CASE("a stop wakes members that sleep or spin, and lets no one wait again") {
  for (const waiting how : both_ways) {
    for (int round = 0; round < 50; ++round) {
      meeting door(4, how);
      vector<int> was_stopped(3);
      on_threads(4, [&](int member) {
        if (member == 3) {
          if (round % 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
          return door.stop();
        }
        was_stopped[static_cast<std::size_t>(member)] = throws_stopped(door);
      });
      CHECK(was_stopped == vector<int>{1, 1, 1});
      CHECK(throws_stopped(door));
      door.stop();
      CHECK_THROWS_AS(door.arrive_and_wait(), error);
    }
  }
}

TEST_CASE("a complete meeting is left as usual, even if a member stops it at once") {
  for (const waiting how : both_ways) {
    int early = 0;
    for (int round = 0; round < 300; ++round) {
      meeting door(2, how);
      on_threads(2, [&](int member) {
        if (member == 0) {
          early += throws_stopped(door);
        } else {
          door.arrive_and_wait();
          door.stop();
        }
      });
    }
    CHECK(early == 0);
  }
}
