// SPDX-License-Identifier: Apache-2.0
// Laws of sharding/meshes.hpp, by brute force: exactly the submeshes and shapes that there are, and every list of
// submeshes that adds up to a cluster is placed on it.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/presets.hpp>
#include <meshloom/sharding/meshes.hpp>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>
#include <string>

using namespace meshloom;

namespace {

cluster cluster_of(std::int32_t hosts, std::int32_t devices) {
  cluster machine = local(devices);
  machine.hosts = hosts;
  return machine;
}

/// What is wrong with a placement: "" if it keeps the law.
std::string fault_of(const cluster& machine, const vector<submesh>& stages, const vector<std::int32_t>& first) {
  vector<int> owners(static_cast<std::size_t>(machine.ranks()));
  if (first.size() != stages.size()) return "not one place per stage";
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const std::int32_t last = first[s] + stages[s].ranks() - 1;
    if (first[s] < 0 || last >= machine.ranks()) return "outside";
    for (std::int32_t rank = first[s]; rank <= last; ++rank) {
      if (owners[static_cast<std::size_t>(rank)]++ > 0) return "twice";
    }
    const bool whole = stages[s].devices == machine.devices_per_host;
    if (whole && first[s] % machine.devices_per_host != 0) return "askew";
    if (!whole && machine.host_of(first[s]) != machine.host_of(last)) return "astride";
  }
  return "";
}

/// Calls visit(stages) for every multiset of submeshes with `ranks` ranks together.
template <class Visit>
void for_each_multiset(const vector<submesh>& sizes, std::int32_t ranks, const Visit& visit) {
  vector<submesh> chosen;
  const auto choose = [&](const auto& self, std::size_t from, std::int32_t left) -> void {
    if (left == 0) return visit(chosen);
    for (std::size_t k = from; k < sizes.size() && sizes[k].ranks() <= left; ++k) {
      chosen.push_back(sizes[k]);
      self(self, k, left - sizes[k].ranks());
      chosen.pop_back();
    }
  };
  choose(choose, 0, ranks);
}

/// Checks all multisets in rising, falling and random order; how many there were.
int check_all_tilings(const cluster& machine) {
  std::mt19937 dice(7);
  int count = 0;
  const auto check = [&](const vector<submesh>& stages) {
    const auto first = tile(machine, stages);
    REQUIRE_MESSAGE(first, first.error());
    const std::string fault = fault_of(machine, stages, first.value());
    REQUIRE_MESSAGE(fault.empty(), fault);
  };
  for_each_multiset(submeshes_of(machine), machine.ranks(), [&](vector<submesh> stages) {
    check(stages);
    std::reverse(stages.begin(), stages.end());
    check(stages);
    std::shuffle(stages.begin(), stages.end(), dice);
    check(stages);
    ++count;
  });
  return count;
}

std::string refusal(const cluster& machine, const vector<submesh>& stages) { return tile(machine, stages).error(); }

}  // namespace

TEST_CASE("submeshes are the divisors of a host and all counts of hosts, by rising size") {
  CHECK(submeshes_of(cluster_of(3, 6)) == vector<submesh>{{1, 1}, {1, 2}, {1, 3}, {1, 6}, {2, 6}, {3, 6}});
  CHECK(submeshes_of(cluster_of(1, 8)) == vector<submesh>{{1, 1}, {1, 2}, {1, 4}, {1, 8}});
  CHECK(submeshes_of(cluster_of(2, 1)) == vector<submesh>{{1, 1}, {2, 1}});
  for (std::int32_t hosts = 1; hosts <= 4; ++hosts) {
    for (std::int32_t devices = 1; devices <= 24; ++devices) {
      std::set<std::int32_t> ranks;
      for (const submesh& each : submeshes_of(cluster_of(hosts, devices))) {
        CHECK((ranks.empty() || *ranks.rbegin() < each.ranks()));
        ranks.insert(each.ranks());
      }
      for (std::int32_t count = 1; count <= hosts * devices; ++count) {
        CHECK(ranks.contains(count) == (count <= devices ? devices % count == 0 : count % devices == 0));
      }
    }
  }
}

TEST_CASE("logical meshes are all ordered products of up to three factors, each once") {
  CHECK(logical_meshes(1, 3) == vector<mesh_shape>{{}});
  CHECK(logical_meshes(7) == vector<mesh_shape>{{1, {7}}});
  CHECK(logical_meshes(8) == vector<mesh_shape>{{1, {8}}, {2, {2, 4}}, {2, {4, 2}}});
  CHECK(logical_meshes(8, 1) == vector<mesh_shape>{{1, {8}}});
  for (std::int32_t ranks = 2; ranks <= 96; ++ranks) {
    vector<mesh_shape> expected{{1, {ranks}}};
    for (std::int32_t a = 2; a < ranks; ++a) {
      for (std::int32_t b = 2; b < ranks; ++b) {
        if (a * b == ranks) expected.push_back({2, {a, b}});
      }
    }
    CHECK(logical_meshes(ranks, 2) == expected);
    for (std::int32_t a = 2; a < ranks; ++a) {
      for (std::int32_t b = 2; a * b < ranks; ++b) {
        if (ranks % (a * b) == 0) expected.push_back({3, {a, b, ranks / (a * b)}});
      }
    }
    CHECK(logical_meshes(ranks, 3) == expected);
  }
}

TEST_CASE("every multiset of submeshes that adds up to the cluster is placed on it") {
  int placed = 0;
  for (std::int32_t hosts = 1; hosts <= 4; ++hosts) {
    for (std::int32_t devices = 1; devices <= 8; ++devices) placed += check_all_tilings(cluster_of(hosts, devices));
  }
  CHECK(placed == 810);
}

TEST_CASE("sizes that do not divide each other take some going back") {
  CHECK(check_all_tilings(cluster_of(2, 12)) > 100);
  // Largest first would put 6 and 4 on one host, and no 3 fits beside the 4, 4 and 3 of the other.
  const vector<submesh> stages{{1, 3}, {1, 4}, {1, 4}, {1, 4}, {1, 3}, {1, 6}};
  CHECK(fault_of(cluster_of(2, 12), stages, tile(cluster_of(2, 12), stages).value()) == "");
}

TEST_CASE("stages stay in their order where that is allowed") {
  const cluster machine = cluster_of(2, 8);
  const auto placed = [&](const vector<submesh>& stages) { return tile(machine, stages).value(); };
  CHECK(placed({{1, 2}, {1, 4}, {1, 2}, {1, 8}}) == vector<std::int32_t>{0, 2, 6, 8});
  CHECK(placed({{1, 1}, {1, 1}, {1, 4}}) == vector<std::int32_t>{0, 1, 2});
  CHECK(placed({{1, 4}, {1, 8}, {1, 4}}) == vector<std::int32_t>{8, 0, 12});
  CHECK(placed({{1, 2}, {1, 8}, {1, 4}, {1, 2}}) == vector<std::int32_t>{12, 0, 8, 14});
  CHECK(placed({{2, 8}}) == vector<std::int32_t>{0});
  CHECK(placed({}).empty());
}

TEST_CASE("what cannot be placed is refused with the cure") {
  const cluster machine = cluster_of(2, 8);
  CHECK(refusal(machine, {{1, 3}}) ==
        "3 devices of each of 1 hosts are no submesh of local; take whole hosts, or a divisor of the 8 devices of one");
  CHECK(refusal(machine, {{2, 4}}).starts_with("4 devices of each of 2 hosts are no submesh"));
  CHECK(refusal(machine, {{3, 8}}).starts_with("8 devices of each of 3 hosts are no submesh"));
  CHECK(refusal(machine, {{0, 8}}).starts_with("8 devices of each of 0 hosts are no submesh"));
  CHECK(refusal(machine, {{1, 0}}).starts_with("0 devices of each of 1 hosts are no submesh"));
  CHECK(refusal(machine, {{2, 8}, {1, 1}}) == "the stages have 17 ranks, but local has 16; take smaller submeshes");
  // 15 needs 15 more from 10, 10, 6, 6, 6, 6 and 1.
  CHECK(refusal(cluster_of(2, 30), {{1, 15}, {1, 10}, {1, 10}, {1, 6}, {1, 6}, {1, 6}, {1, 6}, {1, 1}}) ==
        "the stages take parts of hosts that do not fit together on hosts of 30 devices; take sizes that divide each "
        "other");
}

TEST_CASE("the checker of placements finds what is wrong with them") {
  const cluster machine = cluster_of(2, 8);
  const vector<submesh> stages{{1, 8}, {1, 4}, {1, 2}, {1, 2}};
  CHECK(fault_of(machine, stages, {0, 8, 12, 14}) == "");
  CHECK(fault_of(machine, stages, {0, 8, 12}) == "not one place per stage");
  CHECK(fault_of(machine, stages, {0, 8, 12, 13}) == "twice");
  CHECK(fault_of(machine, stages, {0, 8, 12, 15}) == "outside");
  CHECK(fault_of(machine, stages, {4, 0, 12, 14}) == "askew");
  CHECK(fault_of(machine, {{1, 4}, {1, 2}}, {6, 0}) == "astride");
}

TEST_CASE("submeshes are those of the first group of hosts, and each group is tiled by itself") {
  cluster machine = cluster_of(2, 4);
  machine.others.push_back({machine.device, 3, 8, machine.within_host, machine.between_hosts});
  CHECK(submeshes_of(machine) == submeshes_of(cluster_of(2, 4)));
  CHECK(refusal(machine, {{1, 4}}) ==
        "local has several groups of hosts, each of which is tiled by itself; give one alone");
}
