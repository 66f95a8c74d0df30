// SPDX-License-Identifier: Apache-2.0
#include <meshloom/cost/analytic.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/planner/inter_bound.hpp>
#include <meshloom/planner/inter_lattice.hpp>
#include <meshloom/planner/inter_pace.hpp>
#include <meshloom/planner/pipeline_search.hpp>
#include <meshloom/planner/pipelines.hpp>
#include <meshloom/planner/space.hpp>
#include <meshloom/program/memories.hpp>
#include <meshloom/sharding/meshes.hpp>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>
#include <numeric>

namespace meshloom {
namespace detail {

inline crossings cut_bytes(const graph& whole, std::int32_t micro_batches) {
  const auto blocks = blocks_of(whole);
  struct journey {
    std::int32_t first, last;  ///< of the blocks that make and read a value
  };
  std::map<instance, journey> journeys;
  std::set<std::pair<instance, std::int32_t>> beside;  // of a cut
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
        if (std::abs(b - from) == 1) beside.emplace(what, std::max(b, from));
      }
    }
  }
  const size_table sizes = micro_batch_sizes(whole, micro_batches);
  crossings found{vector<bytes>(blocks.size()), vector<bytes>(blocks.size())};
  for (const auto& [what, each] : journeys) {
    const value& entry = whole.values[what.value];
    std::int64_t elements = 1;
    for (const std::int64_t extent : extents_of(sizes, entry.axes)) elements *= extent;
    const bytes size{elements * size_of(entry.type)};
    for (std::int32_t b = each.first + 1; b <= each.last; ++b) {
      found.all[static_cast<std::size_t>(b)] += size;
      if (beside.count({what, b}) != 0) found.beside[static_cast<std::size_t>(b)] += size;
    }
  }
  return found;
}

/// True if some schedule of the pipeline may win, were its messages free.
inline bool may_win(const inter_problem& chain, const inter_plan& chosen, const contest& plans) {
  picoseconds before, bound;
  for (const std::int32_t number : chosen.candidates) {
    const stage_candidate& each = chain.candidates[static_cast<std::size_t>(number)];
    bound = std::max(bound, each.time * chain.micro_batches + std::max(each.once, before));
    before += each.time;
  }
  return plans.is_open_to(bound);
}

/// True if there is a plan of so many stages; 0: of any.
inline bool has_plan_of(const result<inter_answer>& found, std::int32_t stages) {
  if (!found) return false;
  const auto& plans = found.value().by_stages;
  const auto number = static_cast<std::size_t>(stages);
  return stages == 0 || (number < plans.size() && plans[number]);
}

/// "1, 2 or 4"
inline std::string alternatives_of(const vector<std::int32_t>& numbers) {
  std::string text;
  for (std::size_t n = 0; n < numbers.size(); ++n)
    text += (n == 0 ? "" : n + 1 < numbers.size() ? ", " : " or ") + std::to_string(numbers[n]);
  return text;
}

/// "17179869184", or "17179869184 and 85899345920": the memory of a device, of every group that has another.
inline std::string limits_text(const cluster& machine) {
  vector<std::string> all;
  for (const placed_group& each : groups_of(machine)) {
    std::string memory = std::to_string(each.alone.device.memory.count);
    if (std::find(all.begin(), all.end(), memory) == all.end()) all.push_back(std::move(memory));
  }
  std::string text;
  for (const std::string& each : all) text += (text.empty() ? "" : " and ") + each;
  return text;
}

/// "2 hosts of 8 devices: a stage takes an even part of a host, or whole hosts, here 1, 2, 4, 8 or 16 devices"
inline std::string places_text(const problem& posed) {
  const auto groups = groups_of(posed.cluster);
  std::string hosts, takes;
  for (const placed_group& each : groups) {
    vector<std::int32_t> ranks;
    for (const submesh& place : submeshes_for(posed.constraints, turned_to(posed.cluster, each.number)))
      ranks.push_back(place.ranks());
    hosts += (hosts.empty() ? "" : " and ") + counted(each.alone.hosts, "host") + " of " +
             counted(each.alone.devices_per_host, "device");
    takes +=
        (takes.empty() ? "" : " there, and ") + alternatives_of(ranks) + (ranks.back() == 1 ? " device" : " devices");
  }
  return hosts + ": a stage takes an even part of a host, or whole hosts" + (groups.size() > 1 ? " of one group" : "") +
         ", here " + takes;
}

/// Why the stages that were asked for cannot stand on the cluster. `placed`: plans of stages that can.
inline std::string misplaced(const problem& posed, const result<inter_answer>& placed) {
  const manual& asked = posed.constraints;
  vector<std::int32_t> stages;  // how many there may be, nearest below and above
  for (std::int32_t n = 1; placed && n < static_cast<std::int32_t>(placed.value().by_stages.size()); ++n) {
    if (!has_plan_of(placed, n)) continue;
    if (!stages.empty() && n < asked.stages) stages.clear();
    if (stages.empty() || stages.back() < asked.stages) stages.push_back(n);
  }
  std::string mesh;
  for (const mesh_axis_size& axis : asked.mesh) {
    if (axis.size > 0) mesh += (mesh.empty() ? "" : " x ") + axis.name + "=" + std::to_string(axis.size);
  }
  const std::string open = mesh.empty() ? "" : "the sizes of mesh axes";
  const std::string blocks = counted(static_cast<std::int64_t>(blocks_of(posed.graph).size()), "block");
  std::string text =
      "the model's " + blocks + " cannot be run as " + (asked.stages > 0 ? counted(asked.stages, "stage") : "stages") +
      (mesh.empty() ? "" : " of mesh " + mesh) + " on " + places_text(posed) + ", and every device is in one stage; ";
  if (!stages.empty())
    text += "ask for " + alternatives_of(stages) + (stages == vector{1} ? " stage" : " stages") + ", or ";
  if (asked.stages == 0 && mesh.empty()) return text + "plan for fewer groups of hosts";
  return text + "leave " + (asked.stages > 0 ? "the number of stages" : "") +
         (asked.stages > 0 && !mesh.empty() ? " and " : "") + open + " open";
}

}  // namespace detail

MESHLOOM_INLINE pipeline_search::pipeline_search(const problem& posed, std::int32_t micro_batches,
                                                 const intra_options& limits, pipeline_search* fewer,
                                                 known_stages* known)
    : posed_(posed),
      micro_batches_(micro_batches),
      cuts_(detail::cut_bytes(posed.graph, micro_batches)),
      stops_(stops_of(posed)),
      paths_(posed.graph),
      stages_(posed, micro_batches, limits, fewer != nullptr ? &fewer->stages_ : nullptr, known) {}

MESHLOOM_INLINE picoseconds pipeline_search::bound(picoseconds worth, bool messages) const {
  inter_problem chain = chain_of(stages_.bounds(), false);  // messages of one plan say nothing of all
  picoseconds least = worth;
  vector<schedule_kind> kinds = schedules_of(posed_);
  if (const auto lean = std::find(kinds.begin(), kinds.end(), schedule_kind::one_f_one_b);
      !messages && lean != kinds.end())
    kinds = {*lean};  // others keep no fewer micro-batches, and wait no less
  for (const schedule_kind kind : kinds) {
    chain.worth = least;
    chain.schedule = kind;
    picoseconds here = bound_of(chain).value();
    if (here < least && messages) here = least_bound(with_messages(chain), here).value().cost;
    least = std::min(least, here);
  }
  return least;
}

MESHLOOM_INLINE inter_problem pipeline_search::with_messages(inter_problem chain) const {
  const auto pay = [&](const cluster& hosts, vector<picoseconds>& cuts) {
    for (std::size_t b = 0; b < cuts.size(); ++b)
      cuts[b] = cuts_.beside[b].count > 0 ? transfer_price(cuts_.beside[b], hosts.between_hosts) : picoseconds{};
  };
  pay(posed_.cluster, chain.cut_between);
  const auto groups = groups_of(posed_.cluster);
  for (std::size_t g = 1; g < groups.size(); ++g) pay(groups[g].alone, chain.others[g - 1].cut_between);
  return chain;
}

MESHLOOM_INLINE pipeline_search::tightened pipeline_search::tighten(picoseconds worth, picoseconds enough,
                                                                    std::int64_t most_work) {
  constexpr std::int64_t closeness = 1000;  // of bounds that are as good as one another
  inter_problem chain = with_messages(chain_of(stages_.bounds(), false));
  const vector<schedule_kind> kinds = schedules_of(posed_);
  if (std::find(kinds.begin(), kinds.end(), schedule_kind::one_f_one_b) != kinds.end())
    chain.schedule = schedule_kind::one_f_one_b;  // others wait no less; where they win, `bound` says so
  chain.worth = worth;
  const inter_plan least = least_bound(chain, tight_, closeness, &chained_).value();
  tight_ = least.cost;
  if (least.cost < worth && least.cost.count > enough.count + enough.count / closeness) return {least.cost, true};
  vector<stage_candidate> some, late;  // those whose waits for the stages before may matter
  picoseconds before;
  for (const std::int32_t number : least.candidates) {
    const stage_candidate& each = chain.candidates[static_cast<std::size_t>(number)];
    some.push_back(each);
    if (micro_batches_ * each.time + each.once + before >= least.cost) late.push_back(each);
    before += each.time;
  }
  return {least.cost, stages_.tighten(some, most_work) || stages_.find_times(late, most_work)};
}

MESHLOOM_INLINE std::string pipeline_search::why() const {
  if (!stages_.stuck().empty())
    return "operator " + stages_.stuck() +
           " has no strategy that meets its pins; remove one, or pin an axis it can split";
  const std::string limit = " keeps to the limit of " + detail::limits_text(posed_.cluster) + " bytes per rank";
  const std::int32_t stages = posed_.constraints.stages;
  inter_problem free = chain_of(stages_.needs(), true);
  free.limit.reset();
  for (inter_group& each : free.others) each.limit.reset();
  if (const auto placed = solve(free); !detail::has_plan_of(placed, stages)) return detail::misplaced(posed_, placed);
  for (const auto& candidates : {stages_.needs(), stages_.candidates()}) {
    const inter_problem chain = chain_of(candidates, true);
    const auto answer = solve(chain);
    if (detail::has_plan_of(answer, stages)) continue;
    free.candidates = candidates;
    if (answer || !solve(free))
      return "no plan" + limit + " and to the constraints: stages that do cannot together run the model; raise the " +
             "limit, or leave a constraint out";
    return answer.error().substr(0, answer.error().rfind(';')) + "; raise the limit by as much or more";
  }
  return "no plan" + limit + ": with its messages the leanest holds up to " + std::to_string(missing_.count) +
         " bytes more; raise the limit by as much";
}

MESHLOOM_INLINE inter_problem pipeline_search::chain_of(const vector<stage_candidate>& candidates, bool messages,
                                                        bytes reserve) const {
  inter_problem made{.blocks = static_cast<std::int32_t>(cuts_.all.size()),
                     .micro_batches = micro_batches_,
                     .schedule = schedules_of(posed_).front(),
                     .candidates = candidates,
                     .stops = stops_};
  const auto kinds = kinds_of(posed_.cluster);
  const auto describe = [&](const cluster& hosts, auto& group) {
    group.hosts = hosts.hosts;
    group.devices_per_host = hosts.devices_per_host;
    group.limit = hosts.device.memory - reserve;
    for (const bytes each : cuts_.all) {
      const bool none = !messages || each.count == 0;
      group.cut_within.push_back(none ? picoseconds{} : transfer_price(each, hosts.within_host));
      group.cut_between.push_back(none ? picoseconds{} : transfer_price(each, hosts.between_hosts));
    }
  };
  describe(posed_.cluster, made);
  const auto groups = groups_of(posed_.cluster);
  for (std::size_t g = 1; g < groups.size(); ++g) {
    made.others.push_back({.kind = kinds[g]});
    describe(groups[g].alone, made.others.back());
  }
  return made;
}

MESHLOOM_INLINE bool pipeline_search::is_wanted(const vector<std::int32_t>& chosen) const {
  const std::int32_t stages = posed_.constraints.stages;
  return stages == 0 || static_cast<std::int32_t>(chosen.size()) == stages;
}

MESHLOOM_INLINE std::optional<picoseconds> pipeline_search::floor(const contest& plans, picoseconds most) const {
  inter_problem chain = loaded_chain();
  chain.worth = plans.best() ? std::min(plans.best()->predicted, most) : most;
  const auto least = bound_of(chain);
  if (!least || !plans.is_open_to(least.value())) return std::nullopt;
  return least.value();
}

MESHLOOM_INLINE std::optional<picoseconds> pipeline_search::promise(const contest& plans) {
  if (plans.best()) stages_.expect(plans.best()->predicted);
  constexpr std::int64_t most_dearer = 10;  // one part in so many: what equal stages pay is not all there is to know
  inter_problem chain = loaded_chain();
  if (plans.best()) chain.worth = {plans.best()->predicted.count + plans.best()->predicted.count / most_dearer};
  next_.clear();
  const auto look_at = [&](const inter_plan& each) {
    if (!is_wanted(each.candidates) || !detail::may_win(chain, each, plans)) return;
    if (entered_.count(stages_.origins_of(each.candidates)) != 0) return;
    const picoseconds hope = evaluate(chain, each.candidates).value().paced;
    if (chain.worth && hope >= *chain.worth) return;
    next_ = each.candidates;
    chain.worth = hope;
  };
  const auto best = cheapest(chain, &chained_);
  if (!best) return std::nullopt;
  look_at(best.value());
  constexpr std::int64_t closeness = 256;  // where messages keep its stages from their pace, others may promise more
  const picoseconds cost = best.value().cost, paced = evaluate(chain, best.value().candidates).value().paced;
  if (next_.empty() || (paced - cost).count > cost.count / closeness) {
    for (const inter_plan& each : steadiest(chain, &chained_)) look_at(each);
  }
  const auto others = solve(chain, &chained_);
  for (std::size_t n = 0; others && n < others.value().by_stages.size(); ++n) {
    if (const auto& each = others.value().by_stages[n]) look_at(*each);
  }
  return next_.empty() ? std::nullopt : chain.worth;
}

MESHLOOM_INLINE void pipeline_search::step(contest& plans) {
  const auto open = open_in(next_);
  if (!open.empty()) {
    stages_.refine(open);
    return;
  }
  entered_.insert(stages_.origins_of(next_));
  const inter_problem chain = loaded_chain();
  const plan made = plan_of(chain, next_);
  const bytes over = enter(made, plans);
  if (over.count > 0) {
    missing_ = std::max(missing_, over);
    if (!note_messages(chain, made)) {
      reserve_ += over;
      entered_.clear();
    }
  }
  if (next_.size() > 1 && stages_.find_others(next_)) stages_.refine({});  // with messages that suit neighbours better
}

MESHLOOM_INLINE inter_problem pipeline_search::loaded_chain() const {
  inter_problem chain = chain_of(stages_.candidates(), true, reserve_);
  if (besides_.empty()) return chain;
  vector<std::int32_t> all(chain.candidates.size());
  std::iota(all.begin(), all.end(), 0);
  const auto origins = stages_.origins_of(all);
  for (std::size_t c = 0; c < all.size(); ++c) {
    if (const auto more = besides_.find(origins[c]); more != besides_.end()) chain.candidates[c].held += more->second;
  }
  return chain;
}

MESHLOOM_INLINE bool pipeline_search::note_messages(const inter_problem& chain, const plan& made) {
  constexpr std::size_t often = 20;
  if (besides_.size() >= often) return false;
  const auto origins = stages_.origins_of(next_);
  const auto peaks = peaks_of(posed_.graph, made, posed_.cluster);
  bool more = false;
  for (std::size_t s = 0; s < peaks.size(); ++s) {
    const stage_candidate& each = chain.candidates[static_cast<std::size_t>(next_[s])];
    const int slots =
        slots_in_flight(chain.schedule, static_cast<int>(peaks.size()), static_cast<int>(s), micro_batches_);
    const bytes besides = peaks[s] - each.held - each.slot * slots;
    const stage_plan& stage = made.stages[static_cast<stage_id>(s)];
    if (besides.count <= 0 || peaks[s] <= device_of(posed_.cluster, stage.first_rank).memory) continue;
    besides_[origins[s]] += besides;
    more = true;
  }
  return more;
}

MESHLOOM_INLINE void pipeline_search::finish(contest& plans) {
  constexpr std::int64_t most_moves = 20'000, most_predicted = 20'000;  // of one operator each
  constexpr int least_entered = 40, rounds = 3;
  const int most_entered =
      std::max(least_entered, static_cast<int>(most_predicted / static_cast<std::int64_t>(posed_.graph.nodes.size())));
  const auto worth = [&] {
    return plans.best() ? plans.best()->predicted : picoseconds{std::numeric_limits<std::int64_t>::max()};
  };
  int entered = 0;
  for (int round = 0; round < rounds && plans.best(); ++round) {
    const inter_problem chain = chain_of(stages_.candidates(), false);
    if (static_cast<std::int64_t>(chain.candidates.size()) * chain.blocks > most_moves) return;
    vector<std::int32_t> open, staged;
    for_each_pipeline(chain, most_moves, worth, [&](const vector<std::int32_t>& chosen) {
      if (!is_wanted(chosen) || entered >= most_entered) return;
      const auto here = open_in(chosen);
      open.insert(open.end(), here.begin(), here.end());
      if (!here.empty() || !evaluate(chain, chosen)) return;
      ++entered;
      enter(plan_of(chain, chosen), plans);
      if (chosen.size() > 1) staged.insert(staged.end(), chosen.begin(), chosen.end());
    });
    if (!stages_.find_others(staged) && open.empty()) return;
    stages_.refine(open);
  }
}

MESHLOOM_INLINE void pipeline_search::polish(contest& plans, std::size_t most_priced) {
  constexpr std::int64_t most_gained = 30;  // of a step, one part in so many
  constexpr std::size_t most_polished = 2;
  inter_problem chain = chain_of(stages_.candidates(), true, reserve_);
  if (plans.best()) chain.worth = {plans.best()->predicted.count + plans.best()->predicted.count / most_gained};
  const auto answer = solve(chain);
  if (!answer) return;
  vector<std::pair<picoseconds, vector<std::int32_t>>> found;
  for (const auto& each : answer.value().by_stages) {
    if (!each || !is_wanted(each->candidates) || !open_in(each->candidates).empty()) continue;
    const picoseconds predicted = predict(posed_.graph, plan_of(chain, each->candidates), posed_.cluster, paths_);
    const picoseconds hope{predicted.count - predicted.count / most_gained};
    if (plans.is_open_to(hope)) found.push_back({predicted, each->candidates});
  }
  std::sort(found.begin(), found.end());
  if (found.size() > most_polished) found.resize(most_polished);
  for (auto& [predicted, each] : found) enter(polished(chain, std::move(each), most_priced), plans);
}

MESHLOOM_INLINE plan pipeline_search::polished(const inter_problem& chain, vector<std::int32_t> chosen,
                                               std::size_t most_priced) {
  constexpr std::int64_t most_dearer = 50;  // in lockstep, one part in so many
  std::size_t tries = std::min<std::size_t>(most_priced / chosen.size(), 200);
  plan made = plan_of(chain, chosen);
  made.predicted = predict(posed_.graph, made, posed_.cluster, paths_);
  picoseconds cost = evaluate(chain, chosen).value().cost;
  for (std::size_t s = 0, settled = 0; settled < chosen.size(); s = (s + 1) % chosen.size(), ++settled) {
    for (const std::int32_t way : stages_.ways_like(chosen[s])) {
      vector<std::int32_t> next = chosen;
      next[s] = way;
      const auto price = evaluate(chain, next);
      if (!price || price.value().cost.count > cost.count + cost.count / most_dearer) continue;
      if (tries-- == 0) return made;
      plan other = plan_of(chain, next);
      other.predicted = predict(posed_.graph, other, posed_.cluster, paths_);
      if (other.predicted >= made.predicted || excess(other).count > 0) continue;
      made = std::move(other);
      chosen = std::move(next);
      cost = price.value().cost;
      settled = 0;
    }
  }
  return made;
}

MESHLOOM_INLINE vector<std::int32_t> pipeline_search::open_in(const vector<std::int32_t>& chosen) const {
  vector<std::int32_t> found;
  std::copy_if(chosen.begin(), chosen.end(), std::back_inserter(found),
               [&](std::int32_t candidate) { return stages_.is_open(candidate); });
  return found;
}

MESHLOOM_INLINE plan pipeline_search::plan_of(const inter_problem& chain, const vector<std::int32_t>& chosen) const {
  plan made{.model = hash_of(posed_.graph),
            .sizes = posed_.graph.sizes,
            .ranks = posed_.cluster.ranks(),
            .micro_batches = micro_batches_,
            .schedule = chain.schedule,
            .stages = {},
            .predicted = {},
            .bound = {}};
  std::int32_t block = 0, rank = 0;
  for (const std::int32_t number : chosen) {
    made.stages.add(stages_.plan_of(number, block, rank));
    const stage_candidate& each = chain.candidates[static_cast<std::size_t>(number)];
    block += each.end_block - each.first_block;
    rank += each.ranks;
  }
  return made;
}

MESHLOOM_INLINE bytes pipeline_search::enter(plan made, contest& plans) {
  bytes most;
  const vector<schedule_kind> kinds = schedules_of(posed_);
  const vector<picoseconds> predicted = predict(posed_.graph, made, posed_.cluster, paths_, kinds);
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    made.schedule = kinds[k];
    made.predicted = predicted[k];
    plans.enter(made, [&] {
      const bytes over = excess(made);
      if (k == 0) most = over;  // another schedule may keep more
      return over.count <= 0;
    });
  }
  return most;
}

MESHLOOM_INLINE bytes pipeline_search::excess(const plan& made) const {
  const auto peaks = peaks_of(posed_.graph, made, posed_.cluster);
  bytes most{std::numeric_limits<std::int64_t>::min()};
  for (std::size_t s = 0; s < peaks.size(); ++s) {
    const std::int32_t rank = made.stages[static_cast<stage_id>(s)].first_rank;
    most = std::max(most, peaks[s] - device_of(posed_.cluster, rank).memory);
  }
  return most;
}

}  // namespace meshloom
