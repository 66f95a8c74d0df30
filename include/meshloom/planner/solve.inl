// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/planner/inter.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/planner/stage_search.hpp>
#include <meshloom/planner/stage_solver.hpp>

#include <meshloom/program/lower.hpp>

#include <algorithm>
#include <deque>
#include <map>

namespace meshloom {
namespace detail {

/// Cuts blocks into stages: as asked, or so that every stage has about the same work.
inline std::vector<std::int32_t> cut_stages(const problem& posed) {
  if (!posed.constraints.cuts.empty()) return posed.constraints.cuts;
  const auto blocks = blocks_of(posed.graph);
  std::vector<double> until{0};
  for (const block& here : blocks) {
    double work = 0;
    for (const node& at : posed.graph.nodes) {
      if (at.region != here.region || at.when == phase::update) continue;
      double points = at.op->flops_per_point;
      for (const axis_id axis : at.indices) points *= static_cast<double>(posed.graph.sizes[axis].extent);
      work += points;
    }
    until.push_back(until.back() + work);
  }
  std::vector<std::int32_t> cuts;
  const auto count = static_cast<std::int32_t>(blocks.size());
  for (std::int32_t s = 1; s < posed.constraints.stages; ++s) {
    const double share = until.back() * s / posed.constraints.stages;
    auto cut = static_cast<std::int32_t>(std::lower_bound(until.begin(), until.end(), share) - until.begin());
    if (cut > 0 && share - until[static_cast<std::size_t>(cut - 1)] < until[static_cast<std::size_t>(cut)] - share)
      --cut;
    cut = std::max(cut, cuts.empty() ? 1 : cuts.back() + 1);
    cuts.push_back(std::min(cut, count - (posed.constraints.stages - s)));
  }
  return cuts;
}

inline plan empty_plan(const problem& posed) {
  const auto& schedules = posed.constraints.schedules;
  plan made{.model = hash_of(posed.graph),
            .sizes = posed.graph.sizes,
            .ranks = posed.cluster.ranks(),
            .micro_batches = posed.constraints.micro_batches,
            .schedule = schedules.empty() ? schedule_kind::one_f_one_b : schedules.front(),
            .stages = {},
            .predicted = {},
            .bound = {}};
  auto cuts = cut_stages(posed);
  cuts.insert(cuts.begin(), 0);
  cuts.push_back(static_cast<std::int32_t>(blocks_of(posed.graph).size()));
  for (std::size_t s = 0; s + 1 < cuts.size(); ++s) {
    stage_plan stage;
    for (const mesh_axis_size& axis : posed.constraints.mesh) {
      stage.mesh_axes.push_back(axis.name);
      stage.mesh.size[static_cast<std::size_t>(stage.mesh.rank++)] = axis.size;
    }
    stage.first_rank = static_cast<std::int32_t>(s) * stage.mesh.ranks();
    stage.first_block = cuts[s];
    stage.end_block = cuts[s + 1];
    stage.recompute.assign(static_cast<std::size_t>(stage.end_block - stage.first_block), false);
    made.stages.add(std::move(stage));
  }
  return made;
}

/// What one step takes under the schedule.
inline picoseconds predict(const problem& posed, const plan& made) {
  std::vector<stage_times> times;
  picoseconds update;
  for (const stage_price& each : prices_of(posed.graph, made, posed.cluster)) {
    times.push_back({each.forward, each.backward});
    update = std::max(update, each.update);
  }
  const auto transfers = transfers_of(posed.graph, made, posed.cluster);
  return makespan(made.schedule, times, transfers, made.micro_batches) + update;
}

/// Fills in the strategies that rules and pins leave open, the stages being given.
inline result<plan> propagate(const problem& posed) {
  plan made = empty_plan(posed);
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    stage_solver solver(posed, made.stages[static_cast<stage_id>(s)], made.micro_batches);
    const std::string stuck = solver.run();
    if (!stuck.empty())
      return failure{"operator " + stuck +
                     " has no strategy that meets its pins; remove one, or pin an axis it can split"};
  }
  made.predicted = predict(posed, made);
  return made;
}

/// What crosses the cut in front of every block, forward and backward, for one micro-batch.
inline std::vector<bytes> cut_bytes(const graph& whole, std::int32_t micro_batches) {
  const auto blocks = blocks_of(whole);
  struct journey {
    std::int32_t first, last;  ///< of the blocks that make and read a value
  };
  std::map<instance, journey> journeys;
  for (std::int32_t b = 0; b < static_cast<std::int32_t>(blocks.size()); ++b) {
    const block here = blocks[static_cast<std::size_t>(b)];
    for (const node& at : whole.nodes) {
      if (at.region != here.region || at.when == phase::update) continue;
      for (const value_id id : at.operands) {
        const instance what = resolve(whole, id, here);
        if (whole.values[what.value].kind != value_kind::activation) continue;
        const std::int32_t from = block_number(whole, maker_of(whole, what));
        journey& each = journeys.try_emplace(what, journey{from, from}).first->second;
        each = {std::min(each.first, b), std::max(each.last, b)};
      }
    }
  }
  const size_table sizes = micro_batch_sizes(whole, micro_batches);
  std::vector<bytes> crossing(blocks.size());
  for (const auto& [what, each] : journeys) {
    const value& entry = whole.values[what.value];
    std::int64_t elements = 1;
    for (const std::int64_t extent : extents_of(sizes, entry.axes)) elements *= extent;
    for (std::int32_t b = each.first + 1; b <= each.last; ++b)
      crossing[static_cast<std::size_t>(b)] += bytes{elements * size_of(entry.type)};
  }
  return crossing;
}

/// The plans of one number of micro-batches, best first: what is open takes part at the least that it can cost, and is
/// priced when the best pipeline has it.
class micro_batch_search {
 public:
  micro_batch_search(const problem& posed, std::int32_t micro_batches, const intra_options& limits)
      : posed_(posed),
        micro_batches_(micro_batches),
        limit_(posed.cluster.device.memory),
        cuts_(cut_bytes(posed.graph, micro_batches)),
        stages_(posed, micro_batches, limits) {}

  /// Looks for plans of stages of up to so many ranks that beat the best. Once it has read `most_work` prices, only
  /// among what is priced.
  void run(std::optional<plan>& best, std::int32_t ranks, std::int64_t most_work) {
    stages_.reach(ranks);
    while (step(best)) {
      if (stages_.work() > most_work) stages_.close();
    }
  }

  std::int64_t work() const { return stages_.work(); }
  std::int32_t micro_batches() const { return micro_batches_; }

  /// No plan takes less.
  std::optional<picoseconds> bound() const {
    const auto found = bound_of(chain_of(stages_.bounds(), false));
    return found ? std::optional(found.value()) : std::nullopt;
  }

  /// Why there is no plan. Where even what every plan needs does not fit, that is said.
  std::string why() const {
    if (!stages_.stuck().empty())
      return "operator " + stages_.stuck() +
             " has no strategy that meets its pins; remove one, or pin an axis it can split";
    for (const auto& candidates : {stages_.needs(), stages_.candidates()}) {
      inter_problem chain = chain_of(candidates, true);
      chain.limit = posed_.cluster.device.memory;
      if (const auto answer = solve(chain); !answer) return answer.error();
    }
    const std::string limit = std::to_string(posed_.cluster.device.memory.count);
    return "no plan keeps to the limit of " + limit + " bytes per rank: with its messages the leanest holds up to " +
           std::to_string((posed_.cluster.device.memory - limit_).count) + " bytes more; raise the limit by as much";
  }

 private:
  inter_problem chain_of(const std::vector<stage_candidate>& candidates, bool messages) const {
    inter_problem made{.blocks = static_cast<std::int32_t>(cuts_.size()),
                       .hosts = posed_.cluster.hosts,
                       .devices_per_host = posed_.cluster.devices_per_host,
                       .micro_batches = micro_batches_,
                       .schedule = kinds().front(),
                       .candidates = candidates,
                       .limit = limit_};
    for (const bytes each : cuts_) {
      const bool none = !messages || each.count == 0;
      made.cut_within.push_back(none ? picoseconds{} : transfer_price(each, posed_.cluster.within_host));
      made.cut_between.push_back(none ? picoseconds{} : transfer_price(each, posed_.cluster.between_hosts));
    }
    return made;
  }

  std::vector<schedule_kind> kinds() const {
    if (!posed_.constraints.schedules.empty()) return posed_.constraints.schedules;
    return {schedule_kind::one_f_one_b, schedule_kind::gpipe};
  }

  bool is_wanted(const inter_plan& each) const {
    const std::int32_t stages = posed_.constraints.stages;
    return stages == 0 || static_cast<std::int32_t>(each.candidates.size()) == stages;
  }

  /// Considers the pipelines that may beat the best, or refines what is open in them; false if nothing is left to do.
  bool step(std::optional<plan>& best) {
    const inter_problem chain = chain_of(stages_.candidates(), true);
    const auto answer = solve(chain);
    if (!answer) return false;
    std::vector<inter_plan> worth;
    for (const auto& each : answer.value().by_stages) {
      if (each && is_wanted(*each) && may_beat(chain, *each, best)) worth.push_back(*each);
    }
    std::sort(worth.begin(), worth.end(), [](const auto& a, const auto& b) { return a.cost < b.cost; });
    for (const inter_plan& each : worth) {
      const auto open = open_in(each);
      if (!open.empty()) {
        stages_.refine(open);
        return true;
      }
      if (may_beat(chain, each, best) && !consider(chain, each, best)) return true;
    }
    return false;
  }

  std::vector<std::int32_t> open_in(const inter_plan& each) const {
    std::vector<std::int32_t> found;
    std::copy_if(each.candidates.begin(), each.candidates.end(), std::back_inserter(found),
                 [&](std::int32_t candidate) { return stages_.is_open(candidate); });
    return found;
  }

  /// False if no schedule of the plan is faster than the best, even with messages for nothing.
  static bool may_beat(const inter_problem& chain, const inter_plan& chosen, const std::optional<plan>& best) {
    picoseconds before, bound;
    for (const std::int32_t number : chosen.candidates) {
      const stage_candidate& each = chain.candidates[static_cast<std::size_t>(number)];
      bound = std::max(bound, each.time * chain.micro_batches + std::max(each.once, before));
      before += each.time;
    }
    return !best || bound < best->predicted;
  }

  /// Keeps the plan if it is the best; false if it turned out not to fit, and the limit was tightened.
  bool consider(const inter_problem& chain, const inter_plan& chosen, std::optional<plan>& best) {
    plan made{.model = hash_of(posed_.graph),
              .sizes = posed_.graph.sizes,
              .ranks = posed_.cluster.ranks(),
              .micro_batches = micro_batches_,
              .schedule = chain.schedule,
              .stages = {},
              .predicted = {},
              .bound = {}};
    std::int32_t rank = 0;
    for (const std::int32_t number : chosen.candidates) {
      made.stages.add(stages_.plan_of(number, rank));
      rank += chain.candidates[static_cast<std::size_t>(number)].ranks;
    }
    for (const schedule_kind kind : kinds()) {
      made.schedule = kind;
      made.predicted = predict(posed_, made);
      if (best && made.predicted >= best->predicted) continue;
      const bytes over = excess(made);
      if (over.count <= 0)
        best = made;
      else if (kind == chain.schedule)
        return limit_ -= over, false;
    }
    return true;
  }

  /// By how much the fullest rank of the program holds more than there is.
  bytes excess(const plan& made) const {
    bytes most;
    for (const stage_program& each : lower(posed_.graph, made, posed_.cluster).stages)
      most = std::max(most, each.peak());
    return most - posed_.cluster.device.memory;
  }

  const problem& posed_;
  std::int32_t micro_batches_;
  bytes limit_;  ///< less than the memory of a device by what messages were found to need
  std::vector<bytes> cuts_;
  stage_search stages_;
};

inline std::vector<std::int32_t> micro_batch_counts(const problem& posed) {
  if (posed.constraints.micro_batches > 0) return {posed.constraints.micro_batches};
  const std::int64_t batch = posed.graph.sizes[posed.graph.micro_batched].extent;
  std::vector<std::int32_t> counts;
  for (std::int64_t each = 1; each <= batch; ++each) {
    if (batch % each == 0) counts.push_back(static_cast<std::int32_t>(each));
  }
  return counts;
}

/// All numbers of micro-batches: from the middle to where plans get better, then, while there is work left, the others.
/// Stages within a host come first, as links between hosts are slow.
class plan_search {
 public:
  plan_search(const problem& posed, const intra_options& limits) : posed_(posed) {
    for (const std::int32_t count : micro_batch_counts(posed)) searches_.emplace_back(posed, count, limits);
    at_ = searches_.size() / 2;
  }

  result<plan> run() {
    constexpr std::int64_t most_work = 60'000'000;
    const std::int32_t within = posed_.cluster.devices_per_host, all = posed_.cluster.ranks();
    if (within < all) look(within, most_work);
    look(all, most_work);
    if (!best_) return failure{searches_.back().why()};
    best_->bound = best_->predicted;
    for (const auto& each : searches_) {
      if (const auto found = each.bound()) best_->bound = std::min(best_->bound, *found);
    }
    return std::move(*best_);
  }

 private:
  void look(std::int32_t ranks, std::int64_t most_work) {
    std::vector<bool> left(searches_.size(), true);
    while (const auto next = nearest(left)) {
      micro_batch_search& here = searches_[*next];
      left[*next] = false;
      const std::int64_t before = here.work();
      const std::optional<picoseconds> known = best_ ? std::optional(best_->predicted) : std::nullopt;
      here.run(best_, ranks, before + most_work / 2);
      if (best_ && (!known || best_->predicted < *known)) at_ = *next;
      most_work -= here.work() - before;
    }
  }

  /// The number of micro-batches to look at next: near the best plan's.
  std::optional<std::size_t> nearest(const std::vector<bool>& left) const {
    std::optional<std::size_t> found;
    const auto distance = [&](std::size_t n) { return n > at_ ? n - at_ : at_ - n; };
    for (std::size_t n = 0; n < left.size(); ++n) {
      if (left[n] && (!found || distance(n) < distance(*found))) found = n;
    }
    return found;
  }

  const problem& posed_;
  std::deque<micro_batch_search> searches_;
  std::optional<plan> best_;
  std::size_t at_ = 0;  ///< the number of micro-batches of the best plan
};

}  // namespace detail

MESHLOOM_INLINE result<plan> solve(const problem& posed, const intra_options& limits) {
  const auto faults = check(posed);
  if (!faults.empty()) return failure{faults.front()};
  if (!posed.constraints.automatic) return detail::propagate(posed);
  return detail::plan_search(posed, limits).run();
}

}  // namespace meshloom
