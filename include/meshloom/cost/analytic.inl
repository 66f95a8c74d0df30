// SPDX-License-Identifier: Apache-2.0
#include <meshloom/cost/analytic.hpp>
#include <meshloom/graph/halo.hpp>
#include <meshloom/graph/rotation.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// Points of work in the largest shard of the operator's index space: the product over indices of the largest parts. Of
/// an operator whose blocks go around, in one round.
inline double largest_points(const size_table& sizes, const node& at, const mesh_shape& mesh, const strategy& how) {
  double points = 1;
  for (std::size_t index = 0; index < at.indices.size(); ++index) {
    std::int64_t extent = sizes[at.indices[index]].extent;
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
      const choice& row = at.op->choices.rows[how.row[axis]];
      const bool cut = row.index == static_cast<int>(index) || row.rotated == static_cast<int>(index);
      if (row.kind == choice::split && cut) extent = (extent + mesh.size[axis] - 1) / mesh.size[axis];
    }
    points *= points_along(at.op->op, at.attributes, static_cast<int>(index), extent);
  }
  return points;
}

inline double moved_bytes(const graph& whole, const size_table& sizes, const node& at, const mesh_shape& mesh,
                          const strategy& how) {
  const record& op = *at.op;
  double moved = 0;
  const auto add = [&](value_id id, const spec& layout, const vector<halo>& halos) {
    const value& entry = whole.values[id];
    const auto extents = extents_of(sizes, entry.axes);
    moved += static_cast<double>(largest_shard(layout, mesh, extents, halos) * size_of(entry.type));
  };
  for (std::size_t k = 0; k < at.operands.size(); ++k)
    add(at.operands[k], operand_spec(op.op, op.choices, mesh.rank, how, static_cast<int>(k)),
        halos_of(sizes, at, mesh, how, k));
  for (std::size_t k = 0; k < at.results.size(); ++k)
    add(at.results[k], result_spec(op.op, op.choices, mesh.rank, how, static_cast<int>(k)), {});
  return moved;
}

/// What the operands' halos cost, each fetched after the other.
inline picoseconds halo_time(const graph& whole, const size_table& sizes, const node& at, const mesh_shape& mesh,
                             const strategy& how, const mesh_links& links) {
  picoseconds time;
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    const vector<halo> halos = halos_of(sizes, at, mesh, how, k);
    const value& entry = whole.values[at.operands[k]];
    const spec layout = operand_spec(at.op->op, at.op->choices, mesh.rank, how, static_cast<int>(k));
    for (std::size_t step = 0; step < halos.size(); ++step) {
      const auto axis = static_cast<std::size_t>(halos[step].mesh_axis);
      const std::int64_t lacked =
          largest_halo(layout, mesh, extents_of(sizes, entry.axes), std::span(halos).first(step + 1));
      time += price(collective::halo, mesh.size[axis], {lacked * size_of(entry.type)}, links.axis[axis]);
    }
  }
  return time;
}

/// What blocks that go around cost, each passed on after the other.
inline picoseconds rotation_time(const graph& whole, const size_table& sizes, const node& at, const mesh_shape& mesh,
                                 const strategy& how, const mesh_links& links) {
  const signature& op = at.op->op;
  const int around = rotating_axis(at.op->choices, mesh, how);
  picoseconds time;
  if (around < 0) return time;
  const auto axis = static_cast<std::size_t>(around);
  const auto add = [&](const index_list& axes, value_id what, const spec& layout, bool is_result) {
    if (!op.travels(axes)) return;
    const value& entry = whole.values[what];
    const bytes block{largest_shard(layout, mesh, extents_of(sizes, entry.axes)) * size_of(entry.type)};
    time += passes_of(is_result, mesh.size[axis]) * price(collective::rotate, mesh.size[axis], block, links.axis[axis]);
  };
  for (std::size_t k = 0; k < at.operands.size(); ++k)
    add(op.operands[k], at.operands[k], operand_spec(op, at.op->choices, mesh.rank, how, static_cast<int>(k)), false);
  for (std::size_t k = 0; k < at.results.size(); ++k)
    add(op.results[k], at.results[k], result_spec(op, at.op->choices, mesh.rank, how, static_cast<int>(k)), true);
  return time;
}

/// The largest shard of the rows of a statistic.
inline std::int64_t largest_rows(const size_table& sizes, const node& at, const mesh_shape& mesh, const strategy& how,
                                 const index_list& list) {
  std::int64_t rows = 1;
  for (std::size_t k = 0; k < static_cast<std::size_t>(list.count); ++k) {
    std::int64_t extent = sizes[at.indices[static_cast<std::size_t>(list.at[k])]].extent;
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
      const choice& row = at.op->choices.rows[how.row[axis]];
      if (row.kind == choice::split && row.index == list.at[k])
        extent = (extent + mesh.size[axis] - 1) / mesh.size[axis];
    }
    rows *= extent;
  }
  return rows;
}

}  // namespace detail

MESHLOOM_INLINE double rate_of(const record& op, dtype type, const device& on) {
  const bool halves = op.products && is_half(type) && on.half_flops_per_second > 0;
  return halves ? on.half_flops_per_second : on.flops_per_second;
}

MESHLOOM_INLINE picoseconds price(const graph& whole, const size_table& sizes, node_id id, const mesh_shape& mesh,
                                  const strategy& how, const device& on, const mesh_links& links) {
  const node& at = whole.nodes[id];
  const double computing = detail::largest_points(sizes, at, mesh, how) * at.op->flops_per_point /
                           rate_of(*at.op, compute_type_of(whole, at), on);
  const double moving = detail::moved_bytes(whole, sizes, at, mesh, how) / static_cast<double>(on.bytes_per_second);
  const int around = rotating_axis(at.op->choices, mesh, how);
  const std::int32_t rounds = around < 0 ? 1 : mesh.size[static_cast<std::size_t>(around)];
  picoseconds time = from_seconds(std::max(computing, moving) * rounds) + on.launch * rounds +
                     detail::halo_time(whole, sizes, at, mesh, how, links) +
                     detail::rotation_time(whole, sizes, at, mesh, how, links);
  if (exchange_axes(at.op->op, at.op->choices, mesh.rank, how) == 0) return time;
  time += on.launch * at.op->op.statistic_count;  // a kernel per part
  for (int k = 0; k < at.op->op.statistic_count; ++k) {
    const statistic& each = at.op->op.statistics[static_cast<std::size_t>(k)];
    const std::uint8_t exchanged = exchange_axes(at.op->op, at.op->choices, mesh.rank, how, k);
    const bytes size{detail::largest_rows(sizes, at, mesh, how, each.rows) * each.values * size_of(whole.precision)};
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(mesh.rank); ++axis) {
      if (exchanged >> axis & 1) time += price(collective::all_reduce, mesh.size[axis], size, links.axis[axis]);
    }
  }
  return time;
}

MESHLOOM_INLINE picoseconds transfer_price(bytes largest, const link& over) {
  return over.latency + carry_time(over, largest);
}

MESHLOOM_INLINE picoseconds total_price(const cluster& machine, dtype type) {
  return price(collective::all_reduce, machine.ranks(), {size_of(type)}, links_of(machine));
}

}  // namespace meshloom
