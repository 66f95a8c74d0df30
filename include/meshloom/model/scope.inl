// SPDX-License-Identifier: Apache-2.0
#include <meshloom/base/sentence.hpp>
#include <meshloom/model/scope.hpp>

namespace meshloom::detail {

inline vector<axis_id> ids_of(graph_builder& into, std::span<const sized_axis> axes) {
  vector<axis_id> ids;
  for (const sized_axis& each : axes) ids.push_back(into.axis(each.name, each.extent));
  return ids;
}

MESHLOOM_INLINE value_id add_parameter(graph_builder& into, std::string_view name, std::span<const sized_axis> axes,
                                       const initial& start, bool shared) {
  return into.add_parameter(name, ids_of(into, axes), start, shared);
}

MESHLOOM_INLINE std::array<value_id, max_results> add_operator(graph_builder& into, const record& op,
                                                               std::span<const value_id> operands,
                                                               std::span<const sized_axis> indices,
                                                               const attribute_list& attributes) {
  return into.emit(op, operands, ids_of(into, indices), attributes);
}

MESHLOOM_INLINE value_id open_copies(graph_builder& into, std::string_view name, std::int32_t count, value_id from,
                                     std::span<const sized_axis> axes) {
  into.open_region(name, count, true);
  const region_id here = into.current_region();
  const value_id got =
      into.add_carried(into.made.regions[here].name + ".in", ids_of(into, axes), here, into.made.values[from].type);
  into.made.regions[here].forward = {.outer_in = from, .body_in = got};
  return got;
}

MESHLOOM_INLINE value_id close_copies(graph_builder& into, value_id made) {
  const region_id here = into.current_region();
  carry flow = into.made.regions[here].forward;
  const value entered = into.made.values[flow.body_in];
  flow.body_out = into.as_type(made, entered.type);
  flow.outer_out = into.add_carried(into.made.regions[here].name + ".out", entered.axes, here, entered.type);
  into.made.regions[here].forward = flow;
  into.close_region();
  return flow.outer_out;
}

MESHLOOM_INLINE void refuse_copies(std::int32_t count) {
  throw error(sentence({"repeat: a layer cannot be repeated ", count, " times; give a count of 1 or more"}));
}

}  // namespace meshloom::detail
