// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/lower_stage.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE stage_lowering::stage_lowering(const graph& whole, const plan& made, stage_id which,
                                               const sorted_nodes& nodes, known_paths& paths,
                                               const vector<crossing>& crossings, vector<transfer>& transfers,
                                               bool named)
    : whole_(whole),
      made_(made),
      plan_(made.stages[which]),
      which_(which),
      nodes_(nodes),
      paths_(paths),
      crossings_(crossings),
      transfers_(transfers),
      sizes_(micro_batch_sizes(whole, made.micro_batches)),
      make_(whole, made, plan_, paths, named),
      read_in_backward_(find_read_in_backward()),
      specs_(whole.nodes.size()) {}

MESHLOOM_INLINE stage_program stage_lowering::run(vector<port>& results) {
  stage_draft made = draft(results);
  allocate(made.made, made.sent);
  return std::move(made.made);
}

MESHLOOM_INLINE stage_draft stage_lowering::draft(vector<port>& results) {
  place_parameters();
  begin(pass::forward);
  lower_blocks(phase::forward);
  lower_results(results);
  send();
  begin(pass::backward);
  lower_blocks(phase::backward);
  accumulate_rest();
  send();
  begin(pass::reduce);
  finish_results(results);
  send();
  begin(pass::update);
  lower_updates();
  return {std::move(make_.out), std::move(make_.blocks), std::move(parts_), std::move(sent_)};
}

MESHLOOM_INLINE void stage_lowering::begin(pass what) {
  make_.now = what;
  receive();
}

MESHLOOM_INLINE void stage_lowering::begin_part(const block& of) {
  parts_[static_cast<std::size_t>(make_.now)].push_back({of, static_cast<std::int32_t>(make_.body().size())});
}

MESHLOOM_INLINE void stage_lowering::lower_blocks(phase when) {
  const std::int32_t count = plan_.end_block - plan_.first_block;
  for (std::int32_t k = 0; k < count; ++k) {
    const std::int32_t number = when == phase::forward ? plan_.first_block + k : plan_.end_block - 1 - k;
    const block here = nodes_.blocks[static_cast<std::size_t>(number)];
    begin_part(here);
    if (when == phase::backward) {
      for (const node_id id : make_.recomputed.again(number)) lower_node(id, here);
    }
    const auto& all = when == phase::forward ? nodes_.forward : nodes_.backward;
    for (const node_id id : all[here.region]) lower_node(id, here);
  }
  begin_part({});
}

MESHLOOM_INLINE vector<std::int32_t> stage_lowering::copies_here(region_id area) const {
  vector<std::int32_t> copies;
  if (!whole_.regions[area].repeated) return {0};
  const std::int32_t before = nodes_.first[area], count = whole_.regions[area].count;
  const std::int32_t end = std::min(plan_.end_block - before, count);
  for (std::int32_t copy = std::max(plan_.first_block - before, 0); copy < end; ++copy) copies.push_back(copy);
  return copies;
}

MESHLOOM_INLINE void stage_lowering::place_parameters() {
  for_each_parameter([&](std::size_t p, std::int32_t copy) {
    place(p, whole_.parameters[p].value, copy, plan_.parameters[p].stored);
  });
  for_each_parameter([&](std::size_t p, std::int32_t copy) {
    const parameter& each = whole_.parameters[p];
    for (const value_id state : each.states)
      place(p, state, copy, state_spec(whole_, each, state, plan_.parameters[p].state));
  });
  for_each_parameter([&](std::size_t p, std::int32_t copy) { place_accumulators(p, copy); });
}

MESHLOOM_INLINE void stage_lowering::place(std::size_t p, value_id id, std::int32_t copy, const spec& layout) {
  const value& entry = whole_.values[id];
  const buffer_id made = make_.add_form({id, copy}, layout, memory::fixed);
  const std::uint64_t number = p * (std::uint64_t{1} << copy_bits) + static_cast<std::uint64_t>(copy);
  make_.out.placed_values.push_back({{id, copy}, make_.name_of_instance({id, copy}), made, entry.start, number});
}

MESHLOOM_INLINE void stage_lowering::place_accumulators(std::size_t p, std::int32_t copy) {
  const parameter& each = whole_.parameters[p];
  for (std::size_t g = 0; g < each.gradients.size(); ++g) {
    const instance what = resolve(whole_, each.gradients[g], {whole_.values[each.value].region, copy});
    if (!is_made_here(what)) continue;
    const value& entry = whole_.values[what.value];
    const buffer_id made =
        make_.add_buffer(make_.name_of_instance(what) + " (sum)", extents_of(sizes_, entry.axes), entry.type,
                         plan_.parameters[p].accumulated[g], memory::fixed, {entry.region, what.copy});
    std::optional<std::size_t>& known = accumulator_of_[what];
    if (!known) known = accumulators_.size();
    accumulators_.push_back({what, made, !read_in_backward_[what.value]});
  }
}

MESHLOOM_INLINE bool stage_lowering::is_made_here(const instance& what) const {
  const std::int32_t number = nodes_.first[whole_.values[what.value].region] + what.copy;
  return number >= plan_.first_block && number < plan_.end_block;
}

MESHLOOM_INLINE table<value_id, bool> stage_lowering::find_read_in_backward() const {
  table<value_id, bool> read(whole_.values.size());
  for (const crossing& each : crossings_) {
    if (each.to_pass == pass::backward) read[each.what.value] = true;
  }
  for (const node& at : whole_.nodes) {
    if (at.when != phase::backward) continue;
    for (const value_id id : at.operands) read[id] = true;
  }
  for (const region& area : whole_.regions) {
    for (const value_id id : {area.backward.body_out, area.backward.outer_in}) {
      if (id != value_id::none) read[id] = true;
    }
  }
  return read;
}

MESHLOOM_INLINE stage_lowering::accumulator* stage_lowering::accumulator_of(const instance& what) {
  const std::optional<std::size_t>* known = accumulator_of_.find(what);
  return known == nullptr ? nullptr : &accumulators_[known->value()];
}

MESHLOOM_INLINE const stage_lowering::node_specs& stage_lowering::specs_of(node_id id) {
  const node& at = whole_.nodes[id];
  node_specs& known = specs_[id];
  while (known.operands.size() < at.operands.size())
    known.operands.push_back(operand_spec_in(whole_, plan_, id, known.operands.size()));
  while (known.results.size() < at.results.size())
    known.results.push_back(result_spec_in(whole_, plan_, id, known.results.size()));
  return known;
}

MESHLOOM_INLINE void stage_lowering::lower_node(node_id id, const block& here) {
  const node& at = whole_.nodes[id];
  const node_specs& specs = specs_of(id);
  instruction next{.kind = instruction::compute,
                   .name = make_.name_of_node(at, here),
                   .op = at.op,
                   .attributes = at.attributes,
                   .number = index_of(id) * (std::uint64_t{1} << copy_bits) + static_cast<std::uint64_t>(here.copy),
                   .again = at.when == phase::forward && make_.now == pass::backward};
  next.operands.reserve(at.operands.size());
  next.results.reserve(at.results.size());
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    const instance what = resolve(whole_, at.operands[k], here);
    buffer_id read = make_.need(what, specs.operands[k]);
    for (const halo& lacked : halos_of(sizes_, at, plan_.mesh, plan_.strategies[id], k))
      read = make_.widen(what, read, lacked);
    next.operands.push_back(read);
  }
  next.adds = accumulates_directly(id, here);
  for (std::size_t k = 0; k < at.results.size(); ++k) next.results.push_back(result_buffer(id, here, k, next));
  let_rotate(id, next);
  emit_parts(id, std::move(next));
  for (const value_id result : at.results) {
    accumulator* into = accumulator_of({result, here.copy});
    if (into != nullptr && make_.now == pass::backward) accumulate(*into);
  }
  if (at.op->in_place) write_back(at, here);
}

MESHLOOM_INLINE bool stage_lowering::accumulates_directly(node_id id, const block& here) {
  const node& at = whole_.nodes[id];
  if (!at.op->accumulates || at.when != phase::backward) return false;
  for (std::size_t k = 0; k < at.results.size(); ++k) {
    const accumulator* into = accumulator_of({at.results[k], here.copy});
    if (into == nullptr || !into->alone || !(make_.out.buffers[into->buffer].layout == specs_of(id).results[k]))
      return false;
  }
  return true;
}

MESHLOOM_INLINE buffer_id stage_lowering::result_buffer(node_id id, const block& here, std::size_t k,
                                                        const instruction& next) {
  const node& at = whole_.nodes[id];
  const instance what{at.results[k], here.copy};
  if (next.adds) {
    accumulator_of(what)->done = true;
    return accumulator_of(what)->buffer;
  }
  const spec& layout = specs_of(id).results[k];
  if (at.op->in_place) {
    const buffer_id replaced = next.operands[static_cast<std::size_t>(at.op->replaces[k])];
    make_.forms.add(what, {layout, replaced, make_.now, false});
    return replaced;
  }
  return make_.add_form(what, layout, memory::transient);
}

MESHLOOM_INLINE void stage_lowering::let_rotate(node_id id, instruction& next) {
  const record& op = *whole_.nodes[id].op;
  const int around = rotating_axis(op.choices, plan_.mesh, plan_.strategies[id]);
  if (around < 0) return;
  next.mesh_axis = static_cast<std::int8_t>(around);
  const std::int32_t ranks = plan_.mesh.size[static_cast<std::size_t>(around)];
  for (std::size_t k = 0; k < next.operands.size(); ++k) {
    if (op.op.travels(op.op.operands[k]))
      make_.let_visit(next.operands[k], visiting_places(false, ranks), next.visiting);
  }
  for (std::size_t k = 0; k < next.results.size(); ++k) {
    if (op.op.travels(op.op.results[k])) make_.let_visit(next.results[k], visiting_places(true, ranks), next.visiting);
  }
}

MESHLOOM_INLINE void stage_lowering::emit_parts(node_id id, instruction next) {
  const node& at = whole_.nodes[id];
  const signature& op = at.op->op;
  const strategy& how = plan_.strategies[id];
  if (exchange_axes(op, at.op->choices, plan_.mesh.rank, how) == 0) return make_.body().push_back(std::move(next));
  for (int k = 0; k < op.statistic_count; ++k) next.exchanged.push_back(statistic_buffer(id, k, next.name));
  for (int k = 0; k <= op.statistic_count; ++k) {
    next.part = k;
    make_.body().push_back(next);
    if (k == op.statistic_count) break;
    const std::uint8_t axes = exchange_axes(op, at.op->choices, plan_.mesh.rank, how, k);
    for (std::int8_t axis = 0; axis < plan_.mesh.rank; ++axis) {
      if (!(axes >> axis & 1)) continue;
      make_.body().push_back({.kind = instruction::exchange,
                              .name = next.name,
                              .exchanged = {next.exchanged[static_cast<std::size_t>(k)]},
                              .how = collective::all_reduce,
                              .mesh_axis = axis,
                              .combine = op.statistics[static_cast<std::size_t>(k)].combine});
    }
  }
}

MESHLOOM_INLINE buffer_id stage_lowering::statistic_buffer(node_id id, int k, const std::string& name) {
  const node& at = whole_.nodes[id];
  const signature& op = at.op->op;
  const statistic& what = op.statistics[static_cast<std::size_t>(k)];
  vector<std::int64_t> extents;
  for (std::size_t row = 0; row < static_cast<std::size_t>(what.rows.count); ++row) {
    extents.push_back(sizes_[at.indices[static_cast<std::size_t>(what.rows.at[row])]].extent);
  }
  extents.push_back(what.values);
  const spec layout = rows_spec(op, at.op->choices, plan_.mesh.rank, plan_.strategies[id], k);
  return make_.add_buffer(name + " (statistics)", extents, whole_.precision, layout, memory::transient,
                          parts_[static_cast<std::size_t>(make_.now)].back().of);
}

MESHLOOM_INLINE void stage_lowering::accumulate(accumulator& into) {
  if (into.done) return;
  into.done = true;
  const buffer_id part = make_.need(into.gradient, make_.out.buffers[into.buffer].layout);
  make_.body().push_back({.kind = instruction::accumulate,
                          .name = make_.name_of_instance(into.gradient),
                          .operands = {part},
                          .results = {into.buffer}});
}

MESHLOOM_INLINE void stage_lowering::accumulate_rest() {
  for (accumulator& each : accumulators_) {
    begin_part(maker_of(whole_, each.gradient));
    accumulate(each);
  }
  begin_part({});
  for (accumulator& each : accumulators_)
    make_.forms.add(each.gradient, {make_.out.buffers[each.buffer].layout, each.buffer, pass::reduce, false});
  for (accumulator& each : accumulators_)
    make_.forms.add(each.gradient, {make_.out.buffers[each.buffer].layout, each.buffer, pass::update, false});
}

MESHLOOM_INLINE void stage_lowering::write_back(const node& at, const block& here) {
  for (std::size_t k = 0; k < at.results.size(); ++k) {
    const instance kept{at.operands[static_cast<std::size_t>(at.op->replaces[k])], here.copy};
    buffer_id home = buffer_id::none, updated = buffer_id::none;
    make_.forms.for_each(kept, make_.now, false, [&](const form& each) {
      if (each.always) home = each.buffer;
    });
    make_.forms.for_each({at.results[k], here.copy}, make_.now, false,
                         [&](const form& each) { updated = each.buffer; });
    if (home == updated || home == buffer_id::none) continue;
    const reshard_path& path =
        paths_.find(kept.value, make_.out.buffers[updated].layout, make_.out.buffers[home].layout);
    for (std::size_t step = 0; step < path.steps.size(); ++step) {
      const bool last = step + 1 == path.steps.size();
      updated = make_.emit_reshard(
          kept, updated, path.steps[step],
          last ? home : make_.add_form({at.results[k], here.copy}, path.steps[step].after, memory::transient));
    }
  }
}

MESHLOOM_INLINE void stage_lowering::lower_updates() {
  bool totalled = false;
  for (const auto& [id, parameter] : nodes_.updates) {
    const node& at = whole_.nodes[id];
    const bool reads = std::find(at.operands.begin(), at.operands.end(), whole_.squares.value) != at.operands.end();
    if (reads && !totalled) lower_total();
    totalled = totalled || reads;
    if (!plan_.parameters[parameter].used) continue;
    for (const std::int32_t copy : copies_here(at.region)) {
      begin_part({at.region, copy});
      lower_node(id, {at.region, copy});
    }
    begin_part({});
  }
}

MESHLOOM_INLINE void stage_lowering::lower_total() {
  const total& squares = whole_.squares;
  instruction next{.kind = instruction::total, .name = whole_.values[squares.value].name};
  for (const value_id part : squares.parts) {
    const node& maker = whole_.nodes[whole_.values[part].producer];
    for (std::int32_t copy = 0; copy < whole_.regions[maker.region].count; ++copy) {
      stage_id first{0};
      while (first < which_ && !updates_in(whole_, made_.stages[first], maker, {maker.region, copy}))
        first = stage_id{static_cast<std::int32_t>(first) + 1};
      if (first != which_ || !updates_in(whole_, plan_, maker, {maker.region, copy})) continue;
      make_.forms.for_each({part, copy}, pass::update, false,
                           [&](const form& each) { next.operands.push_back(each.buffer); });
    }
  }
  next.results = {make_.add_form({squares.value, 0}, {}, memory::fixed)};
  make_.body().push_back(next);
}

MESHLOOM_INLINE void stage_lowering::receive() {
  for (const crossing& each : crossings_) {
    if (each.to != which_ || each.to_pass != make_.now) continue;
    const buffer_id landed =
        make_.add_form(each.what, each.wanted, make_.now == pass::update ? memory::fixed : memory::kept);
    transfer_of(each).to = landed;
  }
}

MESHLOOM_INLINE void stage_lowering::send() {
  for (const crossing& each : crossings_) {
    if (each.from != which_ || each.from_pass != make_.now) continue;
    const stage_plan& reader = made_.stages[each.to];
    spec layout = each.wanted;
    if (!(reader.mesh == plan_.mesh)) layout = make_.without_partial(each.what);
    const buffer_id sent = make_.need(each.what, layout);
    transfer_of(each).from = sent;
    sent_[static_cast<std::size_t>(make_.now)].push_back(sent);
    if (make_.now != pass::reduce) continue;
    // The update of this stage reads the summed gradient as well: it stays, so that it is reduced once.
    make_.out.buffers[sent].where = memory::fixed;
    make_.forms.add(each.what, {layout, sent, pass::update, false});
  }
}

MESHLOOM_INLINE transfer& stage_lowering::transfer_of(const crossing& each) {
  return transfers_[static_cast<std::size_t>(&each - crossings_.data())];
}

MESHLOOM_INLINE void stage_lowering::lower_results(vector<port>& results) {
  const auto made = results_of(whole_);
  for (std::size_t r = 0; r < results.size(); ++r) {
    const instance what = made[r];
    if (!is_made_here(what)) continue;
    begin_part(maker_of(whole_, what));
    if (results[r].batch_axis >= 0) {
      const buffer_id part = make_.need(what, make_.without_partial(what));
      make_.body().push_back({.kind = instruction::store,
                              .name = make_.name_of_instance(what),
                              .operands = {part},
                              .port = static_cast<std::int32_t>(r)});
      continue;
    }
    spec layout;
    make_.forms.for_each(what, make_.now, false, [&](const form& each) { layout = each.layout; });
    const value& entry = whole_.values[what.value];
    const buffer_id sum = make_.add_buffer(make_.name_of_instance(what) + " (sum)", extents_of(sizes_, entry.axes),
                                           entry.type, layout, memory::fixed, {entry.region, what.copy});
    make_.body().push_back({.kind = instruction::accumulate,
                            .name = make_.name_of_instance(what),
                            .operands = {make_.need(what, layout)},
                            .results = {sum}});
    make_.forms.add(what, {layout, sum, pass::reduce, false});
    results[r].stage = which_;
  }
  begin_part({});
}

MESHLOOM_INLINE void stage_lowering::finish_results(vector<port>& results) {
  const auto made = results_of(whole_);
  for (std::size_t r = 0; r < results.size(); ++r) {
    if (results[r].stage != which_) continue;
    begin_part(maker_of(whole_, made[r]));
    const buffer_id whole = make_.need(made[r], {});
    make_.out.buffers[whole].where = memory::fixed;
    results[r].buffer = whole;
  }
  begin_part({});
}

}  // namespace meshloom
