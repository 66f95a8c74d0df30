// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/error.hpp>
#include <meshloom/graph/differentiate.hpp>
#include <meshloom/model/optimizer.hpp>
#include <meshloom/op/convert.hpp>

#include <cmath>

namespace meshloom {
namespace detail {

/// The gradient of a parameter, summed over the regions that read it.
inline value_id gradient_of(graph_builder& into, std::size_t p) {
  const vector<axis_id> axes = into.made.values[into.made.parameters[p].value].axes;
  value_id sum = into.made.parameters[p].gradients.front();
  for (std::size_t k = 1; k < into.made.parameters[p].gradients.size(); ++k) {
    const std::array terms{sum, into.made.parameters[p].gradients[k]};
    sum = into.emit(addition_of_rank(axes.size()), terms, axes, {})[0];
  }
  return sum;
}

/// Goes on in the update, where parameter `p` is.
inline void resume_update(graph_builder& into, std::size_t p) {
  const value& entry = into.made.values[into.made.parameters[p].value];
  into.resume(phase::update, entry.region, entry.name + ".");
}

/// Adds the square sum of every gradient, and their total.
inline void add_squares(graph_builder& into) {
  for (std::size_t p = 0; p < into.made.parameters.size(); ++p) {
    if (into.made.parameters[p].observed_by != nullptr) continue;
    resume_update(into, p);
    const value_id slope = gradient_of(into, p);
    const vector<axis_id> axes = into.made.values[slope].axes;
    const record& op = *every_rank<op::square_sum>::records[axes.size()];
    into.made.squares.parts.push_back(into.emit(op, std::array{slope}, axes, {})[0]);
  }
  into.made.squares.value = into.made.values.add(
      {"gradients.squares", {}, into.made.precision, value_kind::total, node_id::none, region_id::none, {}});
}

/// Adds a state of parameter `p`.
inline value_id add_state(graph_builder& into, std::size_t p, std::string_view name, const vector<axis_id>& axes,
                          const initial& start) {
  parameter& each = into.made.parameters[p];
  const value& entry = into.made.values[each.value];
  const std::string full = entry.name + "." + std::string(name);
  const region_id home = entry.region;
  each.states.push_back(
      into.made.values.add({full, axes, into.made.precision, value_kind::state, node_id::none, home, start}));
  return each.states.back();
}

/// Updates a trained parameter, or its master, by the rules; then what is computed with, and the average.
inline void add_update(graph_builder& into, std::size_t p, const update_rules& rules) {
  const value_id id = into.made.parameters[p].value;
  const value entry = into.made.values[id];
  const bool rounds = entry.type != into.made.precision;
  const parameter_update& with = rules.updates[entry.axes.size()];
  vector<value_id> operands{rounds ? add_state(into, p, "master", entry.axes, entry.start) : id, gradient_of(into, p)};
  if (into.made.squares.value != value_id::none) {
    const record& clips = *every_rank<op::clip>::records[entry.axes.size()];
    operands[1] = into.emit(clips, std::array{operands[1], into.made.squares.value}, entry.axes, {rules.clip})[0];
  }
  for (const std::string_view state : with.states) {
    vector<axis_id> own;  // in the order of the parameter's, which are the indices of the operator
    const index_list& list = with.op->op.operands[operands.size()];
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(list.count); ++axis)
      own.push_back(entry.axes[static_cast<std::size_t>(list.at[axis])]);
    operands.push_back(add_state(into, p, state, own, {}));
  }
  const value_id updated = into.emit(*with.op, operands, entry.axes, rules.attributes[p])[0];
  if (rounds) {
    const record& store = *every_rank<op::store_rounded>::records[entry.axes.size()];
    into.emit(store, std::array{id, updated}, entry.axes, {});
  }
  if (!rules.average) return;
  const value_id average = add_state(into, p, "average", entry.axes, entry.start);
  const record& follow = *every_rank<op::ema>::records[entry.axes.size()];
  into.emit(follow, std::array{average, updated}, entry.axes, {*rules.average});
}

}  // namespace detail

MESHLOOM_INLINE void add_updates(graph_builder& into, const update_rules& rules) {
  if (!(rules.clip > 0))
    throw error("trace: .clip, the largest norm of all gradients, is not more than 0; leave it out");
  if (rules.average && !(*rules.average >= 0 && *rules.average < 1))
    throw error("trace: the decay of ema is not between 0 and 1; 0.999 averages some thousand steps");
  into.made.rate = rules.rate;
  if (std::isfinite(rules.clip) || into.made.scaling.scales()) detail::add_squares(into);
  for (std::size_t p = 0; p < into.made.parameters.size(); ++p) {
    detail::resume_update(into, p);
    const parameter each = into.made.parameters[p];
    if (each.observed_by == nullptr) {
      detail::add_update(into, p, rules);
    } else {
      const std::array operands{each.value, each.gradients.front()};
      into.emit(*each.observed_by, operands, into.made.values[each.value].axes, each.attributes);
    }
  }
}

}  // namespace meshloom
