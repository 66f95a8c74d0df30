// SPDX-License-Identifier: Apache-2.0
// Laws of cluster/presets.hpp: every preset is complete, grows only in ranks, and refuses to be empty.
#include <doctest/doctest.h>

#include <meshloom/base/error.hpp>
#include <meshloom/cluster/presets.hpp>
#include <meshloom/cluster/text.hpp>

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

struct named_preset {
  const char* word;
  cluster (*make)(std::int32_t);
  std::int32_t devices_per_host;
};

constexpr named_preset gpu_hosts[] = {{"p3.16xlarge", p3_16xlarge, 8},
                                      {"p4d.24xlarge", p4d_24xlarge, 8},
                                      {"dgx_a100", dgx_a100, 8},
                                      {"dgx_h100", dgx_h100, 8},
                                      {"gb200_nvl72", gb200_nvl72, 72}};

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
    for (const named_preset& each : gpu_hosts) {
      cluster machine = each.make(count);
      CHECK(complete(machine));
      CHECK(machine.name == each.word);
      CHECK(machine.ranks() == each.devices_per_host * count);
      CHECK(cluster_from_text(to_text(machine)).value() == machine);
      machine.hosts = 1;
      CHECK(machine == each.make(1));
    }
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
  CHECK(machine.device.half_flops_per_second == 83e12);
  CHECK(machine.between_hosts.bytes_per_second * 8 == 25'000'000'000);
  CHECK(machine.within_host.bytes_per_second > machine.between_hosts.bytes_per_second);
}

TEST_CASE("no product is as fast as the peak of the data sheet, but most of it") {
  const auto share = [](const cluster& machine, double peak) { return machine.device.half_flops_per_second / peak; };
  for (const double part : {share(p3_16xlarge(1), 125e12), share(p4d_24xlarge(1), 312e12), share(dgx_a100(1), 312e12),
                            share(dgx_h100(1), 989.4e12), share(gb200_nvl72(1), 2500e12)}) {
    CHECK(part > 0.6);
    CHECK(part < 0.9);
  }
}

TEST_CASE("later generations are faster in everything, and hosts of one are joined by faster links") {
  const cluster ordered[] = {p3_16xlarge(1), dgx_a100(1), dgx_h100(1), gb200_nvl72(1)};
  for (std::size_t next = 1; next < std::size(ordered); ++next) {
    const cluster &older = ordered[next - 1], &newer = ordered[next];
    CHECK(newer.device.memory >= older.device.memory);
    CHECK(newer.device.flops_per_second > older.device.flops_per_second);
    CHECK(newer.device.half_flops_per_second > older.device.half_flops_per_second);
    CHECK(newer.device.bytes_per_second > older.device.bytes_per_second);
    CHECK(newer.within_host.bytes_per_second > older.within_host.bytes_per_second);
    CHECK(newer.between_hosts.bytes_per_second > older.between_hosts.bytes_per_second);
    CHECK(newer.between_hosts.bytes_per_second / newer.devices_per_host < newer.within_host.bytes_per_second);
  }
  CHECK(p4d_24xlarge(1).device.half_flops_per_second == dgx_a100(1).device.half_flops_per_second);
  CHECK(p4d_24xlarge(4).between_hosts.bytes_per_second * 8 == 400'000'000'000);
  CHECK(gb200_nvl72(3).ranks() == 216);
}

TEST_CASE("an empty cluster is refused with the cure") {
  CHECK(refusal(local, 0) == "meshloom: local: ranks is 0; a cluster needs at least 1");
  CHECK(refusal(p3_16xlarge, -2) == "meshloom: p3_16xlarge: hosts is -2; a cluster needs at least 1");
  CHECK(refusal(gb200_nvl72, 0) == "meshloom: gb200_nvl72: domains is 0; a cluster needs at least 1");
  for (const named_preset& each : gpu_hosts) CHECK(refusal(each.make, 0) != "");
  CHECK(refusal(local, 1) == "");
}

TEST_CASE("presets are found by a word and a number") {
  CHECK(find_cluster("local:4").value() == local(4));
  CHECK(find_cluster("local:1048576").value().ranks() == most_ranks);
  for (const named_preset& each : gpu_hosts) CHECK(find_cluster(std::string(each.word) + ":3").value() == each.make(3));
  CHECK(find_cluster("gb200_nvl72:14563").value().ranks() == 72 * 14563);
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
          "there is no cluster '" + std::string(said) +
              "'; write local:RANKS, p3.16xlarge:HOSTS, p4d.24xlarge:HOSTS, dgx_a100:HOSTS, dgx_h100:HOSTS or "
              "gb200_nvl72:DOMAINS");
  }
}
