// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/check_rotation.hpp>
#include <meshloom/program/place.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

/// One compute instruction whose blocks go around.
class rotation_referee {
 public:
  rotation_referee(const stage_program& stage, const instruction& at)
      : stage_(stage), at_(at), ranks_(stage.mesh.size[static_cast<std::size_t>(at.mesh_axis)]) {}

  std::string run() {
    std::string wrong = check_places();
    for (std::size_t k = 0; wrong.empty() && k < at_.operands.size(); ++k)
      wrong = check_tensor(at_.op->op.operands[k], at_.operands[k], false);
    for (std::size_t k = 0; wrong.empty() && k < at_.results.size(); ++k)
      wrong = check_tensor(at_.op->op.results[k], at_.results[k], true);
    if (wrong.empty() && next_ < at_.visiting.size())
      return sentence({"has ", at_.visiting.size() - next_, " places for visiting blocks that nothing visits"});
    return wrong;
  }

 private:
  /// Nothing else is in a place for visiting blocks.
  std::string check_places() const {
    for (std::size_t k = 0; k < at_.visiting.size(); ++k) {
      const buffer_id id = at_.visiting[k];
      const auto among = [id](const vector<buffer_id>& list) {
        return std::find(list.begin(), list.end(), id) != list.end();
      };
      if (among(at_.operands) || among(at_.results) || std::count(at_.visiting.begin(), at_.visiting.end(), id) > 1)
        return sentence({"lets blocks visit ", place_of(stage_, id), ", where it keeps something else"});
      if (stage_.buffers[id].where != memory::transient)
        return sentence({"lets blocks visit ", place_of(stage_, id), ", which is not of one pass"});
    }
    return {};
  }

  std::string check_tensor(const index_list& axes, buffer_id home, bool is_result) {
    const auto has = [&](int index) { return axes.find(index) >= 0; };
    if (!has(at_.op->op.rotates.in) || has(at_.op->op.rotates.of)) return {};
    const std::size_t places = is_result || ranks_ == 2 ? 1 : 2;
    if (next_ + places > at_.visiting.size())
      return sentence({"has no place for visiting blocks of ", place_of(stage_, home)});
    const buffer& own = stage_.buffers[home];
    for (std::size_t k = 0; k < places; ++k) {
      const buffer& place = stage_.buffers[at_.visiting[next_ + k]];
      const bool fits = place.rank == own.rank && place.global == own.global && place.type == own.type &&
                        place.layout == own.layout && place.widened.empty();
      if (!fits)
        return sentence({"lets blocks of ", place_of(stage_, home), " visit ",
                         place_of(stage_, at_.visiting[next_ + k]), ", which has another shape, type or layout"});
    }
    vector<buffer_id> way{home};
    for (std::size_t k = 0; k < places; ++k) way.push_back(at_.visiting[next_ + k]);
    next_ += places;
    return is_result ? follow_result(way, axes) : follow_operand(way, axes);
  }

  /// Blocks of an operand leave home for one visiting place, then the other, in turns.
  std::string follow_operand(const vector<buffer_id>& way, const index_list& axes) const {
    vector<buffer_id> lies{way[0]};
    for (std::int32_t round = 1; round < ranks_; ++round) lies.push_back(way[round % 2 == 1 ? 1 : way.size() - 1]);
    return follow(lies, axes, false);
  }

  /// Those of a result take turns between both places, so that the last step leads home.
  std::string follow_result(const vector<buffer_id>& way, const index_list& axes) const {
    vector<buffer_id> lies;
    for (std::int32_t round = ranks_; round >= 0; --round) lies.push_back(way[static_cast<std::size_t>(round % 2)]);
    return follow(lies, axes, true);
  }

  /// Every member passes on what it holds, to the next along the mesh axis, from place to place.
  std::string follow(const vector<buffer_id>& lies, const index_list& axes, bool comes_home) const {
    for (std::int32_t member = 0; member < stage_.mesh.ranks(); ++member) {
      mesh_coordinates at = coordinates_of(stage_.mesh, member);
      std::int32_t& place = at[static_cast<std::size_t>(at_.mesh_axis)];
      const std::int32_t own = place;
      const auto axis = axes.find(at_.op->op.rotates.in);
      vector<bool> met(static_cast<std::size_t>(stage_.buffers[lies[0]].global[static_cast<std::size_t>(axis)]));
      for (std::int32_t round = 0; round < ranks_; ++round) {
        const view block =
            shard_view(stage_, stage_.buffers[lies[static_cast<std::size_t>(round)]], rank_at(stage_.mesh, at));
        for (std::int64_t element = block.origin[axis]; element < block.origin[axis] + block.extent[axis]; ++element) {
          if (met[static_cast<std::size_t>(element)])
            return sentence({"meets element ", element, " of ", place_of(stage_, lies[0]), " twice on rank ",
                             stage_.first_rank + member});
          met[static_cast<std::size_t>(element)] = true;
        }
        const auto next = static_cast<std::size_t>(round) + 1;
        if (next < lies.size() && lies[next] == lies[next - 1])
          return sentence({"overwrites a block of ", place_of(stage_, lies[0]), " before it is passed on"});
        place = (place + ranks_ - 1) % ranks_;
      }
      if (comes_home && place != own)
        return sentence({"leaves ", place_of(stage_, lies.back()), " with another's block"});
    }
    return {};
  }

  const stage_program& stage_;
  const instruction& at_;
  std::int32_t ranks_;
  std::size_t next_ = 0;  ///< of the places for visiting blocks
};

}  // namespace detail

MESHLOOM_INLINE std::string rotation_fault(const stage_program& stage, const instruction& at, int around) {
  if (at.mesh_axis != around) {
    const auto along = [&](int axis) {
      return axis < 0 ? std::string("no mesh axis") : "mesh axis " + stage.mesh_axes[static_cast<std::size_t>(axis)];
    };
    return sentence({"sends blocks around ", along(at.mesh_axis), " where the layouts ask for ", along(around)});
  }
  if (around >= 0) return detail::rotation_referee(stage, at).run();
  return at.visiting.empty() ? "" : "has places for visiting blocks, but none go around";
}

}  // namespace meshloom
