// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/check_instructions.hpp>
#include <meshloom/program/check_rotation.hpp>
#include <meshloom/program/check_windows.hpp>
#include <meshloom/program/place.hpp>

#include <algorithm>
#include <map>
#include <optional>

namespace meshloom {
namespace detail {

/// What a row of an operator's table does, along its mesh axis, to a tensor with the given axes. `pending`: the tensor
/// is one that a linear row leaves as a pending sum.
inline placement placed_by(const choice& row, const signature& op, const index_list& axes, bool is_result,
                           bool pending) {
  if (row.kind == choice::linear) return pending ? placement{placement::partial_sum, -1} : placement{};
  if (row.kind == choice::whole) return {};
  for (std::int8_t axis = 0; axis < axes.count; ++axis) {
    if (axes.at[static_cast<std::size_t>(axis)] == row.index) return {placement::split, axis};
  }
  for (int k = 0; k < op.window_count; ++k) {
    const window& read = op.windows[static_cast<std::size_t>(k)];
    const int axis = read.of == row.index ? axes.find(read.in) : -1;
    if (axis >= 0) return {placement::split, static_cast<std::int8_t>(axis)};
  }
  if (row.rotated >= 0 && axes.find(op.rotates.in) >= 0) {
    return {placement::split, static_cast<std::int8_t>(axes.find(op.rotates.in))};
  }
  const bool contracted = op.roles[static_cast<std::size_t>(row.index)] == role::contracted;
  return is_result && contracted ? placement{placement::partial_sum, -1} : placement{};
}

/// One compute instruction against its operator.
class operator_referee {
 public:
  operator_referee(const program& whole, const stage_program& stage, const instruction& at)
      : whole_(whole), stage_(stage), at_(at), op_(at.op->op) {}

  /// What is wrong; empty if nothing is.
  std::string run() {
    if (at_.operands.size() != static_cast<std::size_t>(op_.operand_count) ||
        at_.results.size() != static_cast<std::size_t>(op_.result_count)) {
      return sentence({"has ", at_.operands.size(), " operands and ", at_.results.size(),
                       " results, its signature has ", op_.operand_count, " and ", op_.result_count});
    }
    extents_.fill(-1);
    for (const auto part : {&operator_referee::check_shape, &operator_referee::check_cuts}) {
      for (std::size_t k = 0; k < at_.operands.size() + at_.results.size(); ++k) {
        const std::string wrong = (this->*part)(k);
        if (!wrong.empty()) return wrong;
      }
    }
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage_.mesh.rank); ++axis) {
      rows_[axis] = row_on(static_cast<int>(axis));
      if (rows_[axis] == nullptr) return why_no_row(static_cast<int>(axis));
    }
    std::string wrong = windows_fault(stage_, at_);
    if (wrong.empty()) wrong = check_rotation();
    return wrong.empty() ? check_places() : wrong;
  }

  /// The mesh axes (bit mask) that split an axis of which shards exchange statistics.
  int exchanges() const {
    int mask = 0;
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage_.mesh.rank); ++axis) {
      const choice& row = *rows_[axis];
      if (row.kind == choice::split && op_.roles[static_cast<std::size_t>(row.index)] == role::statistic) {
        mask |= 1 << axis;
      }
    }
    return mask;
  }

  /// Those of which statistic k does not have the axis.
  int exchanges(std::size_t k) const {
    int mask = exchanges();
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(stage_.mesh.rank); ++axis) {
      if (op_.statistics[k].rows.find(rows_[axis]->index) >= 0) mask &= ~(1 << axis);
    }
    return mask;
  }

  /// Statistic k: one entry per row and number, split as the rows are.
  std::string check_statistic(std::size_t k) const {
    const buffer& what = stage_.buffers[at_.exchanged[k]];
    const index_list& rows = op_.statistics[k].rows;
    bool same = what.rank == rows.count + 1 && what.type == whole_.precision;
    for (std::size_t axis = 0; same && axis < static_cast<std::size_t>(rows.count); ++axis) {
      same = what.global[axis] == extents_[static_cast<std::size_t>(rows.at[axis])];
    }
    same = same && what.global[static_cast<std::size_t>(rows.count)] == op_.statistics[k].values;
    for (std::size_t axis = 0; same && axis < static_cast<std::size_t>(stage_.mesh.rank); ++axis) {
      const placement wanted =
          rows_[axis]->kind == choice::split ? placed_by(*rows_[axis], op_, rows, false, false) : placement{};
      same = what.layout.on(static_cast<int>(axis)) == wanted;
    }
    if (same) return {};
    return sentence(
        {"keeps statistic ", k, " in ", place_of(stage_, at_.exchanged[k]), ", which has another shape or layout"});
  }

 private:
  bool is_result(std::size_t k) const { return k >= at_.operands.size(); }
  const index_list& axes_of(std::size_t k) const {
    return is_result(k) ? op_.results[k - at_.operands.size()] : op_.operands[k];
  }
  buffer_id id_of(std::size_t k) const { return is_result(k) ? at_.results[k - at_.operands.size()] : at_.operands[k]; }
  std::string name_of_tensor(std::size_t k) const {
    const std::size_t operands = at_.operands.size();
    return sentence({is_result(k) ? "result " : "operand ", is_result(k) ? k - operands : k, ", ",
                     place_of(stage_, id_of(k)), ","});
  }

  std::string check_shape(std::size_t k) {
    const buffer& what = stage_.buffers[id_of(k)];
    const index_list& axes = axes_of(k);
    if (what.rank != axes.count) {
      return sentence({name_of_tensor(k), " has ", what.rank, " axes where the operator has ", axes.count});
    }
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(axes.count); ++axis) {
      std::int64_t& extent = extents_[static_cast<std::size_t>(axes.at[axis])];
      if (extent >= 0 && extent != what.global[axis]) {
        return sentence({name_of_tensor(k), " has ", what.global[axis], " elements along an axis of ", extent});
      }
      extent = what.global[axis];
    }
    return check_type(k, what.type);
  }

  /// What an operator may round has one type in the whole instruction, in which only whole sums may be left unrounded.
  std::string check_type(std::size_t k, dtype is) {
    const rounding& may = at_.op->rounded;
    const std::size_t which = is_result(k) ? k - at_.operands.size() : k;
    if (is_result(k) && (op_.integer_results >> which & 1) != 0) {
      if (is == dtype::i32) return {};
      return sentence({name_of_tensor(k), " is of type ", name_of(is), " and has to be of integers"});
    }
    if (!is_result(k) && is == dtype::i32) return {};
    if (!(is_result(k) ? may.result(which) : may.operand(which)) || (is != whole_.precision && is != whole_.compute)) {
      if (is == whole_.precision) return {};
      return sentence({name_of_tensor(k), " is of type ", name_of(is), " in a program of ", name_of(whole_.precision)});
    }
    if (!rounded_) rounded_ = is;
    if (is == *rounded_ || (is_result(k) && may.wide && is == whole_.precision)) return {};
    return sentence(
        {name_of_tensor(k), " is of type ", name_of(is), " where the operator computes in ", name_of(*rounded_)});
  }

  /// Tensors that share an index are cut by the same mesh axes in the same order: else their shards do not fit.
  std::string check_cuts(std::size_t k) {
    const index_list& axes = axes_of(k);
    for (std::int8_t axis = 0; axis < axes.count; ++axis) {
      int order = 1;  // the mesh axes that cut it, outer first, as digits
      for (const cut& each : stage_.buffers[id_of(k)].layout.cuts()) {
        order = each.axis == axis ? order * (max_mesh_rank + 1) + each.mesh_axis : order;
      }
      int& known = cuts_[static_cast<std::size_t>(axes.at[static_cast<std::size_t>(axis)])];
      if (known != 0 && known != order) {
        return sentence({name_of_tensor(k), " is cut along axis ", axis, " in another way than its neighbours"});
      }
      known = order;
    }
    return {};
  }

  const choice* row_on(int mesh_axis) const {
    for (int row = 0; row < at_.op->choices.count; ++row) {
      const choice& next = at_.op->choices.rows[static_cast<std::size_t>(row)];
      bool explains = true;
      for (std::size_t k = 0; explains && k < at_.operands.size() + at_.results.size(); ++k) {
        const bool pending = is_result(k) || (next.operands >> k & 1) != 0;
        explains =
            stage_.buffers[id_of(k)].layout.on(mesh_axis) == placed_by(next, op_, axes_of(k), is_result(k), pending);
      }
      if (explains) return &next;
    }
    return nullptr;
  }

  std::string why_no_row(int mesh_axis) const {
    const std::string along = " along mesh axis " + stage_.mesh_axes[static_cast<std::size_t>(mesh_axis)];
    for (std::size_t k = 0; k < at_.operands.size(); ++k) {
      const bool pending = stage_.buffers[id_of(k)].layout.on(mesh_axis).kind == placement::partial_sum;
      const bool linear = std::any_of(op_.linear.begin(), op_.linear.begin() + op_.linear_count,
                                      [&](std::uint16_t set) { return (set >> k & 1) != 0; });
      if (pending && !linear) {
        return sentence({name_of_tensor(k), " is a pending sum", along, ", in which ", op_.name, " is not linear"});
      }
    }
    return sentence({"no row of the table of ", op_.name, " explains the layouts of its operands and results", along});
  }

  /// Blocks go around along one mesh axis at most, and only if it has several ranks.
  std::string check_rotation() const {
    int around = -1;
    for (int axis = 0; axis < stage_.mesh.rank; ++axis) {
      if (rows_[static_cast<std::size_t>(axis)]->rotated < 0) continue;
      if (around >= 0) return "sends blocks around two mesh axes at once";
      around = axis;
    }
    if (around >= 0 && stage_.mesh.size[static_cast<std::size_t>(around)] == 1) around = -1;
    return rotation_fault(stage_, at_, around);
  }

  std::string check_places() const {
    for (std::size_t k = 0; at_.op->in_place && k < at_.results.size(); ++k) {
      if (at_.operands[static_cast<std::size_t>(at_.op->replaces[k])] != at_.results[k]) {
        return sentence({"does not write result ", k, " in place"});
      }
    }
    if (at_.adds && !at_.op->accumulates) return sentence({"adds to its results, which ", op_.name, " cannot"});
    return {};
  }

  const program& whole_;
  const stage_program& stage_;
  const instruction& at_;
  const signature& op_;
  std::array<std::int64_t, max_indices> extents_{};
  std::array<int, max_indices> cuts_{};
  std::optional<dtype> rounded_;  ///< the type of what it may round, once seen
  std::array<const choice*, max_mesh_rank> rows_{};
};

inline constexpr std::string_view rounds_sums = "sums micro-batches in a type that rounds each of them";

/// The instructions of one stage, body by body.
class instruction_referee {
 public:
  instruction_referee(const program& whole, std::size_t s, vector<std::string>& faults)
      : whole_(whole), s_(s), stage_(whole.stages[static_cast<stage_id>(s)]), faults_(faults) {}

  void run() {
    for (const instruction& at : body_of(stage_, pass::forward)) {
      if (at.kind == instruction::compute) forward_.try_emplace(at.number, &at);
    }
    for (const pass now : all_passes) {
      now_ = now;
      const auto& body = body_of(stage_, now);
      for (std::size_t at = 0; at < body.size();) {
        at = body[at].kind == instruction::compute ? check_compute(body, at) : check_other(body[at], at);
      }
    }
  }

 private:
  template <class... Part>
  void fault(const instruction& at, const Part&... part) {
    const std::string what = sentence({part...});
    if (!what.empty()) faults_.push_back(sentence({place_of(s_, now_, at), ": ", what}));
  }
  const buffer& at_buffer(buffer_id id) const { return stage_.buffers[id]; }
  const std::string& mesh_axis_name(int axis) const { return stage_.mesh_axes[static_cast<std::size_t>(axis)]; }

  // --- operators -----------------------------------------------------------------------------------------------------

  /// Checks one operator, all its parts and exchanges; returns where the next instruction is.
  std::size_t check_compute(const vector<instruction>& body, std::size_t at) {
    const instruction& first = body[at];
    operator_referee law(whole_, stage_, first);
    const std::string wrong = law.run();
    fault(first, wrong);
    if (first.adds && now_ != pass::backward) fault(first, "adds to its results outside of backward");
    for (const buffer_id id : first.results) {
      if (first.adds && is_half(at_buffer(id).type)) fault(first, rounds_sums);
    }
    fault(first, check_again(first));
    if (!wrong.empty()) return at + 1;
    const auto count = static_cast<std::size_t>(law.exchanges() == 0 ? 0 : first.op->op.statistic_count);
    if (first.exchanged.size() != count) {
      fault(first, "keeps ", first.exchanged.size(), " statistics where the split of its axes asks for ", count,
            " to be exchanged");
      return at + 1;
    }
    if (first.part != (count == 0 ? -1 : 0)) fault(first, "begins at part ", first.part);
    ++at;
    for (std::size_t k = 0; k < count; ++k) {
      fault(first, law.check_statistic(k));
      at = check_exchanges(body, at, first, k, law.exchanges(k));
      if (at == body.size() || !continues(first, body[at], k + 1)) {
        fault(first, "part ", k + 1, " is missing");
        return at;
      }
      ++at;
    }
    return at;
  }

  /// What runs again is an operator of forward, in the same layouts: it makes the same bits.
  std::string check_again(const instruction& at) const {
    const auto known = forward_.find(at.number);
    if (!at.again) {
      const bool repeats = now_ == pass::backward && known != forward_.end();
      return repeats ? "has the number of an operator of forward, which it does not say to run again" : "";
    }
    if (now_ != pass::backward) return "runs again outside of backward";
    if (known == forward_.end()) return "runs again, but forward has no operator of its number";
    const instruction& before = *known->second;
    const bool same = at.op == before.op && at.attributes == before.attributes && alike(at.operands, before.operands) &&
                      alike(at.results, before.results);
    return same ? "" : "runs again in another way than in forward";
  }

  bool alike(const vector<buffer_id>& a, const vector<buffer_id>& b) const {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](buffer_id one, buffer_id other) {
      const buffer &left = at_buffer(one), &right = at_buffer(other);
      return left.name == right.name && same_tensor(left, right) && left.layout == right.layout;
    });
  }

  static bool continues(const instruction& first, const instruction& next, std::size_t part) {
    return next.kind == instruction::compute && next.op == first.op && next.number == first.number &&
           next.part == static_cast<std::int32_t>(part) && next.operands == first.operands &&
           next.results == first.results && next.exchanged == first.exchanged && next.attributes == first.attributes &&
           next.adds == first.adds && next.again == first.again;
  }

  /// Statistic k is exchanged once over each mesh axis of the mask; returns where the exchanges end.
  std::size_t check_exchanges(const vector<instruction>& body, std::size_t at, const instruction& first, std::size_t k,
                              int axes) {
    int done = 0;
    for (; at < body.size() && body[at].kind == instruction::exchange; ++at) {
      const instruction& each = body[at];
      const int bit = 1 << each.mesh_axis;
      const bool own =
          each.exchanged == vector<buffer_id>{first.exchanged[k]} && each.operands.empty() && each.results.empty();
      const bool same = each.how == collective::all_reduce && each.combine == first.op->op.statistics[k].combine;
      if (!own || !same || (axes & bit) == 0 || (done & bit) != 0) {
        fault(each, "is not the exchange of statistic ", k, " that the operator asks for");
      } else {
        done |= bit;
      }
    }
    for (int axis = 0; axis < stage_.mesh.rank; ++axis) {
      if (((axes & ~done) >> axis & 1) != 0) {
        fault(first, "statistic ", k, " is not exchanged over mesh axis ", mesh_axis_name(axis), ", which splits it");
      }
    }
    return at;
  }

  // --- what moves data -----------------------------------------------------------------------------------------------

  std::size_t check_other(const instruction& at, std::size_t place) {
    const std::size_t operands = at.kind == instruction::load || at.kind == instruction::exchange ? 0 : 1;
    const std::size_t results = at.kind == instruction::store || at.kind == instruction::exchange ? 0 : 1;
    if (at.kind == instruction::exchange) {
      fault(at, "exchanges statistics that no operator asks for");
    } else if (at.kind == instruction::total) {
      fault(at, check_total(at));
    } else if (at.operands.size() != operands || at.results.size() != results || !at.exchanged.empty() ||
               !at.visiting.empty()) {
      fault(at, "moves ", at.operands.size(), " values to ", at.results.size());
    } else if (at.kind == instruction::redistribute && at.how == collective::halo) {
      fault(at, halo_fault(stage_, at));
    } else if (has_windows(stage_, at)) {
      fault(at, "moves windows of a tensor, which only operators read");
    } else if (at.kind == instruction::redistribute) {
      fault(at, check_reshard(at));
    } else if (at.kind == instruction::load) {
      fault(at, check_port(whole_.inputs[static_cast<std::size_t>(at.port)], at.results[0]));
    } else if (at.kind == instruction::store) {
      fault(at, check_port(whole_.results[static_cast<std::size_t>(at.port)], at.operands[0]));
    } else {
      fault(at, check_accumulate(at_buffer(at.operands[0]), at_buffer(at.results[0])));
    }
    return place + 1;
  }

  static bool same_tensor(const buffer& a, const buffer& b) {
    return a.rank == b.rank && a.global == b.global && a.type == b.type;
  }

  std::string check_accumulate(const buffer& from, const buffer& to) const {
    if (now_ > pass::backward) return sentence({"sums micro-batches in ", name_of(now_)});
    if (!same_tensor(from, to) || !(from.layout == to.layout)) {
      return sentence({"sums ", from.name, " into ", to.name, ", which has another shape, type or layout"});
    }
    if (is_half(to.type)) return std::string(rounds_sums);
    if (from.type == dtype::i32 || from.layout.partial_max() != 0) {
      return "sums what cannot be summed: integers, or a pending maximum";
    }
    return {};
  }

  std::string check_total(const instruction& at) const {
    if (now_ != pass::update) return sentence({"adds up the whole step in ", name_of(now_)});
    if (at.results.size() != 1 || !at.exchanged.empty()) return "leaves its sum in no place, or in several";
    const auto is_scalar = [&](buffer_id id) {
      return at_buffer(id).rank == 0 && at_buffer(id).type == whole_.precision &&
             at_buffer(id).layout.partial_max() == 0;
    };
    const bool scalars = is_scalar(at.results[0]) && std::all_of(at.operands.begin(), at.operands.end(), is_scalar);
    return scalars && at_buffer(at.results[0]).layout.is_whole() ? "" : "adds up what are no scalars";
  }

  std::string check_reshard(const instruction& at) const {
    const buffer& from = at_buffer(at.operands[0]);
    const buffer& to = at_buffer(at.results[0]);
    if (at.operands[0] == at.results[0] || !same_tensor(from, to)) {
      return sentence({name_of(at.how), " from ", from.name, " to ", to.name,
                       ", which is not the same tensor in a place of its own"});
    }
    const placement before = from.layout.on(at.mesh_axis), after = to.layout.on(at.mesh_axis);
    const std::string along = sentence({name_of(at.how), " along mesh axis ", mesh_axis_name(at.mesh_axis)});
    if (!(from.layout.without(at.mesh_axis).with(at.mesh_axis, after) == to.layout)) {
      return sentence({along, ": changes the layout on another mesh axis, or leaves a cut that is not the innermost"});
    }
    if (before.kind == placement::split && !from.layout.innermost(at.mesh_axis)) {
      return sentence({along, ": undoes a cut that is not the innermost"});
    }
    const bool pending = before.kind == placement::partial_sum || before.kind == placement::partial_max;
    const bool whole = before.kind == placement::whole, split = before.kind == placement::split;
    const bool to_whole = after.kind == placement::whole, to_split = after.kind == placement::split;
    const bool legal = (at.how == collective::all_reduce && pending && to_whole) ||
                       (at.how == collective::reduce_scatter && pending && to_split) ||
                       (at.how == collective::all_gather && split && to_whole) ||
                       (at.how == collective::slice && whole && to_split) ||
                       (at.how == collective::all_to_all && split && to_split && before.axis != after.axis);
    if (!legal) return sentence({along, ": does not lead from the layout of its operand to that of its result"});
    const auto wanted = before.kind == placement::partial_max ? reduction::max : reduction::sum;
    return pending && at.combine != wanted ? along + ": combines by another reduction than is pending" : "";
  }

  /// A micro-batch of what enters or leaves, in a layout without pending sums.
  std::string check_port(const port& which, buffer_id id) const {
    const buffer& what = at_buffer(id);
    bool same = what.type == which.type && static_cast<std::size_t>(what.rank) == which.extents.size();
    for (std::size_t axis = 0; same && axis < which.extents.size(); ++axis) {
      const std::int64_t parts = static_cast<std::int32_t>(axis) == which.batch_axis ? whole_.micro_batches : 1;
      same = what.global[axis] * parts == which.extents[axis];
    }
    if (!same) {
      return sentence({place_of(stage_, id), " has another shape or type than one micro-batch of port ", which.name});
    }
    if (what.layout.has_partial()) {
      return sentence({place_of(stage_, id), " holds a pending reduction of port ", which.name});
    }
    if (now_ > pass::backward) return sentence({"moves a micro-batch of port ", which.name, " in ", name_of(now_)});
    return {};
  }

  const program& whole_;
  std::size_t s_;
  const stage_program& stage_;
  vector<std::string>& faults_;
  pass now_ = pass::forward;
  std::map<std::uint64_t, const instruction*> forward_;  ///< operators by their number
};

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check_instructions(const program& whole) {
  vector<std::string> faults;
  for (std::size_t s = 0; s < whole.stages.size(); ++s) detail::instruction_referee(whole, s, faults).run();
  return faults;
}

}  // namespace meshloom
