// SPDX-License-Identifier: Apache-2.0
// A cluster as text, one fact a line, to write by hand, read, compare and keep. For example:
//   meshloom cluster 1
//   hosts                           8
//   device.memory                   16 GiB
//   between_hosts.bytes_per_second  3.125 GB/s      # 25 Gbit/s of Ethernet
// Each field of the struct has one line; their order is free, and a half_flops_per_second of 0 has none. Hosts of other
// kinds follow as groups: `groups 2` says that there are two, and the fields of the second are said as those of the
// first, with group2. in front: group2.hosts, group2.device.memory. Law: cluster_from_text(to_text(c)) = c, exactly,
// for every cluster that `check` accepts. Whatever is not such a text is refused, with its line and a cure.
#pragma once

#include <meshloom/base/result.hpp>
#include <meshloom/base/vector.hpp>
#include <meshloom/cluster/cluster.hpp>

#include <string>
#include <string_view>

namespace meshloom {

/// The most groups of hosts that a cluster may have.
inline constexpr std::int32_t most_groups = 64;

/// One sentence per field that no machine has, each with what it may be: counts, memory and rates of zero (but a device
/// may lack a rate for half precision) or less, more than `most_ranks` ranks or `most_groups` groups, and values beyond
/// which prices would overflow.
vector<std::string> check(const cluster& machine);

/// Throws meshloom::error with the first fault of a cluster that `check` does not accept. Memory is said in B … TiB,
/// rates in B/s … TB/s, speed in FLOP/s … PFLOP/s, time in ps … s: in the largest unit that leaves at most three
/// decimals. In names, what would be lost in a line of text is \ and two hex digits.
std::string to_text(const cluster& machine);

/// The cluster that `text` says; `check` accepts it.
result<cluster> cluster_from_text(std::string_view text);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/cluster/text.inl>
#endif
