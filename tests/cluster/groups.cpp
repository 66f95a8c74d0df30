// SPDX-License-Identifier: Apache-2.0
// Laws of cluster/groups.hpp: groups are runs of ranks and of hosts; of one group everything is what the cluster says.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/groups.hpp>
#include <meshloom/cluster/presets.hpp>

using namespace meshloom;

namespace {

host_group group_from(const cluster& machine) {
  return {machine.device, machine.hosts, machine.devices_per_host, machine.within_host, machine.between_hosts};
}

/// 2 hosts of 8, 1 of 3 and 3 of 8.
cluster three_groups() {
  cluster made = p3_16xlarge(2);
  made.others = {group_from(local(3)), group_from(dgx_a100(3))};
  return made;
}

}  // namespace

TEST_CASE("groups are runs of ranks, hosts runs of those") {
  const cluster machine = three_groups();
  CHECK(machine.ranks() == 43);
  CHECK(hosts_of(machine) == 6);
  const vector<std::int32_t> host{8, 8, 3, 8, 8, 8}, group{0, 0, 1, 2, 2, 2};
  const auto all = groups_of(machine);
  REQUIRE(all.size() == 3);
  std::int32_t rank = 0;
  for (std::size_t h = 0; h < host.size(); ++h) {
    for (std::int32_t n = 0; n < host[h]; ++n, ++rank) {
      CHECK(machine.host_of(rank) == static_cast<std::int32_t>(h));
      const placed_group here = group_of(machine, rank);
      CHECK(here.number == group[h]);
      CHECK(here.first_host + here.alone.host_of(rank - here.first_rank) == static_cast<std::int32_t>(h));
      CHECK(here.alone == all[static_cast<std::size_t>(group[h])].alone);
      CHECK(device_of(machine, rank) == here.alone.device);
      CHECK(in_one_group(machine, rank, here.end_rank()));
      CHECK(in_one_group(machine, rank, here.end_rank() + 1) == false);
    }
  }
  CHECK(rank == machine.ranks());
  CHECK(device_of(machine, 0) == p3_16xlarge(1).device);
  CHECK(device_of(machine, 18) == local(1).device);
  CHECK(device_of(machine, 99) == dgx_a100(1).device);
  CHECK(machine.host_of(43) == 6);  // as if there were another
}

TEST_CASE("of one group everything is what the cluster says") {
  const cluster machine = dgx_h100(4);
  const placed_group only = group_of(machine, 17);
  CHECK(only.alone == machine);
  CHECK(only.first_rank == 0);
  CHECK(groups_of(machine).size() == 1);
  CHECK(groups_of(machine).front().alone == machine);
  CHECK(&device_of(machine, 17) == &machine.device);
  CHECK(in_one_group(machine, 0, 32));
  CHECK(turned_to(machine, 0) == machine);
}

TEST_CASE("turned to a group, a cluster has the same groups with that one in front") {
  const cluster machine = three_groups();
  CHECK(turned_to(machine, 0) == machine);
  for (const std::int32_t number : {1, 2}) {
    const cluster turned = turned_to(machine, number);
    CHECK(groups_of(turned).front().alone == groups_of(machine)[static_cast<std::size_t>(number)].alone);
    CHECK(turned.ranks() == machine.ranks());
    CHECK(hosts_of(turned) == hosts_of(machine));
    CHECK(turned_to(turned, number) == machine);
  }
}

TEST_CASE("the slower of two links is so in latency and in bandwidth") {
  CHECK(slower_of({{5}, 100}, {{7}, 300}) == link{{7}, 100});
  CHECK(slower_of({{9}, 100}, {{7}, 30}) == link{{9}, 30});
}
