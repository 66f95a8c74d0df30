// SPDX-License-Identifier: Apache-2.0
// Random inter-operator problems, small enough that all their plans can be enumerated, and that enumeration.
#pragma once

#include <meshloom/planner/inter_problem.hpp>

#include <algorithm>
#include <cmath>
#include <random>

namespace inter_cases {

namespace ml = meshloom;

using numbers = std::mt19937;

inline int draw(numbers& from, int least, int most) { return std::uniform_int_distribution<int>(least, most)(from); }
inline double draw(numbers& from, double least, double most) {
  return std::uniform_real_distribution<double>(least, most)(from);
}

/// The numbers of ranks that a stage may have.
inline ml::vector<int> stage_sizes(int hosts, int devices_per_host) {
  ml::vector<int> sizes;
  for (int ranks = 1; ranks < devices_per_host; ++ranks) sizes.push_back(ranks);
  for (int whole = 1; whole <= hosts; ++whole) sizes.push_back(whole * devices_per_host);
  return sizes;
}

/// How many bytes less the devices of a kind have than those of kind 0.
inline std::int64_t less_memory(int kind) { return ml::vector{0, 7, -5}[static_cast<std::size_t>(kind)]; }

inline void set_limit(ml::inter_problem& posed, std::int64_t limit) {
  posed.limit = {limit};
  for (auto& each : posed.others) each.limit = {limit - less_memory(each.kind)};
}

/// The least limit of any kind.
inline std::int64_t least_limit(const ml::inter_problem& posed) {
  std::int64_t least = posed.limit->count;
  for (const auto& each : posed.others) least = std::min(least, each.limit->count);
  return least;
}

/// Small numbers, so that plans tie; or costs that scale with ranks like Alpa's, for better or worse.
inline ml::stage_candidate random_stage(numbers& from, int first, int end, int ranks, bool small) {
  const double scale = small ? 1 : 1e9;
  const double base = (end - first) * draw(from, 1.0, 2.0) * std::pow(ranks, draw(from, -2.0, 2.0));
  const auto time = static_cast<std::int64_t>(small ? draw(from, 0, 9) : scale * base);
  return {first, end, ranks, {time}, {draw(from, 0, small ? 9 : 1000000000)}, {draw(from, 0, 40)}, {draw(from, 0, 9)}};
}

/// Stages on hosts of one kind.
inline void add_stages(numbers& from, int kind, int hosts, int devices_per_host, bool small, ml::inter_problem& posed) {
  const double share = draw(from, 0.2, 1.0);
  for (int first = 0; first < posed.blocks; ++first) {
    for (int end = first + 1; end <= posed.blocks; ++end) {
      for (const int ranks : stage_sizes(hosts, devices_per_host)) {
        for (int variant = draw(from, 0, 2); variant > 0 && draw(from, 0.0, 1.0) < share; --variant) {
          posed.candidates.push_back(random_stage(from, first, end, ranks, small));
          if (draw(from, 0, 2) == 0) posed.candidates.back().shifts = draw(from, 0, posed.blocks - end);
          if (draw(from, 0, 2) == 0) posed.candidates.back().extra = {draw(from, 0, small ? 9 : 1000000000)};
          posed.candidates.back().kind = kind;
        }
      }
    }
  }
}

inline ml::vector<ml::picoseconds> random_cuts(numbers& from, int blocks, int most) {
  ml::vector<ml::picoseconds> cuts;
  for (int b = 0; b < blocks; ++b) cuts.push_back({draw(from, 0, most)});
  return cuts;
}

/// Some of the blocks.
inline ml::vector<std::int32_t> random_stops(numbers& from, int blocks) {
  ml::vector<std::int32_t> stops{0};
  for (int block = 1; block < blocks; ++block) {
    if (draw(from, 0, 2) > 0) stops.push_back(block);
  }
  return stops;
}

/// Two or three groups of hosts, some of which may be alike.
inline ml::inter_problem random_problem_of_groups(numbers& from) {
  ml::inter_problem posed;
  posed.blocks = draw(from, 2, 6);
  posed.micro_batches = ml::vector{1, 3, 16, 512}[static_cast<std::size_t>(draw(from, 0, 3))];
  posed.schedule = static_cast<ml::schedule_kind>(draw(from, 0, 2));
  const bool small = draw(from, 0, 1) == 0;
  ml::vector<int> devices, most_hosts(3);  // by kind
  for (int kind = 0; kind < 3; ++kind) devices.push_back(draw(from, 1, 4));
  posed.hosts = most_hosts[0] = draw(from, 1, 4 / devices[0]);
  posed.devices_per_host = devices[0];
  for (int more = draw(from, 1, 2); more > 0; --more) {
    const auto kind = static_cast<std::size_t>(draw(from, 0, 2));
    ml::inter_group& next = posed.others.emplace_back();
    next.kind = static_cast<int>(kind);
    next.devices_per_host = devices[kind];
    next.hosts = draw(from, 1, 4 / devices[kind]);
    next.cut_within = random_cuts(from, posed.blocks, small ? 3 : 100000000);
    next.cut_between = random_cuts(from, posed.blocks, small ? 9 : 1000000000);
    most_hosts[kind] = std::max(most_hosts[kind], next.hosts);
  }
  posed.cut_within = random_cuts(from, posed.blocks, small ? 3 : 100000000);
  posed.cut_between = random_cuts(from, posed.blocks, small ? 9 : 1000000000);
  for (int kind = 0; kind < 3; ++kind) {
    const auto number = static_cast<std::size_t>(kind);
    if (most_hosts[number] > 0) add_stages(from, kind, most_hosts[number], devices[number], small, posed);
  }
  std::shuffle(posed.candidates.begin(), posed.candidates.end(), from);
  return posed;
}

inline ml::inter_problem random_problem(numbers& from) {
  ml::inter_problem posed;
  posed.blocks = draw(from, 1, 6);
  posed.hosts = draw(from, 1, 3);
  posed.devices_per_host = draw(from, 1, 8 / posed.hosts);
  posed.micro_batches = ml::vector{1, 3, 16, 512}[static_cast<std::size_t>(draw(from, 0, 3))];
  posed.schedule = static_cast<ml::schedule_kind>(draw(from, 0, 2));
  const bool small = draw(from, 0, 1) == 0;
  const double share = draw(from, 0.2, 1.0);
  for (int first = 0; first < posed.blocks; ++first) {
    for (int end = first + 1; end <= posed.blocks; ++end) {
      for (const int ranks : stage_sizes(posed.hosts, posed.devices_per_host)) {
        for (int variant = draw(from, 0, 2); variant > 0 && draw(from, 0.0, 1.0) < share; --variant) {
          posed.candidates.push_back(random_stage(from, first, end, ranks, small));
          if (draw(from, 0, 2) == 0) posed.candidates.back().shifts = draw(from, 0, posed.blocks - end);
          if (draw(from, 0, 2) == 0) posed.candidates.back().extra = {draw(from, 0, small ? 9 : 1000000000)};
        }
      }
    }
  }
  std::shuffle(posed.candidates.begin(), posed.candidates.end(), from);
  for (int b = 0; b < posed.blocks; ++b) {
    posed.cut_within.push_back({draw(from, 0, small ? 3 : 100000000)});
    posed.cut_between.push_back({draw(from, 0, small ? 9 : 1000000000)});
  }
  return posed;
}

struct tried {
  int stages = 0, most_stages = 0;
  std::int64_t cost = 0, paced = 0, bound = 0, pace = 0, peak = 0;
  /// By stage, what makes its bound without what it idles, and what a micro-batch takes there and back through it.
  ml::vector<std::pair<std::int64_t, std::int64_t>> parts{};
  /// By stage, with its halves of messages.
  struct step {
    std::int64_t time, once, entering, leaving;
  };
  ml::vector<step> steps{};
};

/// Of a micro-batch, if all that a stage does once were a part of that.
inline std::int64_t slowest_time(const ml::stage_candidate& stage, std::int64_t batches) {
  return (batches * stage.time.count + stage.once.count + batches - 1) / batches;
}

/// Every plan there is, whatever it holds.
class enumeration {
 public:
  explicit enumeration(const ml::inter_problem& posed) : posed_(posed) {
    groups_.push_back({posed.hosts, posed.devices_per_host, 0, posed.cut_within, posed.cut_between, {}});
    groups_.insert(groups_.end(), posed.others.begin(), posed.others.end());
    for (const auto& group : groups_) {
      const auto first = static_cast<int>(ranks_.size());
      for (int rank = 0; rank < group.hosts * group.devices_per_host; ++rank)
        ranks_.push_back({&group, first, rank / group.devices_per_host, rank % group.devices_per_host == 0});
    }
    extend(0, 0);
  }

  ml::vector<tried> plans;

 private:
  void extend(int block, int rank) {
    const auto all = static_cast<int>(ranks_.size());
    if (block == posed_.blocks && rank == all) return plans.push_back(price());
    const auto& stops = posed_.stops;
    if (!stops.empty() && std::count(stops.begin(), stops.end(), block) == 0) return;
    for (const ml::stage_candidate& each : posed_.candidates) {
      const bool here = block >= each.first_block && block <= each.first_block + each.shifts;
      if (!here || rank + each.ranks > all) continue;
      const auto &first = at(rank), &last = at(rank + each.ranks - 1);
      if (first.group != last.group || first.group->kind != each.kind) continue;
      const bool whole = first.begins_host && each.ranks % first.group->devices_per_host == 0;
      if (first.host != last.host && !whole) continue;
      chosen_.push_back({&each, block, rank});
      extend(block + each.end_block - each.first_block, rank + each.ranks);
      chosen_.pop_back();
    }
  }

  tried price() const {
    const auto count = static_cast<int>(chosen_.size());
    const std::int64_t batches = posed_.micro_batches;
    tried plan{.stages = count, .most_stages = most_stages()};
    std::int64_t sum = 0, passing = 0, slowest = 0;
    for (int s = 0; s < count; ++s) {
      const auto& [stage, block, rank] = chosen_[static_cast<std::size_t>(s)];
      if (s > 0) sum += std::max(messages(s, true), messages(s - 1, false));
      const std::int64_t busy = batches * stage->time.count + waits_behind(s);
      plan.bound = std::max({plan.bound, busy + stage->once.count, sum + busy});
      plan.parts.push_back({busy - waits_behind(s) + std::max(stage->once.count, sum), back_through(s)});
      plan.steps.push_back({stage->time.count, stage->once.count, carried(s, true), carried(s, false)});
      sum += stage->time.count;
      passing += stage->time.count + stage->extra.count + carried(s, true) + carried(s, false);
      slowest = std::max(slowest, (batches - 1) * stage->time.count + stage->once.count);
      std::int64_t slots = 1;
      if (posed_.schedule == ml::schedule_kind::gpipe) slots = batches;
      if (posed_.schedule == ml::schedule_kind::one_f_one_b) slots = std::min<std::int64_t>(batches, count - s);
      plan.peak = std::max(plan.peak, stage->held.count + slots * stage->slot.count + less_memory(stage->kind));
    }
    plan.pace = slowest_window();
    const bool in_turns = posed_.schedule == ml::schedule_kind::one_f_one_b;
    plan.cost = passing + std::max(slowest, in_turns ? (batches - 1) * passing / count : 0);
    plan.paced = passing + std::max(slowest, in_turns ? slowest_rounds() : 0);
    return plan;
  }

  /// What a stage idles between its first forward and its last backward, at the least, as the first and the last
  /// micro-batch have to come back from the stages behind, with all that can be done meanwhile.
  std::int64_t waits_behind(int s) const {
    const auto count = static_cast<int>(chosen_.size());
    std::int64_t back = 0;
    for (int later = s + 1; later < count; ++later) back += back_through(later);
    const std::int64_t time = slowest_time(*chosen_[static_cast<std::size_t>(s)].stage, posed_.micro_batches);
    const std::int64_t behind = count - 1 - s, batches = posed_.micro_batches;
    if (posed_.schedule == ml::schedule_kind::forward_only) return 0;
    if (posed_.schedule == ml::schedule_kind::gpipe) return back;
    if (batches > count - s) return std::min(back, std::max<std::int64_t>(0, 2 * back - behind * time));
    return std::max<std::int64_t>(0, (2 * back - (batches - 1) * time) / 2);
  }

  /// What a micro-batch takes there and back through a stage and the messages in front of it.
  std::int64_t back_through(int s) const {
    const std::int64_t before = s == 0 ? 0 : std::max(messages(s, true), messages(s - 1, false));
    return chosen_[static_cast<std::size_t>(s)].stage->time.count + before;
  }

  int most_stages() const {
    const auto places = posed_.stops.empty() ? posed_.blocks : static_cast<int>(posed_.stops.size());
    return std::min(places, static_cast<int>(ranks_.size()));
  }

  /// The rounds of the stages in a row that are slowest, with what messages really take.
  std::int64_t slowest_rounds() const {
    const auto count = static_cast<int>(chosen_.size());
    std::int64_t slowest = 0;
    for (int first = 0; first < count; ++first) {
      std::int64_t all = 0;
      for (int last = first; last < count; ++last) {
        const ml::stage_candidate& each = *chosen_[static_cast<std::size_t>(last)].stage;
        all += each.time.count;
        if (last > first) all += carried(last - 1, false) + carried(last, true) + each.extra.count + uneven(last);
        slowest = std::max(slowest, (posed_.micro_batches - 1) * all / (last - first + 1));
      }
    }
    return slowest;
  }

  /// What a stage on a new host waits for longer, where it or the stage before has fewer ranks that send side by side.
  std::int64_t uneven(int s) const {
    const auto side_by_side = [&](int stage) {
      const placed& each = chosen_[static_cast<std::size_t>(stage)];
      return std::min(each.stage->ranks, at(each.rank).group->devices_per_host);
    };
    if (!at(chosen_[static_cast<std::size_t>(s)].rank).begins_host) return 0;
    const auto [least, most] = std::minmax({side_by_side(s - 1), side_by_side(s)});
    return std::max(messages(s, true), messages(s - 1, false)) / 2 * (most - least) / least;
  }

  /// What stages in a row take at the most, on average, with the messages between them.
  std::int64_t slowest_window() const {
    const std::int64_t rounds = std::max(posed_.micro_batches - most_stages(), 0);
    const auto count = static_cast<int>(chosen_.size());
    std::int64_t slowest = 0;
    for (int first = 0; first < count; ++first) {
      std::int64_t all = 0;
      for (int last = first; last < count; ++last) {
        const ml::stage_candidate& each = *chosen_[static_cast<std::size_t>(last)].stage;
        all += posed_.micro_batches * each.time.count + each.once.count;
        if (last > first) all += rounds * (carried(last - 1, false) + carried(last, true));
        const int length = last - first + 1;
        slowest = std::max(slowest, (all + length - 1) / length);
      }
    }
    return slowest;
  }

  /// A stage's half of that, carried by its hosts side by side.
  std::int64_t carried(int s, bool before) const { return messages(s, before) / (2 * hosts(s)); }
  int hosts(int s) const {
    const auto& [stage, block, rank] = chosen_[static_cast<std::size_t>(s)];
    return std::max(stage->ranks / at(rank).group->devices_per_host, 1);
  }

  /// What crosses the cut before a stage or after it, over its own links.
  std::int64_t messages(int s, bool before) const {
    const auto& [stage, block, rank] = chosen_[static_cast<std::size_t>(s)];
    const int crossed = before ? block : block + stage->end_block - stage->first_block;
    if (crossed == 0 || crossed == posed_.blocks) return 0;
    const auto &here = at(rank), &last = at(rank + stage->ranks - 1);
    const bool end = rank + stage->ranks == static_cast<int>(ranks_.size());
    const bool ends_host = end || at(rank + stage->ranks).begins_host;
    const bool leaves = before ? here.begins_host : ends_host;
    return (leaves ? last.group->cut_between : last.group->cut_within)[static_cast<std::size_t>(crossed)].count;
  }

  struct placed {
    const ml::stage_candidate* stage;
    int block, rank;
  };

  struct rank_of_group {
    const ml::inter_group* group;
    int first, host;  ///< rank of the group; number in it
    bool begins_host;
  };
  const rank_of_group& at(int rank) const { return ranks_[static_cast<std::size_t>(rank)]; }

  const ml::inter_problem& posed_;
  ml::vector<ml::inter_group> groups_;
  ml::vector<rank_of_group> ranks_;
  ml::vector<placed> chosen_;
};

}  // namespace inter_cases
