// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/rotation.hpp>

namespace meshloom {

MESHLOOM_INLINE bytes bytes_of_visitors(const graph& whole, const size_table& sizes, node_id id, const mesh_shape& mesh,
                                        const strategy& how) {
  const node& at = whole.nodes[id];
  const record& op = *at.op;
  const int around = rotating_axis(op.choices, mesh, how);
  bytes sum;
  if (around < 0) return sum;
  const auto add = [&](const index_list& axes, value_id what, const spec& layout, bool is_result) {
    if (!op.op.travels(axes)) return;
    const value& entry = whole.values[what];
    const std::int64_t block = largest_shard(layout, mesh, extents_of(sizes, entry.axes)) * size_of(entry.type);
    sum += bytes{block * visiting_places(is_result, mesh.size[static_cast<std::size_t>(around)])};
  };
  for (std::size_t k = 0; k < at.operands.size(); ++k)
    add(op.op.operands[k], at.operands[k], operand_spec(op.op, op.choices, mesh.rank, how, static_cast<int>(k)), false);
  for (std::size_t k = 0; k < at.results.size(); ++k)
    add(op.op.results[k], at.results[k], result_spec(op.op, op.choices, mesh.rank, how, static_cast<int>(k)), true);
  return sum;
}

}  // namespace meshloom
