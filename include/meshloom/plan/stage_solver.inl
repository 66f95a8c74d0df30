// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/stage_solver.hpp>

#include <algorithm>
#include <limits>

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
      known_(1024) {
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
  std::vector<bool> decided(whole_.nodes.size());
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

MESHLOOM_INLINE picoseconds stage_solver::time_of(phase when) {
  picoseconds total;
  for (const node_id id : order_) {
    if (whole_.nodes[id].when == when) total += own_price(id, stage_.strategies[id]) * copies_[id];
  }
  const std::int64_t rounds = when == phase::update ? 1 : micro_batches_;
  std::vector<std::pair<value_id, spec>> paid;  // a form that several operators read is made once
  for (const flow& each : flows_) {
    if (each.when != when) continue;
    const spec to = each.to == node_id::none ? spec{} : operand_spec_in(whole_, stage_, each.to, each.operand);
    const std::pair form{each.value, to};
    if (each.to != node_id::none && std::find(paid.begin(), paid.end(), form) != paid.end()) continue;
    paid.push_back(form);
    total += flow_price(each) * (each.times / rounds);
  }
  return total;
}

MESHLOOM_INLINE void stage_solver::find_parameters() {
  stage_.parameters.assign(whole_.parameters.size(), {});
  const auto blocks = blocks_of(whole_);
  for (std::int32_t b = stage_.first_block; b < stage_.end_block; ++b) {
    for (const node& at : whole_.nodes) {
      if (at.region != blocks[static_cast<std::size_t>(b)].region || at.when == phase::update) continue;
      for (const value_id id : at.operands) use_parameter(id);
    }
  }
}

MESHLOOM_INLINE void stage_solver::use_parameter(value_id id) {
  if (whole_.values[id].kind != value_kind::parameter) return;
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    if (whole_.parameters[p].value == id && !stage_.parameters[p].used)
      stage_.parameters[p] = storage_of(posed_, stage_.mesh, whole_.values[id]);
  }
}

MESHLOOM_INLINE const parameter_plan* stage_solver::kept(value_id id) const {
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    if (whole_.parameters[p].value == id) return &stage_.parameters[p];
  }
  return nullptr;
}

MESHLOOM_INLINE const parameter_plan* stage_solver::updated(const node& at) const {
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    const parameter& each = whole_.parameters[p];
    const bool own = std::find(at.operands.begin(), at.operands.end(), each.value) != at.operands.end();
    const bool adds = std::find(at.operands.begin(), at.operands.end(),
                                each.gradients.empty() ? value_id::none : each.gradients.back()) != at.operands.end();
    if (own || adds || sums_gradients_of(at, each)) return &stage_.parameters[p];
  }
  return nullptr;
}

MESHLOOM_INLINE bool stage_solver::sums_gradients_of(const node& at, const parameter& each) {
  return std::any_of(each.gradients.begin(), each.gradients.end(), [&](value_id id) {
    return std::find(at.operands.begin(), at.operands.end(), id) != at.operands.end();
  });
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
    const node& at = whole_.nodes[static_cast<node_id>(n)];
    if (at.when != phase::update) continue;
    const parameter_plan* parameter = updated(at);
    if (parameter == nullptr || !parameter->used) continue;
    const region& home = whole_.regions[at.region];
    for (std::int32_t copy = 0; copy < home.count; ++copy) {
      const std::int32_t number = block_number(whole_, {at.region, copy});
      if (!home.repeated || (number >= stage_.first_block && number < stage_.end_block))
        find_flows(static_cast<node_id>(n), {at.region, copy});
    }
  }
  for (const phase when : {phase::forward, phase::backward, phase::update}) {
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      if (whole_.nodes[id].when == when && copies_[id] > 0) order_.push_back(id);
    }
  }
}

MESHLOOM_INLINE void stage_solver::find_flows(node_id id, const block& here) {
  const node& at = whole_.nodes[id];
  ++copies_[id];
  const std::int64_t times = at.when == phase::update ? 1 : micro_batches_;
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    flow next{.to = id, .operand = k, .value = at.operands[k], .fixed = {}, .times = times, .when = at.when};
    const value& entry = whole_.values[at.operands[k]];
    if (entry.kind == value_kind::state) continue;
    if (entry.kind == value_kind::parameter) {
      const parameter_plan* storage = kept(at.operands[k]);
      next.fixed = at.when == phase::update ? storage->state : storage->stored;
      add_flow(next);
      continue;
    }
    if (entry.kind == value_kind::input) continue;
    const instance source = resolve(whole_, at.operands[k], here);
    const std::int32_t maker = block_number(whole_, maker_of(whole_, source));
    if (maker >= stage_.first_block && maker < stage_.end_block) {
      const node& from = whole_.nodes[whole_.values[source.value].producer];
      next.from = whole_.values[source.value].producer;
      next.result = static_cast<std::size_t>(std::find(from.results.begin(), from.results.end(), source.value) -
                                             from.results.begin());
      next.value = source.value;
    }
    add_flow(next);
  }
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
    touching_[flows_[f].to].push_back(f);
    if (flows_[f].from != node_id::none && flows_[f].from != flows_[f].to) touching_[flows_[f].from].push_back(f);
  }
}

MESHLOOM_INLINE std::vector<strategy> stage_solver::allowed(node_id id) const {
  const node& at = whole_.nodes[id];
  std::array<std::vector<std::uint8_t>, max_mesh_rank> rows;
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage_.mesh.rank); ++axis)
    rows[axis] = allowed_rows(at, axis);
  std::vector<strategy> found;
  for_each_strategy(at.op->choices, stage_.mesh.rank, [&](const strategy& how) {
    if (how.order != 0) return;  // manual plans cut in the order of the mesh axes
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage_.mesh.rank); ++axis) {
      if (std::find(rows[axis].begin(), rows[axis].end(), how.row[axis]) == rows[axis].end()) return;
    }
    found.push_back(how);
  });
  return found;
}

MESHLOOM_INLINE std::vector<std::uint8_t> stage_solver::allowed_rows(const node& at, std::size_t axis) const {
  const choice_table& table = at.op->choices;
  if (at.when == phase::update) return {update_row(at, axis)};
  std::vector<std::uint8_t> rows;
  for (std::uint8_t row = 0; row < table.count; ++row) rows.push_back(row);
  const std::string& mesh_axis = stage_.mesh_axes[axis];
  for (const axis_rule& rule : posed_.constraints.rules) {
    if (rule.mesh_axis != mesh_axis) continue;
    for (std::uint8_t row = 0; row < table.count; ++row) {
      const choice& each = table.rows[row];
      if (each.kind == choice::split &&
          whole_.sizes[at.indices[static_cast<std::size_t>(each.index)]].name == rule.axis)
        rows = {row};
    }
  }
  std::erase_if(rows, [&](std::uint8_t row) { return !meets_pins(at, axis, table.rows[row]); });
  return rows;
}

MESHLOOM_INLINE bool stage_solver::meets_pins(const node& at, std::size_t axis, const choice& row) const {
  for (std::size_t k = 0; k < at.results.size(); ++k) {
    const placement made = result_placement(at.op->op, static_cast<int>(k), row);
    const auto meets = [&](int wanted) {
      return wanted < 0 ? made.kind == placement::whole : made.kind == placement::split && made.axis == wanted;
    };
    for (const pin& bound : whole_.pins) {
      const value_id target = bound.gradient ? whole_.values[bound.value].gradient : bound.value;
      if (bound.mesh_axis == stage_.mesh_axes[axis] && target == at.results[k] && !meets(bound.axis)) return false;
    }
    for (const path_pin& bound : posed_.constraints.pins) {
      if (bound.mesh_axis != stage_.mesh_axes[axis] || bound.path != at.name || k != 0) continue;
      const auto& axes = whole_.values[at.results[k]].axes;
      const auto named = std::find(axes.begin(), axes.end(), find_axis(whole_.sizes, bound.axis));
      if (!meets(bound.axis.empty() ? -1 : static_cast<int>(named - axes.begin()))) return false;
    }
  }
  return true;
}

MESHLOOM_INLINE std::uint8_t stage_solver::update_row(const node& at, std::size_t axis) const {
  const placement wanted = updated(at)->state.on(static_cast<int>(axis));
  for (std::uint8_t row = 0; row < at.op->choices.count; ++row) {
    if (result_placement(at.op->op, 0, at.op->choices.rows[row]) == wanted) return row;
  }
  return 0;
}

MESHLOOM_INLINE bool stage_solver::choose(node_id id, const std::vector<bool>* decided) {
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

MESHLOOM_INLINE picoseconds stage_solver::around_price(node_id id, const std::vector<bool>* decided) {
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
  return meshloom::price(whole_, sizes_, id, stage_.mesh, how, posed_.cluster.device, links_);
}

MESHLOOM_INLINE picoseconds stage_solver::flow_price(const flow& each) {
  const spec from = each.from == node_id::none ? each.fixed : result_spec_in(whole_, stage_, each.from, each.result);
  const spec to = operand_spec_in(whole_, stage_, each.to, each.operand);
  if (from == to) return {};
  std::size_t hash = index_of(each.value);
  for (const spec& layout : {from, to}) {
    for (const cut& c : layout.cuts()) hash = hash * 31 + static_cast<std::size_t>(c.mesh_axis * 8 + c.axis + 1);
    hash = hash * 31 + layout.partial_sum();
  }
  auto& bucket = known_[hash % known_.size()];
  for (const known_price& known : bucket) {
    if (known.value == each.value && known.from == from && known.to == to) return known.time;
  }
  const value& entry = whole_.values[each.value];
  const auto path = reshard(from, to, extents_of(sizes_, entry.axes), {size_of(entry.type)}, stage_.mesh, links_);
  const picoseconds time = path.possible ? path.time : impossible;
  bucket.push_back({each.value, from, to, time});
  return time;
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
          accumulated_as(posed_, stage_.mesh, result_spec_in(whole_, stage_, maker, which), storage.state);
    }
  }
}

}  // namespace meshloom
