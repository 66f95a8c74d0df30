// SPDX-License-Identifier: Apache-2.0
// Every plan of a small problem, one after the other: numbers of micro-batches × cuts × submeshes × logical meshes ×
// recomputation × schedules, and for each of these frames strategies × how parameters, states and sums of gradients are
// kept. Plain recursion over the values of a plan; from the planner it has the tables of what may be chosen, and
// nothing else. `check`, `predict` and what `lower` allocates judge a plan.
//
// Rules of the searched space, which hold here too: all copies of a repeated layer in a stage choose strategies alike,
// and each recomputes or does not, other blocks never; stages lie on contiguous ranks, each within a host or on whole
// hosts of one group; meshes have at most two axes (of a × b and b × a on one host one is searched; up to 4 ranks there
// is only 2 × 2), and what both cut the first cuts outside. Two rules do not: here a sum of gradients may lie in any
// spec, and a value may have as many forms at a time as its readers want.
//
// An unfinished plan is bounded: by what its operators and reshards so far take, walked through as stages run, with the
// least of every operator to come, and by what it holds so far. If that is no better than the best plan known, it is
// not finished. Law: bounds are no more than the referees say; of a plan of one stage that is finished the time is
// equal.
#pragma once

#include <meshloom/base/vector.hpp>
#include <meshloom/cost/analytic.hpp>
#include <meshloom/plan/crossing.hpp>
#include <meshloom/plan/stage_price.hpp>
#include <meshloom/planner/allowed.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/sharding/meshes.hpp>

#include "../plan/measures.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <random>

namespace joint {

namespace ml = meshloom;
using ml::bytes;
using ml::picoseconds;

inline constexpr picoseconds never{std::numeric_limits<std::int64_t>::max()};

/// All frames of a problem: plans in which strategies and storages are not chosen yet.
class every_frame {
 public:
  every_frame(const ml::problem& posed, std::function<void(const ml::plan&)> visit)
      : posed_(posed), whole_(posed.graph), blocks_(ml::blocks_of(posed.graph)), visit_(std::move(visit)) {
    const std::int64_t batch = whole_.sizes[whole_.micro_batched].extent;
    for (std::int32_t parts = 1; parts <= batch; ++parts) {
      if (batch % parts != 0) continue;
      frame_ = {.model = ml::hash_of(whole_),
                .sizes = whole_.sizes,
                .ranks = posed.cluster.ranks(),
                .micro_batches = parts,
                .stages = {},
                .predicted = {},
                .bound = {}};
      extend(0, 0);
    }
  }

 private:
  void extend(std::int32_t block, std::int32_t rank) {
    const auto blocks = static_cast<std::int32_t>(blocks_.size());
    if (block == blocks && rank == frame_.ranks) return schedule();
    const ml::placed_group group = ml::group_of(posed_.cluster, rank);
    const std::int32_t host = group.alone.devices_per_host, in_host = (rank - group.first_rank) % host;
    for (std::int32_t end = block + 1; end <= blocks; ++end) {
      for (const ml::submesh& each : ml::submeshes_of(group.alone)) {
        if (rank + each.ranks() > group.end_rank() || in_host + each.devices > host) continue;
        for (const ml::mesh_shape& mesh :
             ml::logical_meshes(each.ranks(), static_cast<int>(posed_.constraints.mesh.size())))
          add(mesh, rank, block, end);
      }
    }
  }

  /// The stage with every set of blocks that may recompute.
  void add(const ml::mesh_shape& mesh, std::int32_t rank, std::int32_t first, std::int32_t end) {
    const auto before = frame_.stages;
    for (std::uint32_t again = 0; again < 1u << (end - first); ++again) {
      ml::stage_plan stage = stage_on(mesh, rank, first, end);
      bool may = true;
      for (std::int32_t b = first; b < end; ++b) {
        const bool recomputes = (again >> (b - first) & 1) != 0;
        may = may && (!recomputes || (ml::trains(whole_) && whole_.regions[region_of(b)].repeated));
        stage.recompute.push_back(recomputes);
      }
      if (!may) continue;
      frame_.stages.add(std::move(stage));
      extend(end, rank + mesh.ranks());
      frame_.stages = before;
    }
  }

  ml::region_id region_of(std::int32_t block) const { return blocks_[static_cast<std::size_t>(block)].region; }

  ml::stage_plan stage_on(const ml::mesh_shape& mesh, std::int32_t rank, std::int32_t first, std::int32_t end) const {
    ml::stage_plan stage;
    stage.first_rank = rank;
    for (const char* name : {"outer", "inner"}) {
      if (static_cast<int>(stage.mesh_axes.size()) < mesh.rank) stage.mesh_axes.push_back(name);
    }
    stage.mesh = mesh;
    stage.first_block = first;
    stage.end_block = end;
    stage.strategies = ml::table<ml::node_id, ml::strategy>(whole_.nodes.size());
    stage.parameters.resize(whole_.parameters.size());
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      stage.parameters[p].used = ml::reads(whole_, stage, whole_.parameters[p]);
      if (stage.parameters[p].used) stage.parameters[p].accumulated.resize(whole_.parameters[p].gradients.size());
    }
    return stage;
  }

  /// With one stage or one micro-batch GPipe takes as long as 1F1B, and holds no less.
  void schedule() {
    const bool alike = frame_.stages.size() == 1 || frame_.micro_batches == 1 || !ml::trains(whole_);
    frame_.schedule = ml::trains(whole_) ? ml::schedule_kind::one_f_one_b : ml::schedule_kind::forward_only;
    visit_(frame_);
    frame_.schedule = ml::schedule_kind::gpipe;
    if (!alike) visit_(frame_);
  }

  const ml::problem& posed_;
  const ml::graph& whole_;
  ml::vector<ml::block> blocks_;
  std::function<void(const ml::plan&)> visit_;
  ml::plan frame_;
};

/// What is known of a plan before the referees see it.
struct outlook {
  picoseconds time;  ///< it takes no less
  bytes peak;        ///< some rank holds no less, were all devices' memories that of the first
};

/// All plans of a frame, or those of use.
class completion {
 public:
  completion(const ml::problem& posed, const ml::plan& frame, ml::shared_paths& paths)
      : posed_(posed),
        whole_(posed.graph),
        made_(frame),
        sizes_(ml::micro_batch_sizes(posed.graph, frame.micro_batches)),
        paid_(frame.stages.size()) {
    for (const ml::stage_plan& stage : made_.stages) {
      links_.push_back(ml::links_of(posed.cluster, stage.mesh, stage.first_rank));
      paths_.push_back(&paths.of(made_.micro_batches, stage.mesh, links_.back()));
      recomputed_.emplace_back(whole_, stage);
      chosen_.emplace_back(whole_.nodes.size());
    }
    list_steps();
    for (step& each : steps_) list_options(each);
    find_rest();
  }

  /// Calls `visit(plan, outlook)` for every plan, but for those whose outlook `is_hopeless` before they are finished.
  /// With dice one option is taken where there are several.
  void run(std::function<bool(const outlook&)> is_hopeless, std::function<void(const ml::plan&, const outlook&)> visit,
           bool merge = false, std::mt19937_64* dice = nullptr) {
    is_hopeless_ = std::move(is_hopeless);
    visit_ = std::move(visit);
    merge_ = merge;
    dice_ = dice;
    reached_.clear();
    proceed(0);
  }

 private:
  /// A way to run an operator.
  struct option {
    ml::strategy how;
    picoseconds price;
    ml::vector<ml::spec> operands, results;
  };
  /// Where a parameter and its states lie, and so how its updates run.
  struct place {
    ml::storage how;
    ml::vector<std::pair<ml::node_id, option>> updates;
  };
  /// What is done, in the order in which stages run, and what is chosen right before it is needed.
  struct step {
    enum kind_type {
      choose,  ///< how an operator runs: `options`
      store,   ///< where a parameter lies: `specs`
      sum,     ///< how a gradient is summed over micro-batches: `specs`
      keep,    ///< where the optimizer's state lies: those of `places` where the parameter is
      run,     ///< an operator
      leave    ///< results of the step leave its forward
    } kind = run;
    std::size_t stage = 0;
    ml::node_id node = ml::node_id::none;
    std::size_t parameter = 0, gradient = 0;
    ml::block here = {};
    ml::pass when = ml::pass::forward;
    ml::vector<ml::instance> operands = {};
    ml::vector<option> options = {};
    ml::vector<ml::spec> specs = {};
    ml::vector<place> places = {};
    picoseconds least = {};  ///< that the operator takes, however it runs

    bool chooses_like(const step& other) const {
      return kind == other.kind && stage == other.stage && node == other.node && parameter == other.parameter &&
             gradient == other.gradient;
    }
  };
  struct form {
    std::size_t stage;
    ml::instance what;
    ml::spec layout;
    ml::pass made_in;
  };
  /// What a stage takes and holds.
  struct account {
    ml::stage_times times;
    picoseconds update;
    bytes fixed, kept;

    void pay(ml::pass when, picoseconds price) {
      (when == ml::pass::forward ? times.forward : when == ml::pass::backward ? times.backward : update) += price;
    }
  };

  const ml::device& device_on(std::size_t stage) const {
    return ml::device_of(posed_.cluster, made_.stages[static_cast<ml::stage_id>(stage)].first_rank);
  }
  const ml::stage_plan& stage_of(const step& at) const { return made_.stages[static_cast<ml::stage_id>(at.stage)]; }
  ml::stage_plan& stage_of(const step& at) { return made_.stages[static_cast<ml::stage_id>(at.stage)]; }
  ml::parameter_plan& plan_of(const step& at) { return stage_of(at).parameters[at.parameter]; }
  const ml::value& value_of(const step& at) const { return whole_.values[whole_.parameters[at.parameter].value]; }

  // The steps of a frame.

  void list_steps() {
    const ml::sorted_nodes nodes(whole_);
    ml::for_each_node(whole_, made_, nodes,
                      [&](ml::stage_id id, ml::node_id node, const ml::block& here, ml::pass when) {
                        const std::size_t s = ml::index_of(id);
                        const ml::node& at = whole_.nodes[node];
                        if (when != ml::pass::forward) add({.kind = step::leave, .stage = s});
                        if (when == ml::pass::update) {
                          add({.kind = step::keep, .stage = s, .parameter = ml::updated_by(whole_, at).value()});
                        } else {
                          add_choices(s, node, here);
                        }
                        steps_.push_back({.kind = step::run, .stage = s, .node = node, .here = here, .when = when});
                        for (const ml::value_id operand : at.operands) {
                          const ml::instance what = ml::resolve(whole_, operand, here);
                          steps_.back().operands.push_back(what);
                          if (is_activation(what) && !is_made_in(s, what)) leaving_.push_back(what);
                        }
                      });
    add({.kind = step::leave, .stage = made_.stages.size() - 1});
    update_early();
  }

  /// A parameter is updated as soon as its gradients are there. That makes no difference to what it takes.
  void update_early() {
    ml::vector<std::pair<std::size_t, step>> due;
    for (std::size_t number = 0; number < steps_.size(); ++number) {
      const step& each = steps_[number];
      const bool updates = each.kind == step::run && each.when == ml::pass::update;
      std::size_t when = number;
      if (each.kind == step::keep) when = last_sum(each.stage, each.parameter);
      if (updates) when = last_sum(each.stage, ml::updated_by(whole_, whole_.nodes[each.node]).value());
      due.push_back({when, each});
    }
    std::stable_sort(due.begin(), due.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t number = 0; number < steps_.size(); ++number) steps_[number] = std::move(due[number].second);
  }

  /// The last operator of a stage that makes a gradient of a parameter.
  std::size_t last_sum(std::size_t stage, std::size_t parameter) const {
    std::size_t last = 0;
    for (std::size_t number = 0; number < steps_.size(); ++number) {
      const step& each = steps_[number];
      if (each.kind != step::run || each.stage != stage || each.when == ml::pass::update) continue;
      const ml::parameter& of = whole_.parameters[parameter];
      for (std::size_t g = 0; g < of.gradients.size(); ++g) {
        if (makes(each.node, each.here, gradient_of(of, g, each.here))) last = number;
      }
    }
    return last;
  }

  void add_choices(std::size_t s, ml::node_id node, const ml::block& here) {
    const auto& operands = whole_.nodes[node].operands;
    add({.kind = step::choose, .stage = s, .node = node});
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      const ml::parameter& each = whole_.parameters[p];
      const bool reads = std::find(operands.begin(), operands.end(), each.value) != operands.end();
      if (reads) add({.kind = step::store, .stage = s, .parameter = p});
      for (std::size_t g = 0; g < each.gradients.size(); ++g) {
        if (gradient_of(each, g, here).value != ml::value_id::none && makes(node, here, gradient_of(each, g, here)))
          add({.kind = step::sum, .stage = s, .parameter = p, .gradient = g});
      }
    }
  }

  void add(step next) {
    const auto same = [&](const step& each) { return each.chooses_like(next); };
    if (std::none_of(steps_.begin(), steps_.end(), same)) steps_.push_back(std::move(next));
  }

  void list_options(step& at) const {
    const ml::stage_plan& stage = stage_of(at);
    if (at.kind == step::choose) {
      for (const ml::strategy& how : ml::allowed_strategies(posed_, stage, at.node))
        at.options.push_back(option_of(at.stage, at.node, how));
    } else if (at.kind == step::store) {
      for (const ml::storage& how : ml::allowed_storages(posed_, stage, value_of(at))) {
        if (std::find(at.specs.begin(), at.specs.end(), how.stored) == at.specs.end()) at.specs.push_back(how.stored);
      }
    } else if (at.kind == step::sum) {
      at.specs = ml::all_specs(static_cast<int>(value_of(at).axes.size()), stage.mesh, true);
    } else if (at.kind == step::keep) {
      for (const ml::storage& how : ml::allowed_storages(posed_, stage, value_of(at)))
        at.places.push_back({how, updates_of(at, how)});
    }
  }

  option option_of(std::size_t s, ml::node_id id, const ml::strategy& how) const {
    const ml::node& at = whole_.nodes[id];
    const ml::mesh_shape& mesh = made_.stages[static_cast<ml::stage_id>(s)].mesh;
    option made{how, ml::price(whole_, sizes_, id, mesh, how, device_on(s), links_[s]), {}, {}};
    for (std::size_t k = 0; k < at.operands.size(); ++k)
      made.operands.push_back(ml::operand_spec(at.op->op, at.op->choices, mesh.rank, how, static_cast<int>(k)));
    for (std::size_t k = 0; k < at.results.size(); ++k)
      made.results.push_back(ml::result_spec(at.op->op, at.op->choices, mesh.rank, how, static_cast<int>(k)));
    return made;
  }

  ml::vector<std::pair<ml::node_id, option>> updates_of(const step& at, const ml::storage& how) const {
    ml::vector<std::pair<ml::node_id, option>> updates;
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const auto id = static_cast<ml::node_id>(n);
      const ml::node& node = whole_.nodes[id];
      if (node.when == ml::phase::update && ml::updated_by(whole_, node) == at.parameter)
        updates.push_back({id, option_of(at.stage, id, ml::update_strategy(node, stage_of(at).mesh, how.state))});
    }
    return updates;
  }

  bool is_activation(const ml::instance& what) const {
    return whole_.values[what.value].kind == ml::value_kind::activation;
  }

  bool is_made_in(std::size_t stage, const ml::instance& what) const {
    const std::int32_t number = ml::block_number(whole_, ml::maker_of(whole_, what));
    const ml::stage_plan& here = made_.stages[static_cast<ml::stage_id>(stage)];
    return number >= here.first_block && number < here.end_block;
  }

  /// What the copy of a layer in a block adds to a gradient.
  ml::instance gradient_of(const ml::parameter& of, std::size_t gradient, const ml::block& here) const {
    return ml::resolve(whole_, of.gradients[gradient], here);
  }

  bool makes(ml::node_id node, const ml::block& here, const ml::instance& what) const {
    return whole_.values[what.value].producer == node && ml::maker_of(whole_, what) == here;
  }

  /// The least that operators take from each step on.
  void find_rest() {
    chosen_at_.assign(made_.stages.size(), ml::vector<std::size_t>(whole_.nodes.size()));
    until_ = chosen_at_;
    rest_.assign(steps_.size() + 1, ml::vector<account>(made_.stages.size()));
    for (std::size_t at = steps_.size(); at-- > 0;) {
      rest_[at] = rest_[at + 1];
      step& here = steps_[at];
      if (here.kind == step::choose) chosen_at_[here.stage][ml::index_of(here.node)] = at;
      if (here.kind == step::keep) {
        for (const auto& [node, way] : here.places.front().updates) chosen_at_[here.stage][ml::index_of(node)] = at;
      }
      if (here.kind != step::run) {
        rest_[at][here.stage].fixed += least_held(here);
        continue;
      }
      here.least = least_of(here);
      std::size_t& until = until_[here.stage][ml::index_of(here.node)];
      until = std::max(until, reads_or_makes_leaving(here) ? steps_.size() : at);
      rest_[at][here.stage].pay(here.when, here.least);
    }
  }

  /// The least that lies there all the time where a parameter, a sum or states lie somewhere.
  bytes least_held(const step& at) const {
    ml::vector<bytes> all;
    const auto one = [&](ml::value_id id, const ml::spec& layout) { return size_of(at, id, layout) * copies_of(at); };
    for (const ml::spec& each : at.specs) all.push_back(one(whole_.parameters[at.parameter].value, each));
    for (const place& each : at.places) {
      all.emplace_back();
      for (const ml::value_id state : whole_.parameters[at.parameter].states)
        all.back() += one(state, ml::state_spec(whole_, whole_.parameters[at.parameter], state, each.how.state));
    }
    return all.empty() ? bytes{} : *std::min_element(all.begin(), all.end());
  }

  bool reads_or_makes_leaving(const step& at) const {
    const auto& made = whole_.nodes[at.node].results;
    return std::any_of(leaving_.begin(), leaving_.end(), [&](const ml::instance& what) {
      return std::find(at.operands.begin(), at.operands.end(), what) != at.operands.end() ||
             std::find(made.begin(), made.end(), what.value) != made.end();
    });
  }

  /// The last step to which it matters where a parameter lies, or how gradients are summed.
  std::size_t until_of(const step& at) const {
    std::size_t until = 0;
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const auto updated = ml::updated_by(whole_, whole_.nodes[static_cast<ml::node_id>(n)]);
      if (updated == at.parameter) until = std::max(until, until_[at.stage][n]);
    }
    return until == 0 ? steps_.size() : until;
  }

  picoseconds least_of(const step& at) const {
    picoseconds least = never;
    for (const step& each : steps_) {
      if (each.stage != at.stage) continue;
      for (const option& one : each.options) {
        if (each.node == at.node) least = std::min(least, one.price);
      }
      for (const place& there : each.places) {
        for (const auto& [node, one] : there.updates) {
          if (node == at.node) least = std::min(least, one.price);
        }
      }
    }
    return least;
  }

  // The walk.

  outlook look_ahead(std::size_t number) const {
    ml::vector<ml::stage_times> times;
    picoseconds update;
    outlook seen{};
    const auto stages = static_cast<int>(paid_.size());
    for (std::size_t s = 0; s < paid_.size(); ++s) {
      const account &so_far = paid_[s], &rest = rest_[number][s];
      times.push_back({so_far.times.forward + rest.times.forward, so_far.times.backward + rest.times.backward});
      update = std::max(update, so_far.update + rest.update);
      const int slots = ml::slots_in_flight(made_.schedule, stages, static_cast<int>(s), made_.micro_batches);
      const bytes less = posed_.cluster.device.memory - device_on(s).memory;
      seen.peak = std::max(seen.peak, so_far.fixed + rest.fixed + so_far.kept * slots + less);
    }
    const ml::vector<ml::transfer_times> free(paid_.size() - 1);
    seen.time = ml::makespan(made_.schedule, times, free, made_.micro_batches) + update;
    return seen;
  }

  void proceed(std::size_t number) {
    const outlook seen = look_ahead(number);
    if (is_hopeless_(seen)) return;
    if (number == steps_.size()) return visit_(made_, seen);
    if (merge_ && is_beaten(number)) return;
    const step& at = steps_[number];
    const account before = paid_[at.stage];
    const std::size_t forms = forms_.size(), kept = kept_.size();
    take(at, [&](bool possible) {
      if (possible) proceed(number + 1);
      paid_[at.stage] = before;
      forms_.resize(forms);
      kept_.resize(kept);
    });
  }

  /// True if another beginning of a plan leaves the same to what is to come, and takes no more.
  bool is_beaten(std::size_t number) {
    ml::vector<std::uint64_t> left{number};
    for (const form& each : forms_) {
      if (!matters(number, each)) continue;
      const std::uint64_t what = ml::index_of(each.what.value) * 64 + static_cast<std::uint64_t>(each.what.copy);
      left.insert(left.end(), {what, code_of(each.layout) * 8 + static_cast<std::uint64_t>(each.made_in)});
    }
    for (std::size_t s = 0; s < chosen_.size(); ++s) {
      for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
        const bool is_chosen = chosen_[s][n] != nullptr && chosen_at_[s][n] < number;
        if (is_chosen && until_[s][n] >= number) left.push_back(reinterpret_cast<std::uintptr_t>(chosen_[s][n]));
      }
    }
    for (const step& each : steps_) {
      const auto at = static_cast<std::size_t>(&each - steps_.data());
      if (at >= number) break;
      if (each.kind == step::choose || each.specs.empty() || until_of(each) < number) continue;
      left.push_back(at << 32 | code_of(each.kind == step::store ? plan_of(each).stored
                                                                 : plan_of(each).accumulated[each.gradient]));
    }
    const ml::vector<picoseconds> prices = prices_so_far();
    auto& known = reached_[left];
    const auto no_more = [](const ml::vector<picoseconds>& a, const ml::vector<picoseconds>& b) {
      return std::equal(a.begin(), a.end(), b.begin(), [](picoseconds x, picoseconds y) { return x <= y; });
    };
    for (const auto& each : known) {
      if (no_more(each, prices)) return true;
    }
    ml::erase_if(known, [&](const auto& each) { return no_more(prices, each); });
    known.push_back(prices);
    return false;
  }

  /// What the price of a plan rises with: of a single micro-batch all stages together, of a single stage all passes.
  ml::vector<picoseconds> prices_so_far() const {
    ml::vector<picoseconds> prices(1);
    for (const account& each : paid_) {
      const picoseconds both = each.times.forward + each.times.backward;
      if (paid_.size() == 1) {
        prices[0] = both * made_.micro_batches + each.update;
      } else if (made_.micro_batches == 1) {
        prices[0] += both;
        prices.push_back(each.update);
      } else {
        prices.insert(prices.end(), {each.times.forward, each.times.backward, each.update});
      }
    }
    return prices;
  }

  bool is_leaving(const ml::instance& what) const {
    return std::find(leaving_.begin(), leaving_.end(), what) != leaving_.end();
  }

  /// True if a step to come may read the form, or another stage.
  bool matters(std::size_t number, const form& made) const {
    if (is_leaving(made.what)) return true;
    return std::any_of(steps_.begin() + static_cast<std::ptrdiff_t>(number), steps_.end(), [&](const step& each) {
      const auto& read = each.kind == step::leave ? results_ : each.operands;
      return each.stage == made.stage && std::find(read.begin(), read.end(), made.what) != read.end();
    });
  }

  std::uint64_t code_of(const ml::spec& layout) {
    const auto known = std::find(specs_.begin(), specs_.end(), layout);
    const auto code = static_cast<std::uint64_t>(known - specs_.begin());
    if (known == specs_.end()) specs_.push_back(layout);
    return code + 1;
  }

  /// Takes a step in every way; calls `next` after each, with whether it can be.
  template <class Next>
  void take(const step& at, const Next& next) {
    const ml::value_id value =
        at.kind == step::store || at.kind == step::sum ? whole_.parameters[at.parameter].value : ml::value_id::none;
    if (at.kind == step::run) return next(runs(at));
    if (at.kind == step::leave) return next(leaves(at));
    for_each_of(at.options, [&](const option& one) {
      choose(at, at.node, one);
      next(true);
    });
    for_each_of(at.specs, [&](const ml::spec& one) {
      (at.kind == step::store ? plan_of(at).stored : plan_of(at).accumulated[at.gradient]) = one;
      hold(at, value, one);
      next(true);
    });
    for_each_of(at.places, [&](const place& one) {
      if (one.how.stored != plan_of(at).stored) return next(false);
      plan_of(at).state = one.how.state;
      for (const ml::value_id state : whole_.parameters[at.parameter].states)
        hold(at, state, ml::state_spec(whole_, whole_.parameters[at.parameter], state, one.how.state));
      for (const auto& [node, way] : one.updates) choose(at, node, way);
      next(true);
    });
  }

  template <class Entry, class Visit>
  void for_each_of(const ml::vector<Entry>& all, const Visit& visit) {
    if (all.empty()) return;
    if (dice_ != nullptr) return visit(all[(*dice_)() % all.size()]);
    for (const Entry& each : all) visit(each);
  }

  /// All copies pay at once for what the operator takes more than it must.
  void choose(const step& at, ml::node_id node, const option& one) {
    chosen_[at.stage][ml::index_of(node)] = &one;
    stage_of(at).strategies[node] = one.how;
    for (const step& each : steps_) {
      if (each.kind == step::run && each.stage == at.stage && each.node == node)
        paid_[at.stage].pay(each.when, one.price - each.least);
    }
  }

  bytes size_of(const step& at, ml::value_id id, const ml::spec& layout) const {
    const ml::value& entry = whole_.values[id];
    const std::int64_t exact =
        ml::largest_shard(layout, stage_of(at).mesh, ml::extents_of(sizes_, entry.axes)) * ml::size_of(entry.type);
    return {(exact + ml::arena_alignment - 1) / ml::arena_alignment * ml::arena_alignment};
  }

  /// Every copy of the layer in the stage has a parameter of its own.
  std::int64_t copies_of(const step& at) const {
    const auto blocks = ml::blocks_of(whole_);
    const auto begin = blocks.begin();
    return std::count_if(begin + stage_of(at).first_block, begin + stage_of(at).end_block,
                         [&](const ml::block& each) { return each.region == value_of(at).region; });
  }

  void hold(const step& at, ml::value_id id, const ml::spec& layout) {
    paid_[at.stage].fixed += size_of(at, id, layout) * copies_of(at);
  }

  bool runs(const step& at) {
    const ml::node& node = whole_.nodes[at.node];
    account& paid = paid_[at.stage];
    paid.pay(at.when, at.least);
    const option& how = *chosen_[at.stage][ml::index_of(at.node)];
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      if (!needs(at, at.operands[k], how.operands[k])) return false;
    }
    for (std::size_t k = 0; k < node.results.size(); ++k) {
      forms_.push_back({at.stage, {node.results[k], at.here.copy}, how.results[k], at.when});
      if (!node.op->in_place) continue;
      const ml::value_id home = node.operands[static_cast<std::size_t>(node.op->replaces[k])];
      paid.pay(at.when, paths_[at.stage]->find(home, how.results[k], *home_of(at, home)).time);
    }
    return at.when == ml::pass::update || sums(at);
  }

  /// Adds what the operator makes of gradients to their sums.
  bool sums(const step& at) {
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      for (std::size_t g = 0; g < whole_.parameters[p].gradients.size(); ++g) {
        const ml::instance what = gradient_of(whole_.parameters[p], g, at.here);
        if (!makes(at.node, at.here, what)) continue;
        const ml::spec& layout = stage_of(at).parameters[p].accumulated[g];
        if (!needs(at, what, layout)) return false;
        forms_.push_back({at.stage, what, layout, ml::pass::update});
      }
    }
    return true;
  }

  /// A result with the micro-batched axis leaves part by part, any other once per step, whole on every rank.
  bool leaves(const step& at) {
    for (const ml::instance& what : results_) {
      if (!is_made_in(at.stage, what)) continue;
      const auto& axes = whole_.values[what.value].axes;
      const bool in_parts = std::find(axes.begin(), axes.end(), whole_.micro_batched) != axes.end();
      std::optional<ml::spec> first, last;
      for (const form& each : forms_) {
        if (each.stage != at.stage || each.what != what || each.made_in != ml::pass::forward) continue;
        first = first.value_or(each.layout);
        last = each.layout;
      }
      const picoseconds part = paths_[at.stage]->find(what.value, *first, first->without_partial()).time;
      const picoseconds once = paths_[at.stage]->find(what.value, *last, {}).time;
      paid_[at.stage].pay(in_parts ? ml::pass::forward : ml::pass::update, in_parts ? part : once);
    }
    return true;
  }

  /// Where a parameter or state lies; nothing for other values.
  std::optional<ml::spec> home_of(const step& at, ml::value_id id) const {
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      const ml::parameter& each = whole_.parameters[p];
      const ml::parameter_plan& kept = stage_of(at).parameters[p];
      if (each.value == id) return kept.stored;
      if (std::find(each.states.begin(), each.states.end(), id) != each.states.end())
        return ml::state_spec(whole_, each, id, kept.state);
    }
    return std::nullopt;
  }

  /// Pays for the cheapest way to a form, and has it and what lies on the way from then on; false if there is none.
  /// What comes from another stage comes as it is wanted first; what goes to one may be there in any form.
  bool needs(const step& at, const ml::instance& what, const ml::spec& wanted) {
    const ml::value& entry = whole_.values[what.value];
    if (entry.kind == ml::value_kind::input) return !wanted.has_partial();
    const bool made_before = is_activation(what) && whole_.nodes[entry.producer].when == ml::phase::forward;
    const bool left = made_before && at.when == ml::pass::backward && !recomputed_[at.stage].drops(what);
    const auto is_it = [&](const form& each) { return each.stage == at.stage && each.what == what; };
    if (is_activation(what) && !is_made_in(at.stage, what)) {
      if (std::none_of(forms_.begin(), forms_.end(), is_it))
        forms_.push_back({at.stage, what, wanted.without_partial(), made_before ? ml::pass::forward : at.when});
    } else if (left && std::find(leaving_.begin(), leaving_.end(), what) != leaving_.end()) {
      return true;
    }
    const ml::reshard_path* best = nullptr;
    std::optional<std::size_t> source;
    const auto offer = [&](const ml::spec& layout, std::optional<std::size_t> from) {
      const ml::reshard_path& next = paths_[at.stage]->find(what.value, layout, wanted);
      const auto rank = [](const ml::reshard_path& path) { return std::pair(path.time, path.steps.size()); };
      if (!next.possible || (best != nullptr && rank(*best) <= rank(next))) return;
      best = &next;
      source = from;
    };
    if (const auto home = home_of(at, what.value)) offer(*home, std::nullopt);
    for (std::size_t n = 0; n < forms_.size(); ++n) {
      const bool can = forms_[n].made_in == at.when || (left && forms_[n].made_in == ml::pass::forward);
      if (can && is_it(forms_[n])) offer(forms_[n].layout, n);
    }
    if (best == nullptr) return false;
    paid_[at.stage].pay(at.when, best->time);
    if (source && forms_[*source].made_in != at.when) keep(at, *source);
    for (const ml::reshard_step& each : best->steps) forms_.push_back({at.stage, what, each.after, at.when});
    return true;
  }

  /// A form that backward finds is kept, once.
  void keep(const step& at, std::size_t number) {
    if (std::find(kept_.begin(), kept_.end(), number) != kept_.end()) return;
    kept_.push_back(number);
    paid_[at.stage].kept += size_of(at, forms_[number].what.value, forms_[number].layout);
  }

  const ml::problem& posed_;
  const ml::graph& whole_;
  ml::plan made_;
  ml::size_table sizes_;
  ml::vector<ml::mesh_links> links_;
  ml::vector<ml::known_paths*> paths_;
  ml::vector<ml::recomputation> recomputed_;
  ml::vector<ml::instance> results_ = ml::results_of(whole_);
  ml::vector<ml::instance> leaving_;  ///< the stage that makes them
  ml::vector<step> steps_;
  ml::vector<ml::vector<account>> rest_;                   ///< per step and stage
  ml::vector<ml::vector<std::size_t>> chosen_at_, until_;  ///< per stage and node: steps
  ml::vector<ml::vector<const option*>> chosen_;
  ml::vector<account> paid_;
  ml::vector<form> forms_;
  ml::vector<std::size_t> kept_;  ///< of the forms
  std::function<bool(const outlook&)> is_hopeless_;
  std::function<void(const ml::plan&, const outlook&)> visit_;
  std::mt19937_64* dice_ = nullptr;
  bool merge_ = false;
  std::map<ml::vector<std::uint64_t>, ml::vector<ml::vector<picoseconds>>> reached_;
  ml::vector<ml::spec> specs_;
};

/// The best of all plans, and how much was looked at.
struct optimum {
  std::optional<ml::plan> best = {};
  picoseconds time = never;
  std::int64_t frames = 0, steps = 0, plans = 0;
};

/// More than any plan holds: every value whole, in dozens of forms.
inline bytes plenty(const ml::graph& whole) {
  bytes all;
  for (const ml::value& each : whole.values) {
    std::int64_t size = ml::size_of(each.type);
    for (const std::int64_t extent : ml::extents_of(whole.sizes, each.axes)) size *= extent;
    const std::int32_t copies = each.region == ml::region_id::none ? 1 : whole.regions[each.region].count;
    all += bytes{size + ml::arena_alignment} * (64 * copies);
  }
  return all;
}

/// What the rank holds that lacks most, were its memory that of the first device.
inline bytes peak_of(const ml::problem& posed, const ml::plan& made) {
  bytes most;
  for (const ml::stage_program& stage : ml::lower(posed.graph, made, posed.cluster).stages) {
    const bytes less = posed.cluster.device.memory - ml::device_of(posed.cluster, stage.first_rank).memory;
    most = std::max(most, stage.peak() + less);
  }
  return most;
}

/// The fastest of all plans that fit, if one takes less than `known`. Unless it says to `prune` all are looked at.
inline optimum fastest(const ml::problem& posed, picoseconds known = never, bool prune = true) {
  optimum found{.time = known};
  ml::shared_paths paths(posed.graph);
  const bytes limit = posed.cluster.device.memory;
  bool ample = true;
  for (const ml::placed_group& each : ml::groups_of(posed.cluster))
    ample = ample && each.alone.device.memory >= plenty(posed.graph);
  const auto is_hopeless = [&](const outlook& seen) {
    ++found.steps;
    return prune && (seen.time >= found.time || seen.peak > limit);
  };
  const auto look = [&](const ml::plan& made, const outlook& seen) {
    ++found.plans;
    const auto faults = ml::check(posed.graph, made);
    REQUIRE_MESSAGE(faults.empty(), faults.front());
    const picoseconds time = ml::predict(posed.graph, made, posed.cluster, paths);
    CHECK(seen.time <= time);
    if (time >= found.time) return;
    const bytes peak = peak_of(posed, made);
    CHECK(seen.peak <= peak);
    CHECK((peak <= limit || !ample));
    if (peak > limit) return;
    found.time = time;
    found.best = made;
  };
  every_frame(posed, [&](const ml::plan& frame) {
    ++found.frames;
    completion(posed, frame, paths).run(is_hopeless, look, prune && ample);
  });
  return found;
}

}  // namespace joint
