// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/error.hpp>
#include <meshloom/graph/differentiate.hpp>
#include <meshloom/model/optimizer.hpp>

#include <cmath>

namespace meshloom {
namespace detail {

template <template <int> class Operator, int... Rank>
const record& record_of_rank(std::size_t rank, std::integer_sequence<int, Rank...>) {
  static constexpr const record* all[] = {&record_of<Operator<Rank>>...};
  return *all[rank];
}

template <template <int> class Operator>
const record& record_of_rank(std::size_t rank) {
  return record_of_rank<Operator>(rank, std::make_integer_sequence<int, max_rank + 1>{});
}

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

}  // namespace detail

MESHLOOM_INLINE void add_updates(graph_builder& into, std::span<const record* const> records,
                                 std::span<const std::string_view> states, std::span<const attribute_list> attributes,
                                 double clip) {
  if (!(clip > 0)) throw error("trace: .clip, the largest norm of all gradients, is not more than 0; leave it out");
  const bool clips = std::isfinite(clip);
  if (clips) detail::add_squares(into);
  for (std::size_t p = 0; p < into.made.parameters.size(); ++p) {
    const value_id id = into.made.parameters[p].value;
    const std::string name = into.made.values[id].name;
    const std::vector<axis_id> axes = into.made.values[id].axes;
    detail::resume_update(into, p);
    if (const parameter each = into.made.parameters[p]; each.observed_by != nullptr) {
      into.emit(*each.observed_by, std::array{id, each.gradients.front()}, axes, each.attributes);
      continue;
    }
    std::vector<value_id> operands{id, detail::gradient_of(into, p)};
    if (clips) {
      const record& op = detail::record_of_rank<op::clip>(axes.size());
      operands[1] = into.emit(op, std::array{operands[1], into.made.squares.value}, axes, {clip})[0];
    }
    for (const std::string_view state : states) {
      const value_id kept = into.made.values.add({name + "." + std::string(state),
                                                  axes,
                                                  into.made.precision,
                                                  value_kind::state,
                                                  node_id::none,
                                                  into.made.values[id].region,
                                                  {}});
      into.made.parameters[p].states.push_back(kept);
      operands.push_back(kept);
    }
    into.emit(*records[axes.size()], operands, axes, attributes[p]);
  }
}

}  // namespace meshloom
