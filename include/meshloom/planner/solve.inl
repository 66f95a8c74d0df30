// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/planner/pipeline_search.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/planner/space.hpp>
#include <meshloom/planner/stage_solver.hpp>

#include <algorithm>
#include <deque>
#include <limits>

namespace meshloom {
namespace detail {

/// Cuts blocks into stages: as asked, or so that every stage has about the same work.
inline vector<std::int32_t> cut_stages(const problem& posed) {
  if (!posed.constraints.cuts.empty()) return posed.constraints.cuts;
  const auto blocks = blocks_of(posed.graph);
  vector<double> until{0};
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
  vector<std::int32_t> cuts;
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
            .schedule = !trains(posed.graph) ? schedule_kind::forward_only
                        : schedules.empty()  ? schedule_kind::one_f_one_b
                                             : schedules.front(),
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
    stage.recompute = recomputed_by_rule(posed, stage.first_block, stage.end_block);
    made.stages.add(std::move(stage));
  }
  return made;
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
  made.predicted = predict(posed.graph, made, posed.cluster);
  return made;
}

/// All numbers of micro-batches at once: whichever promises most goes on, but each begins alone, so that good plans are
/// there early. Stages within a host come first, as links between hosts are slow; then those that the bound depends on,
/// wherever they stand, which finds plans as well. Where much is known, as many micro-batches as before come first, and
/// stages that are known.
class plan_search {
 public:
  plan_search(const problem& posed, const intra_options& limits, const planning_watch& watch, known_stages* known)
      : posed_(posed), limits_(limits), watched_(watch), known_(known != nullptr ? *known : own_) {
    for (const std::int32_t count : micro_batch_counts(posed))
      searches_.emplace_back(posed, count, limits, searches_.empty() ? nullptr : &searches_.back(), &known_);
    resumed_work_ = work();
    known_work_ = searches_.front().priced_work();
    within_ = posed.cluster.devices_per_host;
    for (const host_group& each : posed.cluster.others) within_ = std::max(within_, each.devices_per_host);
    if (const plan* const before = known_.last_for(posed.graph); before != nullptr && known_work_ >= easy_work)
      follow(*before);
    within_ = std::min(within_, posed.cluster.ranks());
  }

  result<plan> run() {
    constexpr std::int64_t most_look_work = 400'000'000, most_far_work = 16'000'000;  // prices, moves
    const std::size_t most_polished = favourite_ != nullptr ? 400 : 4'000;            // stages
    for (const solved_problem* each : known_.plans_for(posed_)) searches_.front().enter(each->found, plans_);
    const std::int32_t all = posed_.cluster.ranks();
    if (favourite_ != nullptr) settle();
    look(within_, most_look_work);
    if (within_ < all && !plans_.best()) look(all, most_look_work);
    if (!plans_.best()) look(all, unlimited / 2);  // before saying that there is none
    if (!plans_.best()) return failure{watched_.is_over() ? why_ended() : searches_.back().why()};
    const picoseconds known_bound = known_.bound_for(posed_);
    if (favourite_ == nullptr || known_bound.count == 0) {
      const std::int64_t most_work = work() + proof_work();
      tighten(most_work);
      if (favourite_ == nullptr || work() < most_work)
        look(all, std::clamp<std::int64_t>(most_work - work(), 0, most_far_work));
    }
    for (pipeline_search& each : searches_) {
      if (goes_on()) each.polish(plans_, most_polished);
    }
    plan made = plans_.winner();
    const bool totals = posed_.graph.squares.value != value_id::none;  // whatever the plan, all ranks meet in it
    const picoseconds meeting = totals ? total_price(posed_.cluster, posed_.graph.precision) : picoseconds{};
    made.bound = bound(made.predicted - meeting) + meeting;
    made.bound = std::max(made.bound, known_bound);
    if (!watched_.is_over()) known_.remember(posed_, limits_, made);
    return made;
  }

 private:
  /// Begins with as many micro-batches as a plan has, and stages that are as large.
  void follow(const plan& before) {
    for (pipeline_search& each : searches_) {
      if (before.micro_batches == each.micro_batches()) favourite_ = &each;
    }
    if (favourite_ == nullptr) return;
    for (const stage_plan& each : before.stages) within_ = std::max(within_, each.mesh.ranks());
  }

  /// As much in all, for stages that cost the same, as where nothing is known; or a little, for what changed. With more
  /// pins nothing is less than was proven with fewer.
  std::int64_t proof_work() const {
    constexpr std::int64_t most = 48'000'000, little = most / 1000;
    return std::max(most - known_work_, resumed_work_ > 0 ? little : 0);
  }

  std::int64_t work() const {
    std::int64_t sum = 0;
    for (const pipeline_search& each : searches_) sum += each.work();
    return sum;
  }

  /// Raises the bounds of those numbers of micro-batches whose bounds are the lowest.
  void tighten(std::int64_t most_work) {
    picoseconds worth = plans_.best()->predicted, first = worth;
    vector<std::pair<picoseconds, pipeline_search*>> line;
    for (auto each = searches_.rbegin(); each != searches_.rend(); ++each) {
      first = std::min(first, each->bound(first, false));
      line.emplace_back(first, &*each);  // or more
    }
    while (!line.empty() && work() < most_work && goes_on()) {
      const auto less = [](const auto& a, const auto& b) { return a.first < b.first; };
      std::iter_swap(line.begin(), std::min_element(line.begin(), line.end(), less));
      auto& [bound, search] = line.front();
      if (bound >= worth) return;
      const auto next = std::min_element(line.begin() + 1, line.end(), less);
      const auto found =
          search->tighten(worth, next == line.end() ? worth : next->first, search->work() + most_work - work());
      bound = found.bound;
      if (found.more) continue;
      worth = std::min(worth, bound);  // the others need no more
      line.erase(line.begin());
    }
  }

  /// No plan takes less, or less than `worth` where that is the least. Whichever is likely to have the least says so
  /// first; most of the others need not be asked for more.
  picoseconds bound(picoseconds worth) const {
    vector<std::pair<picoseconds, std::size_t>> all;  // of equal ones, that of more micro-batches first
    picoseconds first = worth;
    for (std::size_t before = 0; before < searches_.size(); ++before) {
      first = std::min(first, searches_[searches_.size() - 1 - before].bound(first, false));
      all.emplace_back(first, before);
    }
    std::sort(all.begin(), all.end());
    for (const auto& [least, before] : all) {
      if (least < worth) worth = searches_[searches_.size() - 1 - before].bound(worth);
    }
    return worth;
  }

  /// Tells whoever watches how far it has come; false if the search is to end.
  bool goes_on(std::optional<picoseconds> promise = {}, std::int32_t racing = 0) {
    const auto best = plans_.best() ? std::optional(plans_.best()->predicted) : std::nullopt;
    return !watched_.ends({best, promise, work(), racing});
  }

  std::string why_ended() const {
    return "the search was ended before it had found any plan, with " + std::to_string(work()) +
           " prices read; let it go on for longer, or leave less to it: say how many micro-batches or stages there " +
           "are, or the sizes of mesh axes";
  }

  /// True if a pipeline that promises so much will hardly be better than the best plan; or where it was planned before,
  /// not by much.
  bool is_far(picoseconds promise) const {
    constexpr std::int64_t margin = 25;  // one part in so many: what equal stages pay is not all there is to know
    if (!plans_.best()) return false;
    const std::int64_t best = plans_.best()->predicted.count;
    return promise.count > (favourite_ != nullptr ? best - best / enough : best / margin * (margin + 1));
  }

  /// A number of micro-batches, and what its best pipeline takes: what it promises, or as long as that was not asked
  /// for, at the least. It has arrived once it had the best plan.
  struct racer {
    pipeline_search* search;
    std::optional<picoseconds> hope;
    bool promises = false, arrived = false;
  };

  /// True if it has the best plan.
  bool is_ahead(const pipeline_search& some) const {
    return plans_.best() && plans_.best()->micro_batches == some.micro_batches();
  }

  /// From the many micro-batches that leave most room on: of others it is enough that they take no less.
  vector<racer> line_up() {
    vector<racer> racers;
    picoseconds least{unlimited / 4};
    for (auto each = searches_.rbegin(); each != searches_.rend(); ++each) {
      racers.push_back({&*each, each->floor(plans_, least), false, is_ahead(*each)});
      if (racers.back().hope) least = std::min(least, *racers.back().hope);
    }
    return racers;
  }

  /// The racer that promises most. But plans are found soonest if one goes on alone until it has arrived, and from then
  /// on as long as it has the best plan and promises one that is little better: that is likely to be kept.
  racer& next_of(vector<racer>& racers, const pipeline_search* leading) const {
    constexpr std::int64_t little = 12;  // one part in so many
    const auto leads = [&](const racer& each) {
      if (each.search != leading || !each.hope) return false;
      if (!plans_.best()) return true;
      const picoseconds gain = plans_.best()->predicted - *each.hope;
      if (gain.count <= 0 || is_far(*each.hope)) return false;
      return !each.arrived || (is_ahead(*each.search) && gain.count < plans_.best()->predicted.count / little);
    };
    if (const auto alone = std::find_if(racers.begin(), racers.end(), leads); alone != racers.end()) return *alone;
    const auto less = [](const racer& a, const racer& b) { return a.hope && (!b.hope || *a.hope < *b.hope); };
    return *std::min_element(racers.begin(), racers.end(), less);
  }

  /// Enters pipelines of stages that are known: first of as many micro-batches as before, where stages are priced until
  /// what is open promises little more.
  void settle() {
    const std::int64_t most_work = work() + easy_work;
    while (!plans_.best() && work() < most_work) {
      const auto known = promise_of_known(*favourite_);
      favourite_->reach(within_);
      const auto open = favourite_->promise(plans_);
      if (!open || !goes_on(open, racing_)) break;
      if (known && known->count <= open->count + open->count / (2 * enough))
        enter_all_known(*favourite_, within_);
      else
        favourite_->step(plans_);
    }
    for (pipeline_search& each : searches_) enter_all_known(each, within_);
  }

  std::optional<picoseconds> promise_of_known(pipeline_search& some) {
    some.close();
    return some.promise(plans_);
  }

  /// Enters pipelines of stages that are known until one is the best; false if none is.
  bool enter_known_until_better(pipeline_search& some, std::int32_t ranks) {
    const auto worth = [&] { return plans_.best() ? plans_.best()->predicted.count : unlimited; };
    const std::int64_t before = worth();
    auto known = promise_of_known(some);
    while (known && plans_.is_open_to(*known) && goes_on(promise_.value_or(*known), racing_)) {
      some.step(plans_);
      if (worth() < before) break;
      known = some.promise(plans_);
    }
    some.reach(ranks);
    return worth() < before;
  }

  void enter_all_known(pipeline_search& some, std::int32_t ranks) {
    while (enter_known_until_better(some, ranks)) {}
  }

  /// Takes note of what there is to be told.
  void tell(const vector<racer>& racers) {
    promise_.reset();
    racing_ = 0;
    for (const racer& each : racers) {
      if (!each.hope) continue;
      ++racing_;
      promise_ = std::min(promise_.value_or(*each.hope), *each.hope);
    }
  }

  void look(std::int32_t ranks, std::int64_t most_work) {
    if (watched_.is_over()) return;
    const std::int64_t small = std::max(work() + easy_work - known_work_, work());
    most_work += work();
    bool open = most_work > work();
    for (pipeline_search& each : searches_) {
      each.reach(ranks);
      if (!open) each.close();
    }
    vector<racer> racers = line_up();
    const pipeline_search* leading = favourite_;
    const std::int64_t alone_until = work() + easy_work;
    for (;;) {
      racer& next = next_of(racers, leading);
      leading = plans_.best() || work() < alone_until ? next.search : nullptr;
      if (!next.hope || (work() > small && is_far(*next.hope))) break;
      if (!next.promises) {
        next.hope = next.search->promise(plans_);
        next.promises = true;
        continue;
      }
      tell(racers);
      if (!goes_on(promise_, racing_)) return;
      next.search->step(plans_);
      next.arrived = next.arrived || is_ahead(*next.search);
      if (open && !next.arrived) next.arrived = enter_known_until_better(*next.search, ranks);
      if (watched_.is_over()) return;
      next.hope = next.search->promise(plans_);
      if (!open || work() < most_work) continue;
      open = false;
      for (pipeline_search& each : searches_) each.close();
      racers = line_up();
    }
    for (pipeline_search& each : searches_) {
      if (work() < small && goes_on()) each.finish(plans_);
    }
  }

  static constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();
  static constexpr std::int64_t enough = 50;             // one part in so many, which who plans once more does without
  static constexpr std::int64_t easy_work = 20'000'000;  // prices read, for which everything that may win is looked at

  const problem& posed_;
  const intra_options& limits_;
  watched watched_;
  known_stages own_;  ///< where nothing is kept
  known_stages& known_;
  std::int64_t resumed_work_ = 0;       ///< prices read before for this problem
  std::int64_t known_work_ = 0;         ///< and for it with fewer pins, whatever the size of micro-batches
  std::int32_t within_ = 0;             ///< ranks that stages take at first, at the most: those of a host, or as before
  std::int32_t racing_ = 1;             ///< numbers of micro-batches of which one may still win
  std::optional<picoseconds> promise_;  ///< the least that one of them promises, once they race
  pipeline_search* favourite_ = nullptr;  ///< of as many micro-batches as the plan before; none: little is known
  std::deque<pipeline_search> searches_;
  contest plans_;
};

}  // namespace detail

MESHLOOM_INLINE result<plan> solve(const problem& posed, const intra_options& limits, const planning_watch& watch,
                                   known_stages* known) {
  const auto faults = check(posed);
  if (!faults.empty()) return failure{faults.front()};
  if (!posed.constraints.automatic) return detail::propagate(posed);
  if (known != nullptr) {
    if (auto answer = known->answer_for(posed, limits)) return *answer;
  }
  return detail::plan_search(posed, limits, watch, known).run();
}

}  // namespace meshloom
