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
  CHECK(links_of(machine, {1, {4}}, 6).axis[0] == machine.between_hosts);   // ranks 6, 7 | 8, 9
  CHECK(links_of(machine, {1, {16}}, 0).axis[0] == machine.between_hosts);  // one ring: one message leaves each host
  CHECK(links_of(machine, {1, {1}}, 3).axis[0] == machine.within_host);

  // Data parallel between hosts, tensor parallel within: 8 rings leave each host at once.
  const mesh_links by_host = links_of(machine, {2, {4, 8}}, 0);
  CHECK(by_host.axis[0] == shared(8));
  CHECK(by_host.axis[1] == machine.within_host);
  // Two rows of two hosts each: a ring along a row leaves each of its hosts once, 8 rings join the rows.
  const mesh_links across = links_of(machine, {2, {2, 16}}, 0);
  CHECK(across.axis[0] == shared(8));
  CHECK(across.axis[1] == machine.between_hosts);
  const mesh_links cube = links_of(machine, {3, {4, 2, 4}}, 0);
  CHECK(cube.axis[0] == shared(8));
  CHECK(cube.axis[1] == machine.within_host);
  CHECK(cube.axis[2] == machine.within_host);
  // A mesh that starts in the middle of a host: ranks 4–7 | 8–11 as 2×4.
  CHECK(links_of(machine, {2, {2, 4}}, 4).axis[0] == shared(4));
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
      CHECK((links.axis[axis].latency == machine.between_hosts.latency) == crosses);
    }
  }
}
