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
  const std::vector<axis_id> axes = into.made.values[into.made.parameters[p].value].axes;
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
    const std::vector<axis_id> axes = into.made.values[slope].axes;
    const record& op = record_of_rank<op::square_sum>(axes.size());
    into.made.squares.parts.push_back(into.emit(op, std::array{slope}, axes, {})[0]);
  }
  into.made.squares.value = into.made.values.add(
      {"gradients.squares", {}, into.made.precision, value_kind::total, node_id::none, region_id::none, {}});
}

/// A state of parameter `p`, like it in shape.
inline value_id add_state(graph_builder& into, std::size_t p, std::string_view name, const initial& start) {
  const value entry = into.made.values[into.made.parameters[p].value];
  const value_id made = into.made.values.add({entry.name + "." + std::string(name), entry.axes, into.made.precision,
                                              value_kind::state, node_id::none, entry.region, start});
  into.made.parameters[p].states.push_back(made);
  return made;
}

}  // namespace detail

MESHLOOM_INLINE void add_updates(graph_builder& into, std::span<const record* const> records,
                                 std::span<const std::string_view> states, std::span<const attribute_list> attributes,
                                 double clip) {
  if (!(clip > 0)) throw error("trace: .clip, the largest norm of all gradients, is not more than 0; leave it out");
  const bool clips = std::isfinite(clip) || into.made.scaling.scales();
  if (clips) detail::add_squares(into);
  for (std::size_t p = 0; p < into.made.parameters.size(); ++p) {
    const value_id id = into.made.parameters[p].value;
    const std::vector<axis_id> axes = into.made.values[id].axes;
    detail::resume_update(into, p);
    if (const parameter each = into.made.parameters[p]; each.observed_by != nullptr) {
      into.emit(*each.observed_by, std::array{id, each.gradients.front()}, axes, each.attributes);
      continue;
    }
    const bool rounds = into.made.values[id].type != into.made.precision;
    const initial start = into.made.values[id].start;
    std::vector<value_id> operands{rounds ? detail::add_state(into, p, "master", start) : id,
                                   detail::gradient_of(into, p)};
    if (clips) {
      const record& op = detail::record_of_rank<op::clip>(axes.size());
      operands[1] = into.emit(op, std::array{operands[1], into.made.squares.value}, axes, {clip})[0];
    }
    for (const std::string_view state : states) operands.push_back(detail::add_state(into, p, state, {}));
    const value_id updated = into.emit(*records[axes.size()], operands, axes, attributes[p])[0];
    if (rounds) into.emit(detail::record_of_rank<op::store_rounded>(axes.size()), std::array{id, updated}, axes, {});
  }
}

}  // namespace meshloom
