// SPDX-License-Identifier: Apache-2.0
// Optimizers: plain aggregates that name their state, their attributes and the update operator per rank of a parameter.
// The update is part of the graph, so it is planned, priced and sharded like everything else.
#pragma once

#include <meshloom/graph/build.hpp>
#include <meshloom/op/update.hpp>

#include <utility>

namespace meshloom {

/// SGD with momentum: v ← momentum·v + g + decay·p; p ← p − rate·v. See op/update.hpp for Nesterov's.
struct sgd {
  double rate = 0.1;
  double momentum = 0;
  double decay = 0;
  bool nesterov = false;

  template <int Rank>
  using update = op::sgd<Rank>;
  static constexpr std::array<std::string_view, 1> states{"velocity"};
  constexpr attribute_list attributes() const { return {rate, momentum, decay, nesterov ? 1.0 : 0.0}; }
};

/// AdamW (Loshchilov and Hutter 2019).
struct adamw {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double decay = 0.01;

  template <int Rank>
  using update = op::adamw<Rank>;
  static constexpr std::array<std::string_view, 2> states{"moment1", "moment2"};
  constexpr attribute_list attributes() const { return {rate, beta1, beta2, epsilon, decay}; }
};

/// An update operator per rank, names for its states, and its attributes. The update's operands are the parameter, its
/// gradient and the states.
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

/// Adds states and update operators for every parameter of a differentiated graph. `records[r]` updates a trained
/// parameter of rank r, a running statistic brings its own. A parameter read in several regions has its gradients added
/// first.
void add_updates(graph_builder& into, std::span<const record* const> records, std::span<const std::string_view> states,
                 const attribute_list& attributes);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/model/optimizer.inl>
#endif
