// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/forms.hpp>
#include <meshloom/program/lower.hpp>
#include <meshloom/schedule/packing.hpp>
#include <meshloom/sharding/reshard.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// A value made in one stage and read in another.
struct crossing {
  instance what;
  stage_id from, to;
  pass from_pass, to_pass;
  spec wanted;  ///< by the first reader
};

constexpr pass pass_of(phase when) {
  return when == phase::forward ? pass::forward : when == phase::backward ? pass::backward : pass::update;
}

/// True if a stage keeps the parameter that this update node belongs to.
inline bool updates_in(const graph& whole, const stage_plan& stage, const node& at, const block& here) {
  for (std::size_t p = 0; p < whole.parameters.size(); ++p) {
    const parameter& each = whole.parameters[p];
    const auto reads = [&](value_id id) { return std::find(at.operands.begin(), at.operands.end(), id) != at.operands.end(); };
    if (!reads(each.value) && !std::any_of(each.gradients.begin(), each.gradients.end(), reads)) continue;
    if (!stage.parameters[p].used) return false;
    const std::int32_t number = block_number(whole, here);
    return !whole.regions[at.region].repeated || (number >= stage.first_block && number < stage.end_block);
  }
  return false;
}

/// Calls `visit(stage, node, block)` for every node of every stage, in the order in which a stage runs them.
template <class Visit>
void for_each_node(const graph& whole, const plan& made, const Visit& visit) {
  const auto blocks = blocks_of(whole);
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    const auto stage = static_cast<stage_id>(s);
    const std::int32_t first = made.stages[stage].first_block, end = made.stages[stage].end_block;
    for (std::int32_t b = first; b < end; ++b) {
      const block here = blocks[static_cast<std::size_t>(b)];
      for (const node_id id : nodes_of(whole, here.region, phase::forward)) visit(stage, id, here);
    }
    for (std::int32_t b = end - 1; b >= first; --b) {
      const block here = blocks[static_cast<std::size_t>(b)];
      for (const node_id id : nodes_of(whole, here.region, phase::backward)) visit(stage, id, here);
    }
    for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      const node& at = whole.nodes[id];
      if (at.when != phase::update) continue;
      for (std::int32_t copy = 0; copy < whole.regions[at.region].count; ++copy) {
        const block here{at.region, copy};
        if (updates_in(whole, made.stages[stage], at, here)) visit(stage, id, here);
      }
    }
  }
}

inline std::vector<crossing> find_crossings(const graph& whole, const plan& made) {
  std::vector<crossing> found;
  for_each_node(whole, made, [&](stage_id stage, node_id id, const block& here) {
    const node& at = whole.nodes[id];
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const instance what = resolve(whole, at.operands[k], here);
      const value& entry = whole.values[what.value];
      if (entry.kind != value_kind::activation) continue;
      const phase made_when = whole.nodes[entry.producer].when;
      if (made_when == phase::update) continue;
      const stage_id from = stage_of(made, block_number(whole, maker_of(whole, what)));
      if (from == stage) continue;
      const bool known = std::any_of(found.begin(), found.end(), [&](const crossing& c) { return c.what == what && c.to == stage; });
      if (known) continue;
      const pass to_pass = pass_of(at.when);
      const pass from_pass = to_pass == pass::update ? pass::reduce : pass_of(made_when);
      found.push_back({what, from, stage, from_pass, made_when == phase::forward ? pass::forward : to_pass, operand_spec_in(whole, made.stages[stage], id, k)});
    }
  });
  return found;
}

/// Lowers one stage.
class stage_lowering {
 public:
  stage_lowering(const graph& whole, const plan& made, const cluster& machine, stage_id which, const std::vector<crossing>& crossings,
                 std::vector<transfer>& transfers)
      : whole_(whole), made_(made), plan_(made.stages[which]), which_(which), crossings_(crossings), transfers_(transfers),
        sizes_(micro_batch_sizes(whole, made.micro_batches)), links_(links_of(machine, plan_.mesh, plan_.first_rank)) {
    out.first_rank = plan_.first_rank;
    out.mesh = plan_.mesh;
    out.mesh_axes = plan_.mesh_axes;
  }

  void run(std::vector<port>& results) {
    if (std::find(plan_.recompute.begin(), plan_.recompute.end(), true) != plan_.recompute.end()) {
      throw error("lower: the plan recomputes activations, which this version does not execute; set recompute to none");
    }
    place_parameters();
    const auto blocks = blocks_of(whole_);
    now_ = pass::forward;
    receive();
    for (std::int32_t b = plan_.first_block; b < plan_.end_block; ++b) lower_block(blocks[static_cast<std::size_t>(b)], phase::forward);
    lower_results(results);
    send();
    now_ = pass::backward;
    receive();
    for (std::int32_t b = plan_.end_block - 1; b >= plan_.first_block; --b) lower_block(blocks[static_cast<std::size_t>(b)], phase::backward);
    accumulate_rest();
    send();
    now_ = pass::reduce;
    finish_results(results);
    send();
    now_ = pass::update;
    receive();
    lower_updates();
    allocate();
  }

  stage_program out;

 private:
  /// Gradients summed over micro-batches: what is added where.
  struct accumulator {
    instance gradient;
    buffer_id buffer;
    bool alone;         ///< no backward operator reads the gradient
    bool done = false;
  };

  // --- forms ---------------------------------------------------------------------------------------------------------

  buffer_id add_buffer(const std::string& name, const std::vector<std::int64_t>& extents, dtype type, const spec& layout, memory where) {
    buffer made{.name = name, .rank = static_cast<std::int32_t>(extents.size()), .global = {}, .type = type, .layout = layout, .where = where, .size = {}, .offset = {}};
    std::copy(extents.begin(), extents.end(), made.global.begin());
    const std::int64_t exact = largest_shard(layout, plan_.mesh, extents) * size_of(type);
    made.size = {(exact + arena_alignment - 1) / arena_alignment * arena_alignment};
    return out.buffers.add(std::move(made));
  }

  buffer_id add_form(const instance& what, const spec& layout, memory where) {
    const value& entry = whole_.values[what.value];
    const buffer_id made = add_buffer(name_of_instance(what), extents_of(sizes_, entry.axes), entry.type, layout, where);
    forms_.add(what, {layout, made, now_, where == memory::fixed});
    return made;
  }

  std::string name_of_instance(const instance& what) const {
    const value& entry = whole_.values[what.value];
    if (entry.region == region_id::none || !whole_.regions[entry.region].repeated) return entry.name;
    const std::string& area = whole_.regions[entry.region].name;
    const std::string place = area + "[" + std::to_string(what.copy) + "]";
    return entry.name.compare(0, area.size(), area) == 0 ? place + entry.name.substr(area.size()) : place + "." + entry.name;
  }

  /// The buffer with `what` in spec `layout`, made from the cheapest form there is.
  buffer_id need(const instance& what, const spec& layout) {
    const value& entry = whole_.values[what.value];
    if (entry.kind == value_kind::input) return load(what, layout);
    const auto extents = extents_of(sizes_, entry.axes);
    form best;
    reshard_path path;
    const bool keeps = entry.kind == value_kind::activation;
    forms_.for_each(what, now_, keeps, [&](const form& each) {
      const reshard_path next = reshard(each.layout, layout, extents, {size_of(entry.type)}, plan_.mesh, links_);
      if (next.possible && (!path.possible || next.time < path.time || (next.time == path.time && next.steps.size() < path.steps.size()))) {
        best = each;
        path = next;
      }
    });
    if (!path.possible) throw error("lower: stage " + std::to_string(index_of(which_)) + ": " + name_of_instance(what) + " cannot be had in the form that the plan wants; the plan does not fit the model");
    if (!best.always && best.made_in != now_) out.buffers[best.buffer].where = memory::kept;
    buffer_id at = best.buffer;
    for (const reshard_step& step : path.steps) at = emit_reshard(what, at, step, add_form(what, step.after, memory::transient));
    return at;
  }

  buffer_id emit_reshard(const instance& what, buffer_id from, const reshard_step& step, buffer_id to) {
    body().push_back({.kind = instruction::reshard, .name = name_of_instance(what), .operands = {from}, .results = {to}, .how = step.kind,
                      .mesh_axis = step.mesh_axis, .combine = step.combine});
    return to;
  }

  buffer_id load(const instance& what, const spec& layout) {
    buffer_id found = buffer_id::none;
    forms_.for_each(what, now_, false, [&](const form& each) { if (each.layout == layout) found = each.buffer; });
    if (found != buffer_id::none) return found;
    found = add_form(what, layout, memory::transient);
    const auto number = std::find(whole_.inputs.begin(), whole_.inputs.end(), what.value) - whole_.inputs.begin();
    body().push_back({.kind = instruction::load, .name = name_of_instance(what), .results = {found}, .port = static_cast<std::int32_t>(number)});
    return found;
  }

  std::vector<instruction>& body() { return out.bodies[static_cast<std::size_t>(now_)]; }

  // --- parameters ----------------------------------------------------------------------------------------------------

  /// The copies of a region's values that this stage has.
  std::vector<std::int32_t> copies_here(region_id area) const {
    std::vector<std::int32_t> copies;
    if (!whole_.regions[area].repeated) return {0};
    for (std::int32_t copy = 0; copy < whole_.regions[area].count; ++copy) {
      const std::int32_t number = block_number(whole_, {area, copy});
      if (number >= plan_.first_block && number < plan_.end_block) copies.push_back(copy);
    }
    return copies;
  }

  void keep(value_id id, std::int32_t copy, const spec& layout) {
    const value& entry = whole_.values[id];
    const buffer_id made = add_form({id, copy}, layout, memory::fixed);
    const std::uint64_t number = index_of(id) * (std::uint64_t{1} << 20) + static_cast<std::uint64_t>(copy);
    out.kept_values.push_back({{id, copy}, name_of_instance({id, copy}), made, entry.start, number});
  }

  /// Parameters first, then states, then accumulators: programs of one plan agree on where parameters lie.
  void place_parameters() {
    for_each_parameter([&](std::size_t p, std::int32_t copy) { keep(whole_.parameters[p].value, copy, plan_.parameters[p].stored); });
    for_each_parameter([&](std::size_t p, std::int32_t copy) {
      for (const value_id state : whole_.parameters[p].states) keep(state, copy, plan_.parameters[p].state);
    });
    for_each_parameter([&](std::size_t p, std::int32_t) { place_accumulators(p); });
  }

  template <class Visit>
  void for_each_parameter(const Visit& visit) {
    for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
      if (!plan_.parameters[p].used) continue;
      for (const std::int32_t copy : copies_here(whole_.values[whole_.parameters[p].value].region)) visit(p, copy);
    }
  }

  void place_accumulators(std::size_t p) {
    const parameter& each = whole_.parameters[p];
    for (std::size_t g = 0; g < each.gradients.size(); ++g) {
      const region_id home = whole_.values[each.value].region;
      for (const std::int32_t copy : copies_here(home)) {
        const instance what = resolve(whole_, each.gradients[g], {home, copy});
        if (stage_of(made_, block_number(whole_, maker_of(whole_, what))) != which_) continue;
        const bool known = std::any_of(accumulators_.begin(), accumulators_.end(), [&](const accumulator& a) { return a.gradient == what; });
        if (known) continue;
        const value& entry = whole_.values[what.value];
        const buffer_id made = add_buffer(name_of_instance(what) + " (sum)", extents_of(sizes_, entry.axes), entry.type, plan_.parameters[p].accumulated[g], memory::fixed);
        accumulators_.push_back({what, made, !read_in_backward(what.value)});
      }
    }
  }

  bool read_in_backward(value_id id) const {
    const bool crosses = std::any_of(crossings_.begin(), crossings_.end(), [&](const crossing& c) { return c.what.value == id && c.to_pass == pass::backward; });
    return crosses || std::any_of(whole_.nodes.begin(), whole_.nodes.end(), [&](const node& at) {
      return at.when == phase::backward && std::find(at.operands.begin(), at.operands.end(), id) != at.operands.end();
    }) || std::any_of(whole_.regions.begin(), whole_.regions.end(), [&](const region& area) { return area.backward.body_out == id || area.backward.outer_in == id; });
  }

  accumulator* accumulator_of(const instance& what) {
    for (accumulator& each : accumulators_) {
      if (each.gradient == what) return &each;
    }
    return nullptr;
  }

  void accumulate(accumulator& into) {
    if (into.done) return;
    into.done = true;
    const buffer_id part = need(into.gradient, out.buffers[into.buffer].layout);
    body().push_back({.kind = instruction::accumulate, .name = name_of_instance(into.gradient), .operands = {part}, .results = {into.buffer}});
  }

  void accumulate_rest() {
    for (accumulator& each : accumulators_) accumulate(each);
    for (accumulator& each : accumulators_) forms_.add(each.gradient, {out.buffers[each.buffer].layout, each.buffer, pass::reduce, false});
    for (accumulator& each : accumulators_) forms_.add(each.gradient, {out.buffers[each.buffer].layout, each.buffer, pass::update, false});
  }

  // --- operators -----------------------------------------------------------------------------------------------------

  void lower_block(const block& here, phase when) {
    for (const node_id id : nodes_of(whole_, here.region, when)) lower_node(id, here);
  }

  void lower_node(node_id id, const block& here) {
    const node& at = whole_.nodes[id];
    instruction next{.kind = instruction::compute, .name = at.name, .op = at.op, .attributes = at.attributes,
                     .number = index_of(id) * (std::uint64_t{1} << 20) + static_cast<std::uint64_t>(here.copy)};
    if (whole_.regions[at.region].repeated) next.name = name_of_instance({at.results.front(), here.copy});
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      next.operands.push_back(need(resolve(whole_, at.operands[k], here), operand_spec_in(whole_, plan_, id, k)));
    }
    next.adds = accumulates_directly(id, here);
    for (std::size_t k = 0; k < at.results.size(); ++k) next.results.push_back(result_buffer(id, here, k, next));
    emit_phases(id, next);
    for (const value_id result : at.results) {
      accumulator* into = accumulator_of({result, here.copy});
      if (into != nullptr && now_ == pass::backward) accumulate(*into);
    }
    if (at.op->in_place) write_back(at, here);
  }

  /// True if the kernel may add to the accumulators itself: it can, and nobody else needs what this micro-batch adds.
  bool accumulates_directly(node_id id, const block& here) {
    const node& at = whole_.nodes[id];
    if (!at.op->accumulates || now_ != pass::backward) return false;
    for (std::size_t k = 0; k < at.results.size(); ++k) {
      const accumulator* into = accumulator_of({at.results[k], here.copy});
      if (into == nullptr || !into->alone || !(out.buffers[into->buffer].layout == result_spec_in(whole_, plan_, id, k))) return false;
    }
    return true;
  }

  buffer_id result_buffer(node_id id, const block& here, std::size_t k, const instruction& next) {
    const node& at = whole_.nodes[id];
    const instance what{at.results[k], here.copy};
    if (next.adds) {
      accumulator_of(what)->done = true;
      return accumulator_of(what)->buffer;
    }
    const spec layout = result_spec_in(whole_, plan_, id, k);
    if (at.op->in_place) {
      const buffer_id replaced = next.operands[static_cast<std::size_t>(at.op->replaces[k])];
      forms_.add(what, {layout, replaced, now_, false});
      return replaced;
    }
    return add_form(what, layout, memory::transient);
  }

  /// One instruction, or one per phase with the exchanges of statistics between them.
  void emit_phases(node_id id, instruction next) {
    const node& at = whole_.nodes[id];
    const signature& op = at.op->op;
    const strategy& how = plan_.strategies[id];
    const std::uint8_t axes = exchange_axes(op, at.op->choices, plan_.mesh.rank, how);
    if (axes == 0) return body().push_back(next);
    for (int k = 0; k < op.statistic_count; ++k) next.exchanged.push_back(statistic_buffer(id, k, next.name));
    for (int k = 0; k <= op.statistic_count; ++k) {
      next.phase = k;
      body().push_back(next);
      if (k == op.statistic_count) break;
      for (std::int8_t axis = 0; axis < plan_.mesh.rank; ++axis) {
        if (!(axes >> axis & 1)) continue;
        body().push_back({.kind = instruction::exchange, .name = next.name, .exchanged = {next.exchanged[static_cast<std::size_t>(k)]},
                          .how = collective::all_reduce, .mesh_axis = axis, .combine = op.statistics[static_cast<std::size_t>(k)].combine});
      }
    }
  }

  buffer_id statistic_buffer(node_id id, int k, const std::string& name) {
    const node& at = whole_.nodes[id];
    const signature& op = at.op->op;
    std::vector<std::int64_t> extents;
    for (std::size_t row = 0; row < static_cast<std::size_t>(op.rows.count); ++row) {
      extents.push_back(sizes_[at.indices[static_cast<std::size_t>(op.rows.at[row])]].extent);
    }
    extents.push_back(op.statistics[static_cast<std::size_t>(k)].values);
    spec layout;
    for (const std::int8_t axis : cut_orders[plan_.strategies[id].order]) {
      if (axis >= plan_.mesh.rank) continue;
      const choice& row = at.op->choices.rows[plan_.strategies[id].row[static_cast<std::size_t>(axis)]];
      const int where = row.kind == choice::split ? op.rows.find(row.index) : -1;
      if (where >= 0) layout = layout.with(axis, {placement::split, static_cast<std::int8_t>(where)});
    }
    return add_buffer(name + " (statistics)", extents, whole_.precision, layout, memory::transient);
  }

  /// Stores an updated value where it is kept, if the update ran on a part of it.
  void write_back(const node& at, const block& here) {
    for (std::size_t k = 0; k < at.results.size(); ++k) {
      const instance kept{at.operands[static_cast<std::size_t>(at.op->replaces[k])], here.copy};
      buffer_id home = buffer_id::none, updated = buffer_id::none;
      forms_.for_each(kept, now_, false, [&](const form& each) { if (each.always) home = each.buffer; });
      forms_.for_each({at.results[k], here.copy}, now_, false, [&](const form& each) { updated = each.buffer; });
      if (home == updated || home == buffer_id::none) continue;
      const value& entry = whole_.values[kept.value];
      const auto path = reshard(out.buffers[updated].layout, out.buffers[home].layout, extents_of(sizes_, entry.axes), {size_of(entry.type)}, plan_.mesh, links_);
      for (std::size_t step = 0; step < path.steps.size(); ++step) {
        const bool last = step + 1 == path.steps.size();
        updated = emit_reshard(kept, updated, path.steps[step], last ? home : add_form({at.results[k], here.copy}, path.steps[step].after, memory::transient));
      }
    }
  }

  void lower_updates() {
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const node& at = whole_.nodes[node_id(n)];
      if (at.when != phase::update) continue;
      for (std::int32_t copy = 0; copy < whole_.regions[at.region].count; ++copy) {
        if (updates_in(whole_, plan_, at, {at.region, copy})) lower_node(node_id(n), {at.region, copy});
      }
    }
  }

  // --- messages and results ------------------------------------------------------------------------------------------

  void receive() {
    for (const crossing& each : crossings_) {
      if (each.to != which_ || each.to_pass != now_) continue;
      const buffer_id landed = add_form(each.what, each.wanted, now_ == pass::update ? memory::fixed : memory::kept);
      transfer_of(each).to = landed;
      received_.push_back(landed);
    }
  }

  void send() {
    for (const crossing& each : crossings_) {
      if (each.from != which_ || each.from_pass != now_) continue;
      const stage_plan& reader = made_.stages[each.to];
      spec layout = each.wanted;
      if (!(reader.mesh == plan_.mesh)) layout = without_partial(each.what);
      transfer_of(each).from = need(each.what, layout);
      sent_[static_cast<std::size_t>(now_)].push_back(transfer_of(each).from);
    }
  }

  transfer& transfer_of(const crossing& each) { return transfers_[static_cast<std::size_t>(&each - crossings_.data())]; }

  /// The first spec in which a value exists here, with pending reductions done.
  spec without_partial(const instance& what) const {
    spec layout;
    bool found = false;
    forms_.for_each(what, now_, true, [&](const form& each) {
      if (!found) layout = each.layout;
      found = true;
    });
    for (int axis = 0; axis < plan_.mesh.rank; ++axis) {
      if (layout.on(axis).kind == placement::partial_sum || layout.on(axis).kind == placement::partial_max) layout = layout.without(axis);
    }
    return layout;
  }

  /// A result with the micro-batched axis is stored part by part; any other is summed over micro-batches.
  void lower_results(std::vector<port>& results) {
    for (std::size_t r = 0; r < results.size(); ++r) {
      const instance what = resolve(whole_, whole_.results[r], {});
      if (stage_of(made_, block_number(whole_, maker_of(whole_, what))) != which_) continue;
      if (results[r].batch_axis >= 0) {
        const buffer_id part = need(what, without_partial(what));
        body().push_back({.kind = instruction::store, .name = name_of_instance(what), .operands = {part}, .port = static_cast<std::int32_t>(r)});
        continue;
      }
      spec layout;
      forms_.for_each(what, now_, false, [&](const form& each) { layout = each.layout; });
      const value& entry = whole_.values[what.value];
      const buffer_id sum = add_buffer(name_of_instance(what) + " (sum)", extents_of(sizes_, entry.axes), entry.type, layout, memory::fixed);
      body().push_back({.kind = instruction::accumulate, .name = name_of_instance(what), .operands = {need(what, layout)}, .results = {sum}});
      forms_.add(what, {layout, sum, pass::reduce, false});
      results[r].stage = which_;
    }
  }

  /// Makes summed results whole on every rank of the stage, in the fixed region.
  void finish_results(std::vector<port>& results) {
    for (std::size_t r = 0; r < results.size(); ++r) {
      if (results[r].stage != which_) continue;
      const instance what = resolve(whole_, whole_.results[r], {});
      const buffer_id made = need(what, {});
      out.buffers[made].where = memory::fixed;
      results[r].buffer = made;
    }
  }

  // --- memory --------------------------------------------------------------------------------------------------------

  void allocate() {
    for (buffer& each : out.buffers) {
      bytes& region = each.where == memory::fixed ? out.fixed : out.kept;
      if (each.where == memory::transient) continue;
      each.offset = region;
      region += each.size;
    }
    for (std::size_t which = 0; which < out.bodies.size(); ++which) pack_body(which);
  }

  void pack_body(std::size_t which) {
    std::vector<lifetime> lives;
    std::vector<buffer_id> packed;
    std::vector<std::int32_t> entry(out.buffers.size(), -1);
    const auto touch = [&](buffer_id id, std::int32_t at) {
      if (out.buffers[id].where != memory::transient) return;
      std::int32_t& known = entry[index_of(id)];
      if (known < 0) {
        known = static_cast<std::int32_t>(lives.size());
        lives.push_back({out.buffers[id].size, at, at + 1});
        packed.push_back(id);
      }
      lives[static_cast<std::size_t>(known)].end = at + 1;
    };
    const auto& instructions = out.bodies[which];
    for (std::size_t at = 0; at < instructions.size(); ++at) {
      for (const auto* list : {&instructions[at].operands, &instructions[at].results, &instructions[at].exchanged}) {
        for (const buffer_id id : *list) touch(id, static_cast<std::int32_t>(at));
      }
    }
    for (const buffer_id id : sent_[which]) touch(id, static_cast<std::int32_t>(instructions.size()));
    const packing made = pack(lives, arena_alignment);
    for (std::size_t k = 0; k < packed.size(); ++k) out.buffers[packed[k]].offset = made.offset[k];
    out.transient = std::max(out.transient, made.total);
    out.transient_bound = std::max(out.transient_bound, made.bound);
  }

  const graph& whole_;
  const plan& made_;
  const stage_plan& plan_;
  stage_id which_;
  const std::vector<crossing>& crossings_;
  std::vector<transfer>& transfers_;
  size_table sizes_;
  mesh_links links_;
  form_table forms_;
  std::vector<accumulator> accumulators_;
  std::vector<buffer_id> received_;
  std::array<std::vector<buffer_id>, pass_count> sent_;
  pass now_ = pass::forward;
};

inline port port_of(const graph& whole, value_id id) {
  const value& entry = whole.values[id];
  port made{.name = entry.name, .extents = extents_of(whole.sizes, entry.axes), .type = entry.type};
  const auto at = std::find(entry.axes.begin(), entry.axes.end(), whole.micro_batched);
  if (at != entry.axes.end()) made.batch_axis = static_cast<std::int32_t>(at - entry.axes.begin());
  return made;
}

/// The steps of every stage, folded into loops; slots for the micro-batches in flight and for messages that land early.
inline void schedule_stages(const plan& made, bool trains, program& whole) {
  const auto stages = static_cast<int>(made.stages.size());
  std::vector<std::vector<task>> tasks;
  std::vector<message> routes;
  const schedule_kind kind = trains ? made.schedule : schedule_kind::forward_only;
  for (int s = 0; s < stages; ++s) tasks.push_back(order_of(kind, stages, s, made.micro_batches));
  for (const transfer& each : whole.transfers) routes.push_back(each.route);
  const auto orders = linearise(tasks, routes);
  for (int s = 0; s < stages; ++s) {
    stage_program& stage = whole.stages[static_cast<stage_id>(s)];
    const auto& order = orders[static_cast<std::size_t>(s)];
    stage.schedule = fold(order);
    stage.slots = slots_in_flight(kind, stages, s, made.micro_batches);
    int early = 0;
    for (std::size_t t = 0; t < routes.size(); ++t) {
      if (routes[t].to_stage == s) early = std::max(early, landing_slots(order, routes, static_cast<std::int32_t>(t)) - 1);
    }
    stage.slots = std::min(stage.slots + early, made.micro_batches);
  }
}

}  // namespace detail

MESHLOOM_INLINE program lower(const graph& whole, const plan& made, const cluster& machine) {
  const auto faults = check(whole, made);
  if (!faults.empty()) throw error("lower: " + faults.front());
  program out{.ranks = made.ranks, .micro_batches = made.micro_batches, .precision = whole.precision};
  for (const value_id id : whole.inputs) out.inputs.push_back(detail::port_of(whole, id));
  for (const value_id id : whole.results) out.results.push_back(detail::port_of(whole, id));
  const auto crossings = detail::find_crossings(whole, made);
  for (const auto& each : crossings) {
    const message route{static_cast<std::int32_t>(each.from), each.from_pass, static_cast<std::int32_t>(each.to), each.to_pass};
    out.transfers.push_back({whole.values[each.what.value].name, route});
  }
  bool trains = false;
  for (const node& at : whole.nodes) trains = trains || at.when != phase::forward;
  for (std::size_t s = 0; s < made.stages.size(); ++s) {
    detail::stage_lowering stage(whole, made, machine, static_cast<stage_id>(s), crossings, out.transfers);
    stage.run(out.results);
    out.stages.add(std::move(stage.out));
  }
  detail::schedule_stages(made, trains, out);
  return out;
}

}  // namespace meshloom
