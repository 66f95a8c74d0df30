// SPDX-License-Identifier: Apache-2.0
// What an assignment of stage choices costs and stands for, and what else the choices may be asked for than the
// shortest step.
#include <meshloom/planner/intra_settling.hpp>
#include <meshloom/planner/stage_choices.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// The number of an entry; −1 if it is not there.
template <class Entry>
std::int32_t number_of(const Entry& entry, const vector<Entry>& all) {
  const auto found = std::find(all.begin(), all.end(), entry);
  return found == all.end() ? -1 : static_cast<std::int32_t>(found - all.begin());
}

}  // namespace detail

MESHLOOM_INLINE stage_cost cost_between(const stage_cost& none, const stage_cost& all, std::int64_t recomputing,
                                        std::int64_t copies) {
  const auto between = [&]<class Unit>(quantity<Unit> from, quantity<Unit> to) {
    return quantity<Unit>{from.count + (to.count - from.count) * recomputing / copies};
  };
  stage_cost made{.time = between(none.time, all.time),
                  .once = between(none.once, all.once),
                  .fixed = between(none.fixed, all.fixed),
                  .slot = between(none.slot, all.slot),
                  .transient = recomputing == copies ? all.transient : none.transient};
  if (recomputing > 0) made.transient = std::max(made.transient, all.transient);
  return made;
}

MESHLOOM_INLINE vector<vector<bytes>> stage_choices::paid_for(std::int32_t slots, std::int32_t when) const {
  vector<vector<bytes>> paid;
  for (const intra_choice& choice : made_.choices) {
    const auto number = static_cast<std::int32_t>(paid.size());
    const bool alive = choice.first <= when && when < choice.end,
               lasting = choice.first == 0 && choice.end == made_.end;
    const bool kept = std::find(kept_.begin(), kept_.end(), number) != kept_.end();
    paid.emplace_back(choice.size.size());
    for (std::size_t option = 0; alive && option < choice.size.size(); ++option) {
      const bytes size = choice.size[option];
      paid.back()[option] = lasting ? size * (kept ? slots : 1) : bytes{slots > 0 ? size.count / 2 : 0};
    }
  }
  return paid;
}

MESHLOOM_INLINE intra_problem stage_choices::paying(const byte_price& each, std::int32_t slots,
                                                    std::int32_t when) const {
  __extension__ using wide = __int128;
  intra_problem priced = made_;
  const auto size = paid_for(slots, when);
  for (std::size_t number = 0; number < priced.choices.size(); ++number) {
    auto& cost = priced.choices[number].cost;
    for (std::size_t option = 0; option < cost.size(); ++option) {
      if (cost[option] >= forbidden) continue;
      const wide paid = wide{size[number][option].count} * each.cost.count / each.per.count;
      cost[option].count += static_cast<std::int64_t>(std::min<wide>(paid, forbidden.count - 1 - cost[option].count));
    }
  }
  leave_out_hopeless(priced);
  return priced;
}

MESHLOOM_INLINE intra_problem stage_choices::discounting(const price_share& of) const {
  __extension__ using wide = __int128;
  intra_problem priced = made_;
  const auto discount = [&](vector<picoseconds>& prices) {
    for (picoseconds& each : prices) {
      if (each < forbidden) each.count = static_cast<std::int64_t>(wide{each.count} * of.part / of.whole);
    }
  };
  for (const parameter_choice& each : parameters_) {
    if (each.number >= 0) discount(priced.choices[static_cast<std::size_t>(each.number)].cost);
  }
  for (const std::size_t number : paid_once_) discount(priced.couplings[number].cost);
  return priced;
}

MESHLOOM_INLINE intra_problem stage_choices::receiving() const {
  intra_problem priced = made_;
  for (const auto& [number, more] : extra_) {
    auto& cost = priced.choices[static_cast<std::size_t>(number)].cost;
    for (std::size_t option = 0; option < cost.size(); ++option) {
      if (cost[option] < forbidden) cost[option] = std::min(cost[option] + more[option] * micro_batches_, forbidden);
    }
  }
  leave_out_hopeless(priced);
  return priced;
}

MESHLOOM_INLINE stage_cost stage_choices::cost_of(std::span<const std::int32_t> options) const {
  const auto option_of = [&](std::int32_t number) {
    return static_cast<std::size_t>(options[static_cast<std::size_t>(number)]);
  };
  const auto size_of_choice = [&](std::int32_t number) {
    return made_.choices[static_cast<std::size_t>(number)].size[option_of(number)];
  };
  const auto price_of_coupling = [&](const intra_coupling& each) {
    const std::size_t columns = made_.choices[static_cast<std::size_t>(each.right)].cost.size();
    return each.cost[option_of(each.left) * columns + option_of(each.right)];
  };
  stage_cost cost;
  picoseconds all;
  for (std::size_t number = 0; number < made_.choices.size(); ++number)
    all += made_.choices[number].cost[option_of(static_cast<std::int32_t>(number))];
  for (const intra_coupling& each : made_.couplings) all += price_of_coupling(each);
  for (const std::size_t number : paid_once_) cost.once += price_of_coupling(made_.couplings[number]);
  for (const parameter_choice& each : parameters_) {
    if (each.number < 0) continue;
    cost.once += made_.choices[static_cast<std::size_t>(each.number)].cost[option_of(each.number)];
    cost.fixed += size_of_choice(each.number);
    for (const std::int32_t sum : each.sums) {
      if (sum >= 0) cost.fixed += size_of_choice(sum);
    }
  }
  for (const auto& [number, more] : extra_) cost.extra += more[option_of(number)];
  bytes kept;
  for (const std::int32_t number : kept_) kept += size_of_choice(number);
  cost.slot.count = kept.count / slots_;
  cost.time.count = (all - cost.once).count / micro_batches_;
  cost.transient = evaluate(made_, {options.begin(), options.end()}).peak - cost.fixed - kept;
  return cost;
}

MESHLOOM_INLINE stage_plan stage_choices::plan_of(std::span<const std::int32_t> options) const {
  stage_plan chosen = stage_;
  const auto option_of = [&](std::int32_t number) {
    return static_cast<std::size_t>(options[static_cast<std::size_t>(number)]);
  };
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    if (operators_[id].number >= 0)
      chosen.strategies[id] = operators_[id].table->options[option_of(operators_[id].number)];
  }
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    const parameter_choice& each = parameters_[p];
    if (each.number < 0) continue;
    const storage& how = each.table->options[option_of(each.number)];
    parameter_plan& kept = chosen.parameters[p];
    kept = {.used = true, .stored = how.stored, .state = how.state, .accumulated = {}};
    for (std::size_t g = 0; g < each.sums.size(); ++g)
      kept.accumulated.push_back(each.sums[g] < 0 ? how.state
                                                  : each.table->sums[g].entries[option_of(each.sums[g])].first.layout);
  }
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const auto id = static_cast<node_id>(n);
    const node& at = whole_.nodes[id];
    if (at.when != phase::update) continue;
    const parameter_plan& kept = chosen.parameters[static_cast<std::size_t>(tables_->updated()[id])];
    if (kept.used) chosen.strategies[id] = update_strategy(at, stage_.mesh, kept.state);
  }
  return chosen;
}

MESHLOOM_INLINE vector<bool> stage_choices::decisions() const {
  vector<bool> decides(made_.choices.size());
  const auto note = [&](std::int32_t number) {
    if (number >= 0) decides[static_cast<std::size_t>(number)] = true;
  };
  for (const operator_choice& each : operators_) note(each.number);
  for (const parameter_choice& each : parameters_) {
    note(each.number);
    std::for_each(each.sums.begin(), each.sums.end(), note);
  }
  return decides;
}

MESHLOOM_INLINE vector<std::int32_t> stage_choices::messages_of(std::span<const std::int32_t> options) const {
  vector<std::int32_t> found;
  for (const message_form& each : messages_) {
    const auto option = static_cast<std::size_t>(options[static_cast<std::size_t>(each.choice)]);
    found.push_back(each.forms->which[option]);
  }
  return found;
}

MESHLOOM_INLINE vector<std::int32_t> stage_choices::completed(vector<std::int32_t> options) const {
  return settle(made_, std::move(options));
}

MESHLOOM_INLINE std::optional<vector<std::int32_t>> stage_choices::options_of(const stage_plan& chosen) const {
  vector<std::int32_t> options(made_.choices.size(), -1);
  bool all_found = true;
  const auto choose = [&](std::int32_t number, const auto& what, const auto& among) {
    const std::int32_t option = detail::number_of(what, among);
    options[static_cast<std::size_t>(number)] = option;
    all_found = all_found && option >= 0;
  };
  for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
    const operator_choice& each = operators_[static_cast<node_id>(n)];
    if (each.number >= 0) choose(each.number, chosen.strategies[static_cast<node_id>(n)], each.table->options);
  }
  for (std::size_t p = 0; p < parameters_.size(); ++p) {
    const parameter_choice& each = parameters_[p];
    const parameter_plan& kept = chosen.parameters[p];
    if (each.number < 0) continue;
    choose(each.number, storage{kept.stored, kept.state}, each.table->options);
    for (std::size_t g = 0; g < each.sums.size(); ++g) {
      if (each.sums[g] < 0) continue;
      vector<spec> layouts;
      for (const forms& sum : each.table->sums[g].entries) layouts.push_back(sum.first.layout);
      choose(each.sums[g], kept.accumulated[g], layouts);
    }
  }
  if (!all_found) return std::nullopt;
  options = settle(made_, std::move(options));
  if (evaluate(made_, options).cost >= forbidden) return std::nullopt;
  return options;
}

}  // namespace meshloom
