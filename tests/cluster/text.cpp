// SPDX-License-Identifier: Apache-2.0
// Laws of cluster/text.hpp: every cluster reads back as itself; whatever else is offered is refused with its line and a
// cure, or is a cluster that check accepts.
#include <doctest/doctest.h>

#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/presets.hpp>
#include <meshloom/cluster/text.hpp>

#include "mutations.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>

using namespace meshloom;

namespace {

using random_bits = std::mt19937_64;

std::size_t draw(random_bits& bits, std::size_t count) { return static_cast<std::size_t>(bits() % count); }

/// From `lowest` to `highest`, of any magnitude; sometimes round.
std::int64_t draw_number(random_bits& bits, std::int64_t lowest, std::int64_t highest) {
  const auto number = static_cast<std::int64_t>(bits() >> (1 + draw(bits, 63)));
  if (draw(bits, 4) == 0) return draw(bits, 2) == 0 ? lowest : highest;
  const std::int64_t round = draw(bits, 2) == 0 ? 1 : draw(bits, 2) == 0 ? 1'000'000 : std::int64_t{1} << 20;
  return std::clamp(number / round * round, lowest, highest);
}

double draw_speed(random_bits& bits) {
  if (draw(bits, 3) == 0) return static_cast<double>(draw_number(bits, 1, 1'000'000'000'000'000'000));
  const double any = std::bit_cast<double>(bits());
  return any >= 1 && any <= 1e18 ? any : std::pow(10.0, static_cast<double>(draw(bits, 1800)) * 0.01);
}

std::string draw_name(random_bits& bits) {
  const std::string letters = "ab 1.-#\\\t\n\r\0\x7f\xc3\xa9'\"/";
  std::string name;
  for (std::size_t left = draw(bits, 8); left > 0; --left) {
    name += draw(bits, 4) == 0 ? static_cast<char>(bits()) : letters[draw(bits, letters.size())];
  }
  return name;
}

link draw_link(random_bits& bits) {
  return {{draw_number(bits, 0, 1'000'000'000'000)}, draw_number(bits, 1, 9'000'000'000'000'000)};
}

device draw_device(random_bits& bits) {
  return {.name = draw_name(bits),
          .memory = {draw_number(bits, 1, std::int64_t{1} << 50)},
          .flops_per_second = draw_speed(bits),
          .half_flops_per_second = draw(bits, 2) == 0 ? 0 : draw_speed(bits),
          .bytes_per_second = draw_number(bits, 1, 9'000'000'000'000'000),
          .launch = {draw_number(bits, 0, 1'000'000'000'000)}};
}

/// Of one group of hosts, or of several.
cluster draw_cluster(random_bits& bits) {
  std::size_t more = draw(bits, 2) == 0 ? 0 : 1 + draw(bits, 3);
  const auto most = static_cast<std::int64_t>(most_ranks / (more + 1));
  const auto hosts = static_cast<std::int32_t>(draw_number(bits, 1, most));
  cluster made{.name = draw_name(bits),
               .device = draw_device(bits),
               .hosts = hosts,
               .devices_per_host = static_cast<std::int32_t>(draw_number(bits, 1, most / hosts)),
               .within_host = draw_link(bits),
               .between_hosts = draw_link(bits)};
  for (; more > 0; --more) {
    const auto others = static_cast<std::int32_t>(draw_number(bits, 1, most));
    made.others.push_back({.device = draw_device(bits),
                           .hosts = others,
                           .devices_per_host = static_cast<std::int32_t>(draw_number(bits, 1, most / others)),
                           .within_host = draw_link(bits),
                           .between_hosts = draw_link(bits)});
  }
  return made;
}

/// Two hosts with V100 and, behind them, three with A100.
cluster two_groups() {
  cluster made = p3_16xlarge(2);
  const cluster newer = dgx_a100(3);
  made.name = "old and new";
  made.others.push_back({newer.device, newer.hosts, newer.devices_per_host, newer.within_host, newer.between_hosts});
  return made;
}

std::string read_back_fault(const cluster& machine) {
  const auto read = cluster_from_text(to_text(machine));
  if (!read) return read.error();
  return read.value() == machine ? "" : "not equal: " + to_text(machine);
}

const std::string& sample_text() {
  static const std::string text = to_text(p3_16xlarge(8));
  return text;
}

/// The text with its first `from` replaced.
std::string with(const std::string& from, const std::string& to) {
  std::string text = sample_text();
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string refusal_of(const std::string& text) {
  const auto read = cluster_from_text(text);
  return read ? "accepted" : read.error();
}

std::string refusal_to_write(const cluster& machine) {
  try {
    return "accepted: " + to_text(machine);
  } catch (const error& why) {
    return why.what();
  }
}

}  // namespace

TEST_CASE("a cluster reads as people would say it") {
  CHECK(sample_text() ==
        "meshloom cluster 1\n"
        "name                            p3.16xlarge\n"
        "hosts                           8\n"
        "devices_per_host                8\n"
        "device.name                     V100-SXM2-16GB\n"
        "device.memory                   16 GiB\n"
        "device.flops_per_second         11.9 TFLOP/s\n"
        "device.half_flops_per_second    83 TFLOP/s\n"
        "device.bytes_per_second         900 GB/s\n"
        "device.launch                   5 us\n"
        "within_host.latency             5 us\n"
        "within_host.bytes_per_second    150 GB/s\n"
        "between_hosts.latency           30 us\n"
        "between_hosts.bytes_per_second  3.125 GB/s\n");
  cluster odd = local(3);
  odd.name = " a #1\\ host\n";
  odd.device.memory = {1025};
  odd.device.launch = {0};
  odd.device.flops_per_second = 1234.5678;
  odd.within_host.latency = {1'234'567};
  const std::string text = to_text(odd);
  const auto has_line = [&](const std::string& line) { return text.find("\n" + line + "\n") != std::string::npos; };
  CHECK(has_line("name                            \\20a \\231\\5c host\\0a"));
  CHECK(has_line("device.memory                   1025 B"));
  CHECK(has_line("device.launch                   0 ps"));
  CHECK(has_line("device.flops_per_second         1.2345678 kFLOP/s"));
  CHECK(has_line("within_host.latency             1234.567 ns"));
}

TEST_CASE("groups of hosts follow, each with the fields of the first behind its number") {
  const std::string text = to_text(two_groups());
  CHECK(text ==
        "meshloom cluster 1\n"
        "name                                    old and new\n"
        "groups                                  2\n"
        "hosts                                   2\n"
        "devices_per_host                        8\n"
        "device.name                             V100-SXM2-16GB\n"
        "device.memory                           16 GiB\n"
        "device.flops_per_second                 11.9 TFLOP/s\n"
        "device.half_flops_per_second            83 TFLOP/s\n"
        "device.bytes_per_second                 900 GB/s\n"
        "device.launch                           5 us\n"
        "within_host.latency                     5 us\n"
        "within_host.bytes_per_second            150 GB/s\n"
        "between_hosts.latency                   30 us\n"
        "between_hosts.bytes_per_second          3.125 GB/s\n"
        "group2.hosts                            3\n"
        "group2.devices_per_host                 8\n"
        "group2.device.name                      A100-SXM4-80GB\n"
        "group2.device.memory                    80 GiB\n"
        "group2.device.flops_per_second          19.5 TFLOP/s\n"
        "group2.device.half_flops_per_second     271.2 TFLOP/s\n"
        "group2.device.bytes_per_second          2.039 TB/s\n"
        "group2.device.launch                    5 us\n"
        "group2.within_host.latency              5 us\n"
        "group2.within_host.bytes_per_second     300 GB/s\n"
        "group2.between_hosts.latency            10 us\n"
        "group2.between_hosts.bytes_per_second   200 GB/s\n");
  CHECK(cluster_from_text(text).value() == two_groups());
  CHECK(cluster_from_text(sample_text() + "groups 1\n").value() == p3_16xlarge(8));
  for (std::size_t length = 0; length + 1 < text.size(); ++length)
    CHECK(refusal_of(text.substr(0, length)).starts_with("cluster, line "));
}

TEST_CASE("what is wrong with groups of hosts is refused with its line and a cure") {
  for (const char* said : {"0", "65", "-1", "two", "", "99999999999999999999"}) {
    CHECK(refusal_of(sample_text() + "groups " + said + "\n") ==
          "cluster, line 15: groups: '" + std::string(said) +
              "' does not do; write a whole number from 1 to 64, as in 2");
  }
  CHECK(refusal_of(sample_text() + "groups 2\n") ==
        "cluster, line 15: the text ends without 'group2.hosts'; add a line with it and a whole number from 1 to "
        "1048576, as in 8");
  const std::string text = to_text(two_groups());
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string other = text;
    return refusal_of(other.replace(other.find(from), from.size(), to));
  };
  CHECK(changed("groups                                  2\n", "")
            .ends_with("there is no field 'group2.hosts'; write one of name, groups, hosts, devices_per_host, "
                       "device.name, device.memory, device.flops_per_second, device.half_flops_per_second, "
                       "device.bytes_per_second, device.launch, within_host.latency, within_host.bytes_per_second, "
                       "between_hosts.latency, between_hosts.bytes_per_second; how many groups there are is said by a "
                       "line like 'groups 2'"));
  CHECK(
      changed("group2.hosts", "group3.hosts").starts_with("cluster, line 16: there is no field 'group3.hosts'; write"));
  CHECK(
      changed("group2.device.launch   ", "group2.device.name x\n#").starts_with("cluster, line 23: 'group2.device.na"));
  CHECK(changed("80 GiB", "80 GB")
            .starts_with("cluster, line 19: group2.device.memory: '80 GB' does not do; write a me"));
  CHECK(changed("group2.devices_per_host                 8", "group2.devices_per_host 1048576") ==
        "cluster, line 17: 2 hosts of 8 devices and 3 hosts of 1048576 devices are 3145744 ranks; write fewer hosts or "
        "devices_per_host, at most 1048576 ranks");
  cluster machine = two_groups();
  machine.others[0].device.memory = {};
  CHECK(check(machine).front().starts_with("group2.device.memory is 0 B; make it a memory from 1 B"));
  machine = local(1);
  machine.others.assign(64, two_groups().others[0]);
  CHECK(check(machine).front() == "there are 65 groups of hosts; make them at most 64");
}

TEST_CASE("every preset and 20000 random clusters read back as themselves") {
  for (std::int32_t count = 1; count <= 64; ++count) {
    CHECK(read_back_fault(local(count)) == "");
    CHECK(read_back_fault(p3_16xlarge(count)) == "");
  }
  random_bits bits(5);
  for (int round = 0; round < 20000; ++round) {
    const cluster machine = draw_cluster(bits);
    REQUIRE(check(machine).empty());
    const std::string fault = read_back_fault(machine);
    REQUIRE_MESSAGE(fault.empty(), fault);
  }
}

TEST_CASE("spaces, comments, empty lines, foreign line ends and the order of lines are free") {
  std::string text = "\n# of ours\n meshloom   cluster 1 # as written\r\n";
  vector<std::string> lines{""};
  for (const char letter : sample_text()) letter == '\n' ? lines.push_back("") : void(lines.back() += letter);
  for (std::size_t k = lines.size(); k-- > 1;) text += "\t " + lines[k] + " \t# a comment\r\n\n";
  const auto read = cluster_from_text(text);
  REQUIRE_MESSAGE(read, read.error());
  CHECK(read.value() == p3_16xlarge(8));
  CHECK(cluster_from_text(with("8\n", "8  \n")).value() == p3_16xlarge(8));
  CHECK(cluster_from_text(with("3.125 GB/s", "0003125.000\tMB/s")).value() == p3_16xlarge(8));
  CHECK(cluster_from_text(with("11.9 TFLOP/s", "11900 GFLOP/s")).value() == p3_16xlarge(8));
  CHECK(cluster_from_text(with("  p3.16xlarge\n", "\n")).value().name == "");
}

TEST_CASE("a text from before half precision says nothing of it, and nor does one of a device without a rate for it") {
  const std::string line = "device.half_flops_per_second    83 TFLOP/s\n";
  cluster machine = p3_16xlarge(8);
  machine.device.half_flops_per_second = 0;
  CHECK(cluster_from_text(with(line, "")).value() == machine);
  CHECK(to_text(machine) == with(line, ""));
  machine.device.half_flops_per_second = 3;  // less than in f32, as where only that has instructions
  CHECK(cluster_from_text(with("83 TFLOP/s", "3 FLOP/s")).value() == machine);
  CHECK(refusal_of(with("83 TFLOP/s", "0 FLOP/s")).starts_with("cluster, line 8: device.half_flops_per_second: '0 F"));
  CHECK(refusal_of(with(line, line + line)).starts_with("cluster, line 9: 'device.half_flops_per_second' is given tw"));
  for (const double speed : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -1.0,
                             std::numeric_limits<double>::denorm_min(), 1.1e18}) {
    machine.device.half_flops_per_second = speed;
    CHECK(check(machine).size() == 1);
  }
}

TEST_CASE("what is no cluster is refused with its line and a cure") {
  const std::string head = "this is no cluster that can be read here; begin it with the line 'meshloom cluster 1'";
  CHECK(refusal_of("") == "cluster, line 1: " + head);
  CHECK(refusal_of("\n\n# nothing\n{}") == "cluster, line 4: " + head);
  CHECK(refusal_of(with("cluster 1", "cluster 2")) == "cluster, line 1: " + head);
  CHECK(refusal_of("meshloom plan 1\n") == "cluster, line 1: " + head);
  CHECK(refusal_of(with("hosts ", "hots ")) ==
        "cluster, line 3: there is no field 'hots'; write one of name, groups, hosts, devices_per_host, device.name, "
        "device.memory, device.flops_per_second, device.half_flops_per_second, device.bytes_per_second, device.launch, "
        "within_host.latency, within_host.bytes_per_second, between_hosts.latency, between_hosts.bytes_per_second");
  CHECK(refusal_of(sample_text() + "hosts 8\n") ==
        "cluster, line 15: 'hosts' is given twice, first on line 3; remove one");
  CHECK(
      refusal_of(sample_text() + "meshloom cluster 1\n").starts_with("cluster, line 15: there is no field 'meshloom'"));
  CHECK(refusal_of(with("device.launch                   5 us\n", "")) ==
        "cluster, line 13: the text ends without 'device.launch'; add a line with it and a time from 0 ps to 1 s in s, "
        "ms, us, ns or ps, as in 5 us");
}

TEST_CASE("a value that no machine has is refused with its line and a cure") {
  const auto count = [](const std::string& said) {
    return "'" + said + "' does not do; write a whole number from 1 to 1048576, as in 8";
  };
  for (const char* said : {"0", "-1", "8.5", "99999999999999999999", "8 B", "eight", "", "+8", "0x8", "1e3"}) {
    CHECK(refusal_of(with("hosts                           8", "hosts " + std::string(said))) ==
          "cluster, line 3: hosts: " + count(said));
  }
  for (const char* said :
       {"0 B", "-16 GiB", "16", "16 GB", "16 gib", "GiB", ".5 GiB", "5. GiB", "0.0001 B", "1.2.3 GiB", "1025 TiB",
        "99999999999999999999 B", "8388608 TiB", "16 GiB of it", "0x10 B", "0.0000000000000000001 TiB"}) {
    CHECK(refusal_of(with("16 GiB", said)) ==
          "cluster, line 6: device.memory: '" + std::string(said) +
              "' does not do; write a memory from 1 B to 1024 TiB in TiB, GiB, MiB, KiB or B, as in 16 GiB");
  }
  for (const char* said : {"0 FLOP/s", "inf FLOP/s", "nan TFLOP/s", "-1 FLOP/s", "1e12 FLOP/s", "0.5 FLOP/s", "15.7",
                           "1000.001 PFLOP/s", "15.7 TFLOPS"}) {
    CHECK(refusal_of(with("11.9 TFLOP/s", said)) ==
          "cluster, line 7: device.flops_per_second: '" + std::string(said) +
              "' does not do; write a speed from 1 FLOP/s to 1000 PFLOP/s in PFLOP/s, TFLOP/s, GFLOP/s, MFLOP/s, "
              "kFLOP/s or FLOP/s, as in 15.7 TFLOP/s");
  }
  for (const char* said : {"0 B/s", "25 Gbit/s", "9001 TB/s", "-3 GB/s", "3.1255 B/s"}) {
    CHECK(refusal_of(with("3.125 GB/s", said)) ==
          "cluster, line 14: between_hosts.bytes_per_second: '" + std::string(said) +
              "' does not do; write a rate from 1 B/s to 9000 TB/s in TB/s, GB/s, MB/s, kB/s or B/s, as in 25 GB/s");
  }
  CHECK(refusal_of(with("30 us", "1.000000000001 s")).starts_with("cluster, line 13: between_hosts.latency: '1.0"));
  CHECK(refusal_of(with("30 us", "0.5 ps")).starts_with("cluster, line 13: between_hosts.latency: '0.5 ps' does not"));
  for (const char* said : {"a\\", "a\\2", "a\\zz", "\\-1", "\\0x"}) {
    CHECK(refusal_of(with("p3.16xlarge", said)) == "cluster, line 2: name: '" + std::string(said) +
                                                       "' does not do; write a name, with two hex digits after any \\, "
                                                       "as in \\23");
  }
  CHECK(refusal_of(with("devices_per_host                8", "devices_per_host 131073")) ==
        "cluster, line 4: 8 hosts of 131073 devices are 1048584 ranks; write fewer hosts or devices_per_host, at most "
        "1048576 ranks");
  CHECK(refusal_of(with("devices_per_host                8", "devices_per_host 131072")) == "accepted");
}

TEST_CASE("a cluster that no text can say is not written") {
  CHECK(refusal_to_write(cluster{.name = "none"}) ==
        "to_text: cluster 'none': device.memory is 0 B; make it a memory from 1 B to 1024 TiB in TiB, GiB, MiB, KiB or "
        "B, as in 16 GiB");
  CHECK(check(cluster{}).size() == 5);
  cluster machine = local(4);
  const auto faults_with = [&](auto change) {
    cluster changed = machine;
    change(changed);
    return check(changed);
  };
  CHECK(check(machine).empty());
  CHECK(faults_with([](cluster& c) { c.hosts = 0; }).front().starts_with("hosts is 0; make it a whole number from 1"));
  CHECK(faults_with([](cluster& c) { c.hosts = most_ranks; }).front().starts_with("1048576 hosts of 4 devices are"));
  CHECK(faults_with([](cluster& c) { c.device.memory = {-5}; }).front().starts_with("device.memory is -5 B; make it"));
  CHECK(faults_with([](cluster& c) { c.within_host.latency = {-1}; }).size() == 1);
  CHECK(faults_with([](cluster& c) { c.between_hosts.bytes_per_second = 0; }).size() == 1);
  for (const double speed : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::max(), -1.0, 0.0, 1.1e18}) {
    CHECK(faults_with([&](cluster& c) { c.device.flops_per_second = speed; }).size() == 1);
  }
}

TEST_CASE("no truncated text is another cluster") {
  const std::string& text = sample_text();
  for (std::size_t length = 0; length + 1 < text.size(); ++length) {  // the last line end may lack
    CHECK(refusal_of(text.substr(0, length)).starts_with("cluster, line "));
  }
}

TEST_CASE("2000 mutated texts are refused in a sentence or are clusters that read back as themselves") {
  random_bits bits(11);
  int accepted = 0, refused = 0;
  for (int round = 0; round < 2000; ++round) {
    CAPTURE(round);
    std::string text = draw(bits, 2) == 0 ? sample_text() : to_text(draw_cluster(bits));
    for (std::size_t faults = 1 + draw(bits, 3); faults > 0; --faults) mutations::mutate(text, bits);
    const auto read = cluster_from_text(text);
    if (!read) {
      ++refused;
      CHECK(mutations::fault_of(read.error(), "cluster, line ") == "");
      continue;
    }
    ++accepted;
    CHECK(check(read.value()).empty());
    CHECK(read_back_fault(read.value()) == "");
  }
  MESSAGE(accepted << " accepted, " << refused << " refused");
  CHECK(accepted > 100);
  CHECK(refused > 1000);
}
