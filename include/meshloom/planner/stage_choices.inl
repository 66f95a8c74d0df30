// SPDX-License-Identifier: Apache-2.0
#include <meshloom/plan/recomputation.hpp>
#include <meshloom/planner/stage_choices.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

template <class Entry>
void add_once(std::vector<Entry>& list, const Entry& entry) {
  if (std::find(list.begin(), list.end(), entry) == list.end()) list.push_back(entry);
}

/// The different entries of a list, and which of them each is.
template <class Entry>
struct distinct {
  std::vector<Entry> entries;
  std::vector<std::size_t> which;

  explicit distinct(const std::vector<Entry>& all) {
    for (const Entry& each : all) {
      add_once(entries, each);
      which.push_back(static_cast<std::size_t>(std::find(entries.begin(), entries.end(), each) - entries.begin()));
    }
  }
};

inline picoseconds times_or_forbidden(picoseconds each, std::int64_t times) {
  return each >= forbidden ? forbidden : each * times;
}

}  // namespace detail

MESHLOOM_INLINE stage_choices::stage_choices(const problem& posed, const stage_plan& stage, std::int32_t micro_batches,
                                             std::int32_t slots, std::optional<bytes> limit,
                                             std::shared_ptr<reshard_prices> prices, surroundings around)
    : posed_(posed),
      whole_(posed.graph),
      stage_(stage),
      micro_batches_(micro_batches),
      slots_(slots),
      around_(around),
      sizes_(micro_batch_sizes(posed.graph, micro_batches)),
      links_(links_of(posed.cluster, stage.mesh, stage.first_rank)),
      prices_(prices ? std::move(prices) : std::make_shared<reshard_prices>(stage.mesh, links_)),
      shapes_(whole_.values.size(), -1),
      operators_(whole_.nodes.size()),
      parameters_(whole_.parameters.size()) {
  stage_.strategies = table<node_id, strategy>(whole_.nodes.size());
  stage_.parameters.assign(whole_.parameters.size(), {});
  made_.limit = limit;
  place_operators();
  add_operators();
  if (!stuck_.empty()) return;
  add_parameters();
  for (const read_value& each : values_read(whole_, stage_)) connect(each);
  left_out_ = leave_out_hopeless(made_);
}

MESHLOOM_INLINE std::int32_t stage_choices::add_choice(std::vector<picoseconds> cost) {
  made_.choices.push_back({.cost = std::move(cost), .size = {}});
  made_.choices.back().size.assign(made_.choices.back().cost.size(), bytes{});
  return static_cast<std::int32_t>(made_.choices.size()) - 1;
}

MESHLOOM_INLINE void stage_choices::add_size(std::int32_t choice, std::vector<bytes> size, std::int32_t first,
                                             std::int32_t end) {
  if (first >= end) return;
  intra_choice* sized = &made_.choices[static_cast<std::size_t>(choice)];
  if (sized->first < sized->end) {  // a shadow that chooses alike counts the bytes of another interval
    const auto count = sized->cost.size();
    const std::int32_t shadow = add_choice(std::vector<picoseconds>(count));
    std::vector<picoseconds> alike(count * count, forbidden);
    for (std::size_t option = 0; option < count; ++option) alike[option * count + option] = {};
    made_.couplings.push_back({choice, shadow, std::move(alike)});
    sized = &made_.choices[static_cast<std::size_t>(shadow)];
  }
  sized->size = std::move(size);
  sized->first = first;
  sized->end = end;
}

template <class Left, class Right, class Price>
void stage_choices::couple(std::int32_t left, const std::vector<Left>& lefts, std::int32_t right,
                           const std::vector<Right>& rights, const Price& price) {
  const detail::distinct<Left> rows(lefts);
  const detail::distinct<Right> columns(rights);
  std::vector<picoseconds> small;
  for (const Left& row : rows.entries) {
    for (const Right& column : columns.entries) small.push_back(price(row, column));
  }
  if (std::all_of(small.begin(), small.end(), [](picoseconds each) { return each.count == 0; })) return;
  intra_coupling next{left, right, {}};
  for (const std::size_t row : rows.which) {
    for (const std::size_t column : columns.which) next.cost.push_back(small[row * columns.entries.size() + column]);
  }
  made_.couplings.push_back(std::move(next));
}

MESHLOOM_INLINE void stage_choices::place_operators() {
  const auto blocks = blocks_of(whole_);
  const recomputation recomputed(whole_, stage_);
  std::vector<region_id> areas;
  for (std::int32_t b = stage_.first_block; b < stage_.end_block; ++b) {
    detail::add_once(areas, blocks[static_cast<std::size_t>(b)].region);
    for (const node_id id : recomputed.again(b)) ++operators_[id].again;
  }
  for (const phase when : {phase::forward, phase::backward}) {
    if (when == phase::backward) std::reverse(areas.begin(), areas.end());
    for (const region_id area : areas) {
      const auto here = [&](const block& each) { return each.region == area; };
      const auto copies = static_cast<std::int32_t>(
          std::count_if(blocks.begin() + stage_.first_block, blocks.begin() + stage_.end_block, here));
      for (const node_id id : nodes_of(whole_, area, phase::forward)) {
        if (when == phase::backward && operators_[id].again > 0) operators_[id].again_when = made_.end++;
      }
      for (const node_id id : nodes_of(whole_, area, when)) {
        operators_[id].copies = copies;
        operators_[id].when = made_.end++;
      }
    }
  }
}

MESHLOOM_INLINE void stage_choices::add_operators() {
  std::vector<node_id> order(static_cast<std::size_t>(made_.end), node_id::none);
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    if (operators_[id].copies > 0) order[static_cast<std::size_t>(operators_[id].when)] = id;
  }
  for (const node_id id : order) {
    if (id != node_id::none && stuck_.empty()) add_operator(id);
  }
}

MESHLOOM_INLINE void stage_choices::add_operator(node_id id) {
  operator_choice& each = operators_[id];
  each.options = allowed_strategies(posed_, stage_, id);
  if (each.options.empty()) {
    stuck_ = whole_.nodes[id].name;
    return;
  }
  std::vector<picoseconds> cost;
  std::vector<bytes> size, passing;  // what is held while the operator runs alone
  for (const strategy& how : each.options) {
    cost.push_back(price(whole_, sizes_, id, stage_.mesh, how, posed_.cluster.device, links_) *
                   ((std::int64_t{each.copies} + each.again) * micro_batches_));
    stage_.strategies[id] = how;
    bytes results;
    for (std::size_t k = 0; k < whole_.nodes[id].results.size(); ++k)
      results += size_of_shard(whole_.nodes[id].results[k], result_spec_in(whole_, stage_, id, k));
    size.push_back(results);
    passing.push_back(bytes_of_windows(whole_, sizes_, id, stage_.mesh, how) +
                      bytes_of_visitors(whole_, sizes_, id, stage_.mesh, how));
  }
  each.number = add_choice(std::move(cost));
  for (const phase pass : {phase::forward, phase::backward}) {
    const std::int32_t when = time_in(pass, id);
    if (when < 0) continue;
    add_size(each.number, size, when, last_read(pass, id) + 1);
    if (std::count(passing.begin(), passing.end(), bytes{}) < std::ssize(passing))
      add_size(each.number, passing, when, when + 1);
  }
}

MESHLOOM_INLINE std::int32_t stage_choices::time_in(phase pass, node_id id) const {
  const operator_choice& each = operators_[id];
  if (each.copies == 0) return -1;
  if (whole_.nodes[id].when == pass) return each.when;
  return pass == phase::backward ? each.again_when : -1;
}

MESHLOOM_INLINE std::int32_t stage_choices::last_read(phase pass, node_id id) const {
  const auto& made = whole_.nodes[id].results;
  const std::int32_t begin = time_in(pass, id);
  std::int32_t last = begin;
  bool kept = false;
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const auto reader = static_cast<node_id>(n);
    const auto& operands = whole_.nodes[reader].operands;
    if (std::find_first_of(operands.begin(), operands.end(), made.begin(), made.end()) == operands.end()) continue;
    last = std::max(last, time_in(pass, reader));
    kept = kept || (pass == phase::forward && time_in(phase::backward, reader) >= 0 && operators_[id].again == 0);
  }
  return kept ? begin : last;  // what is kept for the backward is counted as such
}

MESHLOOM_INLINE void stage_choices::add_parameters() {
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    const parameter& each = whole_.parameters[p];
    if (!reads(whole_, stage_, each) || is_around(each.value)) continue;
    parameter_choice& choice = parameters_[p];
    choice.options = allowed_storages(posed_, stage_, whole_.values[each.value]);
    std::vector<picoseconds> cost;
    std::vector<bytes> size;
    for (const storage& how : choice.options) {
      cost.push_back(update_price(p, how));
      bytes held = size_of_shard(each.value, how.stored);
      for (const value_id state : each.states) held += size_of_shard(state, state_spec(whole_, each, state, how.state));
      size.push_back(held * copies_of(each.value));
    }
    choice.number = add_choice(std::move(cost));
    add_size(choice.number, std::move(size), 0, made_.end);
    add_sums(p);
  }
}

MESHLOOM_INLINE bool stage_choices::is_around(value_id id) const {
  const auto blocks = blocks_of(whole_);
  const auto is_home = [&](const block& each) { return each.region == whole_.values[id].region; };
  return around_ == surroundings::anything &&
         std::none_of(blocks.begin() + stage_.first_block, blocks.begin() + stage_.end_block, is_home);
}

MESHLOOM_INLINE std::int64_t stage_choices::copies_of(value_id id) const {
  const region_id home = whole_.values[id].region;
  if (home == region_id::none || !whole_.regions[home].repeated) return 1;
  const std::int32_t first = block_number(whole_, {home, 0});
  return std::min(stage_.end_block, first + whole_.regions[home].count) - std::max(stage_.first_block, first);
}

MESHLOOM_INLINE picoseconds stage_choices::update_price(std::size_t p, const storage& how) const {
  const value_id id = whole_.parameters[p].value;
  picoseconds sum = reshard_price(id, how.state, how.stored);
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const auto at = static_cast<node_id>(n);
    if (whole_.nodes[at].when != phase::update || updated_by(whole_, whole_.nodes[at]) != p) continue;
    sum += price(whole_, sizes_, at, stage_.mesh, update_strategy(whole_.nodes[at], stage_.mesh, how.state),
                 posed_.cluster.device, links_);
  }
  return sum * copies_of(id);
}

MESHLOOM_INLINE void stage_choices::add_sums(std::size_t p) {
  parameter_choice& choice = parameters_[p];
  std::vector<spec> states;
  for (const storage& how : choice.options) states.push_back(how.state);
  for (const value_id gradient : whole_.parameters[p].gradients) {
    choice.sums.push_back(-1);
    choice.sum_options.emplace_back();
    const value_id made = resolve(whole_, gradient, {whole_.values[gradient].region, 0}).value;
    const operator_choice& maker = operators_[whole_.values[made].producer];
    if (maker.number < 0) continue;
    const std::vector<spec> from = specs_made(made);
    std::vector<spec>& options = choice.sum_options.back();
    for (const spec& each : from) {
      for (const spec& state : states) detail::add_once(options, accumulated_as(posed_, stage_, each, state));
    }
    for (const spec& each : states) detail::add_once(options, each);
    std::vector<bytes> size;
    for (const spec& each : options) size.push_back(size_of_shard(made, each) * maker.copies);
    const std::int32_t sum = add_choice(std::vector<picoseconds>(options.size()));
    add_size(sum, std::move(size), 0, made_.end);
    choice.sums.back() = sum;
    couple(maker.number, from, sum, options, [&](const spec& a, const spec& b) {
      return detail::times_or_forbidden(reshard_price(made, a, b), std::int64_t{maker.copies} * micro_batches_);
    });
    const std::size_t before = made_.couplings.size();
    couple(sum, options, choice.number, states, [&](const spec& a, const spec& b) {
      return detail::times_or_forbidden(reshard_price(made, a, b), maker.copies);
    });
    if (made_.couplings.size() > before) paid_once_.push_back(before);
  }
}

MESHLOOM_INLINE std::vector<spec> stage_choices::specs_made(value_id id) const {
  const node_id maker = whole_.values[id].producer;
  const node& at = whole_.nodes[maker];
  const auto which = static_cast<int>(std::find(at.results.begin(), at.results.end(), id) - at.results.begin());
  std::vector<spec> specs;
  for (const strategy& how : operators_[maker].options)
    specs.push_back(result_spec(at.op->op, at.op->choices, stage_.mesh.rank, how, which));
  return specs;
}

MESHLOOM_INLINE std::vector<spec> stage_choices::specs_wanted(const reading& by) const {
  const record& op = *whole_.nodes[by.node].op;
  std::vector<spec> specs;
  for (const strategy& how : operators_[by.node].options)
    specs.push_back(operand_spec(op.op, op.choices, stage_.mesh.rank, how, by.operand));
  return specs;
}

MESHLOOM_INLINE bytes stage_choices::size_of_shard(value_id id, const spec& layout) const {
  const value& entry = whole_.values[id];
  return {largest_shard(layout, stage_.mesh, extents_of(sizes_, entry.axes)) * size_of(entry.type)};
}

MESHLOOM_INLINE picoseconds stage_choices::reshard_price(value_id id, const spec& from, const spec& to) const {
  const value& entry = whole_.values[id];
  std::int32_t& shape = shapes_[id];
  if (shape < 0)
    shape = static_cast<std::int32_t>(prices_->shape_of(extents_of(sizes_, entry.axes), {size_of(entry.type)}));
  return prices_->find(static_cast<std::size_t>(shape), from, to);
}

MESHLOOM_INLINE std::vector<spec> stage_choices::wanted_by(const std::vector<reading>& readers) const {
  std::vector<spec> wanted;
  for (const reading& by : readers) {
    for (const spec& layout : specs_wanted(by)) detail::add_once(wanted, layout);
  }
  return wanted;
}

MESHLOOM_INLINE std::vector<stage_choices::forms> stage_choices::forms_of(const std::vector<spec>& specs) {
  std::vector<forms> found;
  for (const spec& each : specs) found.push_back({each, {}, false});
  // On meshes of several axes a value has dozens of specs, and pairs of them would be hundreds.
  constexpr std::size_t most_paired = 7;
  if (specs.size() > most_paired) return found;
  for (std::size_t a = 0; a < specs.size(); ++a) {
    for (std::size_t b = a + 1; b < specs.size(); ++b) found.push_back({specs[a], specs[b], true});
  }
  return found;
}

MESHLOOM_INLINE stage_choices::origin stage_choices::origin_of(const read_value& each) const {
  origin from;
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    if (whole_.parameters[p].value != each.value) continue;
    from.choice = parameters_[p].number;
    for (const storage& how : parameters_[p].options) from.has.push_back({how.stored, {}, false});
  }
  if (!each.made_here) return from;
  from.choice = operators_[whole_.values[each.value].producer].number;
  for (const spec& layout : specs_made(each.value)) from.has.push_back({layout, {}, false});
  return from;
}

MESHLOOM_INLINE picoseconds stage_choices::price_of(value_id id, const forms& from, const forms& to) const {
  const auto nearest = [&](const spec& layout) {
    const picoseconds one = reshard_price(id, from.first, layout);
    return from.pair ? std::min(one, reshard_price(id, from.second, layout)) : one;
  };
  if (!to.pair) return nearest(to.first);
  const picoseconds first = nearest(to.first), second = nearest(to.second);
  return std::min(first + std::min(second, reshard_price(id, to.first, to.second)),
                  second + std::min(first, reshard_price(id, to.second, to.first)));
}

MESHLOOM_INLINE void stage_choices::connect(const read_value& each) {
  const value& entry = whole_.values[each.value];
  if (around_ == surroundings::anything && (entry.kind == value_kind::activation ? !each.made_here : is_around(each.value)))
    return;
  const origin from = origin_of(each);
  const std::int64_t times = std::int64_t{each.copies} * micro_batches_;
  if ((each.leaves || each.is_result) && around_ == surroundings::other_stages) price_leaving(each, from, times);
  const bool keeps = entry.kind != value_kind::parameter && !each.backward.empty() &&
                     whole_.nodes[entry.producer].when == phase::forward && !each.made_again;
  if (keeps) return keep(each, from, times);
  hold(each, from, each.forward, times);
  hold(each, from, each.backward, times);  // made anew where the operator that makes it has run again
}

MESHLOOM_INLINE void stage_choices::keep(const read_value& each, const origin& from, std::int64_t times) {
  std::vector<spec> specs = wanted_by(each.forward);
  for (const spec& layout : wanted_by(each.backward)) detail::add_once(specs, layout);
  for (const forms& made : from.has) detail::add_once(specs, made.first);
  std::vector<forms> held;
  origin kept;
  for (const forms& how : forms_of(specs)) {
    held.push_back(how);
    kept.has.push_back(how);
    if (!how.pair) continue;
    for (const spec& one : {how.first, how.second}) {
      held.push_back(how);
      kept.has.push_back({one, {}, false});
    }
  }
  kept.choice = add_choice(std::vector<picoseconds>(held.size()));
  std::vector<bytes> size;
  for (const forms& how : kept.has) {
    bytes both = size_of_shard(each.value, how.first);
    if (how.pair) both += size_of_shard(each.value, how.second);
    size.push_back(both * (std::int64_t{each.copies} * slots_));
  }
  add_size(kept.choice, std::move(size), 0, made_.end);
  kept_.push_back(kept.choice);
  make_forms(each, from, kept.choice, held, times);
  read_forms(each.forward, kept.choice, held);
  hold(each, kept, each.backward, times);
}

MESHLOOM_INLINE void stage_choices::price_leaving(const read_value& each, const origin& from, std::int64_t times) {
  const auto& axes = whole_.values[each.value].axes;
  const bool in_parts = std::find(axes.begin(), axes.end(), whole_.micro_batched) != axes.end();
  const std::size_t count = from.has.size();
  intra_coupling once{from.choice, from.choice, std::vector<picoseconds>(count * count)};
  for (std::size_t option = 0; option < count; ++option) {
    const spec& made = from.has[option].first;
    if (each.leaves || in_parts) {
      made_.choices[static_cast<std::size_t>(from.choice)].cost[option] +=
          reshard_price(each.value, made, made.without_partial()) * times;
    } else {
      once.cost[option * count + option] = reshard_price(each.value, made, {});
    }
  }
  if (each.leaves || in_parts) return;
  paid_once_.push_back(made_.couplings.size());
  made_.couplings.push_back(std::move(once));
}

MESHLOOM_INLINE void stage_choices::hold(const read_value& each, const origin& from,
                                         const std::vector<reading>& readers, std::int64_t times) {
  if (readers.empty()) return;
  if (readers.size() > 1) {
    const auto held = forms_of(wanted_by(readers));
    const std::int32_t choice = add_choice(std::vector<picoseconds>(held.size()));
    make_forms(each, from, choice, held, times);
    read_forms(readers, choice, held);
    return;
  }
  std::vector<forms> wanted;
  for (const spec& layout : specs_wanted(readers.front())) wanted.push_back({layout, {}, false});
  make_forms(each, from, operators_[readers.front().node].number, wanted, times);
}

MESHLOOM_INLINE void stage_choices::make_forms(const read_value& each, const origin& from, std::int32_t choice,
                                               const std::vector<forms>& held, std::int64_t times) {
  if (from.choice >= 0) {
    couple(from.choice, from.has, choice, held, [&](const forms& a, const forms& b) {
      return detail::times_or_forbidden(price_of(each.value, a, b), times);
    });
    return;
  }
  auto& cost = made_.choices[static_cast<std::size_t>(choice)].cost;
  for (std::size_t option = 0; option < held.size(); ++option) {
    const forms& how = held[option];
    picoseconds made;
    if (how.pair)
      made =
          std::min(reshard_price(each.value, how.first, how.second), reshard_price(each.value, how.second, how.first));
    if (how.first.has_partial() || how.second.has_partial()) made = forbidden;
    cost[option] += detail::times_or_forbidden(made, times);
  }
}

MESHLOOM_INLINE void stage_choices::read_forms(const std::vector<reading>& readers, std::int32_t choice,
                                               const std::vector<forms>& held) {
  for (const reading& by : readers) {
    couple(choice, held, operators_[by.node].number, specs_wanted(by),
           [](const forms& how, const spec& wanted) { return how.has(wanted) ? picoseconds{} : forbidden; });
  }
}

}  // namespace meshloom
