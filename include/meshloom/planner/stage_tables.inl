// SPDX-License-Identifier: Apache-2.0
#include <meshloom/cost/analytic.hpp>
#include <meshloom/graph/halo.hpp>
#include <meshloom/graph/rotation.hpp>
#include <meshloom/planner/stage_tables.hpp>
#include <meshloom/program/program.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// The entries of these options, which the list says in order.
inline form_list chosen_forms(const form_list& all, const vector<std::size_t>& options) {
  form_list some;
  for (const std::size_t option : options) some.add(all.entries[static_cast<std::size_t>(all.which[option])]);
  return some;
}

template <class Entry>
vector<Entry> chosen_entries(const vector<Entry>& all, const vector<std::size_t>& options) {
  vector<Entry> some;
  for (const std::size_t option : options) {
    if (!all.empty()) some.push_back(all[option]);
  }
  return some;
}

}  // namespace detail

MESHLOOM_INLINE void form_list::add(const forms& next) {
  const auto known = std::find(entries.begin(), entries.end(), next);
  which.push_back(static_cast<std::int32_t>(known - entries.begin()));
  if (known == entries.end()) entries.push_back(next);
}

MESHLOOM_INLINE void form_list::add_once(const forms& next) {
  if (std::find(entries.begin(), entries.end(), next) == entries.end()) add(next);
}

MESHLOOM_INLINE stage_tables::stage_tables(const problem& posed, const stage_plan& stage, std::int32_t micro_batches,
                                           std::shared_ptr<value_uses> uses)
    : posed_(posed),
      whole_(posed.graph),
      micro_batches_(micro_batches),
      sizes_(micro_batch_sizes(posed.graph, micro_batches)),
      links_(links_of(posed.cluster, stage.mesh, stage.first_rank)),
      prices_(stage.mesh, links_),
      uses_(uses ? std::move(uses) : std::make_shared<value_uses>(posed.graph)),
      shapes_(whole_.values.size(), -1),
      updated_(parameters_updated(whole_)),
      readers_(whole_.values.size()),
      operators_(whole_.nodes.size()),
      parameters_(whole_.parameters.size()) {
  stage_.first_rank = stage.first_rank;
  stage_.mesh_axes = stage.mesh_axes;
  stage_.mesh = stage.mesh;
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    for (const value_id operand : whole_.nodes[id].operands) readers_[operand].push_back(id);
  }
}

MESHLOOM_INLINE stage_tables::stage_tables(std::shared_ptr<stage_tables> all, vector<stage_plan> some)
    : stage_tables(all->posed_, all->stage_, all->micro_batches_, all->uses_) {
  all_ = std::move(all);
  some_ = std::move(some);
}

MESHLOOM_INLINE operator_options stage_tables::some_of(node_id id) const {
  const operator_options& all = all_->of(id);
  vector<std::size_t> options;
  for (std::size_t option = 0; option < all.options.size(); ++option) {
    const auto runs_so = [&](const stage_plan& each) {
      return detail::holds_part_of(each, whole_, whole_.nodes[id].region) && each.strategies[id] == all.options[option];
    };
    if (std::any_of(some_.begin(), some_.end(), runs_so)) options.push_back(option);
  }
  if (options.empty()) return all;
  operator_options made;
  made.options = detail::chosen_entries(all.options, options);
  made.price = detail::chosen_entries(all.price, options);
  made.size = detail::chosen_entries(all.size, options);
  made.passing = detail::chosen_entries(all.passing, options);
  for (const form_list& each : all.reads) made.reads.push_back(detail::chosen_forms(each, options));
  for (const form_list& each : all.made) made.made.push_back(detail::chosen_forms(each, options));
  return made;
}

MESHLOOM_INLINE parameter_options stage_tables::some_of_parameter(std::size_t number) {
  const parameter_options& all = all_->of_parameter(number);
  vector<std::size_t> options;
  for (std::size_t option = 0; option < all.options.size(); ++option) {
    const auto keeps_so = [&](const stage_plan& each) {
      const parameter_plan& kept = each.parameters[number];
      return kept.used && storage{kept.stored, kept.state} == all.options[option];
    };
    if (std::any_of(some_.begin(), some_.end(), keeps_so)) options.push_back(option);
  }
  if (options.empty()) {
    for (std::size_t option = 0; option < all.options.size(); ++option) options.push_back(option);
  }
  parameter_options made;
  made.options = detail::chosen_entries(all.options, options);
  made.stored = detail::chosen_forms(all.stored, options);
  made.state = detail::chosen_forms(all.state, options);
  made.update = detail::chosen_entries(all.update, options);
  made.held = detail::chosen_entries(all.held, options);
  made.readers = all.readers;
  find_sums(number, made);
  return made;
}

MESHLOOM_INLINE bool stage_tables::are_of(const stage_plan& stage, std::int32_t micro_batches) const {
  return stage.mesh == stage_.mesh && stage.mesh_axes == stage_.mesh_axes && stage.first_rank == stage_.first_rank &&
         micro_batches == micro_batches_;
}

MESHLOOM_INLINE const operator_options& stage_tables::of(node_id id) {
  if (operators_[id]) return *operators_[id];
  if (all_) {
    operators_[id] = std::make_shared<const operator_options>(some_of(id));
    return *operators_[id];
  }
  operator_options made;
  made.options = allowed_strategies(posed_, stage_, id);
  find_lists(id, made);
  const auto& results = whole_.nodes[id].results;
  vector<vector<bytes>> shards(results.size());
  for (std::size_t k = 0; k < results.size(); ++k) {
    for (const forms& each : made.made[k].entries) shards[k].push_back(size_of_shard(results[k], each.first.layout));
  }
  bool passes = false;
  for (std::size_t option = 0; option < made.options.size(); ++option) {
    const strategy& how = made.options[option];
    made.price.push_back(
        meshloom::price(whole_, sizes_, id, stage_.mesh, how, device_of(posed_.cluster, stage_.first_rank), links_));
    bytes sum;
    for (std::size_t k = 0; k < results.size(); ++k)
      sum += shards[k][static_cast<std::size_t>(made.made[k].which[option])];
    made.size.push_back(sum);
    made.passing.push_back(bytes_of_windows(whole_, sizes_, id, stage_.mesh, how) +
                           bytes_of_visitors(whole_, sizes_, id, stage_.mesh, how));
    passes = passes || made.passing.back() != bytes{};
  }
  if (!passes) made.passing.clear();
  operators_[id] = std::make_shared<const operator_options>(std::move(made));
  return *operators_[id];
}

MESHLOOM_INLINE void stage_tables::find_lists(node_id id, operator_options& made) {
  const node& at = whole_.nodes[id];
  made.reads.resize(at.operands.size());
  made.made.resize(at.results.size());
  for (const strategy& how : made.options) {
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const spec layout = operand_spec(at.op->op, at.op->choices, stage_.mesh.rank, how, static_cast<int>(k));
      made.reads[k].add({numbered(at.operands[k], layout)});
    }
    for (std::size_t k = 0; k < at.results.size(); ++k) {
      const spec layout = result_spec(at.op->op, at.op->choices, stage_.mesh.rank, how, static_cast<int>(k));
      made.made[k].add({numbered(at.results[k], layout)});
    }
  }
}

MESHLOOM_INLINE const parameter_options& stage_tables::of_parameter(std::size_t number) {
  if (parameters_[number]) return *parameters_[number];
  if (all_) {
    parameters_[number] = std::make_shared<const parameter_options>(some_of_parameter(number));
    return *parameters_[number];
  }
  const parameter& each = whole_.parameters[number];
  parameter_options made;
  made.options = allowed_storages(posed_, stage_, whole_.values[each.value]);
  for (const storage& how : made.options) {
    made.stored.add({numbered(each.value, how.stored)});
    made.state.add({numbered(each.value, how.state)});
  }
  vector<picoseconds> update;
  vector<bytes> states;
  for (const forms& how : made.state.entries) {
    update.push_back(update_price(number, how.first.layout));
    bytes held;
    for (const value_id state : each.states)
      held += size_of_shard(state, state_spec(whole_, each, state, how.first.layout));
    states.push_back(held);
  }
  for (std::size_t option = 0; option < made.options.size(); ++option) {
    const auto state = static_cast<std::size_t>(made.state.which[option]);
    const numbered_spec& stored = made.stored.entries[static_cast<std::size_t>(made.stored.which[option])].first;
    made.update.push_back(price(each.value, made.state.entries[state].first, stored) + update[state]);
    made.held.push_back(size_of_shard(each.value, stored.layout) + states[state]);
  }
  find_sums(number, made);
  find_readers(number, made);
  parameters_[number] = std::make_shared<const parameter_options>(std::move(made));
  return *parameters_[number];
}

MESHLOOM_INLINE picoseconds stage_tables::update_price(std::size_t number, const spec& state) {
  picoseconds sum;
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    if (updated_[id] != static_cast<std::int32_t>(number)) continue;
    sum += meshloom::price(whole_, sizes_, id, stage_.mesh, update_strategy(whole_.nodes[id], stage_.mesh, state),
                           device_of(posed_.cluster, stage_.first_rank), links_);
  }
  return sum;
}

MESHLOOM_INLINE void stage_tables::find_sums(std::size_t number, parameter_options& made) {
  for (const value_id gradient : whole_.parameters[number].gradients) {
    const value_id summed = resolve(whole_, gradient, {whole_.values[gradient].region, 0}).value;
    const node_id maker = whole_.values[summed].producer;
    const auto& results = whole_.nodes[maker].results;
    const auto which = static_cast<std::size_t>(std::find(results.begin(), results.end(), summed) - results.begin());
    form_list& sums = made.sums.emplace_back();
    for (const forms& each : of(maker).made[which].entries) {
      for (const forms& state : made.state.entries)
        sums.add_once({numbered(summed, accumulated_as(posed_, stage_, each.first.layout, state.first.layout))});
    }
    for (const forms& state : made.state.entries) sums.add_once({numbered(summed, state.first.layout)});
  }
}

/// As `reads` says of a stage (plan/plan.hpp), once and for all regions.
MESHLOOM_INLINE void stage_tables::find_readers(std::size_t number, parameter_options& made) const {
  for (std::size_t r = 0; r < whole_.regions.size(); ++r) {
    stage_plan alone;
    alone.first_block = block_number(whole_, {static_cast<region_id>(r), 0});
    alone.end_block = alone.first_block + whole_.regions[static_cast<region_id>(r)].count;
    if (reads(whole_, alone, whole_.parameters[number])) made.readers.push_back(static_cast<region_id>(r));
  }
}

MESHLOOM_INLINE std::size_t stage_tables::shape_of(value_id id) {
  const value& entry = whole_.values[id];
  std::int32_t& shape = shapes_[id];
  if (shape < 0)
    shape = static_cast<std::int32_t>(prices_.shape_of(extents_of(sizes_, entry.axes), {size_of(entry.type)}));
  return static_cast<std::size_t>(shape);
}

MESHLOOM_INLINE numbered_spec stage_tables::numbered(value_id id, const spec& layout) {
  return {layout, static_cast<std::int32_t>(
                      detail::number_of(layout, stage_.mesh.rank, static_cast<int>(whole_.values[id].axes.size())))};
}

MESHLOOM_INLINE bytes stage_tables::size_of_shard(value_id id, const spec& layout) const {
  const value& entry = whole_.values[id];
  const std::int64_t exact = largest_shard(layout, stage_.mesh, extents_of(sizes_, entry.axes)) * size_of(entry.type);
  return {(exact + arena_alignment - 1) / arena_alignment * arena_alignment};
}

MESHLOOM_INLINE picoseconds stage_tables::price(value_id id, const numbered_spec& from, const numbered_spec& to) {
  if (all_) return all_->price(id, from, to);
  return prices_.from(shape_of(id), from.layout,
                      static_cast<std::size_t>(from.number))[static_cast<std::size_t>(to.number)];
}

MESHLOOM_INLINE std::shared_ptr<stage_tables> shared_stage_tables::of(const problem& posed, const stage_plan& mesh,
                                                                      std::int32_t micro_batches) {
  for (const auto& known : all_) {
    if (known->are_of(mesh, micro_batches)) return known;
  }
  if (!uses_) uses_ = std::make_shared<value_uses>(posed.graph);
  all_.push_back(std::make_shared<stage_tables>(posed, mesh, micro_batches, uses_));
  return all_.back();
}

}  // namespace meshloom
