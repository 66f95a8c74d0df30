// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/error.hpp>
#include <meshloom/cost/analytic.hpp>
#include <meshloom/graph/instance_table.hpp>
#include <meshloom/plan/crossing.hpp>
#include <meshloom/plan/shortened.hpp>
#include <meshloom/plan/stage_price.hpp>

#include <algorithm>
#include <array>
#include <forward_list>
#include <optional>

namespace meshloom {
namespace detail {

/// What one operator costs on its own, and the specs in which it reads and makes, the same for all its copies.
struct priced_node {
  picoseconds price;
  vector<spec> operands, results;
};

/// The operators of stages that stand alike, each priced once per strategy.
class priced_nodes {
 public:
  priced_nodes(const graph& whole, const size_table& sizes, const device& on, const mesh_shape& mesh,
               const mesh_links& links)
      : mesh_(mesh), links_(links), whole_(whole), sizes_(sizes), device_(on), known_(whole.nodes.size()) {}

  bool stand_on(const device& on, const mesh_shape& mesh, const mesh_links& links) const {
    return mesh_ == mesh && links_ == links && (&device_ == &on || device_ == on);
  }

  /// The reference stays good.
  const priced_node& find(node_id id, const strategy& how) {
    for (const auto& [with, priced] : known_[id]) {
      if (with == how) return priced;
    }
    const node& at = whole_.nodes[id];
    const record& op = *at.op;
    priced_node made{price(whole_, sizes_, id, mesh_, how, device_, links_), {}, {}};
    for (int k = 0; k < static_cast<int>(at.operands.size()); ++k)
      made.operands.push_back(operand_spec(op.op, op.choices, mesh_.rank, how, k));
    for (int k = 0; k < static_cast<int>(at.results.size()); ++k)
      made.results.push_back(result_spec(op.op, op.choices, mesh_.rank, how, k));
    return known_[id].emplace_front(how, std::move(made)).second;
  }

 private:
  mesh_shape mesh_;
  mesh_links links_;
  const graph& whole_;
  const size_table& sizes_;
  const device& device_;
  table<node_id, std::forward_list<std::pair<strategy, priced_node>>> known_;
};

/// What the stages of a plan have in common while they are priced.
struct priced_plan {
  priced_nodes& standing_on(const device& on, const mesh_shape& mesh, const mesh_links& links) {
    for (priced_nodes& each : standings) {
      if (each.stand_on(on, mesh, links)) return each;
    }
    return standings.emplace_front(whole, sizes, on, mesh, links);
  }

  const graph& whole;
  const plan& made;
  const cluster& machine;
  shared_paths& known;
  const vector<std::int64_t>& times;  ///< per block: for how many it pays
  const size_table sizes = micro_batch_sizes(whole, made.micro_batches);
  const sorted_nodes nodes{whole};
  const vector<instance> results = results_of(whole);
  const vector<crossing> crossings = find_crossings(whole, made, nodes);
  vector<picoseconds> messages = vector<picoseconds>(crossings.size());  ///< set by those who send them
  std::forward_list<priced_nodes> standings = {};
};

/// Walks through one stage, pass by pass, and pays for what is not there yet.
class priced_stage {
 public:
  priced_stage(priced_plan& common, stage_id which)
      : common_(common),
        whole_(common.whole),
        made_(common.made),
        which_(which),
        stage_(made_.stages[which]),
        links_(links_of(common.machine, stage_.mesh, stage_.first_rank)),
        paths_(common.known.of(made_.micro_batches, stage_.mesh, links_)),
        nodes_(common.standing_on(device_of(common.machine, stage_.first_rank), stage_.mesh, links_)),
        recomputed_(whole_, stage_),
        homes_(whole_.values.size()) {
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      if (!stage_.parameters[p].used) continue;
      find_homes(p);
      find_accumulators(p);
    }
    if (whole_.squares.value != value_id::none) add({whole_.squares.value, 0}, {}, pass::update);
    receive();
  }

  /// Nodes come in the order in which the stage runs them.
  void visit(node_id id, const block& here, pass when) {
    const node& at = whole_.nodes[id];
    const priced_node& priced = nodes_.find(id, stage_.strategies[id]);
    enter(when);
    times_ = times_of(here.region, here.copy);
    pay(priced.price);
    for (std::size_t k = 0; k < at.operands.size(); ++k)
      need(resolve(whole_, at.operands[k], here), priced.operands[k]);
    for (std::size_t k = 0; k < at.results.size(); ++k) {
      add({at.results[k], here.copy}, priced.results[k], now_);
      if (at.op->in_place) write_back(at.operands[static_cast<std::size_t>(at.op->replaces[k])], priced.results[k]);
    }
    for (const value_id result : at.results) {
      const std::int32_t number = held_[{result, here.copy}].accumulator;
      if (number >= 0) accumulate(accumulators_[static_cast<std::size_t>(number)]);
    }
  }

  stage_price finish() {
    enter(pass::update);
    return total_;
  }

 private:
  /// A form of a value, and the pass in which it was made.
  struct form {
    spec layout;
    pass made_in;
    std::int32_t next;  ///< of the same value, in the order in which they were made; −1: none
  };
  /// What the stage has of one value.
  struct held {
    std::int32_t first = -1, last = -1;  ///< form
    std::int32_t accumulator = -1;
  };
  struct accumulator {
    instance gradient;
    spec layout;
    bool done = false;
  };

  void pay(picoseconds price) {
    auto& paid = now_ == pass::forward ? total_.forward : now_ == pass::backward ? total_.backward : total_.update;
    paid += price * times_;
  }

  std::int64_t times_of(region_id area, std::int32_t copy) const {
    return common_.times[static_cast<std::size_t>(common_.nodes.first[area] + copy)];
  }

  /// Where a parameter and its states lie between steps.
  void find_homes(std::size_t p) {
    const parameter& each = whole_.parameters[p];
    homes_[each.value] = stage_.parameters[p].stored;
    for (const value_id state : each.states)
      homes_[state] = state_spec(whole_, each, state, stage_.parameters[p].state);
  }

  void find_accumulators(std::size_t p) {
    const parameter& each = whole_.parameters[p];
    const region_id home = whole_.values[each.value].region;
    for (std::size_t g = 0; g < each.gradients.size(); ++g) {
      for (std::int32_t copy = 0; copy < whole_.regions[home].count; ++copy) {
        const instance what = resolve(whole_, each.gradients[g], {home, copy});
        if (!is_made_here(what)) continue;
        std::int32_t& known = held_[what].accumulator;
        if (known >= 0) continue;
        known = static_cast<std::int32_t>(accumulators_.size());
        accumulators_.push_back({what, stage_.parameters[p].accumulated[g]});
      }
    }
  }

  bool is_made_here(const instance& what) const {
    const std::int32_t number = common_.nodes.first[whole_.values[what.value].region] + what.copy;
    return number >= stage_.first_block && number < stage_.end_block;
  }

  void enter(pass next) {
    while (now_ != next) {
      leave();
      now_ = static_cast<pass>(static_cast<int>(now_) + 1);
      receive();
    }
  }

  void leave() {
    if (now_ == pass::backward) {
      for (accumulator& each : accumulators_) {
        times_ = times_of(whole_.values[each.gradient.value].region, each.gradient.copy);
        accumulate(each);
        for (const pass later : {pass::reduce, pass::update}) add(each.gradient, each.layout, later);
      }
    }
    finish_results();
    send();
  }

  void accumulate(accumulator& into) {
    if (!into.done) need(into.gradient, into.layout);
    into.done = true;
  }

  /// A result with the micro-batched axis leaves part by part, any other once per step, whole on every rank.
  void finish_results() {
    for (const instance& what : common_.results) {
      if (!is_made_here(what)) continue;
      times_ = times_of(whole_.values[what.value].region, what.copy);
      const auto& axes = whole_.values[what.value].axes;
      const bool in_parts = std::find(axes.begin(), axes.end(), whole_.micro_batched) != axes.end();
      if (now_ == pass::forward && in_parts) need(what, first_layout(what).without_partial());
      if (now_ == pass::forward && !in_parts) add(what, last_layout(what), pass::reduce);
      if (now_ == pass::reduce && !in_parts) need(what, {});
    }
  }

  void receive() {
    for (const crossing& each : common_.crossings) {
      if (each.to == which_ && each.to_pass == now_) add(each.what, each.wanted, now_);
    }
  }

  void send() {
    for (std::size_t number = 0; number < common_.crossings.size(); ++number) {
      const crossing& each = common_.crossings[number];
      if (each.from != which_ || each.from_pass != now_) continue;
      times_ = 1;  // stages meet between copies that stand for themselves
      const bool alike = made_.stages[each.to].mesh == stage_.mesh;
      const spec sent = alike ? each.wanted : first_layout(each.what).without_partial();
      need(each.what, sent);
      common_.messages[number] = message_price(each, sent);
      if (now_ == pass::reduce) add(each.what, sent, pass::update);
    }
  }

  /// The larger shard of the two ends, over what lies between the stages.
  picoseconds message_price(const crossing& each, const spec& sent) const {
    const stage_plan& to = made_.stages[each.to];
    const value& entry = whole_.values[each.what.value];
    const auto extents = extents_of(common_.sizes, entry.axes);
    const std::int64_t shard =
        std::max(largest_shard(sent, stage_.mesh, extents), largest_shard(each.wanted, to.mesh, extents));
    const meshloom::link over =
        message_link(common_.machine, {stage_.first_rank, stage_.mesh.ranks()}, {to.first_rank, to.mesh.ranks()});
    return transfer_price({shard * size_of(entry.type)}, over);
  }

  /// Stores an updated value where it is kept, if the update ran on a part of it.
  void write_back(value_id id, const spec& updated) { pay(paths_.find(id, updated, homes_[id]).time); }

  void add(const instance& what, const spec& layout, pass made_in) {
    held& here = held_[what];
    const auto number = static_cast<std::int32_t>(forms_.size());
    (here.first < 0 ? here.first : forms_[static_cast<std::size_t>(here.last)].next) = number;
    here.last = number;
    forms_.push_back({layout, made_in, -1});
  }

  /// Calls `visit` with the layouts that can be read in this pass: in the backward also those of activations that the
  /// forward has left, and that are not made again.
  template <class Visit>
  void for_each_layout(const instance& what, const Visit& visit) {
    const value_kind kind = whole_.values[what.value].kind;
    if (kind == value_kind::parameter || kind == value_kind::state) visit(homes_[what.value]);
    const bool keeps = kind == value_kind::activation && now_ == pass::backward && !recomputed_.drops(what);
    const auto form_at = [&](std::int32_t at) -> const form& { return forms_[static_cast<std::size_t>(at)]; };
    for (std::int32_t at = held_[what].first; at >= 0; at = form_at(at).next) {
      const bool left = keeps && form_at(at).made_in == pass::forward;
      if (form_at(at).made_in == now_ || left) visit(form_at(at).layout);
    }
  }

  spec first_layout(const instance& what) {
    std::optional<spec> found;
    for_each_layout(what, [&](const spec& layout) { found = found.value_or(layout); });
    return found.value();
  }

  spec last_layout(const instance& what) {
    std::optional<spec> found;
    for_each_layout(what, [&](const spec& layout) { found = layout; });
    return found.value();
  }

  /// Pays for the cheapest way to a form, and has it and what lies on the way from then on. Inputs are loaded as
  /// wanted.
  void need(const instance& what, const spec& wanted) {
    const value& entry = whole_.values[what.value];
    if (entry.kind == value_kind::input) return;
    bool there = false;
    for_each_layout(what, [&](const spec& layout) { there = there || layout == wanted; });
    if (there) return;
    const reshard_path* best = nullptr;
    for_each_layout(what, [&](const spec& layout) {
      const reshard_path& next = paths_.find(what.value, layout, wanted);
      const auto rank = [](const reshard_path& path) { return std::pair(path.time, path.steps.size()); };
      if (next.possible && (best == nullptr || rank(next) < rank(*best))) best = &next;
    });
    if (best == nullptr)
      throw error("prices_of: " + entry.name +
                  " cannot be had in the form that its stage needs; check(graph, plan) says why");
    pay(best->time);
    for (const reshard_step& step : best->steps) add(what, step.after, now_);
  }

  priced_plan& common_;
  const graph& whole_;
  const plan& made_;
  stage_id which_;
  const stage_plan& stage_;
  mesh_links links_;
  known_paths& paths_;
  priced_nodes& nodes_;
  recomputation recomputed_;
  table<value_id, spec> homes_;  ///< of parameters and states
  vector<accumulator> accumulators_;
  vector<form> forms_;
  instance_table<held> held_;
  pass now_ = pass::forward;
  std::int64_t times_ = 1;  ///< for how many copies is paid now
  stage_price total_;
};

/// Everything that a plan pays for.
struct paid_plan {
  vector<stage_price> stages;
  transfer_prices transfers;
};

/// Adds up messages where they land: in front of their reader going on, behind it going back, or in its update.
inline transfer_prices by_landing(const vector<crossing>& crossings, const vector<picoseconds>& messages,
                                  std::size_t stages) {
  transfer_prices made{vector<transfer_times>(std::max<std::size_t>(stages, 1) - 1), vector<picoseconds>(stages)};
  for (std::size_t number = 0; number < crossings.size(); ++number) {
    const std::size_t to = index_of(crossings[number].to);
    const pass where = crossings[number].to_pass;
    picoseconds& paid = where == pass::forward    ? made.cuts[to - 1].forward
                        : where == pass::backward ? made.cuts[to].backward
                                                  : made.updates[to];
    paid += messages[number];
  }
  return made;
}

inline paid_plan pay(const graph& whole, const plan& made, const cluster& machine, shared_paths& known,
                     const vector<std::int64_t>& times) {
  priced_plan common{.whole = whole, .made = made, .machine = machine, .known = known, .times = times};
  vector<priced_stage> stages;
  stages.reserve(made.stages.size());
  for (std::size_t s = 0; s < made.stages.size(); ++s) stages.emplace_back(common, static_cast<stage_id>(s));
  for_each_node(whole, made, common.nodes, [&](stage_id stage, node_id id, const block& here, pass when) {
    stages[index_of(stage)].visit(id, here, when);
  });
  paid_plan paid;
  for (priced_stage& each : stages) paid.stages.push_back(each.finish());
  paid.transfers = by_landing(common.crossings, common.messages, stages.size());
  return paid;
}

/// What one stage pays.
inline stage_price pay_alone(const graph& whole, const plan& made, const cluster& machine, stage_id which,
                             const vector<std::int64_t>& times) {
  shared_paths known(whole);
  priced_plan common{.whole = whole, .made = made, .machine = machine, .known = known, .times = times};
  priced_stage paid(common, which);
  for_each_node_of(whole, made.stages[which], common.nodes,
                   [&](node_id id, const block& here, pass when) { paid.visit(id, here, when); });
  return paid.finish();
}

inline paid_plan pay(const graph& whole, const plan& made, const cluster& machine, shared_paths& known) {
  if (const auto shorter = shortened(whole, made)) {
    return pay(shorter->whole, shorter->made, machine, known, shorter->times);
  }
  return pay(whole, made, machine, known, vector<std::int64_t>(blocks_of(whole).size(), 1));
}

}  // namespace detail

MESHLOOM_INLINE vector<stage_price> prices_of(const graph& whole, const plan& made, const cluster& machine) {
  shared_paths known(whole);
  return detail::pay(whole, made, machine, known).stages;
}

MESHLOOM_INLINE stage_price price_of(const graph& whole, const plan& made, const cluster& machine, stage_id which) {
  if (const auto shorter = shortened(whole, made))
    return detail::pay_alone(shorter->whole, shorter->made, machine, which, shorter->times);
  return detail::pay_alone(whole, made, machine, which, vector<std::int64_t>(blocks_of(whole).size(), 1));
}

MESHLOOM_INLINE transfer_prices transfers_of(const graph& whole, const plan& made, const cluster& machine) {
  shared_paths known(whole);
  return detail::pay(whole, made, machine, known).transfers;
}

MESHLOOM_INLINE picoseconds predict(const graph& whole, const plan& made, const cluster& machine) {
  shared_paths known(whole);
  return predict(whole, made, machine, known);
}

MESHLOOM_INLINE picoseconds predict(const graph& whole, const plan& made, const cluster& machine, shared_paths& known) {
  return predict(whole, made, machine, known, std::array{made.schedule}).front();
}

MESHLOOM_INLINE vector<picoseconds> predict(const graph& whole, const plan& made, const cluster& machine,
                                            shared_paths& known, std::span<const schedule_kind> schedules) {
  const auto [stages, transfers] = detail::pay(whole, made, machine, known);
  vector<stage_times> times;
  picoseconds update;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    times.push_back({stages[s].forward, stages[s].backward});
    update = std::max(update, stages[s].update + transfers.updates[s]);
  }
  if (whole.squares.value != value_id::none) update += total_price(machine, whole.precision);
  vector<picoseconds> steps;
  for (const schedule_kind kind : schedules)
    steps.push_back(
        makespan(trains(whole) ? kind : schedule_kind::forward_only, times, transfers.cuts, made.micro_batches) +
        update);
  return steps;
}

}  // namespace meshloom
