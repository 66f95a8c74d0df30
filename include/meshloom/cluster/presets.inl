// SPDX-License-Identifier: Apache-2.0
// The bodies of presets.hpp.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/base/error.hpp>
#include <meshloom/cluster/presets.hpp>

#include <algorithm>
#include <charconv>

namespace meshloom {

namespace detail {

MESHLOOM_INLINE void require_one(const char* preset, const char* what, std::int32_t count) {
  if (count >= 1) return;
  throw error("meshloom: " + std::string(preset) + ": " + what + " is " + std::to_string(count) +
              "; a cluster needs at least 1");
}

inline constexpr picoseconds microsecond{1'000'000};
inline constexpr bytes gibibyte{1 << 30};

}  // namespace detail

MESHLOOM_INLINE cluster local(std::int32_t ranks) {
  detail::require_one("local", "ranks", ranks);
  const link shared_memory{.latency = 5 * detail::microsecond, .bytes_per_second = 3'000'000'000};
  return {.name = "local",
          .device = {.name = "cpu core",
                     .memory = bytes{std::int64_t{4} << 30},
                     .flops_per_second = 100e9,
                     .bytes_per_second = 10'000'000'000,
                     .launch = detail::microsecond},
          .hosts = 1,
          .devices_per_host = ranks,
          .within_host = shared_memory,
          .between_hosts = shared_memory};
}

MESHLOOM_INLINE cluster p3_16xlarge(std::int32_t hosts) {
  detail::require_one("p3_16xlarge", "hosts", hosts);
  return {.name = "p3.16xlarge",
          .device = {.name = "V100-SXM2-16GB",
                     .memory = 16 * detail::gibibyte,
                     .flops_per_second = 11.9e12,
                     .half_flops_per_second = 83e12,
                     .bytes_per_second = 900'000'000'000,
                     .launch = 5 * detail::microsecond},
          .hosts = hosts,
          .devices_per_host = 8,
          .within_host = {.latency = 5 * detail::microsecond, .bytes_per_second = 150'000'000'000},
          .between_hosts = {.latency = 30 * detail::microsecond, .bytes_per_second = 3'125'000'000}};
}

MESHLOOM_INLINE cluster dgx_a100(std::int32_t hosts) {
  detail::require_one("dgx_a100", "hosts", hosts);
  return {.name = "dgx_a100",
          .device = {.name = "A100-SXM4-80GB",
                     .memory = 80 * detail::gibibyte,
                     .flops_per_second = 19.5e12,
                     .half_flops_per_second = 271.2e12,
                     .bytes_per_second = 2'039'000'000'000,
                     .launch = 5 * detail::microsecond},
          .hosts = hosts,
          .devices_per_host = 8,
          .within_host = {.latency = 5 * detail::microsecond, .bytes_per_second = 300'000'000'000},
          .between_hosts = {.latency = 10 * detail::microsecond, .bytes_per_second = 200'000'000'000}};
}

MESHLOOM_INLINE cluster p4d_24xlarge(std::int32_t hosts) {
  detail::require_one("p4d_24xlarge", "hosts", hosts);
  cluster made = dgx_a100(hosts);
  made.name = "p4d.24xlarge";
  made.device.name = "A100-SXM4-40GB";
  made.device.memory = 40 * detail::gibibyte;
  made.device.bytes_per_second = 1'555'000'000'000;
  made.between_hosts = {.latency = 20 * detail::microsecond, .bytes_per_second = 50'000'000'000};
  return made;
}

MESHLOOM_INLINE cluster dgx_h100(std::int32_t hosts) {
  detail::require_one("dgx_h100", "hosts", hosts);
  return {.name = "dgx_h100",
          .device = {.name = "H100-SXM5-80GB",
                     .memory = 80 * detail::gibibyte,
                     .flops_per_second = 67e12,
                     .half_flops_per_second = 794.5e12,
                     .bytes_per_second = 3'350'000'000'000,
                     .launch = 5 * detail::microsecond},
          .hosts = hosts,
          .devices_per_host = 8,
          .within_host = {.latency = 5 * detail::microsecond, .bytes_per_second = 450'000'000'000},
          .between_hosts = {.latency = 10 * detail::microsecond, .bytes_per_second = 400'000'000'000}};
}

MESHLOOM_INLINE cluster gb200_nvl72(std::int32_t domains) {
  detail::require_one("gb200_nvl72", "domains", domains);
  return {.name = "gb200_nvl72",
          .device = {.name = "GB200-186GB",
                     .memory = bytes{186'000'000'000},
                     .flops_per_second = 80e12,
                     .half_flops_per_second = 1939e12,
                     .bytes_per_second = 8'000'000'000'000,
                     .launch = 5 * detail::microsecond},
          .hosts = domains,
          .devices_per_host = 72,
          .within_host = {.latency = 5 * detail::microsecond, .bytes_per_second = 900'000'000'000},
          .between_hosts = {.latency = 10 * detail::microsecond, .bytes_per_second = 72 * 50'000'000'000}};
}

namespace detail {

struct preset {
  std::string_view word;
  std::string_view counted;
  cluster (*make)(std::int32_t);
};

inline constexpr preset presets[] = {
    {"local", "RANKS", local},       {"p3.16xlarge", "HOSTS", p3_16xlarge}, {"p4d.24xlarge", "HOSTS", p4d_24xlarge},
    {"dgx_a100", "HOSTS", dgx_a100}, {"dgx_h100", "HOSTS", dgx_h100},       {"gb200_nvl72", "DOMAINS", gb200_nvl72}};

inline failure unknown_cluster(std::string_view said) {
  std::string known;
  for (const preset& each : presets) {
    const bool last = &each == std::end(presets) - 1;
    if (!known.empty()) known += last ? " or " : ", ";
    known += std::string(each.word) + ":" + std::string(each.counted);
  }
  return {"there is no cluster '" + std::string(said) + "'; write " + known};
}

}  // namespace detail

MESHLOOM_INLINE result<cluster> find_cluster(std::string_view said) {
  const std::string_view word = said.substr(0, said.find(':'));
  for (const detail::preset& each : detail::presets) {
    if (each.word != word) continue;
    const std::string_view number = said.substr(std::min(word.size() + 1, said.size()));
    const std::int32_t most = most_ranks / each.make(1).ranks();
    std::int32_t count = 0;
    const auto [end, fault] = std::from_chars(number.data(), number.data() + number.size(), count);
    const bool read = fault == std::errc{} && end == number.data() + number.size();
    if (read && count >= 1 && count <= most) return each.make(count);
    return failure{"cluster '" + std::string(said) + "' needs a number; write " + std::string(word) + ":" +
                   std::string(each.counted) + ", from " + std::string(word) + ":1 to " + std::string(word) + ":" +
                   std::to_string(most)};
  }
  return detail::unknown_cluster(said);
}

}  // namespace meshloom
