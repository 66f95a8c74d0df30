// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/shortened.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/program/lower_stage.hpp>
#include <meshloom/program/memories.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// Measures the stages of a plan of which each block stands for as many as `times` says.
class measured_plan {
 public:
  measured_plan(const graph& whole, const plan& made, const cluster& machine, const vector<std::int64_t>& times)
      : whole_(whole),
        made_(made),
        times_(times),
        nodes_(whole),
        crossings_(find_crossings(whole, made, nodes_)),
        paths_(whole) {
    for (const instance& each : results_of(whole)) results_.push_back(port_of(whole, each.value));
    for (const stage_plan& each : made.stages) links_.push_back(links_of(machine, each.mesh, each.first_rank));
  }

  const vector<crossing>& crossings() const { return crossings_; }

  /// Nothing where it is not sure what the copies need that are left out.
  std::optional<stage_memory> measure(stage_id which) {
    const stage_draft drawn = draft(which);
    stage_memory held = kept(drawn);
    bytes unsure;
    for (int k = 0; k < pass_count; ++k) add_transient(drawn, static_cast<pass>(k), held, unsure);
    return unsure > held.transient ? std::nullopt : std::optional(held);
  }

  bytes slot(stage_id which) { return kept(draft(which)).slot; }

  /// True if two stages hold the same: they run the same on meshes that stand alike, among neighbours that send and
  /// want the same.
  bool are_alike(stage_id a, stage_id b) const {
    const stage_plan &one = made_.stages[a], &other = made_.stages[b];
    return one.mesh == other.mesh && one.recompute == other.recompute && one.strategies == other.strategies &&
           one.parameters == other.parameters && links_[index_of(a)] == links_[index_of(b)] && have_like_blocks(a, b) &&
           total_alike(a, b) && messages_of(a) == messages_of(b);
  }

 private:
  /// A message as its stage sees it.
  struct local_message {
    value_id what;
    std::int32_t block;  ///< that makes it, from the stage's first
    bool sends, to_like_mesh;
    pass from, to;
    spec wanted;
    bool operator==(const local_message&) const = default;
  };

  stage_draft draft(stage_id which) {
    vector<transfer> transfers(crossings_.size());
    vector<port> results = results_;
    known_paths& paths = paths_.of(made_.micro_batches, made_.stages[which].mesh, links_[index_of(which)]);
    return stage_lowering(whole_, made_, which, nodes_, paths, crossings_, transfers, false).draft(results);
  }

  /// All but what is transient.
  stage_memory kept(const stage_draft& drawn) const {
    stage_memory held{};
    for (std::size_t b = 0; b < drawn.blocks.size(); ++b) {
      const buffer& each = drawn.made.buffers[buffer_id(b)];
      if (each.where == memory::transient) continue;
      (each.where == memory::fixed ? held.fixed : held.slot) += each.size * times_of(drawn.blocks[buffer_id(b)]);
    }
    return held;
  }

  std::int32_t number_of(const block& of) const { return nodes_.first[of.region] + of.copy; }

  std::int64_t times_of(const block& of) const {
    return of.region == region_id::none ? 1 : times_[static_cast<std::size_t>(number_of(of))];
  }

  /// What runs more often in a stage with all copies.
  vector<refrain> refrains_of(const vector<stage_draft::part>& parts) const {
    vector<refrain> found;
    for (std::size_t k = 1; k + 2 < parts.size(); ++k) {
      if (times_of(parts[k].of) == 1 || parts[k].begin == parts[k + 1].begin) continue;
      found.push_back(
          {parts[k - 1].begin, parts[k].begin, parts[k + 1].begin, parts[k + 2].begin, times_of(parts[k].of)});
    }
    return found;
  }

  /// What a body needs; if that is not sure, the most that it may need: all its buffers side by side.
  void add_transient(const stage_draft& drawn, pass which, stage_memory& held, bytes& unsure) const {
    const body_lifetimes found = lifetimes_of(drawn.made, which, drawn.sent);
    const auto repeated = refrains_of(drawn.parts[static_cast<std::size_t>(which)]);
    const auto total = repeated.empty() ? std::optional(pack(found.lives, arena_alignment).total)
                                        : total_with(repeated, found.lives, arena_alignment);
    held.transient = std::max(held.transient, total.value_or(bytes{}));
    if (total) return;
    bytes sum;
    for (const buffer_id each : found.buffers) sum += drawn.made.buffers[each].size * times_of(drawn.blocks[each]);
    unsure = std::max(unsure, sum);
  }

  bool have_like_blocks(stage_id a, stage_id b) const {
    const stage_plan &one = made_.stages[a], &other = made_.stages[b];
    for (std::int32_t k = 0; k < one.end_block - one.first_block; ++k) {
      const block here = nodes_.blocks[static_cast<std::size_t>(one.first_block + k)];
      const block there = nodes_.blocks[static_cast<std::size_t>(other.first_block + k)];
      const std::int32_t last = whole_.regions[here.region].count - 1;
      const bool alike = here.region == there.region && (here.copy == 0) == (there.copy == 0) &&
                         (here.copy == last) == (there.copy == last) && times_of(here) == times_of(there);
      if (!alike) return false;
    }
    return true;
  }

  /// True if the stages add the same to a total: what another one adds, if it comes before.
  bool total_alike(stage_id a, stage_id b) const {
    const auto is_kept_before = [&](std::size_t parameter, stage_id end) {
      const auto keeps = [&](const stage_plan& each) { return each.parameters[parameter].used; };
      return std::any_of(made_.stages.begin(), made_.stages.begin() + static_cast<std::ptrdiff_t>(end), keeps);
    };
    if (whole_.squares.value == value_id::none) return true;
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      if (!made_.stages[a].parameters[p].used) continue;
      if (whole_.regions[whole_.values[whole_.parameters[p].value].region].repeated) continue;
      if (is_kept_before(p, a) != is_kept_before(p, b)) return false;
    }
    return true;
  }

  vector<local_message> messages_of(stage_id which) const {
    const stage_plan& here = made_.stages[which];
    vector<local_message> found;
    for (const crossing& each : crossings_) {
      if (each.from != which && each.to != which) continue;
      const bool sends = each.from == which;
      found.push_back({each.what.value, number_of(maker_of(whole_, each.what)) - here.first_block, sends,
                       sends && made_.stages[each.to].mesh == here.mesh, each.from_pass, each.to_pass, each.wanted});
    }
    return found;
  }

  const graph& whole_;
  const plan& made_;
  const vector<std::int64_t>& times_;  ///< per block
  sorted_nodes nodes_;
  vector<crossing> crossings_;
  shared_paths paths_;
  vector<port> results_;
  vector<mesh_links> links_;  ///< of each stage
};

/// The stages of a plan, measured where it is shortened, or where that does not do as it is.
class plan_memory {
 public:
  plan_memory(const graph& whole, const plan& made, const cluster& machine)
      : whole_(whole), made_(made), machine_(machine), shorter_(shortened(whole, made)) {
    if (shorter_)
      short_.emplace(shorter_->whole, shorter_->made, machine, shorter_->times);
    else
      in_full();
  }

  stage_memory measure(stage_id which) {
    if (short_) {
      if (const auto held = short_->measure(which)) return *held;
    }
    return in_full().measure(which).value();
  }

  bytes slot(stage_id which) { return (short_ ? *short_ : *full_).slot(which); }

  vector<stage_memory> measure_all() {
    vector<stage_memory> held;
    const measured_plan& stages = short_ ? *short_ : *full_;
    for (std::size_t s = 0; s < made_.stages.size(); ++s) {
      std::size_t like = 0;
      while (like < s && !stages.are_alike(stage_id(like), stage_id(s))) ++like;
      held.push_back(like < s ? held[like] : measure(stage_id(s)));
    }
    return held;
  }

  const vector<crossing>& crossings() const { return short_ ? short_->crossings() : full_->crossings(); }

 private:
  measured_plan& in_full() {
    if (!full_) {
      once_.assign(blocks_of(whole_).size(), 1);
      full_.emplace(whole_, made_, machine_, once_);
    }
    return *full_;
  }

  const graph& whole_;
  const plan& made_;
  const cluster& machine_;
  std::optional<shortened_plan> shorter_;
  vector<std::int64_t> once_;
  std::optional<measured_plan> short_, full_;
};

}  // namespace detail

MESHLOOM_INLINE vector<stage_memory> memories_of(const graph& whole, const plan& made, const cluster& machine) {
  return detail::plan_memory(whole, made, machine).measure_all();
}

MESHLOOM_INLINE stage_memory memory_of(const graph& whole, const plan& made, const cluster& machine, stage_id which) {
  return detail::plan_memory(whole, made, machine).measure(which);
}

MESHLOOM_INLINE bytes slot_of(const graph& whole, const plan& made, const cluster& machine, stage_id which) {
  return detail::plan_memory(whole, made, machine).slot(which);
}

/// Only messages that skip stages may land early.
MESHLOOM_INLINE vector<bytes> peaks_of(const graph& whole, const plan& made, const cluster& machine) {
  detail::plan_memory memory(whole, made, machine);
  const auto held = memory.measure_all();
  const schedule_kind kind = schedule_of(whole, made);
  vector<message> routes;
  bool skip = false;
  for (const crossing& each : memory.crossings()) {
    routes.push_back(detail::route_of(each));
    skip = skip || (each.to_pass == pass::forward && index_of(each.to) > index_of(each.from) + 1);
  }
  if (!skip) routes.clear();
  const auto orders = skip ? detail::orders_of(made, kind, routes) : vector<vector<action>>(held.size());
  vector<bytes> peaks;
  for (std::size_t s = 0; s < held.size(); ++s) {
    const std::int32_t slots = detail::slots_of(made, kind, static_cast<int>(s), routes, orders[s]);
    peaks.push_back(held[s].fixed + held[s].slot * slots + held[s].transient);
  }
  return peaks;
}

}  // namespace meshloom
