// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/words.hpp>
#include <meshloom/planner/contest.hpp>
#include <meshloom/planner/solve.hpp>
#include <meshloom/program/place.hpp>
#include <meshloom/report/evaluate.hpp>
#include <meshloom/report/fewest_recomputed.hpp>
#include <meshloom/report/why_infeasible.hpp>
#include <meshloom/report/wording.hpp>

#include <algorithm>
#include <cmath>

namespace meshloom {
namespace detail {

/// A plan that `evaluate` finds nothing wrong with, or why there is none.
inline result<plan> sound_plan(const problem& posed) {
  result<plan> made = solve(posed);
  if (!made) return made;
  const auto violations = evaluate(posed, made.value()).violations;
  return violations.empty() ? made : failure{violations.front()};
}

/// A kind of constraint that can be left out.
struct constraint_kind {
  const char* change;
  bool (*is_said)(const problem& posed);
  void (*leave_out)(problem& posed);
};

inline constexpr constraint_kind constraint_kinds[] = {
    {"leave open where stages begin", [](const problem& posed) { return !posed.constraints.cuts.empty(); },
     [](problem& posed) { posed.constraints.cuts.clear(); }},
    {"leave the number of stages open",
     [](const problem& posed) { return posed.constraints.automatic && posed.constraints.stages > 0; },
     [](problem& posed) { posed.constraints.stages = 0, posed.constraints.cuts.clear(); }},
    {"leave the sizes of mesh axes open",
     [](const problem& posed) {
       const auto is_fixed = [](const mesh_axis_size& axis) { return axis.size > 0; };
       const auto& mesh = posed.constraints.mesh;
       return posed.constraints.automatic && std::any_of(mesh.begin(), mesh.end(), is_fixed);
     },
     [](problem& posed) {
       for (mesh_axis_size& axis : posed.constraints.mesh) axis.size = 0;
     }},
    {"leave the schedule open", [](const problem& posed) { return !posed.constraints.schedules.empty(); },
     [](problem& posed) { posed.constraints.schedules.clear(); }},
    {"leave open what mesh axes split", [](const problem& posed) { return !posed.constraints.rules.empty(); },
     [](problem& posed) { posed.constraints.rules.clear(); }},
    {"leave open how ZeRO keeps parameters", [](const problem& posed) { return !posed.constraints.zero.empty(); },
     [](problem& posed) { posed.constraints.zero.clear(); }},
    {"remove the pins of the plan", [](const problem& posed) { return !posed.constraints.pins.empty(); },
     [](problem& posed) { posed.constraints.pins.clear(); }},
    {"remove the pins of the model", [](const problem& posed) { return !posed.graph.pins.empty(); },
     [](problem& posed) { posed.graph.pins.clear(); }},
};

/// Plans problems that differ from one without a plan in one thing each.
class relaxations {
 public:
  explicit relaxations(const problem& posed) : posed_(posed) {}

  vector<relaxation> all(const std::optional<relaxation>& more_memory) {
    change_micro_batches();
    raise_zero();
    recompute_more();
    leave_out();
    grow(more_memory);
    return std::move(found_);
  }

  /// The least memory of a device that is enough, to 3 %. A plan for unlimited memory says how much is.
  std::optional<relaxation> more_memory() const {
    constexpr double tolerance = 1.03;
    const auto unlimited = with_memory(bytes{std::int64_t{1} << 50});
    if (!unlimited) return std::nullopt;
    bytes fails = posed_.cluster.device.memory, fits = fails + bytes{1};
    const verdict ample = evaluate(unlimited->posed, unlimited->found);
    for (std::size_t s = 0; s < unlimited->found.stages.size(); ++s) {
      const bytes peak = ample.parts->stages[static_cast<stage_id>(s)].peak();
      const std::int32_t rank = unlimited->found.stages[static_cast<stage_id>(s)].first_rank;
      fits = std::max(fits, in_proportion(peak, device_of(posed_.cluster, rank), posed_.cluster.device));
    }
    std::optional<relaxation> best;
    while (fits.count > fails.count + 1 &&
           static_cast<double>(fits.count) > tolerance * static_cast<double>(fails.count)) {
      const double between = std::sqrt(static_cast<double>(fits.count)) *
                             std::sqrt(static_cast<double>(std::max<std::int64_t>(fails.count, 1)));
      const bytes middle{std::clamp(static_cast<std::int64_t>(between), fails.count + 1, fits.count - 1)};
      if (auto next = with_memory(middle))
        best = std::move(next), fits = middle;
      else
        fails = middle;
    }
    return best ? best : with_memory(fits);
  }

 private:
  std::optional<relaxation> attempt(std::string change, problem changed) const {
    auto made = sound_plan(changed);
    if (!made) return std::nullopt;
    return relaxation{std::move(change), std::move(changed), std::move(made).value()};
  }

  bool keep(std::optional<relaxation> next) {
    if (next) found_.push_back(std::move(*next));
    return next.has_value();
  }

  /// Other numbers of micro-batches, the nearest first.
  void change_micro_batches() {
    const std::int32_t said = posed_.constraints.micro_batches;
    if (said <= 0) return;
    const std::int64_t batch = posed_.graph.sizes[posed_.graph.micro_batched].extent;
    vector<std::int32_t> counts;
    for (std::int64_t count = 1; count <= batch; ++count) {
      if (batch % count == 0 && count != said) counts.push_back(static_cast<std::int32_t>(count));
    }
    const auto order = [&](std::int32_t count) {
      return std::pair(static_cast<double>(std::max(count, said)) / std::min(count, said), count);
    };
    std::sort(counts.begin(), counts.end(), [&](auto a, auto b) { return order(a) < order(b); });
    for (const std::int32_t count : counts) {
      problem changed = posed_;
      changed.constraints.micro_batches = count;
      if (keep(attempt(sentence({"take ", count, count == 1 ? " micro-batch" : " micro-batches", ", not ", said}),
                       std::move(changed))))
        return;
    }
  }

  /// Higher levels of ZeRO on the mesh axes that are told to split the batch.
  void raise_zero() {
    const std::string& batch = posed_.graph.sizes[posed_.graph.micro_batched].name;
    for (std::int32_t level = 1; level <= 3; ++level) {
      problem changed = posed_;
      auto& levels = changed.constraints.zero;
      std::string axes;
      for (const axis_rule& rule : posed_.constraints.rules) {
        const auto same = [&](const zero_rule& each) { return each.mesh_axis == rule.mesh_axis; };
        const auto known = std::find_if(levels.begin(), levels.end(), same);
        if (rule.axis != batch || (known != levels.end() && known->level >= level)) continue;
        if (known == levels.end())
          levels.push_back({rule.mesh_axis, level});
        else
          known->level = level;
        axes += (axes.empty() ? "" : " and ") + rule.mesh_axis;
      }
      if (!axes.empty() &&
          keep(attempt(sentence({"keep parameters as ZeRO ", level, " does on mesh axis ", axes}), std::move(changed))))
        return;
    }
  }

  void recompute_more() {
    stage_plan more;
    const auto fewest = fewest_recomputed(posed_);
    if (!fewest) return;
    more.recompute = *fewest;
    const auto count = std::count(fewest->begin(), fewest->end(), true);
    keep(attempt(sentence({"recompute ", count, posed_.constraints.recompute.empty() ? "" : " more",
                           count == 1 ? " block: " : " blocks: ", recomputed_text(posed_.graph, more)}),
                 recomputing(posed_, *fewest)));
  }

  void leave_out() {
    int said = posed_.constraints.automatic ? 0 : 2;  // a plan by hand says all
    for (const constraint_kind& kind : constraint_kinds) {
      if (!kind.is_said(posed_)) continue;
      ++said;
      problem changed = posed_;
      kind.leave_out(changed);
      keep(attempt(kind.change, std::move(changed)));
    }
    if (said > 1 && found_.empty())
      keep(attempt("leave everything to the planner", formulate(posed_.graph, posed_.cluster)));
  }

  /// A cluster of one host says nothing of a network: it grows by devices, others by hosts.
  void grow(const std::optional<relaxation>& memory) {
    const cluster& now = posed_.cluster;
    const auto devices =
        hosts_of(now) > 1 ? more(&cluster::hosts, "hosts") : more(&cluster::devices_per_host, "devices per host");
    const auto times = [](auto grown, auto from) { return static_cast<double>(grown) / static_cast<double>(from); };
    const bool devices_first =
        devices && memory &&
        times(devices->posed.cluster.ranks(), now.ranks()) <
            times(memory->posed.cluster.device.memory.count, std::max<std::int64_t>(now.device.memory.count, 1));
    keep(devices_first ? devices : memory);
    keep(devices_first ? memory : devices);
  }

  std::optional<relaxation> more(std::int32_t cluster::*which, const char* what) const {
    const std::int32_t now = posed_.cluster.*which;
    for (const std::int32_t count : {now + 1, now * 2, now * 4, now * 8}) {
      problem changed = posed_;
      changed.cluster.*which = count;
      if (changed.cluster.ranks() > most_ranks) break;
      const std::string change = sentence(
          {"take ", count, " ", what, posed_.cluster.others.empty() ? "" : " of the first group", ", not ", now});
      if (auto found = attempt(change, std::move(changed))) return found;
    }
    return std::nullopt;
  }

  /// What some memory of one device is in the proportion of two; equal devices leave it as it is.
  static bytes in_proportion(bytes memory, const device& of, const device& to) {
    if (of.memory == to.memory) return memory;
    const double share =
        static_cast<double>(to.memory.count) / static_cast<double>(std::max<std::int64_t>(of.memory.count, 1));
    return {static_cast<std::int64_t>(std::ceil(static_cast<double>(memory.count) * share))};
  }

  /// So much for devices of the first group, and for others in proportion.
  std::optional<relaxation> with_memory(bytes memory) const {
    problem changed = posed_;
    changed.cluster.device.memory = memory;
    for (host_group& each : changed.cluster.others)
      each.device.memory = in_proportion(memory, posed_.cluster.device, each.device);
    const std::string more = more_than_now(memory);
    std::string change = sentence(
        {"give each device ", describe_bytes(memory), " of memory (", memory.count, " bytes), ", more, " more"});
    if (!posed_.cluster.others.empty())
      change = sentence({"give each device ", more, " more memory: ", describe_bytes(memory), " (", memory.count,
                         " bytes) in the first group of hosts, and others in proportion"});
    return attempt(std::move(change), std::move(changed));
  }

  std::string more_than_now(bytes memory) const {
    const auto now = static_cast<double>(std::max<std::int64_t>(posed_.cluster.device.memory.count, 1));
    return describe_share((static_cast<double>(memory.count) - now) / now);
  }

  const problem& posed_;
  vector<relaxation> found_;
};

}  // namespace detail

MESHLOOM_INLINE std::optional<infeasibility> why_infeasible(const problem& posed) {
  const auto made = detail::sound_plan(posed);
  if (made) return std::nullopt;
  detail::relaxations search(posed);
  const auto memory = search.more_memory();
  infeasibility why{made.error(), search.all(memory)};
  if (memory) {
    const bytes has = posed.cluster.device.memory, needs = memory->posed.cluster.device.memory;
    const char* where = posed.cluster.others.empty() ? "" : " in the first group of hosts, others in proportion";
    why.reason = sentence({"the memory of a device limits: it has ", has.count, " bytes", where, ", and ",
                           (needs - has).count, " more are enough; ", why.reason});
  }
  return why;
}

MESHLOOM_INLINE std::string explain(const infeasibility& why) {
  std::string text;
  detail::add_table(text, "There is no plan", {{{"why"}}, {{why.reason}}});
  text_table table{{{"change"}, {"plan"}, {"a step takes", true}}, {}};
  for (const relaxation& each : why.relaxations)
    table.rows.push_back({each.change, shape_of(each.found), describe_time(each.found.predicted)});
  detail::add_table(text, "Any of these is enough, the nearest first", table);
  if (table.rows.empty()) text += "\nNo change of one kind is enough.\n";
  return text;
}

}  // namespace meshloom
