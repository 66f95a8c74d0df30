// SPDX-License-Identifier: Apache-2.0
#include <meshloom/planner/contest.hpp>

namespace meshloom {
namespace detail {

MESHLOOM_INLINE std::string ranks_of(const mesh_shape& mesh) {
  if (mesh.rank == 0) return "1";
  std::string text;
  for (int axis = 0; axis < mesh.rank; ++axis)
    text += (axis > 0 ? "x" : "") + std::to_string(mesh.size[static_cast<std::size_t>(axis)]);
  return text;
}

MESHLOOM_INLINE std::string counted(std::int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace detail

MESHLOOM_INLINE std::string shape_of(const plan& made) {
  std::string sizes;
  bool alike = true;
  for (const stage_plan& each : made.stages) {
    const stage_plan& first = *made.stages.begin();
    alike = alike && each.mesh == first.mesh;
    sizes += (&each == &first ? "" : ", ") + detail::ranks_of(each.mesh);
  }
  if (alike) sizes = detail::ranks_of(made.stages.begin()->mesh);
  std::string text = detail::counted(static_cast<std::int64_t>(made.stages.size()), "stage") + " on " + sizes +
                     (sizes == "1" ? " rank, " : " ranks, ") + std::to_string(made.micro_batches) +
                     (made.micro_batches == 1 ? " micro-batch" : " micro-batches");
  if (made.stages.size() > 1) text += ", " + std::string(name_of(made.schedule));
  return text;
}

MESHLOOM_INLINE bool contest::enter(const plan& made, const std::function<bool()>& fits) {
  if (!is_open_to(made.predicted)) {
    remember(made);
    return true;
  }
  if (!fits()) return false;
  const std::optional<plan> beaten = std::move(best_);
  best_ = made;
  if (second_ && second_->shape == shape_of(made)) second_.reset();
  if (beaten) remember(*beaten);
  return true;
}

MESHLOOM_INLINE void contest::remember(const plan& beaten) {
  alternative next{shape_of(beaten), beaten.predicted};
  if (next.shape != shape_of(*best_) && (!second_ || next.predicted < second_->predicted)) second_ = std::move(next);
}

MESHLOOM_INLINE plan contest::winner() const {
  plan made = *best_;
  made.runner_up = second_;
  return made;
}

}  // namespace meshloom
