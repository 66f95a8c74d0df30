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
                     .memory = bytes{std::int64_t{16} << 30},
                     .flops_per_second = 15.7e12,
                     .half_flops_per_second = 125e12,
                     .bytes_per_second = 900'000'000'000,
                     .launch = 5 * detail::microsecond},
          .hosts = hosts,
          .devices_per_host = 8,
          .within_host = {.latency = 5 * detail::microsecond, .bytes_per_second = 150'000'000'000},
          .between_hosts = {.latency = 30 * detail::microsecond, .bytes_per_second = 3'125'000'000}};
}

namespace detail {

struct preset {
  std::string_view word;
  std::string_view counted;
  cluster (*make)(std::int32_t);
};

inline constexpr preset presets[] = {{"local", "RANKS", local}, {"p3.16xlarge", "HOSTS", p3_16xlarge}};

inline failure unknown_cluster(std::string_view said) {
  std::string known;
  for (const preset& each : presets) {
    known += (known.empty() ? "" : " or ") + std::string(each.word) + ":" + std::string(each.counted);
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
