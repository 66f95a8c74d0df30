// SPDX-License-Identifier: Apache-2.0
// Optimizers: plain aggregates that name their state, their attributes and the update operator per rank of a parameter.
// The update is part of the graph, so it is planned, priced and sharded like everything else.
#pragma once

#include <meshloom/graph/build.hpp>
#include <meshloom/model/learning_rate.hpp>
#include <meshloom/model/parameter_groups.hpp>
#include <meshloom/op/clip.hpp>
#include <meshloom/op/lamb.hpp>
#include <meshloom/op/update.hpp>

#include <limits>
#include <utility>

namespace meshloom {

inline constexpr double no_clip = std::numeric_limits<double>::infinity();

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

/// An update operator per rank, names for its states, and its attributes. The update's operands are the parameter, its
/// gradient and the states. One may also have a `rate` that follows a schedule, if its kernels multiply `call::rate`,
/// and `groups`, if its attributes can be those of one, and `clip`: gradients whose norm, of all of them together, is
/// larger are scaled down to it before any update reads them.
template <class Optimizer>
concept optimizer = requires(const Optimizer& o) {
  typename Optimizer::template update<1>;
  Optimizer::states.size();
  { o.attributes() } -> std::convertible_to<attribute_list>;
};

namespace detail {

template <class Optimizer, class Sequence>
struct updates_of;
template <class Optimizer, int... Rank>
struct updates_of<Optimizer, std::integer_sequence<int, Rank...>> {
  using type = operators<typename Optimizer::template update<Rank>...>;
  static constexpr std::array<const record*, sizeof...(Rank)> records{
      &record_of<typename Optimizer::template update<Rank>>...};
};

}  // namespace detail

/// The update operators of an optimizer, for parameters of every rank.
template <optimizer Optimizer>
using updates_of = detail::updates_of<Optimizer, std::make_integer_sequence<int, max_rank + 1>>;

/// The attributes of the update of each parameter, in the order of `graph::parameters`.
template <optimizer Optimizer>
std::vector<attribute_list> attributes_of(const Optimizer& rule, const graph& of) {
  std::vector<attribute_list> made;
  for (const parameter& each : of.parameters) {
    const value& entry = of.values[each.value];
    if constexpr (requires { rule.attributes(rule.groups.of(entry.name, entry.axes.size())); })
      made.push_back(rule.attributes(rule.groups.of(entry.name, entry.axes.size())));
    else
      made.push_back(rule.attributes());
  }
  return made;
}

/// The schedule of an optimizer's rate; one whose rate is a number has none.
template <optimizer Optimizer>
rate_schedule rate_schedule_of(const Optimizer& rule) {
  if constexpr (requires { rule.rate.schedule; })
    return rule.rate.schedule;
  else
    return {};
}

namespace detail {

template <class Sequence>
struct clipping;
template <int... Rank>
struct clipping<std::integer_sequence<int, Rank...>> {
  using type = operators<op::square_sum<Rank>..., op::clip<Rank>...>;
};

}  // namespace detail

/// The operators that clip gradients of every rank.
using clipping_operators = detail::clipping<std::make_integer_sequence<int, max_rank + 1>>::type;

/// The largest norm of all gradients that an optimizer takes.
template <optimizer Optimizer>
double clip_of(const Optimizer& rule) {
  if constexpr (requires { rule.clip; })
    return rule.clip;
  else
    return no_clip;
}

/// Adds states and update operators for every parameter of a differentiated graph. `records[r]` updates a trained
/// parameter of rank r with its attributes, a running statistic brings its own. A parameter read in several regions has
/// its gradients added first; all gradients of trained parameters are clipped to the norm `clip`, if it is finite.
void add_updates(graph_builder& into, std::span<const record* const> records, std::span<const std::string_view> states,
                 std::span<const attribute_list> attributes, double clip = no_clip);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/model/optimizer.inl>
#endif
