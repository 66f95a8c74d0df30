// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/differentiate.hpp>
#include <meshloom/model/optimizer.hpp>

namespace meshloom {

MESHLOOM_INLINE void add_updates(graph_builder& into, std::span<const record* const> records,
                                 std::span<const std::string_view> states, std::span<const attribute_list> attributes) {
  for (std::size_t p = 0; p < into.made.parameters.size(); ++p) {
    const value_id id = into.made.parameters[p].value;
    const std::string name = into.made.values[id].name;
    const std::vector<axis_id> axes = into.made.values[id].axes;
    const region_id home = into.made.values[id].region;
    into.resume(phase::update, home, name + ".");
    if (const parameter each = into.made.parameters[p]; each.observed_by != nullptr) {
      into.emit(*each.observed_by, std::array{id, each.gradients.front()}, axes, each.attributes);
      continue;
    }
    std::vector<value_id> operands{id, into.made.parameters[p].gradients.front()};
    for (std::size_t k = 1; k < into.made.parameters[p].gradients.size(); ++k) {
      operands[1] = into.emit(addition_of_rank(axes.size()),
                              std::array{operands[1], into.made.parameters[p].gradients[k]}, axes, {})[0];
    }
    for (const std::string_view state : states) {
      const value_id kept = into.made.values.add(
          {name + "." + std::string(state), axes, into.made.precision, value_kind::state, node_id::none, home, {}});
      into.made.parameters[p].states.push_back(kept);
      operands.push_back(kept);
    }
    into.emit(*records[axes.size()], operands, axes, attributes[p]);
  }
}

}  // namespace meshloom
