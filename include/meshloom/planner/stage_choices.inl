// SPDX-License-Identifier: Apache-2.0
#include <meshloom/cost/analytic.hpp>
#include <meshloom/plan/recomputation.hpp>
#include <meshloom/planner/stage_choices.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// The entries of a list of the different ones, said for every option.
template <class Entry>
vector<Entry> by_option(const vector<Entry>& entries, const form_list& list) {
  vector<Entry> all;
  all.reserve(list.which.size());
  for (const std::int32_t which : list.which) all.push_back(entries[static_cast<std::size_t>(which)]);
  return all;
}

inline picoseconds times_or_forbidden(picoseconds each, std::int64_t times) {
  return each >= forbidden ? forbidden : each * times;
}

}  // namespace detail

MESHLOOM_INLINE stage_choices::stage_choices(const problem& posed, const stage_plan& stage, std::int32_t micro_batches,
                                             std::int32_t slots, std::optional<bytes> limit,
                                             std::shared_ptr<stage_tables> tables, surroundings around)
    : whole_(posed.graph),
      stage_(stage),
      micro_batches_(micro_batches),
      slots_(slots),
      around_(around),
      tables_(tables ? std::move(tables) : std::make_shared<stage_tables>(posed, stage, micro_batches)),
      operators_(whole_.nodes.size()),
      parameters_(whole_.parameters.size()) {
  stage_.strategies = table<node_id, strategy>(whole_.nodes.size());
  stage_.parameters.assign(whole_.parameters.size(), {});
  made_.limit = limit;
  const recomputation recomputed(whole_, stage_);
  place_operators(recomputed);
  add_operators();
  if (!stuck_.empty()) return;
  add_parameters();
  for (const read_value& each : tables_->uses().known_in(stage_, recomputed)) connect(each);
  left_out_ = leave_out_hopeless(made_);
}

MESHLOOM_INLINE std::int32_t stage_choices::add_choice(vector<picoseconds> cost) {
  made_.choices.push_back({.cost = std::move(cost), .size = {}});
  made_.choices.back().size.assign(made_.choices.back().cost.size(), bytes{});
  return static_cast<std::int32_t>(made_.choices.size()) - 1;
}

MESHLOOM_INLINE void stage_choices::add_size(std::int32_t choice, vector<bytes> size, std::int32_t first,
                                             std::int32_t end) {
  if (first >= end) return;
  intra_choice* sized = &made_.choices[static_cast<std::size_t>(choice)];
  if (sized->first < sized->end) {  // a shadow that chooses alike counts the bytes of another interval
    const auto count = sized->cost.size();
    const std::int32_t shadow = add_choice(vector<picoseconds>(count));
    vector<picoseconds> alike(count * count, forbidden);
    for (std::size_t option = 0; option < count; ++option) alike[option * count + option] = {};
    made_.couplings.push_back({choice, shadow, std::move(alike)});
    sized = &made_.choices[static_cast<std::size_t>(shadow)];
  }
  sized->size = std::move(size);
  sized->first = first;
  sized->end = end;
}

template <class Price>
void stage_choices::couple(std::int32_t left, const form_list& lefts, std::int32_t right, const form_list& rights,
                           const Price& price) {
  const std::size_t columns = rights.entries.size(), options = rights.which.size();
  vector<picoseconds> small;
  small.reserve(lefts.entries.size() * columns);
  for (const forms& row : lefts.entries) {
    for (const forms& column : rights.entries) small.push_back(price(row, column));
  }
  if (std::all_of(small.begin(), small.end(), [](picoseconds each) { return each.count == 0; })) return;
  intra_coupling next{left, right, vector<picoseconds>(lefts.which.size() * options)};
  picoseconds* cost = next.cost.data();
  for (const std::int32_t row : lefts.which) {
    const picoseconds* from = small.data() + static_cast<std::size_t>(row) * columns;
    for (const std::int32_t column : rights.which) *cost++ = from[column];
  }
  made_.couplings.push_back(std::move(next));
}

MESHLOOM_INLINE void stage_choices::place_operators(const recomputation& recomputed) {
  const auto blocks = blocks_of(whole_);
  vector<region_id> areas;
  for (std::int32_t b = stage_.first_block; b < stage_.end_block; ++b) {
    const region_id area = blocks[static_cast<std::size_t>(b)].region;
    if (areas.empty() || areas.back() != area) areas.push_back(area);
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
  vector<node_id> order(static_cast<std::size_t>(made_.end), node_id::none);
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
  each.table = &tables_->of(id);
  if (each.table->options.empty()) {
    stuck_ = whole_.nodes[id].name;
    return;
  }
  vector<picoseconds> cost = each.table->price;
  for (picoseconds& once : cost) once = once * ((std::int64_t{each.copies} + each.again) * micro_batches_);
  each.number = add_choice(std::move(cost));
  for (const phase pass : {phase::forward, phase::backward}) {
    const std::int32_t when = time_in(pass, id);
    if (when < 0) continue;
    add_size(each.number, each.table->size, when, last_read(pass, id) + 1);
    if (!each.table->passing.empty()) add_size(each.number, each.table->passing, when, when + 1);
  }
}

MESHLOOM_INLINE std::int32_t stage_choices::time_in(phase pass, node_id id) const {
  const operator_choice& each = operators_[id];
  if (each.copies == 0) return -1;
  if (whole_.nodes[id].when == pass) return each.when;
  return pass == phase::backward ? each.again_when : -1;
}

MESHLOOM_INLINE std::int32_t stage_choices::last_read(phase pass, node_id id) const {
  const std::int32_t begin = time_in(pass, id);
  std::int32_t last = begin;
  bool kept = false;
  for (const value_id made : whole_.nodes[id].results) {
    for (const node_id reader : tables_->readers_of(made)) {
      last = std::max(last, time_in(pass, reader));
      kept = kept || (pass == phase::forward && time_in(phase::backward, reader) >= 0 && operators_[id].again == 0);
    }
  }
  return kept ? begin : last;  // what is kept for the backward is counted as such
}

MESHLOOM_INLINE void stage_choices::add_parameters() {
  const auto runs = [&](region_id area) { return detail::holds_part_of(stage_, whole_, area); };
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    if (is_around(whole_.parameters[p].value)) continue;
    const parameter_options& table = tables_->of_parameter(p);
    if (std::none_of(table.readers.begin(), table.readers.end(), runs)) continue;
    const std::int64_t copies = copies_of(whole_.parameters[p].value);
    parameter_choice& choice = parameters_[p];
    choice.table = &table;
    vector<picoseconds> cost = table.update;
    for (picoseconds& each : cost) each = each * copies;
    vector<bytes> size = table.held;
    for (bytes& each : size) each = each * copies;
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

MESHLOOM_INLINE void stage_choices::add_sums(std::size_t p) {
  parameter_choice& choice = parameters_[p];
  const form_list& states = choice.table->state;
  for (std::size_t g = 0; g < whole_.parameters[p].gradients.size(); ++g) {
    const value_id gradient = whole_.parameters[p].gradients[g];
    choice.sums.push_back(-1);
    const value_id made = resolve(whole_, gradient, {whole_.values[gradient].region, 0}).value;
    const operator_choice& maker = operators_[whole_.values[made].producer];
    if (maker.number < 0) continue;
    const form_list& options = choice.table->sums[g];
    vector<bytes> size;
    for (const forms& each : options.entries)
      size.push_back(tables_->size_of_shard(made, each.first.layout) * maker.copies);
    const std::int32_t sum = add_choice(vector<picoseconds>(options.entries.size()));
    add_size(sum, std::move(size), 0, made_.end);
    choice.sums.back() = sum;
    couple(maker.number, forms_made(made), sum, options, [&](const forms& a, const forms& b) {
      return detail::times_or_forbidden(tables_->price(made, a.first, b.first),
                                        std::int64_t{maker.copies} * micro_batches_);
    });
    const std::size_t before = made_.couplings.size();
    couple(sum, options, choice.number, states, [&](const forms& a, const forms& b) {
      return detail::times_or_forbidden(tables_->price(made, a.first, b.first), maker.copies);
    });
    if (made_.couplings.size() > before) paid_once_.push_back(before);
  }
}

MESHLOOM_INLINE const form_list& stage_choices::forms_made(value_id id) const {
  const node_id maker = whole_.values[id].producer;
  const auto& results = whole_.nodes[maker].results;
  const auto which = static_cast<std::size_t>(std::find(results.begin(), results.end(), id) - results.begin());
  return operators_[maker].table->made[which];
}

MESHLOOM_INLINE const form_list& stage_choices::forms_wanted(const reading& by) const {
  return operators_[by.node].table->reads[static_cast<std::size_t>(by.operand)];
}

MESHLOOM_INLINE form_list stage_choices::wanted_by(const vector<reading>& readers) const {
  form_list wanted;
  for (const reading& by : readers) {
    for (const forms& each : forms_wanted(by).entries) wanted.add_once(each);
  }
  return wanted;
}

/// Each form, and each pair of them.
MESHLOOM_INLINE form_list stage_choices::forms_of(const form_list& wanted) {
  form_list found = wanted;
  // On meshes of several axes a value has dozens of specs, and pairs of them would be hundreds.
  constexpr std::size_t most_paired = 7;
  const auto& each = wanted.entries;
  for (std::size_t a = 0; a < each.size() && each.size() <= most_paired; ++a) {
    for (std::size_t b = a + 1; b < each.size(); ++b) found.add_once({each[a].first, each[b].first});
  }
  return found;
}

MESHLOOM_INLINE stage_choices::origin stage_choices::origin_of(const read_value& each) const {
  if (each.made_here) return {operators_[whole_.values[each.value].producer].number, forms_made(each.value)};
  for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
    if (whole_.parameters[p].value == each.value) return {parameters_[p].number, parameters_[p].table->stored};
  }
  return {};
}

MESHLOOM_INLINE picoseconds stage_choices::price_of(value_id id, const forms& from, const forms& to) const {
  const auto nearest = [&](const numbered_spec& layout) {
    const picoseconds one = tables_->price(id, from.first, layout);
    return from.pair() ? std::min(one, tables_->price(id, from.second, layout)) : one;
  };
  if (!to.pair()) return nearest(to.first);
  const picoseconds first = nearest(to.first), second = nearest(to.second);
  return std::min(first + std::min(second, tables_->price(id, to.first, to.second)),
                  second + std::min(first, tables_->price(id, to.second, to.first)));
}

MESHLOOM_INLINE void stage_choices::connect(const read_value& each) {
  const value& entry = whole_.values[each.value];
  if (around_ == surroundings::anything &&
      (entry.kind == value_kind::activation ? !each.made_here : is_around(each.value)))
    return;
  note_messages(each);
  const origin from = origin_of(each);
  const std::int64_t times = std::int64_t{each.copies} * micro_batches_;
  if ((each.leaves || each.is_result) && around_ == surroundings::other_stages) price_leaving(each, from, times);
  const bool keeps = entry.kind != value_kind::parameter && !each.backward.empty() &&
                     whole_.nodes[entry.producer].when == phase::forward && !each.made_again;
  if (keeps) return keep(each, from, times);
  hold(each, from, each.forward, times);
  hold(each, from, each.backward, times);  // made anew where the operator that makes it has run again
}

MESHLOOM_INLINE void stage_choices::note_messages(const read_value& each) {
  const value& entry = whole_.values[each.value];
  if (entry.kind != value_kind::activation) return;
  if (each.leaves) messages_.push_back({operators_[entry.producer].number, &forms_made(each.value)});
  if (each.made_here) return;
  for (const auto* readers : {&each.forward, &each.backward}) {
    for (const reading& by : *readers) messages_.push_back({operators_[by.node].number, &forms_wanted(by)});
  }
}

MESHLOOM_INLINE void stage_choices::keep(const read_value& each, const origin& from, std::int64_t times) {
  form_list wanted = wanted_by(each.forward);
  for (const forms& one : wanted_by(each.backward).entries) wanted.add_once(one);
  for (const forms& one : from.has.entries) wanted.add_once(one);
  form_list held;
  origin kept;
  for (const forms& how : forms_of(wanted).entries) {
    held.add(how);
    kept.has.add(how);
    if (!how.pair()) continue;
    for (const numbered_spec& one : {how.first, how.second}) {
      held.add(how);
      kept.has.add({one});
    }
  }
  kept.choice = add_choice(vector<picoseconds>(held.which.size()));
  vector<bytes> size;
  for (const forms& how : kept.has.entries) {
    bytes both = tables_->size_of_shard(each.value, how.first.layout);
    if (how.pair()) both += tables_->size_of_shard(each.value, how.second.layout);
    size.push_back(both * (std::int64_t{each.copies} * slots_));
  }
  add_size(kept.choice, detail::by_option(size, kept.has), 0, made_.end);
  kept_.push_back(kept.choice);
  make_forms(each, from, kept.choice, held, times);
  read_forms(each.forward, kept.choice, held);
  hold(each, kept, each.backward, times);
}

MESHLOOM_INLINE void stage_choices::price_leaving(const read_value& each, const origin& from, std::int64_t times) {
  const auto& axes = whole_.values[each.value].axes;
  const bool in_parts = std::find(axes.begin(), axes.end(), whole_.micro_batched) != axes.end();
  const bool sent = each.leaves || in_parts;
  vector<picoseconds> prices;
  for (const forms& made : from.has.entries) {
    const spec wanted = sent ? made.first.layout.without_partial() : spec{};
    prices.push_back(tables_->price(each.value, made.first, tables_->numbered(each.value, wanted)));
  }
  prices = detail::by_option(prices, from.has);
  const std::size_t count = prices.size();
  if (sent) {
    auto& cost = made_.choices[static_cast<std::size_t>(from.choice)].cost;
    for (std::size_t option = 0; option < count; ++option) cost[option] += prices[option] * times;
    return;
  }
  intra_coupling once{from.choice, from.choice, vector<picoseconds>(count * count)};
  for (std::size_t option = 0; option < count; ++option) once.cost[option * count + option] = prices[option];
  paid_once_.push_back(made_.couplings.size());
  made_.couplings.push_back(std::move(once));
}

MESHLOOM_INLINE void stage_choices::hold(const read_value& each, const origin& from, const vector<reading>& readers,
                                         std::int64_t times) {
  if (readers.empty()) return;
  if (readers.size() == 1) {
    const reading& by = readers.front();
    return make_forms(each, from, operators_[by.node].number, forms_wanted(by), times);
  }
  const form_list held = forms_of(wanted_by(readers));
  const std::int32_t choice = add_choice(vector<picoseconds>(held.which.size()));
  make_forms(each, from, choice, held, times);
  read_forms(readers, choice, held);
}

MESHLOOM_INLINE void stage_choices::make_forms(const read_value& each, const origin& from, std::int32_t choice,
                                               const form_list& held, std::int64_t times) {
  if (from.choice >= 0) {
    couple(from.choice, from.has, choice, held, [&](const forms& a, const forms& b) {
      return detail::times_or_forbidden(price_of(each.value, a, b), times);
    });
    return;
  }
  vector<picoseconds> made;
  for (const forms& how : held.entries) {
    picoseconds price;
    if (how.pair())
      price = std::min(tables_->price(each.value, how.first, how.second),
                       tables_->price(each.value, how.second, how.first));
    if (how.first.layout.has_partial() || how.second.layout.has_partial()) price = forbidden;
    made.push_back(detail::times_or_forbidden(price, times));
  }
  made = detail::by_option(made, held);
  if (whole_.values[each.value].kind == value_kind::activation) add_messages(each, choice, held);
  auto& cost = made_.choices[static_cast<std::size_t>(choice)].cost;
  for (std::size_t option = 0; option < made.size(); ++option) cost[option] += made[option];
}

/// Where the stage before meets it is not known: what is sent all over is sent from another host, if there is one.
MESHLOOM_INLINE void stage_choices::add_messages(const read_value& each, std::int32_t choice, const form_list& held) {
  const cluster& machine = tables_->machine();
  const cluster hosts = group_of(machine, stage_.first_rank).alone;
  const std::int32_t ranks = stage_.mesh.ranks(), sharing = std::min(ranks, hosts.devices_per_host);
  const bool far = hosts_of(machine) > 1;
  const link& over = far ? hosts.between_hosts : hosts.within_host;
  const auto message = [&](bytes shard) { return transfer_price(shard * (far ? sharing : 1), over); };
  const picoseconds least = message({tables_->size_of_shard(each.value, {}).count / ranks});
  vector<picoseconds> extra;
  for (const forms& how : held.entries) {
    bytes shard = tables_->size_of_shard(each.value, how.first.layout);
    if (how.pair()) shard = std::min(shard, tables_->size_of_shard(each.value, how.second.layout));
    extra.push_back(std::max(message(shard) - least, picoseconds{}));
  }
  extra_.push_back({choice, detail::by_option(extra, held)});
}

MESHLOOM_INLINE void stage_choices::read_forms(const vector<reading>& readers, std::int32_t choice,
                                               const form_list& held) {
  for (const reading& by : readers) {
    couple(choice, held, operators_[by.node].number, forms_wanted(by),
           [](const forms& how, const forms& wanted) { return how.has(wanted.first) ? picoseconds{} : forbidden; });
  }
}

}  // namespace meshloom
