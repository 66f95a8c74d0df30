// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/place.hpp>
#include <meshloom/report/check_constraints.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

class constraint_referee {
 public:
  constraint_referee(const problem& posed, const plan& made)
      : whole_(posed.graph), asked_(posed.constraints), made_(made) {}

  vector<std::string> run() {
    check_shape();
    for (s_ = 0; s_ < made_.stages.size(); ++s_) {
      check_mesh();
      check_recomputed();
      for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
        const auto id = static_cast<node_id>(n);
        if (whole_.nodes[id].when != phase::update && runs(whole_, stage(), id)) check_rules(id);
      }
      for (std::size_t p = 0; p < whole_.parameters.size(); ++p) {
        if (stage().parameters[p].used) check_zero(p);
      }
      for (const pin& each : whole_.pins) check_pin(each);
      for (const path_pin& each : asked_.pins) check_pin(each);
    }
    return std::move(broken_);
  }

 private:
  const stage_plan& stage() const { return made_.stages[static_cast<stage_id>(s_)]; }

  template <class... Part>
  void broken(const Part&... part) {
    broken_.push_back(sentence({part...}));
  }

  /// The number of a mesh axis in the stage; −1 if it has none of this name.
  int number_of(const std::string& mesh_axis) const {
    const auto& names = stage().mesh_axes;
    const auto found = std::find(names.begin(), names.end(), mesh_axis);
    return found == names.end() ? -1 : static_cast<int>(found - names.begin());
  }

  // --- the shape of the plan

  void check_shape() {
    const auto stages = static_cast<std::int32_t>(made_.stages.size());
    if (asked_.stages > 0 && asked_.stages != stages) {
      broken("the problem asks for ", asked_.stages, " stages, but the plan has ", stages, "; solve again");
    }
    for (std::size_t k = 0; k < asked_.cuts.size() && k + 1 < made_.stages.size(); ++k) {
      const std::int32_t first = made_.stages[static_cast<stage_id>(k + 1)].first_block;
      if (first == asked_.cuts[k]) continue;
      broken(place_of(k + 1), ": begins with block ", first, ", but the problem cuts in front of block ",
             asked_.cuts[k], "; solve again");
    }
    if (asked_.micro_batches > 0 && asked_.micro_batches != made_.micro_batches) {
      broken("the problem asks for ", asked_.micro_batches, " micro-batches, but the plan has ", made_.micro_batches,
             "; solve again");
    }
    const bool alone = asked_.schedules.empty() || made_.schedule == schedule_kind::forward_only;
    if (!alone && std::count(asked_.schedules.begin(), asked_.schedules.end(), made_.schedule) == 0) {
      broken("the problem asks for schedule ", name_of(asked_.schedules.front()), ", but the plan has ",
             name_of(made_.schedule), "; solve again");
    }
  }

  void check_mesh() {
    for (const mesh_axis_size& axis : asked_.mesh) {
      const int number = number_of(axis.name);
      const std::int32_t size = number < 0 ? 1 : stage().mesh.size[static_cast<std::size_t>(number)];
      if (axis.size == 0 || axis.size == size) continue;
      broken(place_of(s_), ": mesh axis ", axis.name, " has size ", size, ", but the problem asks for ", axis.size,
             "; solve again");
    }
  }

  // --- blocks

  /// Blocks that no rule names are the plan's to choose.
  void check_recomputed() {
    const auto blocks = blocks_of(whole_);
    for (std::int32_t number = stage().first_block; number < stage().end_block; ++number) {
      const block& here = blocks[static_cast<std::size_t>(number)];
      const region& area = whole_.regions[here.region];
      const auto binds = [&](const recompute_rule& rule) {
        if (rule.layer.empty() ? !may_recompute(area) : rule.layer != area.name) return false;
        return rule.first <= here.copy && (rule.end < 0 || here.copy < rule.end);
      };
      const bool bound = std::any_of(asked_.recompute.begin(), asked_.recompute.end(), binds);
      if (!bound || stage().recompute[static_cast<std::size_t>(number - stage().first_block)]) continue;
      broken(place_of(s_), ": block ", name_of(whole_, here),
             " keeps its activations, but the problem asks to recompute them; solve again");
    }
  }

  // --- operators

  /// An operator that can split a ruled axis splits one of them.
  void check_rules(node_id id) {
    const node& at = whole_.nodes[id];
    for (int axis = 0; axis < stage().mesh.rank; ++axis) {
      const auto which = static_cast<std::size_t>(axis);
      const auto is_ruled = [&](const choice& row) { return splits_as_ruled(at, row, stage().mesh_axes[which]); };
      const auto rows = std::span(at.op->choices.rows).first(static_cast<std::size_t>(at.op->choices.count));
      const auto wanted = std::find_if(rows.begin(), rows.end(), is_ruled);
      if (wanted == rows.end() || is_ruled(rows[stage().strategies[id].row[which]])) continue;
      broken(place_of(s_), ": operator ", at.name, " does not split ", axis_of(at, *wanted), " over mesh axis ",
             stage().mesh_axes[which], ", as a rule of the problem says; solve again");
    }
  }

  bool splits_as_ruled(const node& at, const choice& row, const std::string& mesh_axis) const {
    return row.kind == choice::split &&
           std::any_of(asked_.rules.begin(), asked_.rules.end(), [&](const axis_rule& rule) {
             if (rule.mesh_axis != mesh_axis || !speaks_of(rule.axis, axis_of(at, row))) return false;
             const bool travels = row.rotated >= 0, could = at.op->op.rotates.of == row.index;
             if (could && travels != rule.around) return false;
             return !rule.aligned || everybody_has(at.op->op, row.index);
           });
  }

  /// The name of an axis, in which one `*` stands for any letters.
  static bool speaks_of(const std::string& pattern, const std::string& axis) {
    const std::size_t star = pattern.find('*');
    if (star == std::string::npos) return pattern == axis;
    const std::string before = pattern.substr(0, star), after = pattern.substr(star + 1);
    return axis.size() >= before.size() + after.size() && axis.compare(0, before.size(), before) == 0 &&
           axis.compare(axis.size() - after.size(), after.size(), after) == 0;
  }

  static bool everybody_has(const signature& op, int index) {
    if (op.roles[static_cast<std::size_t>(index)] != role::mapped) return false;
    for (int k = 0; k < op.operand_count; ++k) {
      if (op.operands[static_cast<std::size_t>(k)].find(index) < 0) return false;
    }
    return true;  // a mapped index is in every result
  }

  const std::string& axis_of(const node& at, const choice& row) const {
    return whole_.sizes[at.indices[static_cast<std::size_t>(row.index)]].name;
  }

  /// Whoever makes the value of a pin, in whichever copy; a gradient of a value that has none binds nobody.
  void check_pin(const pin& bound) {
    const value_id target = bound.gradient ? whole_.values[bound.value].gradient : bound.value;
    if (target == value_id::none) return;
    const value& entry = whole_.values[target];
    vector<value_id> bound_values;
    for (std::int32_t copy = 0; copy < whole_.regions[entry.region].count; ++copy) {
      const value_id id = resolve(whole_, target, {entry.region, copy}).value;
      if (std::count(bound_values.begin(), bound_values.end(), id) == 0) bound_values.push_back(id);
    }
    for (const value_id id : bound_values) {
      if (whole_.values[id].kind == value_kind::activation) check_result(id, bound.mesh_axis, bound.axis);
    }
  }

  void check_pin(const path_pin& bound) {
    for (const node& at : whole_.nodes) {
      if (at.name != bound.path) continue;
      const auto& axes = whole_.values[at.results[0]].axes;
      const auto named = std::find(axes.begin(), axes.end(), find_axis(whole_.sizes, bound.axis));
      check_result(at.results[0], bound.mesh_axis, bound.axis.empty() ? -1 : static_cast<int>(named - axes.begin()));
    }
  }

  /// `axis`: of the value, or −1 for whole.
  void check_result(value_id id, const std::string& mesh_axis, int axis) {
    const value& entry = whole_.values[id];
    const node& maker = whole_.nodes[entry.producer];
    const int number = number_of(mesh_axis);
    if (number < 0 || !runs(whole_, stage(), entry.producer)) return;
    const auto which = std::find(maker.results.begin(), maker.results.end(), id) - maker.results.begin();
    const spec layout = result_spec_in(whole_, stage(), entry.producer, static_cast<std::size_t>(which));
    const placement found = layout.on(number);
    const bool met = axis < 0 ? found.kind == placement::whole
                              : found == placement{placement::split, static_cast<std::int8_t>(axis)};
    if (met) return;
    broken(place_of(s_), ": operator ", maker.name, " leaves ", entry.name, " ", text_of(entry, found),
           " over mesh axis ", mesh_axis, ", against a pin; solve again");
  }

  std::string text_of(const value& entry, const placement& found) const {
    if (found.kind == placement::whole) return "whole";
    if (found.kind != placement::split) return "a pending sum";
    return "split along " + whole_.sizes[entry.axes[static_cast<std::size_t>(found.axis)]].name;
  }

  // --- parameters

  std::int32_t zero_level(const std::string& mesh_axis) const {
    std::int32_t level = 0;
    for (const zero_rule& each : asked_.zero) level = std::max(level, each.mesh_axis == mesh_axis ? each.level : 0);
    return level;
  }

  /// Whether an axis rule splits the parameter itself.
  bool is_ruled(const value& entry, const std::string& mesh_axis) const {
    return std::any_of(asked_.rules.begin(), asked_.rules.end(), [&](const axis_rule& rule) {
      const auto has = [&](axis_id axis) { return speaks_of(rule.axis, whole_.sizes[axis].name); };
      return rule.mesh_axis == mesh_axis && std::any_of(entry.axes.begin(), entry.axes.end(), has);
    });
  }

  /// ZeRO binds where an axis of the parameter has room: one that nothing else splits.
  void check_zero(std::size_t p) {
    const parameter_plan& kept = stage().parameters[p];
    const value& entry = whole_.values[whole_.parameters[p].value];
    for (int axis = 0; axis < stage().mesh.rank; ++axis) {
      const std::string& mesh_axis = stage().mesh_axes[static_cast<std::size_t>(axis)];
      const std::int32_t level = zero_level(mesh_axis);
      if (level == 0 || is_ruled(entry, mesh_axis)) continue;
      const auto wrong = [&](const char* what, const char* is) {
        broken(place_of(s_), ": parameter ", entry.name, " has ", what, " ", is, " over mesh axis ", mesh_axis,
               ", against ZeRO of level ", level, "; solve again");
      };
      const placement state = kept.state.on(axis);
      if (state.kind == placement::whole && has_room(kept.state, entry)) wrong("its state", "whole");
      const bool stored_so = level >= 3 ? kept.stored.on(axis) == state : kept.stored.on(axis).kind == placement::whole;
      if (!stored_so) wrong("itself", level >= 3 ? "whole" : "split");
      const auto pends = [&](const spec& layout) { return layout.on(axis).kind == placement::partial_sum; };
      const bool scattered = level < 2 || state.kind == placement::whole ||
                             std::none_of(kept.accumulated.begin(), kept.accumulated.end(), pends);
      if (!scattered) wrong("its gradient", "pending");
    }
  }

  static bool has_room(const spec& layout, const value& entry) {
    for (std::size_t axis = 0; axis < entry.axes.size(); ++axis) {
      const auto splits = [&](const cut& each) { return each.axis == static_cast<int>(axis); };
      if (std::none_of(layout.cuts().begin(), layout.cuts().end(), splits)) return true;
    }
    return false;
  }

  const graph& whole_;
  const manual& asked_;
  const plan& made_;
  std::size_t s_ = 0;
  vector<std::string> broken_;
};

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check_constraints(const problem& posed, const plan& made) {
  return detail::constraint_referee(posed, made).run();
}

}  // namespace meshloom
