// SPDX-License-Identifier: Apache-2.0
// Laws of cluster/cluster.hpp and cluster/link.hpp: ranks are numbered host by host; carrying more never takes less.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/cluster.hpp>

#include <random>

using namespace meshloom;

namespace {

// One byte at 3 bytes per second, one at 1 byte per second, and the largest load and rate that stay exact.
static_assert(carry_time({{7}, 3}, {1}).count == 333'333'333'334);
static_assert(carry_time({{7}, 1}, {1}).count == 1'000'000'000'000);
static_assert(carry_time({{7}, 9'000'000'000'000'000}, {1}).count == 1);
static_assert(carry_time({{7}, 9'000'000'000'000'000}, {9'000'000'000'000'000'000}).count == 1'000'000'000'000'000);
static_assert(carry_time({{7}, 3}, {0}).count == 0);

}  // namespace

TEST_CASE("hosts are runs of ranks") {
  for (std::int32_t hosts = 1; hosts <= 4; ++hosts) {
    for (std::int32_t each = 1; each <= 8; ++each) {
      const cluster machine{.name = "test", .hosts = hosts, .devices_per_host = each};
      CHECK(machine.ranks() == hosts * each);
      vector<std::int32_t> held(static_cast<std::size_t>(hosts));
      for (std::int32_t rank = 0; rank < machine.ranks(); ++rank) {
        ++held[static_cast<std::size_t>(machine.host_of(rank))];
        if (rank > 0) CHECK(machine.host_of(rank) >= machine.host_of(rank - 1));
      }
      for (const std::int32_t count : held) CHECK(count == each);
    }
  }
}

TEST_CASE("carry times are rounded up to the picosecond, exactly") {
  std::mt19937_64 random(6);
  for (int round = 0; round < 20000; ++round) {
    const auto rate = static_cast<std::int64_t>(1'000'000 + random() % 9'000'000'000'000);
    const auto load = static_cast<std::int64_t>(random() >> (26 + random() % 38));  // below 2^38
    const std::int64_t time = carry_time({{}, rate}, {load}).count;
    // time − 1 < load · 10^12 / rate ≤ time
    const auto work = static_cast<__int128>(load) * 1'000'000'000'000;
    CHECK(static_cast<__int128>(time) * rate >= work);
    if (time > 0) CHECK(static_cast<__int128>(time - 1) * rate < work);
    CHECK(carry_time({{}, rate}, {load + 1}).count >= time);
    CHECK(carry_time({{}, rate + 1}, {load}).count <= time);
  }
}
