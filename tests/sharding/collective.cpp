// SPDX-License-Identifier: Apache-2.0
// Laws of sharding/collective.hpp: prices are exact, never fall with bytes, are free only for `slice`, halos of
// nothing and one rank; the links of a mesh are those that its rings cross.
#include <doctest/doctest.h>

#include <meshloom/cluster/presets.hpp>
#include <meshloom/sharding/collective.hpp>

#include <random>
#include <set>
#include <string>

using namespace meshloom;

namespace {

constexpr collective kinds[] = {collective::all_reduce, collective::all_gather, collective::reduce_scatter,
                                collective::all_to_all, collective::broadcast,  collective::halo,
                                collective::rotate,     collective::slice};

// 1 GB/s and 1 µs: a byte takes 1000 ps.
constexpr link plain{.latency = {1'000'000}, .bytes_per_second = 1'000'000'000};
static_assert(price(collective::all_reduce, 4, {4000}, plain).count == 6 * (1'000'000 + 1'000'000));
static_assert(price(collective::all_gather, 4, {4000}, plain).count == 3 * (1'000'000 + 1'000'000));
static_assert(price(collective::reduce_scatter, 4, {4000}, plain).count == 3 * (1'000'000 + 1'000'000));
static_assert(price(collective::all_to_all, 4, {4000}, plain).count == 3 * (1'000'000 + 250'000));
static_assert(price(collective::broadcast, 4, {4000}, plain).count == 2 * (1'000'000 + 4'000'000));
static_assert(price(collective::broadcast, 5, {4000}, plain).count == 3 * (1'000'000 + 4'000'000));
static_assert(price(collective::halo, 4, {4000}, plain).count == 2 * (1'000'000 + 2'000'000));
static_assert(price(collective::rotate, 4, {4000}, plain).count == 1'000'000 + 4'000'000);
static_assert(price(collective::slice, 4, {4000}, plain).count == 0);
static_assert(price(collective::all_gather, 2, {3}, plain).count == 1'000'000 + 2000);  // rounded up to whole bytes
static_assert(carry_time({{}, 3}, {1}).count == 333'333'333'334);                       // and picoseconds
static_assert(carry_time({{}, 3}, {0}).count == 0 &&
              carry_time({{}, 1}, {9'000'000}).count == 9'000'000'000'000'000'000);

using wide = __int128;

std::int64_t divide_up(wide number, wide divisor) {
  return static_cast<std::int64_t>((number + divisor - 1) / divisor);
}

/// The formula of the header's table in 128-bit arithmetic.
std::int64_t oracle(collective kind, std::int64_t p, std::int64_t n, const link& over) {
  std::int64_t rounds = p - 1, parts = p;
  if (kind == collective::all_reduce) rounds = 2 * (p - 1);
  if (kind == collective::all_to_all) parts = p * p;
  if (kind == collective::broadcast) {
    rounds = 0;
    parts = 1;
    for (std::int64_t reached = 1; reached < p; reached *= 2) ++rounds;
  }
  if (kind == collective::halo) rounds = parts = 2;
  if (kind == collective::rotate) rounds = parts = 1;
  const std::int64_t message = divide_up(n, parts);
  return rounds * (over.latency.count + divide_up(wide{message} * 1'000'000'000'000, over.bytes_per_second));
}

}  // namespace

TEST_CASE("prices are the formulas, exactly") {
  std::mt19937_64 random(2);
  for (int round = 0; round < 20000; ++round) {
    const collective kind = kinds[random() % 7];
    const auto p = static_cast<std::int32_t>(2 + random() % 63);
    const auto n = static_cast<std::int64_t>(1 + (random() >> (24 + random() % 40)));  // up to 2^40
    const link over{{static_cast<std::int64_t>(random() % 100'000'000)},
                    static_cast<std::int64_t>(100'000'000 + random() % 1'000'000'000'000)};
    CHECK(price(kind, p, {n}, over).count == oracle(kind, p, n, over));
    CHECK(price(kind, p, {n}, over) <= price(kind, p, {n + static_cast<std::int64_t>(random() % 100)}, over));
    CHECK(price(kind, p, {n}, over).count > 0);
  }
}

TEST_CASE("only a slice, a halo of nothing and a single rank are free") {
  const link fastest{{0}, 9'000'000'000'000'000};
  for (const collective kind : kinds) {
    CHECK(price(kind, 1, {1'000'000}, plain).count == 0);
    for (const std::int64_t n : {0, 1, 1000}) {
      const bool nothing = kind == collective::slice || (kind == collective::halo && n == 0);
      CHECK((price(kind, 2, {n}, fastest).count == 0) == nothing);
    }
  }
}

TEST_CASE("an all-reduce costs a reduce-scatter and an all-gather") {
  for (std::int32_t p = 2; p < 20; ++p) {
    for (const std::int64_t n : {0, 1, 7, 4096, 123'456'789}) {
      CHECK(price(collective::all_reduce, p, {n}, plain) ==
            price(collective::reduce_scatter, p, {n}, plain) + price(collective::all_gather, p, {n}, plain));
    }
  }
}

TEST_CASE("every collective has a name of its own") {
  std::set<std::string_view> names;
  for (const collective kind : kinds) names.insert(name_of(kind));
  CHECK(names.size() == 8);
  CHECK(name_of(collective::all_to_all) == "all_to_all");
  CHECK(name_of(collective::slice) == "slice");
}

TEST_CASE("a ring within a host crosses the link within hosts, any other the link between them") {
  const cluster machine = p3_16xlarge(4);
  const auto shared = [&](std::int64_t rings) {
    link part = machine.between_hosts;
    part.bytes_per_second /= rings;
    return part;
  };
  CHECK(links_of(machine, {1, {8}}, 0).axis[0] == machine.within_host);
  CHECK(links_of(machine, {1, {8}}, 8).axis[0] == machine.within_host);
  CHECK(links_of(machine, {1, {4}}, 4).axis[0] == machine.within_host);
  const axis_links unaligned = links_of(machine, {1, {4}}, 6).axis[0];  // ranks 6, 7 | 8, 9
  CHECK(unaligned.ring == machine.between_hosts);                       // one ring: one message leaves each host
  CHECK(unaligned.across == shared(2));
  CHECK(unaligned.per_host == 2);
  CHECK(links_of(machine, {1, {4}}, 7).axis[0].per_host == 1);  // 7 | 8, 9, 10
  const axis_links two_hosts = links_of(machine, {1, {16}}, 0).axis[0];
  CHECK(two_hosts.ring == machine.between_hosts);
  CHECK(two_hosts.within == machine.within_host);
  CHECK(two_hosts.across == shared(8));
  CHECK(two_hosts.per_host == 8);
  CHECK(links_of(machine, {1, {1}}, 3).axis[0] == machine.within_host);

  // Data parallel between hosts, tensor parallel within: 8 rings leave each host at once.
  const mesh_links by_host = links_of(machine, {2, {4, 8}}, 0);
  CHECK(by_host.axis[0].ring == shared(8));
  CHECK(by_host.axis[0].across == shared(8));
  CHECK(by_host.axis[0].per_host == 1);
  CHECK(by_host.axis[1] == machine.within_host);
  // Two rows of two hosts each: a ring along a row leaves each of its hosts once, 8 rings join the rows.
  const mesh_links across = links_of(machine, {2, {2, 16}}, 0);
  CHECK(across.axis[0].ring == shared(8));
  CHECK(across.axis[1].ring == machine.between_hosts);
  CHECK(across.axis[1].across == shared(8));
  CHECK(across.axis[1].per_host == 8);
  const mesh_links cube = links_of(machine, {3, {4, 2, 4}}, 0);
  CHECK(cube.axis[0].ring == shared(8));
  CHECK(cube.axis[0].per_host == 1);
  CHECK(cube.axis[1] == machine.within_host);
  CHECK(cube.axis[2] == machine.within_host);
  // A mesh that starts in the middle of a host: ranks 4–7 | 8–11 as 2×4.
  CHECK(links_of(machine, {2, {2, 4}}, 4).axis[0].ring == shared(4));
  CHECK(links_of(machine, {2, {2, 4}}, 4).axis[0].across == shared(4));
  CHECK(links_of(machine, {2, {2, 4}}, 4).axis[1] == machine.within_host);
  CHECK(links_of(local(8), {3, {2, 2, 2}}, 0).axis[2] == local(8).within_host);
}

TEST_CASE("an axis crosses hosts if and only if some group along it does") {
  std::mt19937 random(3);
  for (int round = 0; round < 500; ++round) {
    mesh_shape mesh{3, {}};
    for (auto& size : mesh.size) size = static_cast<std::int32_t>(1 + random() % 4);
    cluster machine = p3_16xlarge(64);
    machine.devices_per_host = static_cast<std::int32_t>(1 + random() % 9);
    const auto first = static_cast<std::int32_t>(random() % 40);
    const mesh_links links = links_of(machine, mesh, first);
    for (std::size_t axis = 0; axis < 3; ++axis) {
      bool crosses = false;
      for (std::int32_t a = 0; a < mesh.ranks(); ++a) {
        for (std::int32_t b = 0; b < mesh.ranks(); ++b) {
          mesh_coordinates left = coordinates_of(mesh, a), right = coordinates_of(mesh, b);
          left[axis] = right[axis] = 0;
          crosses |= left == right && (first + a) / machine.devices_per_host != (first + b) / machine.devices_per_host;
        }
      }
      CHECK((links.axis[axis] != machine.within_host) == crosses);
      CHECK((links.axis[axis].per_host > 0) == crosses);
      CHECK((links.axis[axis].ring.latency == machine.between_hosts.latency) == crosses);
      CHECK((links.axis[axis].across.latency == machine.between_hosts.latency) == crosses);
    }
  }
}

namespace {

constexpr link slow{.latency = {10'000'000}, .bytes_per_second = 1'000'000'000};  // 10 µs, a byte in 1000 ps
constexpr link quick{.latency = {1'000'000}, .bytes_per_second = 10'000'000'000};

/// Two hosts of four ranks each, all in one group.
constexpr axis_links levels_of_two_hosts() {
  axis_links made = quick;
  made.ring = slow;
  made.across = {slow.latency, slow.bytes_per_second / 4};
  made.per_host = 4;
  return made;
}

/// What `sent` bytes take in `rounds` rounds.
constexpr std::int64_t over(const link& by, std::int64_t rounds, std::int64_t sent) {
  return rounds * by.latency.count + carry_time(by, {sent}).count;
}

// 8 MB: reduce-scatter and all-gather of it within hosts, and a quarter per rank across, at a quarter of the bandwidth.
constexpr axis_links two = levels_of_two_hosts();
static_assert(price(collective::all_reduce, 8, {8'000'000}, two).count ==
              over(quick, 6, 12'000'000) + over(two.across, 2, 2'000'000));
static_assert(price(collective::all_gather, 8, {8'000'000}, two).count ==
              over(quick, 3, 6'000'000) + over(two.across, 1, 1'000'000));
static_assert(price(collective::all_gather, 8, {8'000'000}, two) ==
              price(collective::reduce_scatter, 8, {8'000'000}, two));
// Each rank sends an eighth of its eighth to each of four on the other host, and to three on its own.
static_assert(price(collective::all_to_all, 8, {6'400'000}, two).count ==
              std::min(over(quick, 3, 300'000) + over(two.across, 4, 400'000),
                       over(quick, 3, 600'000) + over(two.across, 1, 400'000)));
static_assert(price(collective::broadcast, 8, {1000}, two).count == over(slow, 1, 1000) + over(quick, 2, 2000));
static_assert(price(collective::halo, 8, {1000}, two) == price(collective::halo, 8, {1000}, slow));
static_assert(price(collective::rotate, 8, {1000}, two) == price(collective::rotate, 8, {1000}, slow));
static_assert(price(collective::slice, 8, {1000}, two).count == 0);

/// The levels' algorithms, message by message: the sum over rounds of what the slowest message of a round takes, where
/// messages that leave a host share its link, of `groups` groups that run at once.
struct played {
  std::int32_t near, hosts, groups;
  link within, between;

  double time(const link& by, double bytes, std::int32_t sharing) const {
    return static_cast<double>(by.latency.count) + bytes * sharing * 1e12 / static_cast<double>(by.bytes_per_second);
  }
  double gather(double whole) const {
    double sum = 0, have = whole / (near * hosts);
    for (std::int32_t known = 1; known < hosts;) {  // doubling what each rank has of the ranks that stand as it does
      const std::int32_t more = std::min(known, hosts - known);
      sum += time(between, have * more, near * groups);
      known += more;
    }
    for (std::int32_t round = 1; round < near; ++round) sum += time(within, have * hosts, 1);  // a ring
    return sum;
  }
  double exchange(double whole, bool twice) const {
    const double pair = whole / (near * hosts) / (near * hosts);
    double sum = 0;
    for (std::int32_t round = 1; round < near; ++round) sum += time(within, pair * (twice ? hosts : 1), 1);
    const std::int32_t messages = twice ? hosts - 1 : near * (hosts - 1);
    for (std::int32_t round = 0; round < messages; ++round)
      sum += time(between, pair * (twice ? near : 1), near * groups);
    return sum;
  }
  double ring(double whole) const {  // one message of each group leaves a host, or all do
    double sum = 0;
    for (std::int32_t round = 1; round < near * hosts; ++round) sum += time(between, whole / (near * hosts), groups);
    return sum;
  }
  double price_of(collective kind, double whole) const {
    if (kind == collective::all_to_all) return std::min(exchange(whole, true), exchange(whole, false));
    const double once = std::min(gather(whole), ring(whole));
    return kind == collective::all_reduce ? 2 * once : once;
  }
};

}  // namespace

TEST_CASE("the links of all ranks are those of an axis of them all") {
  for (const cluster& machine : {local(1), local(4), p3_16xlarge(1), p3_16xlarge(3), gb200_nvl72(2)})
    CHECK(links_of(machine) == links_of(machine, {1, {machine.ranks()}}, 0).axis[0]);
}

TEST_CASE("prices in levels are what the rounds of their algorithms take together, with shared links") {
  std::mt19937_64 random(11);
  int levels = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto draw = [&](std::int64_t low, std::int64_t high) {
      return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
    };
    const auto near = static_cast<std::int32_t>(draw(1, 9)), hosts = static_cast<std::int32_t>(draw(2, 9)),
               groups = static_cast<std::int32_t>(draw(1, 3));
    cluster machine{.name = "", .hosts = hosts, .devices_per_host = near * groups};
    machine.within_host = {{draw(0, 10'000'000)}, draw(1'000'000'000, 500'000'000'000)};
    machine.between_hosts = {{draw(0, 50'000'000)}, draw(1'000'000'000, 500'000'000'000)};
    const axis_links over = links_of(machine, {2, {hosts * near, groups}}, 0).axis[0];
    CHECK(over.per_host == near);
    const played by{near, hosts, groups, machine.within_host, machine.between_hosts};
    for (const collective kind :
         {collective::all_reduce, collective::all_gather, collective::reduce_scatter, collective::all_to_all}) {
      const double whole = static_cast<double>(draw(1'000'000, 1'000'000'000));
      const std::int32_t ranks = near * hosts;
      CHECK(static_cast<double>(price(kind, ranks, {static_cast<std::int64_t>(whole)}, over).count) ==
            doctest::Approx(by.price_of(kind, whole)).epsilon(1e-4));
      levels += kind == collective::all_gather && by.gather(whole) < by.ring(whole);
    }
  }
  CHECK(levels > 1000);
  CHECK(levels < 3000);
}

TEST_CASE("levels never cost more than a ring, nor less for more bytes, and nothing is free") {
  std::mt19937_64 random(12);
  for (int round = 0; round < 20000; ++round) {
    const collective kind = kinds[random() % 7];
    const auto near = static_cast<std::int32_t>(1 + random() % 9), hosts = static_cast<std::int32_t>(2 + random() % 80);
    const auto draw_link = [&] {
      return link{{static_cast<std::int64_t>(random() % 100'000'000)},
                  static_cast<std::int64_t>(1'000'000 + random() % 1'000'000'000'000)};
    };
    axis_links over = draw_link();
    over.ring = draw_link();
    over.across = {over.ring.latency, std::max<std::int64_t>(over.ring.bytes_per_second / near, 1)};
    over.per_host = near;
    const auto n = static_cast<std::int64_t>(1 + (random() >> (24 + random() % 40)));
    const std::int32_t ranks = near * hosts;
    const picoseconds time = price(kind, ranks, {n}, over);
    if (kind != collective::all_to_all || near == 1) CHECK(time <= price(kind, ranks, {n}, over.ring));
    CHECK(time <= price(kind, ranks, {n + static_cast<std::int64_t>(random() % 100)}, over));
    CHECK(time.count > 0);
    CHECK(price(collective::all_reduce, ranks, {n}, over) <=
          price(collective::reduce_scatter, ranks, {n}, over) + price(collective::all_gather, ranks, {n}, over));
  }
}

TEST_CASE("latency between hosts grows with the logarithm of their number") {
  axis_links over = quick;
  over.ring = over.across = slow;
  over.per_host = 1;
  CHECK(price(collective::all_reduce, 1024, {1}, over).count == 20 * slow.latency.count + 2 * 1000);
  CHECK(price(collective::all_gather, 72, {1}, over).count == 7 * slow.latency.count + 1000);
}

namespace {

/// Two hosts of 2 on a network of 2 GB/s and 10 µs, behind them one of 4 on one of 8 GB/s and 4 µs.
cluster two_groups() {
  cluster made = local(2);
  made.hosts = 2;
  made.within_host = {.latency = {1'000}, .bytes_per_second = 100'000'000'000};
  made.between_hosts = {.latency = {10'000'000}, .bytes_per_second = 2'000'000'000};
  made.others.push_back({.device = made.device,
                         .hosts = 1,
                         .devices_per_host = 4,
                         .within_host = {.latency = {2'000}, .bytes_per_second = 50'000'000'000},
                         .between_hosts = {.latency = {4'000'000}, .bytes_per_second = 8'000'000'000}});
  return made;
}

}  // namespace

TEST_CASE("a mesh has the links of its group of hosts alone") {
  const cluster machine = two_groups();
  for (const placed_group& group : groups_of(machine)) {
    for (std::int32_t first = 0; first < 4; ++first) {
      for (const mesh_shape& mesh : {mesh_shape{}, mesh_shape{1, {2}}, mesh_shape{1, {4}}, mesh_shape{2, {2, 2}}}) {
        if (first + mesh.ranks() > group.alone.ranks()) continue;
        CHECK(links_of(machine, mesh, group.first_rank + first) == links_of(group.alone, mesh, first));
      }
    }
  }
  CHECK(links_of(machine, {1, {4}}, 0) != links_of(machine, {1, {4}}, 4));
  try {
    links_of(machine, {1, {4}}, 2);
    FAIL("a mesh on two groups has no links");
  } catch (const error& why) {
    CHECK(std::string(why.what()) ==
          "links_of: ranks 2 to 5 lie on several groups of hosts of local; a stage stands on one group, so let it end "
          "with rank 3");
  }
}

TEST_CASE("all ranks of several groups meet over the slowest of their links") {
  cluster machine = two_groups();
  const axis_links all = links_of(machine);
  CHECK(all.within == link{{2'000}, 50'000'000'000});
  CHECK(all.ring == link{{10'000'000}, 2'000'000'000});
  CHECK(all.across == link{{10'000'000}, 1'000'000'000});  // two ranks of a host of the first group share its link
  CHECK(all.per_host == 1);
  machine.others[0] = {machine.device, 3, 2, machine.within_host, machine.between_hosts};
  cluster one = machine;
  one.others.clear();
  one.hosts = 5;
  CHECK(links_of(machine) == links_of(one));
}

TEST_CASE("a message between groups takes the slower share of their hosts' links") {
  const cluster machine = two_groups();
  const auto over = [&](const rank_run& from, const rank_run& to) { return message_link(machine, from, to); };
  CHECK(over({0, 1}, {1, 1}) == machine.within_host);
  CHECK(over({4, 2}, {6, 2}) == machine.others[0].within_host);
  CHECK(over({0, 2}, {2, 2}) == link{{10'000'000}, 1'000'000'000});
  // of four receivers on one host, at 8 GB/s, two get theirs from each host of the senders, at 2 GB/s
  CHECK(over({0, 4}, {4, 4}) == link{{10'000'000}, 1'000'000'000});
  CHECK(over({2, 2}, {4, 4}) == link{{10'000'000}, 500'000'000});  // all from one
  CHECK(over({2, 1}, {4, 1}) == link{{10'000'000}, 2'000'000'000});
  // two receivers on each of two hosts, of four messages that leave one host
  CHECK(over({4, 4}, {0, 4}) == link{{10'000'000}, 1'000'000'000});
  cluster fast = machine;
  fast.between_hosts.bytes_per_second = 80'000'000'000;
  CHECK(message_link(fast, {4, 4}, {0, 4}) == link{{10'000'000}, 2'000'000'000});
}

TEST_CASE("between equal groups messages and meshes cross what they cross in one group") {
  cluster one = p3_16xlarge(4);
  cluster two = p3_16xlarge(3);
  two.others.push_back({one.device, 1, 8, one.within_host, one.between_hosts});
  for (std::int32_t from = 0; from < 32; from += 4) {
    for (std::int32_t to = 0; to < 32; to += 4) {
      for (const std::int32_t count : {1, 2, 4, 8}) {
        const bool apart = from + 8 <= to || to + 8 <= from;
        if (!apart || from + 8 > 32 || to + count > 32) continue;
        const bool straddles = !in_one_group(two, from, from + 8) || !in_one_group(two, to, to + count);
        if (!straddles) CHECK(message_link(one, {from, 8}, {to, count}) == message_link(two, {from, 8}, {to, count}));
      }
    }
  }
}
