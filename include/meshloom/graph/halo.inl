// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/halo.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// The most elements that a rank holds along the axis, or that it lacks of them.
struct widest {
  std::int64_t held = 0;
  std::int64_t lacked = 0;
};

inline widest widest_of(const halo& read, const mesh_shape& mesh, std::int64_t extent) {
  widest found;
  const std::int32_t ranks = mesh.size[static_cast<std::size_t>(read.mesh_axis)];
  for (std::int32_t coordinate = 0; coordinate < ranks; ++coordinate) {
    const interval window = window_of(read, mesh, coordinate, extent);
    const interval own = balanced_part({0, extent}, ranks, coordinate);
    const std::int64_t begin = std::max(window.origin, own.origin);
    const std::int64_t end = std::min(window.origin + window.extent, own.origin + own.extent);
    found.held = std::max(found.held, window.extent);
    found.lacked = std::max(found.lacked, window.extent - std::max<std::int64_t>(end - begin, 0));
  }
  return found;
}

}  // namespace detail

MESHLOOM_INLINE vector<halo> halos_of(const size_table& sizes, const node& at, const mesh_shape& mesh,
                                      const strategy& how, std::size_t operand) {
  const signature& op = at.op->op;
  vector<halo> found;
  for (std::int8_t axis = 0; op.window_count > 0 && axis < mesh.rank; ++axis) {
    const choice& row = at.op->choices.rows[how.row[static_cast<std::size_t>(axis)]];
    const bool windowed = row.windowed >= 0 && op.operands[operand].find(row.index) < 0;
    const int along = windowed ? op.operands[operand].find(row.windowed) : -1;
    if (along < 0) continue;
    const auto extent = [&](int index) { return sizes[at.indices[static_cast<std::size_t>(index)]].extent; };
    const window& read = *op.window_in(row.windowed);
    const halo next{.axis = static_cast<std::int8_t>(along),
                    .mesh_axis = axis,
                    .shape = stencil_of(at.attributes, read.dimension),
                    .transposed = read.transposed,
                    .readers = extent(row.index)};
    if (detail::widest_of(next, mesh, extent(row.windowed)).lacked > 0) found.push_back(next);
  }
  return found;
}

MESHLOOM_INLINE std::int64_t largest_shard(const spec& layout, const mesh_shape& mesh,
                                           std::span<const std::int64_t> extents, std::span<const halo> halos) {
  std::int64_t product = 1;
  for (std::size_t axis = 0; axis < extents.size(); ++axis) {
    const auto wide = std::find_if(halos.begin(), halos.end(),
                                   [axis](const halo& each) { return each.axis == static_cast<int>(axis); });
    product *= wide == halos.end() ? shard_interval(layout, mesh, {}, static_cast<int>(axis), extents[axis]).extent
                                   : detail::widest_of(*wide, mesh, extents[axis]).held;
  }
  return product;
}

MESHLOOM_INLINE std::int64_t largest_halo(const spec& layout, const mesh_shape& mesh,
                                          std::span<const std::int64_t> extents, std::span<const halo> halos) {
  const halo& fetched = halos.back();
  const auto axis = static_cast<std::size_t>(fetched.axis);
  vector<std::int64_t> others(extents.begin(), extents.end());
  others[axis] = 1;
  return detail::widest_of(fetched, mesh, extents[axis]).lacked *
         largest_shard(layout, mesh, others, halos.first(halos.size() - 1));
}

MESHLOOM_INLINE bytes bytes_of_windows(const graph& whole, const size_table& sizes, node_id id, const mesh_shape& mesh,
                                       const strategy& how) {
  const node& at = whole.nodes[id];
  bytes sum;
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    const vector<halo> halos = halos_of(sizes, at, mesh, how, k);
    if (halos.empty()) continue;
    const value& entry = whole.values[at.operands[k]];
    const spec layout = operand_spec(at.op->op, at.op->choices, mesh.rank, how, static_cast<int>(k));
    sum += bytes{largest_shard(layout, mesh, extents_of(sizes, entry.axes), halos) * size_of(entry.type)};
  }
  return sum;
}

}  // namespace meshloom
