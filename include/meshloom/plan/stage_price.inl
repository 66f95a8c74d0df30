// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/error.hpp>
#include <meshloom/cost/analytic.hpp>
#include <meshloom/plan/crossing.hpp>
#include <meshloom/plan/stage_price.hpp>

#include <algorithm>
#include <map>

namespace meshloom {
namespace detail {

/// Walks through one stage, pass by pass, and pays for what is not there yet.
class priced_stage {
 public:
  /// `messages`: the price of every crossing, set by the stage that sends it.
  priced_stage(const graph& whole, const plan& made, stage_id which, const cluster& machine,
               const std::vector<crossing>& crossings, std::vector<picoseconds>& messages, shared_paths& known)
      : whole_(whole),
        made_(made),
        which_(which),
        stage_(made.stages[which]),
        machine_(machine),
        sizes_(micro_batch_sizes(whole, made.micro_batches)),
        links_(links_of(machine, stage_.mesh, stage_.first_rank)),
        paths_(known.of(made.micro_batches, stage_.mesh, links_)),
        recomputed_(whole, stage_),
        crossings_(crossings),
        messages_(messages),
        prices_(whole.nodes.size()),
        forms_(whole.values.size()) {
    for (std::size_t p = 0; p < whole.parameters.size(); ++p) find_accumulators(p);
    if (whole.squares.value != value_id::none) add({whole.squares.value, 0}, {}, pass::update);
    receive();
  }

  /// Nodes come in the order in which the stage runs them.
  void visit(node_id id, const block& here, pass when) {
    const node& at = whole_.nodes[id];
    enter(when);
    paid() += own_price(id);
    for (std::size_t k = 0; k < at.operands.size(); ++k)
      need(resolve(whole_, at.operands[k], here), operand_spec_in(whole_, stage_, id, k));
    for (std::size_t k = 0; k < at.results.size(); ++k) {
      const spec layout = result_spec_in(whole_, stage_, id, k);
      add({at.results[k], here.copy}, layout, now_);
      if (at.op->in_place) write_back(at.operands[static_cast<std::size_t>(at.op->replaces[k])], layout);
    }
    for (const value_id result : at.results) {
      const auto found = accumulator_of_.find({result, here.copy});
      if (found != accumulator_of_.end()) accumulate(accumulators_[found->second]);
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
  };
  struct accumulator {
    instance gradient;
    spec layout;
    bool done = false;
  };

  picoseconds& paid() {
    return now_ == pass::forward ? total_.forward : now_ == pass::backward ? total_.backward : total_.update;
  }

  /// The same for all copies.
  picoseconds own_price(node_id id) {
    std::optional<picoseconds>& known = prices_[id];
    if (!known) known = price(whole_, sizes_, id, stage_.mesh, stage_.strategies[id], machine_.device, links_);
    return *known;
  }

  void find_accumulators(std::size_t p) {
    if (!stage_.parameters[p].used) return;
    const parameter& each = whole_.parameters[p];
    const region_id home = whole_.values[each.value].region;
    for (std::size_t g = 0; g < each.gradients.size(); ++g) {
      for (std::int32_t copy = 0; copy < whole_.regions[home].count; ++copy) {
        const instance what = resolve(whole_, each.gradients[g], {home, copy});
        if (is_made_here(what) && accumulator_of_.emplace(what, accumulators_.size()).second)
          accumulators_.push_back({what, stage_.parameters[p].accumulated[g]});
      }
    }
  }

  bool is_made_here(const instance& what) const {
    return stage_of(made_, block_number(whole_, maker_of(whole_, what))) == which_;
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
    for (const instance& what : results_of(whole_)) {
      const auto& axes = whole_.values[what.value].axes;
      const bool in_parts = std::find(axes.begin(), axes.end(), whole_.micro_batched) != axes.end();
      if (!is_made_here(what)) continue;
      if (now_ == pass::forward && in_parts) need(what, layouts_of(what).front().without_partial());
      if (now_ == pass::forward && !in_parts) add(what, layouts_of(what).back(), pass::reduce);
      if (now_ == pass::reduce && !in_parts) need(what, {});
    }
  }

  void receive() {
    for (const crossing& each : crossings_) {
      if (each.to == which_ && each.to_pass == now_) add(each.what, each.wanted, now_);
    }
  }

  void send() {
    for (std::size_t number = 0; number < crossings_.size(); ++number) {
      const crossing& each = crossings_[number];
      if (each.from != which_ || each.from_pass != now_) continue;
      const bool alike = made_.stages[each.to].mesh == stage_.mesh;
      const spec sent = alike ? each.wanted : layouts_of(each.what).front().without_partial();
      need(each.what, sent);
      messages_[number] = message_price(each, sent);
      if (now_ == pass::reduce) add(each.what, sent, pass::update);
    }
  }

  /// The larger shard of the two ends, over what lies between the stages.
  picoseconds message_price(const crossing& each, const spec& sent) const {
    const stage_plan& to = made_.stages[each.to];
    const value& entry = whole_.values[each.what.value];
    const auto extents = extents_of(sizes_, entry.axes);
    const std::int64_t shard =
        std::max(largest_shard(sent, stage_.mesh, extents), largest_shard(each.wanted, to.mesh, extents));
    const std::int32_t first = std::min(stage_.first_rank, to.first_rank);
    const std::int32_t end = std::max(stage_.first_rank + stage_.mesh.ranks(), to.first_rank + to.mesh.ranks());
    auto over = machine_.within_host;
    if (machine_.host_of(first) != machine_.host_of(end - 1)) {
      over = machine_.between_hosts;
      const std::int32_t sharing = std::min(to.mesh.ranks(), machine_.devices_per_host);
      over.bytes_per_second = std::max<std::int64_t>(over.bytes_per_second / sharing, 1);
    }
    return transfer_price({shard * size_of(entry.type)}, over);
  }

  /// Stores an updated value where it is kept, if the update ran on a part of it.
  void write_back(value_id id, const spec& updated) { paid() += paths_.find(id, updated, home_of(id)).time; }

  /// Where a parameter or state lies between steps.
  spec home_of(value_id id) const {
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      const parameter& each = whole_.parameters[p];
      if (each.value == id) return stage_.parameters[p].stored;
      if (std::find(each.states.begin(), each.states.end(), id) != each.states.end())
        return state_spec(whole_, each, id, stage_.parameters[p].state);
    }
    return {};
  }

  std::vector<form>& forms_of(const instance& what) {
    auto& copies = forms_[what.value];
    const auto copy = static_cast<std::size_t>(what.copy);
    if (copies.size() <= copy) copies.resize(copy + 1);
    return copies[copy];
  }

  void add(const instance& what, const spec& layout, pass made_in) { forms_of(what).push_back({layout, made_in}); }

  /// The layouts that can be read in this pass: in the backward also those of activations that the forward has
  /// left, and that are not made again.
  std::vector<spec> layouts_of(const instance& what) {
    const value_kind kind = whole_.values[what.value].kind;
    std::vector<spec> found;
    if (kind == value_kind::parameter || kind == value_kind::state) found.push_back(home_of(what.value));
    const bool keeps = kind == value_kind::activation && now_ == pass::backward && !recomputed_.drops(what);
    for (const form& each : forms_of(what)) {
      const bool left = keeps && each.made_in == pass::forward;
      if (each.made_in == now_ || left) found.push_back(each.layout);
    }
    return found;
  }

  /// Pays for the cheapest way to a form, and has it and what lies on the way from then on. Inputs are loaded as
  /// wanted.
  void need(const instance& what, const spec& wanted) {
    const value& entry = whole_.values[what.value];
    if (entry.kind == value_kind::input) return;
    const reshard_path* best = nullptr;
    for (const spec& layout : layouts_of(what)) {
      const reshard_path& next = paths_.find(what.value, layout, wanted);
      const auto rank = [](const reshard_path& path) { return std::pair(path.time, path.steps.size()); };
      if (next.possible && (best == nullptr || rank(next) < rank(*best))) best = &next;
    }
    if (best == nullptr)
      throw error("prices_of: " + entry.name +
                  " cannot be had in the form that its stage needs; check(graph, plan) says why");
    paid() += best->time;
    for (const reshard_step& step : best->steps) add(what, step.after, now_);
  }

  const graph& whole_;
  const plan& made_;
  stage_id which_;
  const stage_plan& stage_;
  const cluster& machine_;
  size_table sizes_;
  mesh_links links_;
  known_paths& paths_;
  recomputation recomputed_;
  const std::vector<crossing>& crossings_;
  std::vector<picoseconds>& messages_;
  std::vector<accumulator> accumulators_;
  std::map<instance, std::size_t> accumulator_of_;
  table<node_id, std::optional<picoseconds>> prices_;
  table<value_id, std::vector<std::vector<form>>> forms_;  ///< per copy
  pass now_ = pass::forward;
  stage_price total_;
};

/// Everything that a plan pays for.
struct paid_plan {
  std::vector<stage_price> stages;
  transfer_prices transfers;
};

/// Adds up messages where they land: in front of their reader going on, behind it going back, or in its update.
inline transfer_prices by_landing(const std::vector<crossing>& crossings, const std::vector<picoseconds>& messages,
                                  std::size_t stages) {
  transfer_prices made{std::vector<transfer_times>(std::max<std::size_t>(stages, 1) - 1),
                       std::vector<picoseconds>(stages)};
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

inline paid_plan pay(const graph& whole, const plan& made, const cluster& machine, shared_paths& known) {
  const std::vector<crossing> crossings = find_crossings(whole, made);
  std::vector<picoseconds> messages(crossings.size());
  std::vector<priced_stage> stages;
  for (std::size_t s = 0; s < made.stages.size(); ++s)
    stages.emplace_back(whole, made, static_cast<stage_id>(s), machine, crossings, messages, known);
  for_each_node(whole, made, [&](stage_id stage, node_id id, const block& here, pass when) {
    stages[index_of(stage)].visit(id, here, when);
  });
  paid_plan paid;
  for (priced_stage& each : stages) paid.stages.push_back(each.finish());
  paid.transfers = by_landing(crossings, messages, stages.size());
  return paid;
}

}  // namespace detail

MESHLOOM_INLINE std::vector<stage_price> prices_of(const graph& whole, const plan& made, const cluster& machine) {
  shared_paths known(whole);
  return detail::pay(whole, made, machine, known).stages;
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
  const auto [stages, transfers] = detail::pay(whole, made, machine, known);
  std::vector<stage_times> times;
  picoseconds update;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    times.push_back({stages[s].forward, stages[s].backward});
    update = std::max(update, stages[s].update + transfers.updates[s]);
  }
  if (whole.squares.value != value_id::none) update += total_price(machine, whole.precision);
  return makespan(schedule_of(whole, made), times, transfers.cuts, made.micro_batches) + update;
}

}  // namespace meshloom
