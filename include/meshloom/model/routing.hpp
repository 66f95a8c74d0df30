// SPDX-License-Identifier: Apache-2.0
// Routing as functions on typed tensors: who goes to which expert, the way to the experts' slots, and the way back.
// Law: the axes of the tokens are the rows, then Token; those of the buffers are Expert, the rows, then Slot.
#pragma once

#include <meshloom/model/functions.hpp>
#include <meshloom/op/routing.hpp>

namespace meshloom {

/// What `route_of` finds out: see op::route.
template <class Rows, class Token, class Expert>
struct routed;
template <class... Row, class Token, class Expert>
struct routed<axes<Row...>, Token, Expert> {
  tensor<Row..., Token, Expert> weight;
  integers<Row..., Token, Expert> slot;
  tensor<Row...> balance;
};

/// Routes every token by its shares [rows…, Token, Expert]: groups of `group` tokens (0: all of a row) compete for
/// `capacity` slots of each expert.
template <int Choices, class Token, class Expert, class Scope, class... Axis>
auto route_of(Scope& within, tensor<Axis...> shares, std::int64_t group, std::int64_t capacity) {
  using all = axes<Axis...>;
  using rows = without<all, axes<Token, Expert>>;
  static_assert(
      std::is_same_v<all, join<rows, axes<Token, Expert>>>,
      "meshloom: route_of<Choices, Token, Expert>: the last axes of the shares must be Token and Expert; name "
      "the last two, or make them the last");
  const auto made = within.template emit<op::route<rows::count, Choices>>(
      all{}, {static_cast<double>(group), static_cast<double>(capacity)}, shares);
  return routed<rows, Token, Expert>{{made[0]}, {made[1]}, {made[2]}};
}

/// Brings tokens [rows…, Token, Feature] to their slots [Expert, rows…, Slot, Feature].
template <class Slot, class Scope, class... Row, class Token, class Expert, class... Axis>
auto dispatch_of(Scope& within, const routed<axes<Row...>, Token, Expert>& by, tensor<Axis...> x) {
  using feature = without<axes<Axis...>, axes<Row..., Token>>;
  static_assert(
      feature::count == 1 && std::is_same_v<axes<Axis...>, join<axes<Row..., Token>, feature>>,
      "meshloom: dispatch_of: the tokens must have the row axes of their shares, then Token, then one axis of "
      "features; route by shares that have the axes of the tokens");
  using index = join<axes<Row..., Token, Expert, Slot>, feature>;
  using operation = op::dispatch<sizeof...(Row), false>;
  return tensor_of<join<axes<Expert, Row..., Slot>, feature>>{
      within.template emit<operation>(index{}, {}, by.slot, x)[0]};
}

/// Brings what lies in the slots [Expert, rows…, Slot, Feature] back to the tokens, each expert by its weight.
template <class Slot, class Scope, class... Row, class Token, class Expert, class... Axis>
auto combine_of(Scope& within, const routed<axes<Row...>, Token, Expert>& by, tensor<Axis...> buffers) {
  using feature = without<axes<Axis...>, axes<Expert, Row..., Slot>>;
  static_assert(feature::count == 1 && std::is_same_v<axes<Axis...>, join<axes<Expert, Row..., Slot>, feature>>,
                "meshloom: combine_of: the buffers must have the axes Expert, the rows, Slot and one axis of features; "
                "give it what dispatch_of made, with other features at most");
  using index = join<axes<Row..., Token, Expert, Slot>, feature>;
  using operation = op::combine<sizeof...(Row), true>;
  return tensor_of<join<axes<Row..., Token>, feature>>{
      within.template emit<operation>(index{}, {}, by.weight, by.slot, buffers)[0]};
}

}  // namespace meshloom
