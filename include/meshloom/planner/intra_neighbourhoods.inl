// SPDX-License-Identifier: Apache-2.0
// The bodies of intra_neighbourhoods.hpp.
#pragma once

#include <meshloom/planner/intra_neighbourhoods.hpp>

#include <algorithm>
#include <limits>

namespace meshloom::intra {

MESHLOOM_INLINE neighbourhoods::neighbourhoods(const network& net, assignment legal, std::uint64_t seed)
    : net_(net),
      edges_at_(edges_at(net)),
      options_(std::move(legal)),
      held_(held(net, options_)),
      inside_(net.variables.size()),
      random_(seed) {}

/// Adds neighbours, and theirs, of the members from number `from` on.
MESHLOOM_INLINE void neighbourhoods::grow(vector<std::int32_t>& members, std::size_t from, std::size_t most) {
  for (const std::int32_t v : members) inside_[static_cast<std::size_t>(v)] = 1;
  for (std::size_t k = from; k < members.size() && members.size() < most; ++k) {
    for (const std::int32_t e : edges_at_[static_cast<std::size_t>(members[k])]) {
      const std::int32_t other = net_.edges[static_cast<std::size_t>(e)].other(members[k]);
      if (members.size() == most) break;
      if (inside_[static_cast<std::size_t>(other)] != 0) continue;
      inside_[static_cast<std::size_t>(other)] = 1;
      members.push_back(other);
    }
  }
  for (const std::int32_t v : members) inside_[static_cast<std::size_t>(v)] = 0;
}

MESHLOOM_INLINE vector<std::int32_t> neighbourhoods::near_each_other(std::size_t most) {
  vector<std::int32_t> members{static_cast<std::int32_t>(random() % net_.variables.size())};
  grow(members, 0, most);
  return members;
}

/// Several small neighbourhoods around variables that share the fullest moment of one of them.
MESHLOOM_INLINE vector<std::int32_t> neighbourhoods::alive_together(std::size_t most) {
  const auto first = static_cast<std::int32_t>(random() % net_.variables.size());
  const auto& parts = net_.variables[static_cast<std::size_t>(first)].parts;
  if (parts.empty()) return near_each_other(most);
  std::int32_t fullest = parts.front().first;
  const auto room_at = [&](std::int32_t m) {
    return net_.room[static_cast<std::size_t>(m)] - held_[static_cast<std::size_t>(m)];
  };
  for (const network::part& each : parts) {
    for (std::int32_t m = each.first; m < each.end; ++m) {
      if (room_at(m) < room_at(fullest)) fullest = m;
    }
  }
  vector<std::int32_t> alive;
  for (std::size_t v = 0; v < net_.variables.size(); ++v) {
    for (const network::part& each : net_.variables[v].parts) {
      if (each.first > fullest || fullest >= each.end) continue;
      alive.push_back(static_cast<std::int32_t>(v));
      break;
    }
  }
  vector<std::int32_t> members{first};
  const std::size_t each = 1 + random() % 16;
  for (std::size_t tries = 0; members.size() < most && tries < most; ++tries) {
    const std::int32_t next = alive[random() % alive.size()];
    if (std::find(members.begin(), members.end(), next) != members.end()) continue;
    members.push_back(next);
    grow(members, members.size() - 1, std::min(members.size() + each - 1, most));
  }
  return members;
}

MESHLOOM_INLINE network neighbourhoods::around(const vector<std::int32_t>& members) const {
  vector<std::int32_t> place(net_.variables.size(), -1);
  network made;
  made.shift = net_.shift;
  made.grain = net_.grain;
  for (const std::int32_t v : members) {
    place[static_cast<std::size_t>(v)] = static_cast<std::int32_t>(made.variables.size());
    made.variables.push_back({net_.variables[static_cast<std::size_t>(v)].cost, {}});
  }
  for (const std::int32_t v : members) {
    auto& cost = made.variables[static_cast<std::size_t>(place[static_cast<std::size_t>(v)])].cost;
    for (const std::int32_t e : edges_at_[static_cast<std::size_t>(v)]) {
      const network::edge& each = net_.edges[static_cast<std::size_t>(e)];
      const std::int32_t other = each.other(v), there = place[static_cast<std::size_t>(other)];
      if (there >= 0 && v == each.left) made.edges.push_back({place[static_cast<std::size_t>(v)], there, each.cost});
      if (there >= 0) continue;
      const edge_view price = seen_from(net_, v, each);
      const auto option = static_cast<std::size_t>(options_[static_cast<std::size_t>(other)]);
      for (std::size_t k = 0; k < cost.size(); ++k) cost[k] = plus(cost[k], price(k, option));
    }
  }
  add_sizes(members, made);
  return made;
}

/// Between two times at which a member begins or ends, only the moment with the least room matters.
MESHLOOM_INLINE void neighbourhoods::add_sizes(const vector<std::int32_t>& members, network& made) const {
  vector<std::int64_t> own(net_.room.size() + 1);
  vector<std::int32_t> cuts;
  for (const std::int32_t v : members) {
    for (const network::part& each : net_.variables[static_cast<std::size_t>(v)].parts) {
      const std::int64_t size = each.size[static_cast<std::size_t>(options_[static_cast<std::size_t>(v)])];
      own[static_cast<std::size_t>(each.first)] += size;
      own[static_cast<std::size_t>(each.end)] -= size;
      cuts.push_back(each.first);
      cuts.push_back(each.end);
    }
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  if (cuts.empty()) return;
  std::int64_t alive = 0;
  for (std::int32_t m = 0, group = -1; m < cuts.back(); ++m) {
    alive += own[static_cast<std::size_t>(m)];
    const bool begins = cuts[static_cast<std::size_t>(group + 1)] == m;
    if (begins) ++group;
    if (group < 0) continue;
    const std::int64_t room = net_.room[static_cast<std::size_t>(m)] - held_[static_cast<std::size_t>(m)] + alive;
    if (begins) made.room.push_back(room), made.times.push_back(net_.times[static_cast<std::size_t>(m)]);
    if (room < made.room.back()) made.room.back() = room, made.times.back() = net_.times[static_cast<std::size_t>(m)];
  }
  const auto moment = [&](std::int32_t m) {
    return static_cast<std::int32_t>(std::lower_bound(cuts.begin(), cuts.end(), m) - cuts.begin());
  };
  for (std::size_t k = 0; k < members.size(); ++k) {
    for (const network::part& each : net_.variables[static_cast<std::size_t>(members[k])].parts) {
      made.variables[k].parts.push_back({moment(each.first), moment(each.end), each.size});
    }
  }
}

MESHLOOM_INLINE assignment neighbourhoods::chosen(const vector<std::int32_t>& members) const {
  assignment found;
  for (const std::int32_t v : members) found.push_back(options_[static_cast<std::size_t>(v)]);
  return found;
}

MESHLOOM_INLINE void neighbourhoods::choose(const vector<std::int32_t>& members, const assignment& options) {
  for (std::size_t k = 0; k < members.size(); ++k) {
    std::int32_t& mine = options_[static_cast<std::size_t>(members[k])];
    for (const network::part& each : net_.variables[static_cast<std::size_t>(members[k])].parts) {
      const std::int64_t change =
          each.size[static_cast<std::size_t>(options[k])] - each.size[static_cast<std::size_t>(mine)];
      for (std::int32_t m = each.first; change != 0 && m < each.end; ++m) held_[static_cast<std::size_t>(m)] += change;
    }
    mine = options[k];
  }
}

/// splitmix64 (Steele et al. 2014).
MESHLOOM_INLINE std::uint64_t neighbourhoods::random() {
  std::uint64_t mixed = random_ += 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 31);
}

}  // namespace meshloom::intra
