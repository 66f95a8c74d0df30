// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/graph.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE vector<std::int64_t> extents_of(const size_table& sizes, const vector<axis_id>& axes) {
  vector<std::int64_t> extents;
  extents.reserve(axes.size());
  for (const axis_id axis : axes) extents.push_back(sizes[axis].extent);
  return extents;
}

MESHLOOM_INLINE std::optional<std::size_t> updated_by(const graph& whole, const node& at) {
  if (at.when != phase::update) return std::nullopt;
  const auto first_where = [&](const auto& is_its) -> std::optional<std::size_t> {
    const auto found = std::find_if(whole.parameters.begin(), whole.parameters.end(), [&](const parameter& each) {
      return std::any_of(at.operands.begin(), at.operands.end(), [&](value_id id) { return is_its(each, id); });
    });
    if (found == whole.parameters.end()) return std::nullopt;
    return static_cast<std::size_t>(found - whole.parameters.begin());
  };
  // Two parameters may share a gradient, so what is read itself goes first.
  const auto itself = first_where([](const parameter& each, value_id id) {
    return id == each.value || std::find(each.states.begin(), each.states.end(), id) != each.states.end();
  });
  if (itself) return itself;
  const auto gradient = first_where([](const parameter& each, value_id id) {
    return std::find(each.gradients.begin(), each.gradients.end(), id) != each.gradients.end();
  });
  if (gradient) return gradient;
  for (const value_id id : at.operands) {
    const node_id maker = whole.values[id].producer;
    if (maker == node_id::none) continue;
    if (const auto of_maker = updated_by(whole, whole.nodes[maker])) return of_maker;
  }
  return std::nullopt;
}

MESHLOOM_INLINE table<node_id, std::int32_t> parameters_updated(const graph& whole) {
  table<value_id, std::int32_t> itself(whole.values.size(), -1), gradient = itself, made = itself;
  for (auto p = static_cast<std::int32_t>(whole.parameters.size()); p-- > 0;) {  // where several have it, the first
    const parameter& each = whole.parameters[static_cast<std::size_t>(p)];
    itself[each.value] = p;
    for (const value_id id : each.states) itself[id] = p;
    for (const value_id id : each.gradients) gradient[id] = p;
  }
  table<node_id, std::int32_t> found(whole.nodes.size(), -1);
  for (std::size_t n = 0; n < whole.nodes.size(); ++n) {
    const node& at = whole.nodes[static_cast<node_id>(n)];
    if (at.when != phase::update) continue;
    std::int32_t& known = found[static_cast<node_id>(n)];
    for (const auto* of : {&itself, &gradient}) {
      for (const value_id id : at.operands) {
        const std::int32_t p = (*of)[id];
        if (p >= 0 && (known < 0 || p < known)) known = p;
      }
      if (known >= 0) break;
    }
    for (std::size_t k = 0; k < at.operands.size() && known < 0; ++k) known = made[at.operands[k]];
    for (const value_id id : at.results) made[id] = known;
  }
  return found;
}

MESHLOOM_INLINE dtype compute_type_of(const graph& whole, const node& at) {
  for (std::size_t k = 0; k < at.operands.size(); ++k) {
    const dtype type = whole.values.holds(at.operands[k]) ? whole.values[at.operands[k]].type : dtype::i32;
    if (at.op->rounded.operand(k) && type != dtype::i32) return type;
  }
  const bool rounds_first = at.op->rounded.result(0) && !at.results.empty() && whole.values.holds(at.results[0]);
  return rounds_first ? whole.values[at.results[0]].type : whole.precision;
}

namespace detail {

/// Checks a graph in the order in which it runs.
class graph_check {
 public:
  explicit graph_check(const graph& whole) : whole_(whole), made_(whole.values.size()) {}

  vector<std::string> run() {
    check_tables();
    if (!faults_.empty()) return std::move(faults_);  // what follows looks things up in them
    for (std::size_t v = 0; v < made_.size(); ++v) {
      const value_kind kind = whole_.values[static_cast<value_id>(v)].kind;
      made_[v] = kind == value_kind::input || kind == value_kind::parameter || kind == value_kind::state ||
                 kind == value_kind::total;
    }
    const auto regions = static_cast<std::int32_t>(whole_.regions.size());
    for (std::int32_t r = 0; r < regions; ++r) check_region(region_id{r}, phase::forward);
    for (std::int32_t r = regions - 1; r >= 0; --r) check_region(region_id{r}, phase::backward);
    for (std::int32_t r = 0; r < regions; ++r) check_region(region_id{r}, phase::update);
    for (const value_id result : whole_.results) {
      if (!whole_.values.holds(result) || !is_made(result)) {
        fault("the graph: a result is made by no node");
      } else {
        check_result(whole_.values[result]);
      }
    }
    for (const parameter& each : whole_.parameters) check_parameter(each);
    if (whole_.squares.value != value_id::none) check_total(whole_.squares);
    if (!is_sound(whole_.rate)) {
      fault("the graph: the schedule of its rate has a negative number, or too few steps to fall in after its warm-up");
    }
    if (!is_sound(whole_.scaling))
      fault("the graph: the scaling of its loss has a number that is negative or infinite");
    if (whole_.scaling.scales() && whole_.squares.value == value_id::none) {
      fault("the graph: its loss is scaled, and no total says whether gradients are finite");
    }
    return std::move(faults_);
  }

 private:
  void fault(const std::string& sentence) { faults_.push_back(sentence); }
  bool is_made(value_id id) const { return made_[index_of(id)]; }
  vector<std::int64_t> extents(value_id id) const { return extents_of(whole_.sizes, whole_.values[id].axes); }

  void check_tables() {
    vector<std::string> names;
    const auto exists = [&](axis_id axis) { return whole_.sizes.holds(axis); };
    for (const value& each : whole_.values) {
      if (!std::all_of(each.axes.begin(), each.axes.end(), exists)) {
        fault("value " + each.name + ": has an axis that does not exist");
      }
    }
    for (const region& each : whole_.regions) {
      names.push_back("region " + each.name);
      if (each.count < 1) fault("region " + each.name + ": has " + std::to_string(each.count) + " copies");
    }
    for (const node& each : whole_.nodes) {
      names.push_back("node " + each.name);
      if (each.op == nullptr) fault("node " + each.name + ": has no operator");
      if (!whole_.regions.holds(each.region)) fault("node " + each.name + ": is in no region");
      if (!std::all_of(each.indices.begin(), each.indices.end(), exists)) {
        fault("node " + each.name + ": an index stands for no axis");
      }
    }
    for (const parameter& each : whole_.parameters) {
      if (!whole_.values.holds(each.value)) {
        fault("the graph: a parameter does not exist");
      } else {
        names.push_back("parameter " + whole_.values[each.value].name);
      }
    }
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) fault(*twice + ": has its name twice");
  }

  /// What the nodes of one region make in one phase is made after this.
  void check_region(region_id area, phase when) {
    const region& here = whole_.regions[area];
    const carry& flow = when == phase::forward ? here.forward : here.backward;
    const bool differentiated = here.backward.body_in != value_id::none;
    const bool carries = here.repeated && (when == phase::forward || (when == phase::backward && differentiated));
    if (carries && !carry_starts(here, flow)) return;
    for (std::size_t n = 0; n < whole_.nodes.size(); ++n) {
      const auto id = static_cast<node_id>(n);
      if (whole_.nodes[id].when == when && whole_.nodes[id].region == area) check_node(id);
    }
    if (!carries) return;
    if (!is_made(flow.body_out)) fault("region " + here.name + ": carries a value that no node makes");
    made_[index_of(flow.outer_out)] = true;
  }

  bool carry_starts(const region& here, const carry& flow) {
    for (const value_id id : {flow.outer_in, flow.body_in, flow.body_out, flow.outer_out}) {
      if (whole_.values.holds(id)) continue;
      fault("region " + here.name + ": its carry is incomplete");
      return false;
    }
    for (const value_id id : {flow.outer_in, flow.body_out, flow.outer_out}) {
      if (extents(id) == extents(flow.body_in)) continue;
      fault("region " + here.name + ": a copy's result has another shape than its input");
      return false;
    }
    if (!is_made(flow.outer_in)) {
      fault("region " + here.name + ": starts before " + whole_.values[flow.outer_in].name + " is made");
    }
    made_[index_of(flow.body_in)] = true;
    return true;
  }

  void check_node(node_id id) {
    const node& at = whole_.nodes[id];
    const signature& op = at.op->op;
    const bool counted = at.operands.size() == static_cast<std::size_t>(op.operand_count) &&
                         at.results.size() == static_cast<std::size_t>(op.result_count) &&
                         at.indices.size() == static_cast<std::size_t>(op.index_count);
    if (!counted) {
      return fault("node " + at.name + ": operands, results or indices do not match the signature of " +
                   std::string(op.name));
    }
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      if (has_shape(at, op.operands[k], at.operands[k], "operand")) {
        check_read(at, whole_.values[at.operands[k]], is_made(at.operands[k]));
        if (at.op->reads_updated >> k & 1) check_updated(at, whole_.values[at.operands[k]]);
      }
    }
    for (std::size_t k = 0; k < at.results.size(); ++k) {
      if (has_shape(at, op.results[k], at.results[k], "result")) check_made(id, at.results[k]);
    }
    for (std::size_t k = 0; k < static_cast<std::size_t>(op.window_count); ++k) check_window(at, op.windows[k]);
    check_types(at);
  }

  /// What an operator may round is all in the compute type, or all in the precision; the rest is in the precision.
  void check_types(const node& at) {
    const rounding& may = at.op->rounded;
    const auto type = compute_type_of(whole_, at);
    const auto type_of = [&](value_id id) { return whole_.values.holds(id) ? whole_.values[id].type : type; };
    const auto refuse = [&](value_id id, dtype wanted) {
      fault("node " + at.name + ": " + whole_.values[id].name + " is of " + std::string(name_of(type_of(id))) +
            " where it needs " + std::string(name_of(wanted)));
    };
    for (std::size_t k = 0; k < at.operands.size(); ++k) {
      const dtype wanted = may.operand(k) ? type : whole_.precision, is = type_of(at.operands[k]);
      if (is != dtype::i32 && is != wanted) refuse(at.operands[k], wanted);
    }
    for (std::size_t k = 0; k < at.results.size(); ++k) {
      const bool integers = (at.op->op.integer_results >> k & 1) != 0;
      const dtype wanted = integers ? dtype::i32 : may.result(k) ? type : whole_.precision;
      const dtype is = type_of(at.results[k]);
      if (is != wanted && !(may.wide && is == whole_.precision)) refuse(at.results[k], wanted);
    }
  }

  /// A stencil that exists, and as many positions and taps as it has.
  void check_window(const node& at, const window& read) {
    const stencil with = stencil_of(at.attributes, read.dimension);
    const attribute_list whole_numbers = attributes_of(with, with);
    bool sound = with.taps >= 1 && with.stride >= 1 && with.padding >= 0 && with.dilation >= 1;
    for (std::size_t first = 0; first < whole_numbers.size(); first += 2)
      sound = sound && at.attributes[first + static_cast<std::size_t>(read.dimension)] == whole_numbers[first];
    const std::string here = "node " + at.name + ": along dimension " + std::to_string(read.dimension) + " its ";
    if (!sound) {
      return fault(here +
                   "taps, stride, padding and dilation are not whole numbers of 1 or more, the padding 0 or more");
    }
    const auto extent = [&](int index) { return whole_.sizes[at.indices[static_cast<std::size_t>(index)]].extent; };
    const std::int64_t image = extent(read.transposed ? read.of : read.in);
    const std::int64_t positions = extent(read.transposed ? read.in : read.of);
    if (positions != with.positions(image)) {
      fault(here + "windows over " + std::to_string(image) + " elements have " + std::to_string(with.positions(image)) +
            " positions, not " + std::to_string(positions));
    }
    if (read.taps >= 0 && extent(read.taps) != with.taps) {
      fault(here + "kernel has " + std::to_string(extent(read.taps)) + " taps, its windows " +
            std::to_string(with.taps));
    }
  }

  bool has_shape(const node& at, const index_list& list, value_id id, const std::string& side) {
    if (!whole_.values.holds(id)) {
      fault("node " + at.name + ": one " + side + " does not exist");
      return false;
    }
    vector<std::int64_t> wanted;
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(list.count); ++axis) {
      wanted.push_back(whole_.sizes[at.indices[static_cast<std::size_t>(list.at[axis])]].extent);
    }
    if (extents(id) != wanted) {
      fault("node " + at.name + ": " + side + " " + whole_.values[id].name +
            " has another shape than the operator needs");
    }
    return true;
  }

  void check_read(const node& at, const value& what, bool made) {
    if (!made) fault("node " + at.name + ": reads " + what.name + " before it is made");
    const bool of_a_copy = what.kind == value_kind::activation && whole_.regions.holds(what.region) &&
                           whole_.regions[what.region].repeated;
    if (of_a_copy && what.region != at.region) {
      fault("node " + at.name + ": reads " + what.name + ", of which every copy of " +
            whole_.regions[what.region].name + " has its own");
    }
  }

  void check_updated(const node& at, const value& what) {
    if (what.producer == node_id::none || !whole_.nodes[what.producer].op->in_place)
      fault("node " + at.name + ": reads " + what.name + " as updated, which no operator replaces");
  }

  void check_made(node_id id, value_id result) {
    const value& what = whole_.values[result];
    if (is_made(result)) fault("value " + what.name + ": has two producers");
    if (what.producer != id) fault("value " + what.name + ": names another producer than " + whole_.nodes[id].name);
    if (what.region != whole_.nodes[id].region) {
      fault("value " + what.name + ": is in another region than " + whole_.nodes[id].name);
    }
    made_[index_of(result)] = true;
  }

  void check_result(const value& result) {
    const bool of_copies = result.kind == value_kind::activation && whole_.regions[result.region].repeated;
    if (of_copies && !result.axes.empty()) {
      fault("the graph: its result " + result.name + " is made by every copy of " + whole_.regions[result.region].name +
            " and is not a scalar");
    }
  }

  /// True if `some` are among `all`, in their order.
  static bool in_order(const vector<axis_id>& some, const vector<axis_id>& all) {
    auto next = all.begin();
    for (const axis_id axis : some) {
      next = std::find(next, all.end(), axis);
      if (next == all.end()) return false;
      ++next;
    }
    return true;
  }

  void check_parameter(const parameter& each) {
    const value& entry = whole_.values[each.value];
    if (entry.kind != value_kind::parameter) fault("parameter " + entry.name + ": is a value of another kind");
    const auto like_it = [&](value_id id) {
      return whole_.values.holds(id) && is_made(id) && extents(id) == extents(each.value);
    };
    if (!std::all_of(each.gradients.begin(), each.gradients.end(), like_it)) {
      fault("parameter " + entry.name + ": a gradient is not made or has another shape");
    }
    const auto fits = [&](value_id id) {
      return whole_.values.holds(id) && is_made(id) && in_order(whole_.values[id].axes, entry.axes);
    };
    if (!std::all_of(each.states.begin(), each.states.end(), fits)) {
      fault("parameter " + entry.name + ": a state does not exist or has other axes");
    }
    const auto is_rounded = [&](value_id id) {
      return whole_.values.holds(id) && whole_.values[id].type != whole_.precision;
    };
    if (std::any_of(each.gradients.begin(), each.gradients.end(), is_rounded) ||
        std::any_of(each.states.begin(), each.states.end(), is_rounded)) {
      fault("parameter " + entry.name + ": a gradient or state is not in the precision");
    }
  }

  void check_total(const total& sum) {
    const auto is_scalar = [&](value_id id) { return whole_.values.holds(id) && whole_.values[id].axes.empty(); };
    if (!is_scalar(sum.value) || whole_.values[sum.value].kind != value_kind::total) {
      return fault("the graph: its total is no scalar, or a value of another kind");
    }
    for (const value_id part : sum.parts) {
      const bool updates = is_scalar(part) && whole_.values[part].kind == value_kind::activation && is_made(part) &&
                           updated_by(whole_, whole_.nodes[whole_.values[part].producer]);
      if (!updates) fault("the graph: a part of its total is no scalar that an update makes");
    }
    bool known = false;  // in the order of nodes, parts come before whoever reads their total
    for (const node& at : whole_.nodes) {
      known = known || std::find(at.operands.begin(), at.operands.end(), sum.value) != at.operands.end();
      const bool late = known && std::any_of(at.results.begin(), at.results.end(), [&](value_id id) {
                          return std::find(sum.parts.begin(), sum.parts.end(), id) != sum.parts.end();
                        });
      if (late) fault("node " + at.name + ": makes a part of a total that has been read");
    }
  }

  const graph& whole_;
  vector<bool> made_;
  vector<std::string> faults_;
};

}  // namespace detail

MESHLOOM_INLINE vector<std::string> check(const graph& whole) { return detail::graph_check(whole).run(); }

MESHLOOM_INLINE std::uint64_t hash_of(const graph& whole) {
  std::uint64_t hash = 1469598103934665603u;  // FNV-1a, 64 bits
  const auto mix = [&hash](std::string_view text) {
    for (const char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211u;
    hash = (hash ^ 0xffu) * 1099511628211u;
  };
  const auto mix_value = [&](value_id id) {
    mix(whole.values[id].name);
    for (const axis_id axis : whole.values[id].axes) mix(whole.sizes[axis].name);
  };
  for (const region& area : whole.regions) mix(area.name + "*" + std::to_string(area.count));
  for (const node& at : whole.nodes) {
    mix(at.name);
    mix(at.op->op.name);
    mix(std::to_string(at.op->variant));
    for (const value_id id : at.operands) mix_value(id);
    for (const value_id id : at.results) mix_value(id);
    for (const axis_id axis : at.indices) mix(whole.sizes[axis].name);
    for (int row = 0; row < at.op->choices.count; ++row) {
      const choice& each = at.op->choices.rows[static_cast<std::size_t>(row)];
      mix(std::to_string(each.kind) + "," + std::to_string(each.index) + "," + std::to_string(each.operands));
    }
  }
  return hash;
}

}  // namespace meshloom
