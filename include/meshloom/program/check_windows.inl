// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/check_windows.hpp>
#include <meshloom/program/place.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// One compute instruction and the windows that its operator reads.
class window_referee {
 public:
  window_referee(const stage_program& stage, const instruction& at) : stage_(stage), at_(at), op_(at.op->op) {}

  std::string run() const {
    for (std::size_t k = 0; k < at_.results.size(); ++k) {
      if (!stage_.buffers[at_.results[k]].widened.empty()) return sentence({"writes windows of result ", k});
    }
    for (std::size_t k = 0; k < at_.operands.size(); ++k) {
      const std::string wrong = check_operand(k);
      if (!wrong.empty()) return sentence({"operand ", k, ", ", place_of(stage_, at_.operands[k]), ", ", wrong});
    }
    return {};
  }

 private:
  std::string check_operand(std::size_t k) const {
    const buffer& what = stage_.buffers[at_.operands[k]];
    const auto read_along = [&](int axis) { return op_.window_in(op_.operands[k].at[static_cast<std::size_t>(axis)]); };
    for (const halo& each : what.widened) {
      if (read_along(each.axis) == nullptr) {
        return sentence(
            {"holds windows along axis ", static_cast<int>(each.axis), ", where ", op_.name, " reads none"});
      }
    }
    for (int axis = 0; axis < what.rank; ++axis) {
      const window* const read = read_along(axis);
      for (std::int32_t member = 0; read != nullptr && member < stage_.mesh.ranks(); ++member) {
        const std::int64_t lacked = lacked_by(member, shard_view(stage_, what, member), axis, *read);
        if (lacked < 0) continue;
        return sentence({"lacks element ", lacked, " of axis ", axis, " on rank ", stage_.first_rank + member,
                         ", whose part of the operator reads it"});
      }
    }
    return {};
  }

  /// The first element of an axis that a member's part of index `read.of` meets under some tap, but the member does not
  /// hold; −1 if there is none.
  std::int64_t lacked_by(std::int32_t member, const view& held, int axis, const window& read) const {
    const stencil with = stencil_of(at_.attributes, read.dimension);
    const interval part = part_of(read.of, member);
    const auto within = [](std::int64_t element, std::int64_t origin, std::int64_t extent) {
      return element >= origin && element < origin + extent;
    };
    if (held.extent[axis] == held.global[axis]) return -1;
    const interval positions = read.transposed ? interval{0, held.global[axis]} : part;
    for (std::int64_t position = positions.origin; position < positions.origin + positions.extent; ++position) {
      for (std::int64_t tap = 0; tap < with.taps; ++tap) {
        const std::int64_t met = position * with.stride - with.padding + tap * with.dilation;
        const std::int64_t reader = read.transposed ? met : position, element = read.transposed ? position : met;
        const bool reads = within(reader, part.origin, part.extent) && within(element, 0, held.global[axis]);
        if (reads && !within(element, held.origin[axis], held.extent[axis])) return element;
      }
    }
    return -1;
  }

  /// A member's part of an index, from any tensor that has it.
  interval part_of(int index, std::int32_t member) const {
    const auto found_in = [&](const index_list& axes, buffer_id id) {
      const int axis = axes.find(index);
      const view shard = shard_view(stage_, stage_.buffers[id], member);
      return interval{shard.origin[axis], shard.extent[axis]};
    };
    for (std::size_t k = 0; k < at_.operands.size(); ++k) {
      if (op_.operands[k].find(index) >= 0) return found_in(op_.operands[k], at_.operands[k]);
    }
    for (std::size_t k = 0; k < at_.results.size(); ++k) {
      if (op_.results[k].find(index) >= 0) return found_in(op_.results[k], at_.results[k]);
    }
    return {};
  }

  const stage_program& stage_;
  const instruction& at_;
  const signature& op_;
};

}  // namespace detail

MESHLOOM_INLINE std::string windows_fault(const stage_program& stage, const instruction& at) {
  return detail::window_referee(stage, at).run();
}

MESHLOOM_INLINE std::string halo_fault(const stage_program& stage, const instruction& at) {
  const buffer& from = stage.buffers[at.operands[0]];
  const buffer& to = stage.buffers[at.results[0]];
  const bool same = from.rank == to.rank && from.global == to.global && from.type == to.type;
  if (at.operands[0] == at.results[0] || !same || !(from.layout == to.layout)) {
    return sentence({"halo from ", from.name, " to ", to.name,
                     ", which is not the same tensor, laid out alike, in a place of its own"});
  }
  const bool one_more = to.widened.size() == from.widened.size() + 1 &&
                        std::equal(from.widened.begin(), from.widened.end(), to.widened.begin());
  if (one_more && to.widened.back().mesh_axis == at.mesh_axis) return {};
  return sentence({"halo along mesh axis ", stage.mesh_axes[static_cast<std::size_t>(at.mesh_axis)],
                   ": does not lead from what ranks hold of ", from.name, " to windows along the axis that it splits"});
}

MESHLOOM_INLINE bool has_windows(const stage_program& stage, const instruction& at) {
  const auto wide = [&](buffer_id id) { return !stage.buffers[id].widened.empty(); };
  return std::any_of(at.operands.begin(), at.operands.end(), wide) ||
         std::any_of(at.results.begin(), at.results.end(), wide);
}

}  // namespace meshloom
