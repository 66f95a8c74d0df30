// SPDX-License-Identifier: Apache-2.0
// The bodies of inter_pace.hpp.
#pragma once

#include <meshloom/planner/inter_frontiers.hpp>
#include <meshloom/planner/inter_outlook.hpp>
#include <meshloom/planner/inter_pace.hpp>

#include <algorithm>

namespace meshloom {
namespace inter {

/// The end of a plan that keeps a pace: the sum of its stages and of the messages around them, and by how much those of
/// its stages that come next exceed the pace at the most, in all rounds, with what the first of them receives.
struct steady_ending {
  picoseconds sum, beyond;
  std::uint32_t place = 0;  ///< its lane: by stages to go, as far as they matter, and by the reach of its first stage
  std::int32_t stages = 0, candidate = -1;
  std::uint32_t next = 0;

  std::size_t lane() const { return place; }
  bool covers(const steady_ending& other) const { return sum <= other.sum && beyond <= other.beyond; }
};

/// Looks for plans that keep a pace.
class pace_search {
 public:
  explicit pace_search(const inter_problem& posed)
      : posed_(posed),
        grid_(posed),
        rounds_(posed.schedule == schedule_kind::one_f_one_b ? std::max(posed.micro_batches - 1, 0) : 0) {
    find_reaches();
    find_spare();
  }

  /// What stages and messages of any plan take at least, and its slowest stage; `never` where there is no plan.
  std::pair<picoseconds, picoseconds> least();

  struct steady_plan {
    vector<std::int32_t> candidates;
    picoseconds sum;
  };
  /// Of the plans no stages of which exceed the pace, in all rounds, and whose sum is less than `most`, one whose sum
  /// is least; of no candidates if there is none.
  steady_plan find(picoseconds pace, picoseconds most);

  std::int64_t work() const { return work_; }

 private:
  void find_reaches();
  void find_spare();
  std::size_t reach_number(std::int32_t candidate) const { return reach_of_[static_cast<std::size_t>(candidate)]; }
  /// What messages in front of block k and rank r take longer between stages of these reaches.
  picoseconds uneven(std::int32_t k, std::int32_t r, std::size_t left, std::size_t right) const;
  void extend(frontiers<steady_ending>& ends, std::int32_t k, std::int32_t r, picoseconds pace, picoseconds room);

  const inter_problem& posed_;
  lattice grid_;
  std::int64_t rounds_;
  vector<std::int32_t> reaches_;   ///< how many ranks of a host send side by side, the different numbers
  vector<std::size_t> reach_of_;   ///< of them, by candidate
  vector<std::uint8_t> new_host_;  ///< by rank, in units: a host begins there
  picoseconds spare_;              ///< more than this below the pace is as good as this
  vector<outlook> before_;
  std::int64_t work_ = 0;
};

MESHLOOM_INLINE void pace_search::find_reaches() {
  const auto groups = places_of(posed_);
  const auto host_of = [&](std::int32_t kind) {
    const auto same = [&](const group_place& each) { return each.kind == kind; };
    return std::find_if(groups.begin(), groups.end(), same)->devices_per_host;
  };
  vector<std::int32_t> own;
  for (const stage_candidate& each : posed_.candidates) own.push_back(std::min(each.ranks, host_of(each.kind)));
  reaches_ = own;
  std::sort(reaches_.begin(), reaches_.end());
  reaches_.erase(std::unique(reaches_.begin(), reaches_.end()), reaches_.end());
  for (const std::int32_t each : own)
    reach_of_.push_back(
        static_cast<std::size_t>(std::lower_bound(reaches_.begin(), reaches_.end(), each) - reaches_.begin()));
  const std::int32_t unit = groups.back().end_rank / std::max(grid_.ranks(), 1);
  for (std::int32_t r = 0; r <= grid_.ranks(); ++r) {
    const group_place& here = group_at(groups, r * unit);
    new_host_.push_back((r * unit - here.first_rank) % here.devices_per_host == 0 ? 1 : 0);
  }
}

/// No message takes more: what lies further below the pace never matters.
MESHLOOM_INLINE void pace_search::find_spare() {
  picoseconds longest;
  for (const group_place& each : places_of(posed_)) {
    for (const auto* cuts : {each.cut_within, each.cut_between}) {
      for (const picoseconds cut : *cuts) longest = std::max(longest, cut);
    }
  }
  picoseconds extra;
  for (const stage_candidate& each : posed_.candidates) extra = std::max(extra, each.extra);
  const std::int64_t unevenness = reaches_.empty() ? 0 : (reaches_.back() - reaches_.front()) / reaches_.front();
  spare_ = rounds_ * (longest * (2 + unevenness) + extra);
}

MESHLOOM_INLINE picoseconds pace_search::uneven(std::int32_t k, std::int32_t r, std::size_t left,
                                                std::size_t right) const {
  if (new_host_[static_cast<std::size_t>(r)] == 0) return {};
  const auto [least, most] = std::minmax(reaches_[left], reaches_[right]);
  return {grid_.cut(k, r).count / 2 * (most - least) / least};
}

MESHLOOM_INLINE std::pair<picoseconds, picoseconds> pace_search::least() {
  std::int64_t moves = 0;
  if (grid_.states() == 0) return {never, never};
  before_ = look_back(grid_, false, [](const outlook&) { return true; });
  const auto after = survey(grid_, before_, moves);
  work_ += moves;
  return {after.front().sum, after.front().slowest};
}

MESHLOOM_INLINE void pace_search::extend(frontiers<steady_ending>& ends, std::int32_t k, std::int32_t r,
                                         picoseconds pace, picoseconds room) {
  const auto lanes = static_cast<std::size_t>(grid_.settled()) + 1;
  grid_.for_each_move(k, r, [&](const choice& by, const move& to) {
    if (by.rest > pace) return;
    const std::size_t reach = reach_number(by.candidate);
    const picoseconds own = rounds_ * by.time - pace;
    for (const steady_ending& rest : ends.at(to.next)) {
      ++work_;
      const std::int32_t stages = std::min(rest.stages + 1, grid_.settled());
      const picoseconds sum = rest.sum + to.own;
      if (stages < by.least_stages || stages > by.most_stages || sum >= room) continue;
      picoseconds here = own;
      if (rest.candidate >= 0) {
        const picoseconds meeting = to.leaving + uneven(k + by.blocks, to.rank, reach, rest.place / lanes);
        here += std::max(rest.beyond + rounds_ * meeting, picoseconds{});
      }
      if (here.count > 0) continue;
      const picoseconds beyond =
          std::max(here + rounds_ * (to.entering + (by.passing - by.time)), picoseconds{-spare_.count});
      const auto place = static_cast<std::uint32_t>(reach * lanes + static_cast<std::size_t>(stages));
      ends.add({sum, beyond, place, stages, by.candidate, ends.number_of(rest)});
    }
  });
}

MESHLOOM_INLINE pace_search::steady_plan pace_search::find(picoseconds pace, picoseconds most) {
  const std::size_t lanes = (static_cast<std::size_t>(grid_.settled()) + 1) * std::max<std::size_t>(reaches_.size(), 1);
  frontiers<steady_ending> ends(grid_.states(), lanes);
  ends.add({{}, {}, 0, 0, -1, 0});
  ends.close(grid_.states() - 1);
  grid_.for_each_state_back([&](std::size_t state, std::int32_t k, std::int32_t r) {
    if (before_[state].sum < never && before_[state].slowest <= pace)
      extend(ends, k, r, pace, most - before_[state].sum);
    ends.close(state);
  });
  const steady_ending* best = nullptr;
  for (const steady_ending& each : ends.at(0)) {
    if (best == nullptr || each.sum < best->sum) best = &each;
  }
  steady_plan found{{}, best != nullptr ? best->sum : never};
  for (; best != nullptr && best->candidate >= 0; best = &ends[best->next]) found.candidates.push_back(best->candidate);
  return found;
}

}  // namespace inter

/// Between two paces lie plans whose sum is no less than that at the slower one: what they take at least says whether
/// to look there. Plans that keep a quick pace are soon found or missed, so they are looked for first.
MESHLOOM_INLINE vector<inter_plan> steadiest(const inter_problem& posed, std::int64_t* work) {
  constexpr std::int64_t closeness = 256, first_step = 64, faster = 4;
  inter::pace_search search(posed);
  vector<inter_plan> found;
  const auto [least_sum, least_pace] = search.least();
  if (least_sum >= inter::never) return found;
  picoseconds worth = posed.worth.value_or(inter::never);
  struct paces {
    picoseconds low, high;  // of the pace: no plan keeps the one, or is worth it at less
    picoseconds sum;        // at the least
    picoseconds step;
  };
  const picoseconds step{least_pace.count / first_step + 1};
  vector<paces> open{{least_pace - picoseconds{1}, worth - least_sum, least_sum, step}};
  while (!open.empty()) {
    const paces here = open.back();
    open.pop_back();
    const picoseconds least = here.sum + here.low + picoseconds{1 + worth.count / closeness};
    if (here.low >= here.high || least >= worth) continue;
    const picoseconds middle = std::min(here.high, here.low + here.step);
    const auto next = search.find(middle, worth - here.low);
    if (middle < here.high) open.push_back({middle, here.high, here.sum, here.step * faster});
    if (next.candidates.empty()) continue;
    const picoseconds paced = evaluate(posed, next.candidates).value().paced;
    if (paced < worth) found.push_back({next.candidates, paced});
    worth = std::min(worth, paced);
    open.push_back({here.low, middle, next.sum, picoseconds{std::max<std::int64_t>((middle - here.low).count / 2, 1)}});
  }
  if (work != nullptr) *work += search.work();
  std::reverse(found.begin(), found.end());
  return found;
}

}  // namespace meshloom
