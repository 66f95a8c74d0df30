// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_moments.hpp.
#pragma once

#include <meshloom/planner/intra_moments.hpp>

#include <algorithm>
#include <iterator>

namespace meshloom::intra {

MESHLOOM_INLINE network at_moments(const network& net, const vector<std::int32_t>& moments) {
  network made;
  made.edges = net.edges;
  made.constant = net.constant;
  made.shift = net.shift;
  made.grain = net.grain;
  for (const std::int32_t m : moments) {
    made.room.push_back(net.room[static_cast<std::size_t>(m)]);
    made.times.push_back(net.times[static_cast<std::size_t>(m)]);
  }
  const auto place = [&](std::int32_t m) {
    return static_cast<std::int32_t>(std::lower_bound(moments.begin(), moments.end(), m) - moments.begin());
  };
  for (const network::variable& variable : net.variables) {
    auto& parts = made.variables.emplace_back(network::variable{variable.cost, {}}).parts;
    for (const network::part& each : variable.parts) {
      const std::int32_t first = place(each.first), end = place(each.end);
      if (first == end) continue;
      const auto same = [&](const network::part& other) { return other.first == first && other.end == end; };
      const auto here = std::find_if(parts.begin(), parts.end(), same);
      if (here == parts.end())
        parts.push_back({first, end, each.size});
      else
        std::transform(each.size.begin(), each.size.end(), here->size.begin(), here->size.begin(), std::plus<>());
    }
  }
  return made;
}

MESHLOOM_INLINE vector<std::int32_t> overfull(const network& net, const vector<std::int64_t>& bytes_held) {
  vector<std::int32_t> found;
  bool open = false;  // the run of the moment before is
  for (std::size_t m = 0; m < bytes_held.size(); ++m) {
    const std::int64_t beyond = bytes_held[m] - net.room[m];
    if (beyond > 0) {
      const auto here = static_cast<std::int32_t>(m);
      if (!open) found.push_back(here);
      const auto fullest = static_cast<std::size_t>(found.back());
      if (beyond > bytes_held[fullest] - net.room[fullest]) found.back() = here;
    }
    open = beyond > 0;
  }
  return found;
}

MESHLOOM_INLINE bool add_moments(vector<std::int32_t>& moments, const vector<std::int32_t>& more) {
  vector<std::int32_t> all;
  std::set_union(moments.begin(), moments.end(), more.begin(), more.end(), std::back_inserter(all));
  const bool added = all.size() > moments.size();
  moments = std::move(all);
  return added;
}

}  // namespace meshloom::intra
