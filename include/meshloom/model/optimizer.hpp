// SPDX-License-Identifier: Apache-2.0
// Optimizers: plain aggregates that name their state, their attributes and the update operator per rank of a parameter.
// The update is part of the graph, so it is planned, priced and sharded like everything else.
#pragma once

#include <meshloom/graph/build.hpp>
#include <meshloom/model/learning_rate.hpp>
#include <meshloom/model/parameter_groups.hpp>
#include <meshloom/op/adafactor.hpp>
#include <meshloom/op/clip.hpp>
#include <meshloom/op/ema.hpp>
#include <meshloom/op/lamb.hpp>
#include <meshloom/op/update.hpp>

#include <limits>
#include <optional>
#include <utility>

namespace meshloom {

inline constexpr double no_clip = std::numeric_limits<double>::infinity();

/// What updates parameters of one rank: its operands are the parameter, its gradient, and the states of these names.
struct parameter_update {
  const record* op = nullptr;
  std::span<const std::string_view> states = {};
};

/// What an optimizer does to a graph, as plain data.
struct update_rules {
  std::array<parameter_update, max_rank + 1> updates{};  ///< of trained parameters, by rank
  vector<attribute_list> attributes = {};  ///< of the update of each parameter, in the order of the graph's
  rate_schedule rate = {};
  double clip = no_clip;                         ///< the largest norm of all gradients together
  std::optional<double> average = std::nullopt;  ///< the decay of averages of all trained parameters, if there are any
};

/// An optimizer of the usual kind has an update operator per rank, and names for the states that all of them keep.
template <class Optimizer>
concept uniform_optimizer = requires {
  typename Optimizer::template update<1>;
  Optimizer::states.size();
};

/// One whose states depend on the rank says `update_of(rank)`, and by `updates` which operators those may be.
template <class Optimizer>
concept ranked_optimizer = requires(const Optimizer& o) {
  typename Optimizer::updates;
  { o.update_of(1) } -> std::same_as<parameter_update>;
};

/// Either has attributes of the update. It may also have a `rate` that follows a schedule, if its kernels multiply
/// `call::rate`, and `groups`, if its attributes can be those of one, and `clip`: gradients whose norm, of all of them
/// together, is larger are scaled down to it before any update reads them.
template <class Optimizer>
concept optimizer = (uniform_optimizer<Optimizer> || ranked_optimizer<Optimizer>)&&requires(const Optimizer& o) {
  { o.attributes() } -> std::convertible_to<attribute_list>;
};

/// The update of parameters of one rank.
template <optimizer Optimizer>
parameter_update update_of(const Optimizer& rule, int rank) {
  if constexpr (ranked_optimizer<Optimizer>)
    return rule.update_of(rank);
  else
    return {every_rank<Optimizer::template update>::records[static_cast<std::size_t>(rank)], Optimizer::states};
}

/// The operators that clip gradients of every rank, or take the scale of the loss from them.
using clipping_operators = join_operators<every_rank<op::square_sum>::type, every_rank<op::clip>::type>::type;

namespace detail {

template <class Optimizer>
struct operators_of {
  using type = Optimizer::updates;
};
template <uniform_optimizer Optimizer>
struct operators_of<Optimizer> {
  using type = every_rank<Optimizer::template update>::type;
};

template <class Optimizer>
struct clipping_of {
  using type = operators<>;
};
template <class Optimizer>
  requires requires(const Optimizer& o) { o.clip; }
struct clipping_of<Optimizer> {
  using type = clipping_operators;
};

}  // namespace detail

/// The operators that an optimizer adds to a graph, for parameters of every rank.
template <optimizer Optimizer>
using operators_of =
    join_operators<typename detail::operators_of<Optimizer>::type, typename detail::clipping_of<Optimizer>::type>::type;

/// SGD with momentum: v ← momentum·v + g + decay·p; p ← p − rate·v. See op/update.hpp for Nesterov's.
struct sgd {
  learning_rate rate = 0.1;
  double momentum = 0;
  double decay = 0;
  bool nesterov = false;
  double clip = no_clip;  ///< the largest norm of all gradients together
  parameter_groups groups = {};

  template <int Rank>
  using update = op::sgd<Rank>;
  static constexpr std::array<std::string_view, 1> states{"velocity"};
  constexpr attribute_list attributes(const parameter_group& of = {}) const {
    return {rate.peak * of.rate, momentum, decay * of.decay, nesterov ? 1.0 : 0.0};
  }
};

/// AdamW (Loshchilov and Hutter 2019).
struct adamw {
  learning_rate rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double decay = 0.01;
  double clip = no_clip;  ///< the largest norm of all gradients together
  parameter_groups groups = {};

  template <int Rank>
  using update = op::adamw<Rank>;
  static constexpr std::array<std::string_view, 2> states{"moment1", "moment2"};
  constexpr attribute_list attributes(const parameter_group& of = {}) const {
    return {rate.peak * of.rate, beta1, beta2, epsilon, decay * of.decay};
  }
};

/// LAMB (You et al. 2020): AdamW's direction, each parameter in steps as long as the parameter is, times the rate.
struct lamb {
  learning_rate rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-6;
  double decay = 0.01;
  double clip = no_clip;  ///< the largest norm of all gradients together
  parameter_groups groups = {};

  template <int Rank>
  using update = op::lamb<Rank>;
  static constexpr std::array<std::string_view, 2> states{"moment1", "moment2"};
  constexpr attribute_list attributes(const parameter_group& of = {}) const {
    return {rate.peak * of.rate, beta1, beta2, epsilon, decay * of.decay};
  }
};

/// Adafactor (Shazeer and Stern 2018): the second moment of a matrix is kept as means of its rows and of its columns.
struct adafactor {
  learning_rate rate = 1e-2;  ///< see `relative`
  double beta1 = 0;           ///< of the average of steps; 0 keeps none
  double gamma = 0.8;         ///< the n-th step keeps 1 − n^−gamma of the second moment
  double epsilon1 = 1e-30;    ///< added to squares of gradients
  double epsilon2 = 1e-3;     ///< the least size of a parameter
  double threshold = 1;       ///< the largest size (root mean square) of a direction; longer ones are scaled down to it
  double decay = 0;
  bool relative = true;   ///< to the size of the parameter: the n-th step is min(rate, 1 / √n) of it
  double clip = no_clip;  ///< the largest norm of all gradients together
  parameter_groups groups = {};

  template <int Rank>
  using plain = op::adafactor<Rank, false>;
  template <int Rank>
  using averaging = op::adafactor<Rank, true>;
  using updates = join_operators<every_rank<plain>::type, every_rank<averaging>::type>::type;
  parameter_update update_of(int rank) const {
    static constexpr std::array<std::string_view, 2> of_vector{"moment2", "steps"};
    static constexpr std::array<std::string_view, 3> of_matrix{"rows", "columns", "steps"};
    const std::span<const std::string_view> states =
        rank < 2 ? std::span<const std::string_view>(of_vector) : of_matrix;
    const auto at = static_cast<std::size_t>(rank);
    if (beta1 == 0) return {every_rank<plain>::records[at], states.first(states.size() - 1)};
    return {every_rank<averaging>::records[at], states};
  }
  constexpr attribute_list attributes(const parameter_group& of = {}) const {
    const double relation = relative ? rate.peak : 0;
    return {rate.peak * of.rate, beta1, gamma, epsilon1, epsilon2, threshold, decay * of.decay, relation};
  }
};

/// Any optimizer, and the average of every trained parameter over steps: a ← decay·a + (1 − decay)·p after each step,
/// starting with the first. `take_averages` (train/averages.hpp) evaluates with them.
template <class Optimizer>
struct ema {
  Optimizer of;
  double decay = 0.999;

  using updates = join_operators<operators_of<Optimizer>, every_rank<op::ema>::type>::type;
  parameter_update update_of(int rank) const { return meshloom::update_of(of, rank); }
  constexpr attribute_list attributes() const { return of.attributes(); }
};

/// The schedule of an optimizer's rate; one whose rate is a number has none.
template <optimizer Optimizer>
rate_schedule rate_schedule_of(const Optimizer& rule) {
  if constexpr (requires { rule.rate.schedule; })
    return rule.rate.schedule;
  else
    return {};
}

/// The rules of an optimizer for the parameters of a graph.
template <optimizer Optimizer>
update_rules rules_of(const Optimizer& rule, const graph& of) {
  update_rules made{.rate = rate_schedule_of(rule)};
  for (int rank = 0; rank <= max_rank; ++rank) made.updates[static_cast<std::size_t>(rank)] = update_of(rule, rank);
  for (const parameter& each : of.parameters) {
    const value& entry = of.values[each.value];
    if constexpr (requires { rule.attributes(rule.groups.of(entry.name, entry.axes.size())); })
      made.attributes.push_back(rule.attributes(rule.groups.of(entry.name, entry.axes.size())));
    else
      made.attributes.push_back(rule.attributes());
  }
  if constexpr (requires { rule.clip; }) made.clip = rule.clip;
  return made;
}
template <optimizer Optimizer>
update_rules rules_of(const ema<Optimizer>& rule, const graph& of) {
  update_rules made = rules_of(rule.of, of);
  made.average = rule.decay;
  return made;
}

/// Adds states and update operators for every parameter of a differentiated graph, and the schedule of their rate. A
/// running statistic brings an update of its own. A parameter read in several regions has its gradients added first;
/// all gradients of trained parameters are clipped by their norm, if that is bounded, and divided by the scale of the
/// loss, if that is scaled. Of a parameter that is kept in the compute type a state, its master, is what is updated;
/// the parameter is that, rounded.
void add_updates(graph_builder& into, const update_rules& rules);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/model/optimizer.inl>
#endif
