// SPDX-License-Identifier: Apache-2.0
// The bodies of inter_problem.hpp.
#pragma once

#include <meshloom/planner/inter_problem.hpp>

#include <algorithm>

namespace meshloom {

namespace inter {

/// Sums of prices and of sizes stay below it.
inline constexpr std::int64_t sums_end = std::int64_t{1} << 60;

/// The product of two numbers ≥ 0, at most `sums_end`.
inline std::int64_t capped_product(std::int64_t a, std::int64_t b) {
  return a != 0 && b > sums_end / a ? sums_end : a * b;
}

MESHLOOM_INLINE vector<group_place> places_of(const inter_problem& posed) {
  const std::int32_t first = posed.hosts * posed.devices_per_host;
  vector<group_place> all{
      {posed.hosts, posed.devices_per_host, 0, 0, first, &posed.cut_within, &posed.cut_between, &posed.limit}};
  for (const inter_group& each : posed.others) {
    const std::int32_t begin = all.back().end_rank, end = begin + each.hosts * each.devices_per_host;
    all.push_back(
        {each.hosts, each.devices_per_host, each.kind, begin, end, &each.cut_within, &each.cut_between, &each.limit});
  }
  return all;
}

MESHLOOM_INLINE std::optional<bytes> limit_of(const inter_problem& posed, std::int32_t kind) {
  if (kind == 0) return posed.limit;
  const auto found = std::find_if(posed.others.begin(), posed.others.end(),
                                  [&](const inter_group& each) { return each.kind == kind; });
  return found == posed.others.end() ? std::nullopt : found->limit;
}

MESHLOOM_INLINE std::string hosts_of(const inter_problem& posed) {
  std::string text;
  for (const group_place& each : places_of(posed)) {
    text += (text.empty() ? "" : " and ") + std::to_string(each.hosts) + " hosts of " +
            std::to_string(each.devices_per_host) + " devices";
  }
  return text;
}

MESHLOOM_INLINE void check_candidate(const inter_problem& posed, const vector<group_place>& groups, std::size_t number,
                                     vector<std::string>& found) {
  const stage_candidate& each = posed.candidates[number];
  const auto say = [&](const std::string& what) {
    found.push_back("candidate " + std::to_string(number) + " " + what);
  };
  const bool runs_some = each.first_block >= 0 && each.first_block < each.end_block && each.end_block <= posed.blocks;
  if (!runs_some) {
    say("runs the blocks from " + std::to_string(each.first_block) + " to " + std::to_string(each.end_block) +
        "; it must run at least one of " + std::to_string(posed.blocks));
  } else if (each.shifts < 0 || each.shifts > posed.blocks - each.end_block) {
    say("is shifted by up to " + std::to_string(each.shifts) + " blocks; after it come " +
        std::to_string(posed.blocks - each.end_block));
  }
  std::int32_t host = 0, most_hosts = 0;  // of its kind
  for (const group_place& group : groups) {
    if (group.kind != each.kind) continue;
    if (host == 0) host = group.devices_per_host;
    most_hosts = std::max(most_hosts, group.hosts);
  }
  const bool in_host = each.ranks >= 1 && each.ranks <= host;
  const bool whole_hosts = each.ranks >= 1 && host > 0 && each.ranks % host == 0 && each.ranks / host <= most_hosts;
  if (host == 0) {
    say("is for hosts of kind " + std::to_string(each.kind) + ", of which there are none");
  } else if (!in_host && !whole_hosts) {
    say("has " + std::to_string(each.ranks) + " ranks, which are neither part of a host of " + std::to_string(host) +
        " devices nor 1 to " + std::to_string(most_hosts) + " whole ones");
  }
  if (std::min({each.time, each.once, each.extra}).count < 0) say("has a negative time");
  if (std::min(each.held, each.slot).count < 0) say("has a negative size");
}

MESHLOOM_INLINE void check_cuts(const inter_problem& posed, const vector<picoseconds>& cuts, const std::string& where,
                                vector<std::string>& found) {
  if (cuts.size() != static_cast<std::size_t>(posed.blocks)) {
    found.push_back("there are " + std::to_string(cuts.size()) + " prices of cuts " + where + " for " +
                    std::to_string(posed.blocks) + " blocks; give one per block, the first unused");
  }
  if (std::any_of(cuts.begin(), cuts.end(), [](picoseconds price) { return price.count < 0; })) {
    found.push_back("a cut " + where + " has a negative price");
  }
}

/// Of every group, and those of one kind together.
MESHLOOM_INLINE void check_groups(const inter_problem& posed, vector<std::string>& found) {
  const auto places = places_of(posed);
  for (const group_place& each : places) {
    const std::string group = posed.others.empty() ? "" : " of group " + std::to_string(&each - places.data());
    check_cuts(posed, *each.cut_within, "within a host" + group, found);
    check_cuts(posed, *each.cut_between, "between hosts" + group, found);
    if (*each.limit && (*each.limit)->count < 0) found.push_back("the limit" + group + " is negative");
    for (const group_place* other = places.data(); other != &each; ++other) {
      if (other->kind != each.kind) continue;
      if (other->devices_per_host != each.devices_per_host || *other->limit != *each.limit)
        found.push_back("the hosts" + group + " have not as many devices or another limit than others of kind " +
                        std::to_string(each.kind) + "; make them a kind of their own");
      break;
    }
  }
}

MESHLOOM_INLINE void check_stops(const inter_problem& posed, vector<std::string>& found) {
  std::int32_t next = 0, most = 0;
  for (const std::int32_t each : posed.stops) {
    if (each < next || each > most) {
      found.push_back("block " + std::to_string(each) +
                      " is out of place among those that stages may begin with; name " + "some of the " +
                      std::to_string(posed.blocks) + " blocks, from 0 on, rising");
      return;
    }
    next = each + 1;
    most = posed.blocks - 1;
  }
}

/// No sum that a plan or a solver makes overflows; nothing is negative.
MESHLOOM_INLINE void check_sums(const inter_problem& posed, vector<std::string>& found) {
  picoseconds time, once, cut;
  std::int64_t most_bytes = 0;
  const std::int64_t most_slot = sums_end / posed.micro_batches;
  for (const stage_candidate& each : posed.candidates) {
    time = std::max(time, each.time + each.extra);
    once = std::max(once, each.once);
    const std::int64_t slots = each.slot.count > most_slot ? sums_end : each.slot.count * posed.micro_batches;
    most_bytes = std::max(most_bytes, std::min(each.held.count, sums_end) + slots);
  }
  for (const group_place& group : places_of(posed)) {
    for (const picoseconds price : *group.cut_within) cut = std::max(cut, price);
    for (const picoseconds price : *group.cut_between) cut = std::max(cut, price);
  }
  const std::int64_t times = capped_product(time.count, std::int64_t{posed.blocks} + posed.micro_batches);
  const std::int64_t waits = capped_product(cut.count, std::int64_t{posed.blocks} + posed.micro_batches);
  const std::int64_t most_time = times + waits + std::min(once.count, sums_end);
  if (most_time >= sums_end) found.push_back("the largest times add up to 2^60 ps or more; use a coarser unit of time");
  if (most_bytes >= sums_end) found.push_back("the sizes of a candidate add up to 2^60 bytes or more");
}

}  // namespace inter

MESHLOOM_INLINE vector<std::string> check(const inter_problem& posed) {
  vector<std::string> found;
  if (posed.blocks < 1) found.push_back("there are no blocks to run");
  if (posed.micro_batches < 1) found.push_back("there are no micro-batches; a step has at least one");
  if (posed.hosts < 1 || posed.devices_per_host < 1) found.push_back("the cluster has no devices");
  double devices = static_cast<double>(posed.hosts) * posed.devices_per_host;
  for (const inter_group& each : posed.others) {
    if (each.hosts < 1 || each.devices_per_host < 1) found.push_back("a group of hosts has no devices");
    devices += static_cast<double>(each.hosts) * each.devices_per_host;
  }
  if (devices >= static_cast<double>(std::int64_t{1} << 31)) found.push_back("the cluster has 2^31 devices or more");
  if (!found.empty()) return found;
  const auto groups = inter::places_of(posed);
  for (std::size_t c = 0; c < posed.candidates.size(); ++c) inter::check_candidate(posed, groups, c, found);
  inter::check_groups(posed, found);
  inter::check_stops(posed, found);
  if (posed.worth && posed.worth->count < 0) found.push_back("what a plan is worth is negative");
  if (found.empty()) inter::check_sums(posed, found);
  return found;
}

namespace inter {

MESHLOOM_INLINE const group_place& group_at(const vector<group_place>& groups, std::int32_t rank) {
  const auto ends_before = [&](const group_place& each) { return each.end_rank <= rank; };
  return *std::find_if_not(groups.begin(), groups.end() - 1, ends_before);
}

/// What crosses in front of a block and a rank, over the links of a group that is there or ends there.
MESHLOOM_INLINE picoseconds cut_before(const group_place& group, std::int32_t block, std::int32_t rank) {
  const bool within = (rank - group.first_rank) % group.devices_per_host != 0;
  return (within ? *group.cut_within : *group.cut_between)[static_cast<std::size_t>(block)];
}

/// Why the stage does not continue a plan that has come to this block and rank; empty if it does.
MESHLOOM_INLINE std::string misfit(const vector<group_place>& groups, const stage_candidate& stage, std::int32_t block,
                                   std::int32_t rank) {
  const group_place& group = group_at(groups, rank);
  const std::int32_t host = group.devices_per_host, in_host = (rank - group.first_rank) % host;
  if (block < stage.first_block || block > stage.first_block + stage.shifts) {
    return "begins with block " + std::to_string(stage.first_block) +
           (stage.shifts > 0 ? " to " + std::to_string(stage.first_block + stage.shifts) : "") + " where block " +
           std::to_string(block) + " is next";
  }
  if (stage.ranks > groups.back().end_rank - rank) {
    return "needs " + std::to_string(stage.ranks) + " ranks from rank " + std::to_string(rank) +
           " on, more than there are";
  }
  if (stage.ranks > group.end_rank - rank) {
    return "of " + std::to_string(stage.ranks) + " ranks straddles groups of hosts: it begins with rank " +
           std::to_string(rank) + ", and the next group with rank " + std::to_string(group.end_rank);
  }
  if (stage.kind != group.kind) {
    return "is for hosts of kind " + std::to_string(stage.kind) + ", and rank " + std::to_string(rank) +
           " is on one of kind " + std::to_string(group.kind);
  }
  if (stage.ranks < host ? in_host + stage.ranks > host : in_host != 0) {
    return "of " + std::to_string(stage.ranks) + " ranks straddles hosts of " + std::to_string(host) +
           " devices: it begins with rank " + std::to_string(rank);
  }
  return "";
}

/// A stage of a plan, and what crosses the cut in front of it.
struct placed_stage {
  stage_candidate stage;
  const group_place& group;
  picoseconds cut;
  picoseconds entering, leaving;  ///< its half of the messages in front of it and after it
  picoseconds uneven;             ///< what messages take longer if it does not have as many ranks as the stage before
};

/// Fewer ranks send larger parts, one to each of those that receive: half of a cut, so much more often.
MESHLOOM_INLINE picoseconds uneven_messages(picoseconds cut, const placed_stage& left, const placed_stage& right) {
  const auto [least, most] = std::minmax({std::min(left.stage.ranks, left.group.devices_per_host),
                                          std::min(right.stage.ranks, right.group.devices_per_host)});
  return {cut.count / 2 * (most - least) / least};
}

MESHLOOM_INLINE result<vector<placed_stage>> place(const inter_problem& posed, const vector<group_place>& groups,
                                                   const vector<std::int32_t>& candidates) {
  vector<placed_stage> made;
  std::int32_t block = 0, rank = 0;
  for (const std::int32_t candidate : candidates) {
    const std::string name = "stage " + std::to_string(made.size());
    const auto number = static_cast<std::size_t>(candidate);
    if (number >= posed.candidates.size()) return failure{name + " is a candidate that does not exist"};
    const stage_candidate& stage = posed.candidates[number];
    const std::string why = misfit(groups, stage, block, rank);
    if (!why.empty()) return failure{name + " " + why};
    if (!posed.stops.empty() && std::find(posed.stops.begin(), posed.stops.end(), block) == posed.stops.end())
      return failure{name + " begins with block " + std::to_string(block) + ", which no stage may"};
    const group_place& group = group_at(groups, rank);
    const std::int32_t host = group.devices_per_host, hosts = std::max(stage.ranks / host, 1);
    placed_stage next{stage, group, {}, {}, {}, {}};
    if (!made.empty()) {
      const picoseconds cut = cut_before(group, block, rank);
      next.cut = std::max(cut, cut_before(made.back().group, block, rank));
      next.entering = half_of_cut(cut, hosts);
      if ((rank - group.first_rank) % host == 0) next.uneven = uneven_messages(next.cut, made.back(), next);
    }
    block += stage.end_block - stage.first_block;
    rank += stage.ranks;
    if (block < posed.blocks) next.leaving = half_of_cut(cut_before(group, block, rank), hosts);
    made.push_back(next);
  }
  if (block < posed.blocks) return failure{"the stages end before block " + std::to_string(block)};
  if (rank < groups.back().end_rank) return failure{"the stages leave rank " + std::to_string(rank) + " idle"};
  return made;
}

/// The rounds of those stages in a row that are slowest.
MESHLOOM_INLINE picoseconds slowest_rounds(const inter_problem& posed, const vector<placed_stage>& stages) {
  picoseconds slowest;
  for (std::size_t first = 0; first < stages.size(); ++first) {
    picoseconds passing;
    for (std::size_t last = first; last < stages.size(); ++last) {
      const placed_stage& here = stages[last];
      passing += here.stage.time;
      if (last > first) passing += stages[last - 1].leaving + here.entering + here.stage.extra + here.uneven;
      const auto count = static_cast<std::int64_t>(last - first) + 1;
      slowest = std::max(slowest, rounds_of(posed.schedule, posed.micro_batches, passing, count));
    }
  }
  return slowest;
}

}  // namespace inter

MESHLOOM_INLINE result<inter_price> evaluate(const inter_problem& posed, const vector<std::int32_t>& candidates) {
  const auto groups = inter::places_of(posed);
  const auto placed = inter::place(posed, groups, candidates);
  if (!placed) return failure{placed.error()};
  const auto stages = static_cast<int>(placed.value().size());
  inter_price total;
  picoseconds all, path, passing, slowest;
  for (const inter::placed_stage& each : placed.value()) all += each.cut + each.stage.time;
  bytes most_over, over_holds;  // the limit of its group
  int over = 0;                 // the stage that holds them
  for (int s = 0; s < stages; ++s) {
    const inter::placed_stage& here = placed.value()[static_cast<std::size_t>(s)];
    const stage_candidate& stage = here.stage;
    const picoseconds before = path + here.cut;
    path = before + stage.time;
    const picoseconds longest = longest_time(stage, posed.micro_batches);
    const picoseconds idle = idle_of(posed.schedule, posed.micro_batches, longest, all - path, stages - 1 - s);
    total.bound = std::max(total.bound, posed.micro_batches * stage.time + idle + std::max(stage.once, before));
    passing += stage.time + stage.extra + here.entering + here.leaving;
    slowest = std::max(slowest, (posed.micro_batches - 1) * stage.time + stage.once);
    const bytes holds = stage.held + slots_in_flight(posed.schedule, stages, s, posed.micro_batches) * stage.slot;
    if (holds > total.peak) total.peak = holds, total.where = s;
    const std::optional<bytes>& limit = *here.group.limit;
    if (!limit || holds - *limit <= most_over) continue;
    most_over = holds - *limit;
    over_holds = holds;
    over = s;
  }
  if (most_over.count > 0) {
    return failure{"stage " + std::to_string(over) + " holds " + std::to_string(over_holds.count) + " bytes, " +
                   std::to_string(most_over.count) + " more than the limit"};
  }
  total.cost = passing + std::max(slowest, rounds_of(posed.schedule, posed.micro_batches, passing, stages));
  total.paced = passing + std::max(slowest, inter::slowest_rounds(posed, placed.value()));
  return total;
}

}  // namespace meshloom
