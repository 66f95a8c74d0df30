// SPDX-License-Identifier: Apache-2.0
// Laws of cluster/presets.hpp: every preset is complete, grows only in ranks, and refuses to be empty.
#include <doctest/doctest.h>

#include <meshloom/base/error.hpp>
#include <meshloom/cluster/presets.hpp>

#include <string>

using namespace meshloom;

namespace {

/// True if nothing that a price needs is missing.
bool complete(const cluster& machine) {
  const device& each = machine.device;
  return !machine.name.empty() && !each.name.empty() && machine.hosts >= 1 && machine.devices_per_host >= 1 &&
         each.memory.count > 0 && each.flops_per_second > 0 && each.bytes_per_second > 0 && each.launch.count > 0 &&
         machine.within_host.bytes_per_second > 0 && machine.between_hosts.bytes_per_second > 0 &&
         machine.within_host.latency.count > 0 && machine.between_hosts.latency.count > 0 &&
         (each.half_flops_per_second == 0 || each.half_flops_per_second > each.flops_per_second);
}

std::string refusal(cluster (*preset)(std::int32_t), std::int32_t count) {
  try {
    preset(count);
  } catch (const error& refused) {
    return refused.what();
  }
  return "";
}

}  // namespace

TEST_CASE("presets are complete") {
  for (std::int32_t count = 1; count <= 16; ++count) {
    CHECK(complete(local(count)));
    CHECK(local(count).ranks() == count);
    CHECK(local(count).hosts == 1);
    CHECK(complete(p3_16xlarge(count)));
    CHECK(p3_16xlarge(count).ranks() == 8 * count);
    CHECK(p3_16xlarge(count).device == p3_16xlarge(1).device);
  }
  cluster faulty = local(2);
  faulty.between_hosts.bytes_per_second = 0;
  CHECK(!complete(faulty));
  faulty = p3_16xlarge(2);
  faulty.device.half_flops_per_second /= 10;
  CHECK(!complete(faulty));
}

TEST_CASE("a p3.16xlarge is that of the Alpa evaluation") {
  const cluster machine = p3_16xlarge(8);
  CHECK(machine.ranks() == 64);
  CHECK(machine.device.memory == bytes{17'179'869'184});
  CHECK(machine.device.half_flops_per_second == 125e12);
  CHECK(machine.between_hosts.bytes_per_second * 8 == 25'000'000'000);
  CHECK(machine.within_host.bytes_per_second > machine.between_hosts.bytes_per_second);
}

TEST_CASE("an empty cluster is refused with the cure") {
  CHECK(refusal(local, 0) == "meshloom: local: ranks is 0; a cluster needs at least 1");
  CHECK(refusal(p3_16xlarge, -2) == "meshloom: p3_16xlarge: hosts is -2; a cluster needs at least 1");
  CHECK(refusal(local, 1) == "");
}

TEST_CASE("presets are found by a word and a number") {
  CHECK(find_cluster("local:4").value() == local(4));
  CHECK(find_cluster("local:1048576").value().ranks() == most_ranks);
  CHECK(find_cluster("p3.16xlarge:8").value() == p3_16xlarge(8));
  CHECK(find_cluster("p3.16xlarge:131072").value().ranks() == most_ranks);
  for (const char* said : {"local", "local:", "local:0", "local:-1", "local:4x", "local:4:4", "local: 4",
                           "local:1048577", "local:99999999999999999999"}) {
    CHECK(find_cluster(said).error() ==
          "cluster '" + std::string(said) + "' needs a number; write local:RANKS, from local:1 to local:1048576");
  }
  CHECK(find_cluster("p3.16xlarge:131073").error() ==
        "cluster 'p3.16xlarge:131073' needs a number; write p3.16xlarge:HOSTS, from p3.16xlarge:1 to "
        "p3.16xlarge:131072");
  for (const char* said : {"", ":4", "Local:4", "machine.txt", "p3_16xlarge:8"}) {
    CHECK(find_cluster(said).error() ==
          "there is no cluster '" + std::string(said) + "'; write local:RANKS or p3.16xlarge:HOSTS");
  }
}
