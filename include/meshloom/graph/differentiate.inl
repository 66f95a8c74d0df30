// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/differentiate.hpp>

#include <algorithm>

namespace meshloom {
MESHLOOM_INLINE const record& addition_of_rank(std::size_t rank) {
  static constexpr const record* of_rank[max_rank + 1] = {
      &record_of<detail::add_of_rank<0>>, &record_of<detail::add_of_rank<1>>, &record_of<detail::add_of_rank<2>>,
      &record_of<detail::add_of_rank<3>>, &record_of<detail::add_of_rank<4>>, &record_of<detail::add_of_rank<5>>,
      &record_of<detail::add_of_rank<6>>};
  return *of_rank[rank];
}

namespace detail {

class reverse_sweep final : public differentiation {
 public:
  explicit reverse_sweep(graph_builder& into) : into_(into), slope_(into.made.values.size(), value_id::none) {
    find_wanted();
  }

  void run(value_id loss) {
    const region_id last = into_.made.values[loss].region;
    losses_ = into_.made.results;
    if (std::find(losses_.begin(), losses_.end(), loss) == losses_.end()) losses_.push_back(loss);
    for (auto r = static_cast<std::int32_t>(last); r >= 0; --r) sweep_region(region_id{r});
    collect_parameters();
  }

  handle operand(int which) const override {
    // What was widened is kept for backward as it was, in fewer bytes.
    return seen(into_.before_widening(at().operands[static_cast<std::size_t>(which)]),
                at().op->op.operands[static_cast<std::size_t>(which)]);
  }
  handle result(int which) const override {
    return seen(at().results[static_cast<std::size_t>(which)], at().op->op.results[static_cast<std::size_t>(which)]);
  }
  handle gradient(int which) const override {
    return seen(slope_of(at().results[static_cast<std::size_t>(which)]),
                at().op->op.results[static_cast<std::size_t>(which)]);
  }
  bool wanted(int which) const override { return wanted_[index_of(at().operands[static_cast<std::size_t>(which)])]; }
  const attribute_list& attributes() const override { return at().attributes; }
  axis_id index(int which) const override { return at().indices[static_cast<std::size_t>(which)]; }

  std::array<handle, max_results> emit(const record& op, std::initializer_list<handle> operands,
                                       const attribute_list& attributes,
                                       std::span<const axis_id> result_only_indices) override {
    vector<axis_id> indices(static_cast<std::size_t>(op.op.index_count), axis_id::none);
    vector<value_id> ids;
    for (const handle& each : operands) {
      const index_list& list = op.op.operands[ids.size()];
      if (!each)
        throw error("differentiate: " + at().name + ": a gradient that " + std::string(op.op.name) +
                    " needs did not arrive");
      for (std::size_t axis = 0; axis < static_cast<std::size_t>(list.count); ++axis)
        indices[static_cast<std::size_t>(list.at[axis])] = each.axes[axis];
      ids.push_back(each.id);
    }
    auto missing = result_only_indices.begin();
    for (axis_id& index : indices) {
      if (index == axis_id::none && missing != result_only_indices.end()) index = *missing++;
    }
    const auto results = into_.emit(op, ids, indices, attributes);
    std::array<handle, max_results> made{};
    for (std::size_t k = 0; k < static_cast<std::size_t>(op.op.result_count); ++k) made[k] = handle_of(results[k]);
    return made;
  }

  void contribute(int which, const handle& part) override {
    const value_id target = at().operands[static_cast<std::size_t>(which)];
    if (!wanted_[index_of(target)]) return;
    const region& here = into_.made.regions[at().region];
    if (here.repeated && into_.made.values[target].region != at().region) {
      throw error("differentiate: " + at().name + " inside " + here.name + " reads " + into_.made.values[target].name +
                  " from outside the repeat(…); only its input may cross, pass the value through it");
    }
    add_to(target, part.id);
  }

 private:
  const node& at() const { return into_.made.nodes[node_]; }
  value_id slope_of(value_id id) const { return slope_[index_of(id)]; }

  handle seen(value_id id, const index_list& list) const {
    handle made{id, list.count, {}};
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(list.count); ++axis)
      made.axes[axis] = at().indices[static_cast<std::size_t>(list.at[axis])];
    return made;
  }

  handle handle_of(value_id id) const {
    const auto& axes = into_.made.values[id].axes;
    handle made{id, static_cast<std::int8_t>(axes.size()), {}};
    std::copy(axes.begin(), axes.end(), made.axes.begin());
    return made;
  }

  /// The gradient of a loss with respect to itself.
  void begin_losses(region_id area) {
    for (const value_id loss : losses_) {
      if (into_.made.values[loss].region != area) continue;
      into_.resume(phase::backward, area, into_.made.regions[area].name + ".gradient.");
      into_.differentiated = into_.made.values[loss].producer;
      add_to(loss, into_.emit(record_of<op::fill>, {}, {}, {1.0})[0]);
      into_.differentiated = node_id::none;
    }
  }

  /// A value is wanted if a trained parameter reaches it.
  void find_wanted() {
    graph& whole = into_.made;
    wanted_.assign(whole.values.size(), false);
    for (const parameter& each : whole.parameters) {
      if (each.observed_by != nullptr) continue;
      wanted_[index_of(each.value)] = true;
      const region& home = whole.regions[whole.values[each.value].region];
      if (home.repeated) wanted_[index_of(home.forward.body_in)] = true;  // the copy before has parameters
    }
    for (const node& each : whole.nodes) {
      const bool reached =
          std::any_of(each.operands.begin(), each.operands.end(), [&](value_id id) { return wanted_[index_of(id)]; });
      for (const value_id id : each.results) wanted_[index_of(id)] = wanted_[index_of(id)] || reached;
      pass_carries();
    }
  }

  void pass_carries() {
    for (const region& area : into_.made.regions) {
      if (!area.repeated) continue;
      if (wanted_[index_of(area.forward.outer_in)]) wanted_[index_of(area.forward.body_in)] = true;
      if (wanted_[index_of(area.forward.body_out)]) wanted_[index_of(area.forward.outer_out)] = true;
    }
  }

  void sweep_region(region_id area) {
    into_.resume(phase::backward, area, "");
    const carry forward = into_.made.regions[area].forward;
    const bool repeated = into_.made.regions[area].repeated;
    carry backward;
    if (repeated) {
      backward.outer_in = slope_of(forward.outer_out);
      if (backward.outer_in == value_id::none) return;
      const std::string name = into_.made.regions[area].name;
      backward.body_in = add_value(name + ".gradient_in", forward.body_out, area);
      add_to(forward.body_out, backward.body_in);
    }
    begin_losses(area);
    const auto count = static_cast<std::int32_t>(into_.made.nodes.size());
    for (std::int32_t n = count - 1; n >= 0; --n) {
      node_ = node_id{n};
      if (at().when == phase::forward && at().region == area) sweep_node();
    }
    if (repeated) finish_carry(area, forward, backward);
    keep_parameter_gradients();
  }

  void sweep_node() {
    const bool reached = std::any_of(at().results.begin(), at().results.end(),
                                     [&](value_id id) { return slope_of(id) != value_id::none; });
    const bool needed =
        std::any_of(at().operands.begin(), at().operands.end(), [&](value_id id) { return wanted_[index_of(id)]; });
    if (!reached || !needed) return;
    if (at().op->differentiate == nullptr) {
      throw error("differentiate: operator " + std::string(at().op->op.name) + " at " + at().name +
                  " has no gradient; give its type a `differentiate`");
    }
    into_.resume(phase::backward, at().region, at().name + ".d.");
    into_.exact = stays_exact();
    into_.differentiated = node_;
    at().op->differentiate(*this);
    into_.differentiated = node_id::none;
    into_.exact = false;
  }

  /// True if the operator could have been rounded and was not.
  bool stays_exact() const {
    const auto type_of = [&](value_id id) { return into_.made.values[id].type; };
    const rounding& may = at().op->rounded;
    for (std::size_t k = 0; k < at().operands.size(); ++k) {
      if (may.operand(k)) return type_of(at().operands[k]) == into_.made.precision;
    }
    return may.results != 0 && type_of(at().results[0]) == into_.made.precision;
  }

  void finish_carry(region_id area, const carry& forward, carry backward) {
    backward.body_out = slope_of(forward.body_in);
    backward.outer_out = add_value(into_.made.regions[area].name + ".gradient_out", forward.outer_in, area);
    into_.made.regions[area].backward = backward;
    if (wanted_[index_of(forward.outer_in)]) add_to(forward.outer_in, backward.outer_out);
  }

  /// Gradients of one parameter made in different regions may live in different stages: they are summed by the update.
  void keep_parameter_gradients() {
    for (parameter& each : into_.made.parameters) {
      value_id& slope = slope_[index_of(each.value)];
      if (slope != value_id::none) each.gradients.push_back(slope);
      slope = value_id::none;  // the next region starts its own
    }
  }

  void collect_parameters() const {
    for (std::size_t v = 0; v < slope_.size(); ++v) into_.made.values[static_cast<value_id>(v)].gradient = slope_[v];
    for (const parameter& each : into_.made.parameters) {
      if (each.gradients.empty()) {
        throw error("differentiate: the loss does not depend on parameter " + into_.made.values[each.value].name +
                    "; remove the layer or use its result");
      }
    }
  }

  value_id add_value(const std::string& name, value_id like, region_id area) {
    const value_id id = into_.add_carried(name, into_.made.values[like].axes, area, into_.made.values[like].type);
    grow();
    return id;
  }

  /// A gradient has the type of its value; that of a parameter, which is summed over micro-batches, the precision.
  value_id in_type_of(value_id target, value_id part) {
    const value& of = into_.made.values[target];
    if (of.kind == value_kind::parameter) return into_.unrounded(part);
    return into_.as_type(part, of.type);
  }

  void add_to(value_id target, value_id fresh) {
    const value_id part = in_type_of(target, fresh);
    grow();
    const value_id known = slope_of(target);
    if (known == value_id::none) {
      slope_[index_of(target)] = part;
      return;
    }
    const auto axes = into_.made.values[target].axes;
    const std::array<value_id, 2> terms{known, part};
    const region_id here = into_.current_region();
    const region_id place = place_of_sum(target, here);
    if (place != here) into_.resume(phase::backward, place, into_.made.values[target].name + ".d.");
    const value_id sum = into_.emit(addition_of_rank(axes.size()), terms, axes, {})[0];
    if (place != here) into_.resume(phase::backward, here, "");
    grow();
    slope_[index_of(target)] = sum;
  }

  /// Where two parts of a gradient are added: here, unless here is one copy of many and the value is not its own.
  region_id place_of_sum(value_id target, region_id here) const {
    const region_id home = into_.made.values[target].region;
    if (home == here || !into_.made.regions[here].repeated) return here;
    if (!into_.made.regions[home].repeated) return home;
    throw error("differentiate: " + into_.made.values[target].name +
                ", the result of one repeat(…), is read by another repeat(…) and by a "
                "third layer; put a layer between them");
  }

  void grow() {
    slope_.resize(into_.made.values.size(), value_id::none);
    wanted_.resize(into_.made.values.size(), false);
  }

  graph_builder& into_;
  vector<value_id> losses_;
  vector<value_id> slope_;  ///< per value, the gradient summed so far
  vector<bool> wanted_;
  node_id node_ = node_id::none;
};

}  // namespace detail

MESHLOOM_INLINE void differentiate(graph_builder& into, value_id loss) { detail::reverse_sweep(into).run(loss); }

}  // namespace meshloom
