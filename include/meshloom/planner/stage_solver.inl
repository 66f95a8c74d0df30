// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/stage_solver.hpp>

#include <algorithm>
#include <limits>
#include <set>

namespace meshloom {

MESHLOOM_INLINE stage_solver::stage_solver(const problem& posed, stage_plan& stage, std::int32_t micro_batches)
    : posed_(posed),
      whole_(posed.graph),
      stage_(stage),
      micro_batches_(micro_batches),
      sizes_(micro_batch_sizes(posed.graph, micro_batches)),
      links_(links_of(posed.cluster, stage.mesh, stage.first_rank)),
      copies_(whole_.nodes.size()),
      candidates_(whole_.nodes.size()),
      touching_(whole_.nodes.size()),
      paths_(whole_, sizes_, stage.mesh, links_) {
  stage_.strategies = table<node_id, strategy>(whole_.nodes.size());
  find_parameters();
  find_nodes();
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    if (copies_[node_id(n)] > 0) candidates_[node_id(n)] = allowed(node_id(n));
  }
  index_flows();
}

MESHLOOM_INLINE std::string stage_solver::run() {
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    if (copies_[id] > 0 && candidates_[id].empty()) return whole_.nodes[id].name;
  }
  vector<bool> decided(whole_.nodes.size());
  for (const node_id id : order_) {
    choose(id, &decided);
    decided[index_of(id)] = true;
  }
  constexpr int most_sweeps = 20;
  for (int sweep = 0; sweep < most_sweeps; ++sweep) {
    bool better = false;
    for (const node_id id : order_) better = choose(id, nullptr) || better;
    if (!better) break;
  }
  keep_gradients();
  for (const flow& each : flows_) {
    if (flow_price(each) >= impossible) return whole_.nodes[each.to].name;
  }
  return {};
}

MESHLOOM_INLINE void stage_solver::find_parameters() {
  stage_.parameters.assign(whole_.parameters.size(), {});
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    const parameter& each = whole_.parameters[p];
    if (reads(whole_, stage_, each)) stage_.parameters[p] = storage_of(posed_, stage_, whole_.values[each.value]);
  }
}

MESHLOOM_INLINE void stage_solver::find_nodes() {
  const auto blocks = blocks_of(whole_);
  for (std::int32_t b = stage_.first_block; b < stage_.end_block; ++b) {
    const block here = blocks[static_cast<std::size_t>(b)];
    for (const phase when : {phase::forward, phase::backward}) {
      for (const node_id id : nodes_of(whole_, here.region, when)) find_flows(id, here);
    }
  }
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const node& at = whole_.nodes[node_id(n)];
    for (std::int32_t copy = 0; copy < whole_.regions[at.region].count; ++copy) {
      if (updates_in(whole_, stage_, at, {at.region, copy})) find_flows(node_id(n), {at.region, copy});
    }
  }
  find_accumulators();
  find_messages();
  for (const phase when : {phase::forward, phase::backward, phase::update}) {
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      if (whole_.nodes[id].when == when && copies_[id] > 0) order_.push_back(id);
    }
  }
}

MESHLOOM_INLINE void stage_solver::find_flows(node_id id, const block& here) {
  const node& at = whole_.nodes[id];
  const bool updates = at.when == phase::update;
  ++copies_[id];
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    auto next = flow_from(resolve(whole_, at.operands[k], here));
    if (!next || (updates && next->begin == flow::storage)) continue;  // an update computes where the state is
    if (updates && next->begin == flow::operation && whole_.nodes[next->from].when != phase::update) {
      next->begin = flow::accumulator;
      next->parameter = *updated_by(whole_, at);
    }
    next->to = id;
    next->operand = k;
    next->times = updates ? 1 : micro_batches_;
    add_flow(*next);
  }
}

MESHLOOM_INLINE void stage_solver::find_accumulators() {
  std::set<instance> seen;
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    if (!stage_.parameters[p].used) continue;
    const region_id home = whole_.values[whole_.parameters[p].value].region;
    for (const value_id gradient : whole_.parameters[p].gradients) {
      for (std::int32_t copy = 0; copy < whole_.regions[home].count; ++copy) {
        const instance what = resolve(whole_, gradient, {home, copy});
        auto next = flow_from(what);
        if (next->begin != flow::operation || !seen.insert(what).second) continue;
        next->end = flow::accumulator;
        next->parameter = p;
        next->times = micro_batches_;
        add_flow(*next);
      }
    }
  }
}

MESHLOOM_INLINE void stage_solver::find_messages() {
  std::set<instance> sent;
  for (const block& here : blocks_of(whole_)) {
    if (holds(here)) continue;
    for (const node& at : whole_.nodes) {
      if (at.region != here.region || at.when == phase::update) continue;
      for (const value_id id : at.operands) {
        const instance what = resolve(whole_, id, here);
        auto next = flow_from(what);
        if (!next || next->begin != flow::operation || !sent.insert(what).second) continue;
        next->end = flow::message;
        next->times = micro_batches_;
        add_flow(*next);
      }
    }
  }
}

MESHLOOM_INLINE bool stage_solver::holds(const block& here) const {
  const std::int32_t number = block_number(whole_, here);
  return number >= stage_.first_block && number < stage_.end_block;
}

MESHLOOM_INLINE std::optional<flow> stage_solver::flow_from(const instance& what) const {
  const value& entry = whole_.values[what.value];
  flow made{.value = what.value};
  if (entry.kind == value_kind::parameter) {
    const auto is_it = [&](const parameter& each) { return each.value == what.value; };
    const auto found = std::find_if(whole_.parameters.begin(), whole_.parameters.end(), is_it);
    made.parameter = static_cast<std::size_t>(found - whole_.parameters.begin());
    return made;
  }
  if (entry.kind != value_kind::activation) return std::nullopt;
  const node& maker = whole_.nodes[entry.producer];
  made.begin = flow::message;
  if (maker.when != phase::update && !holds(maker_of(whole_, what))) return made;
  made.begin = flow::operation;  // every stage that keeps a parameter runs the whole of its update
  made.from = entry.producer;
  made.result = static_cast<std::size_t>(std::find(maker.results.begin(), maker.results.end(), what.value) -
                                         maker.results.begin());
  return made;
}

MESHLOOM_INLINE void stage_solver::add_flow(const flow& next) {
  for (flow& known : flows_) {
    flow same = known;
    same.times = next.times;
    if (same == next) {
      known.times += next.times;
      return;
    }
  }
  flows_.push_back(next);
}

MESHLOOM_INLINE void stage_solver::index_flows() {
  for (std::size_t f = 0; f < flows_.size(); ++f) {
    const flow& each = flows_[f];
    if (each.to != node_id::none) touching_[each.to].push_back(f);
    if (each.from != node_id::none && each.from != each.to) touching_[each.from].push_back(f);
  }
}

MESHLOOM_INLINE vector<strategy> stage_solver::allowed(node_id id) const {
  const node& at = whole_.nodes[id];
  if (at.when != phase::update) return allowed_strategies(posed_, stage_, id);
  return {update_strategy(at, stage_.mesh, stage_.parameters[*updated_by(whole_, at)].state)};
}

MESHLOOM_INLINE bool stage_solver::choose(node_id id, const vector<bool>* decided) {
  const strategy before = stage_.strategies[id];
  strategy best = before;
  picoseconds best_price = around_price(id, decided);
  bool changed = false;
  if (decided != nullptr) best_price = {std::numeric_limits<std::int64_t>::max()};
  for (const strategy& how : candidates_[id]) {
    stage_.strategies[id] = how;
    const picoseconds price = around_price(id, decided);
    if (price < best_price) {
      best = how;
      best_price = price;
      changed = true;
    }
  }
  stage_.strategies[id] = best;
  return changed && !(best == before);
}

MESHLOOM_INLINE picoseconds stage_solver::around_price(node_id id, const vector<bool>* decided) {
  const std::int64_t rounds = whole_.nodes[id].when == phase::update ? 1 : micro_batches_;
  picoseconds total = own_price(id, stage_.strategies[id]) * (copies_[id] * rounds);
  for (const std::size_t f : touching_[id]) {
    const flow& each = flows_[f];
    const auto open = [&](node_id other) {
      return decided != nullptr && other != id && other != node_id::none && !(*decided)[index_of(other)];
    };
    if (open(each.from) || open(each.to)) continue;
    const picoseconds time = flow_price(each);
    total += time < impossible ? time * each.times : impossible;
  }
  return total;
}

MESHLOOM_INLINE picoseconds stage_solver::own_price(node_id id, const strategy& how) const {
  return meshloom::price(whole_, sizes_, id, stage_.mesh, how, device_of(posed_.cluster, stage_.first_rank), links_);
}

MESHLOOM_INLINE spec stage_solver::begin_of(const flow& each) const {
  if (each.begin == flow::storage) return stage_.parameters[each.parameter].stored;
  if (each.begin == flow::message) return end_of(each).without_partial();
  const spec made = result_spec_in(whole_, stage_, each.from, each.result);
  if (each.begin == flow::operation) return made;
  return accumulated_as(posed_, stage_, made, stage_.parameters[each.parameter].state);
}

MESHLOOM_INLINE spec stage_solver::end_of(const flow& each) const {
  if (each.end == flow::operation) return operand_spec_in(whole_, stage_, each.to, each.operand);
  const spec made = result_spec_in(whole_, stage_, each.from, each.result);
  if (each.end == flow::message) return made.without_partial();
  return accumulated_as(posed_, stage_, made, stage_.parameters[each.parameter].state);
}

MESHLOOM_INLINE picoseconds stage_solver::flow_price(const flow& each) {
  const spec from = begin_of(each), to = end_of(each);
  if (from == to) return {};
  const reshard_path& path = paths_.find(each.value, from, to);
  return path.possible ? path.time : impossible;
}

MESHLOOM_INLINE void stage_solver::keep_gradients() {
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    parameter_plan& storage = stage_.parameters[p];
    if (!storage.used) continue;
    storage.accumulated.assign(whole_.parameters[p].gradients.size(), storage.state);
    for (std::size_t g = 0; g < storage.accumulated.size(); ++g) {
      const value_id id = resolve(whole_, whole_.parameters[p].gradients[g],
                                  {whole_.values[whole_.parameters[p].gradients[g]].region, 0})
                              .value;
      const node_id maker = whole_.values[id].producer;
      if (copies_[maker] == 0) continue;
      const auto& results = whole_.nodes[maker].results;
      const auto which = static_cast<std::size_t>(std::find(results.begin(), results.end(), id) - results.begin());
      storage.accumulated[g] =
          accumulated_as(posed_, stage_, result_spec_in(whole_, stage_, maker, which), storage.state);
    }
  }
}

}  // namespace meshloom
