// SPDX-License-Identifier: Apache-2.0
#include <meshloom/graph/build.hpp>
#include <meshloom/op/convert.hpp>

#include <algorithm>
#include <utility>

namespace meshloom {

MESHLOOM_INLINE axis_id graph_builder::axis(std::string_view name, std::int64_t extent) {
  const axis_id known = find_axis(made.sizes, name);
  if (known == axis_id::none) return made.sizes.add({std::string(name), extent});
  if (made.sizes[known].extent != extent) {
    throw error("trace: two axes are called '" + std::string(name) + "', of " +
                std::to_string(made.sizes[known].extent) + " and of " + std::to_string(extent) +
                " elements; rename one");
  }
  return known;
}

MESHLOOM_INLINE value_id graph_builder::add_input(std::string_view name, const vector<axis_id>& axes, dtype type) {
  const value_id id = made.values.add({std::string(name), axes, type, value_kind::input});
  made.inputs.push_back(id);
  return id;
}

MESHLOOM_INLINE value_id graph_builder::add_parameter(std::string_view name, const vector<axis_id>& axes,
                                                      const initial& start, bool shared) {
  if (shared) {
    for (const parameter& known : made.parameters) {
      const value& entry = made.values[known.value];
      if (entry.name != name) continue;
      if (entry.axes != axes)
        throw error("trace: the shared parameter '" + entry.name + "' is used with two shapes; use one, or two names");
      if (made.regions[region_].repeated && entry.region != region_) {
        throw error("trace: the shared parameter '" + entry.name +
                    "' is used inside repeat(…) and outside; every copy of a repeated layer "
                    "has its own parameters, so make it private to the layer");
      }
      return known.value;
    }
    if (made.regions[region_].repeated) {
      throw error("trace: the shared parameter '" + std::string(name) +
                  "' is first used inside repeat(…), where every copy has its own "
                  "parameters; make it private to the layer");
    }
  }
  const std::string full = unique(shared ? std::string(name) : path_.back().path + std::string(name));
  const value_id id =
      made.values.add({full, axes, made.precision, value_kind::parameter, node_id::none, region_, start});
  made.parameters.push_back({.value = id});
  if (made.compute != made.precision) undecided_.push_back(id);
  return id;
}

MESHLOOM_INLINE void graph_builder::observe(value_id parameter, value_id observed, const record& update,
                                            const attribute_list& attributes) {
  for (meshloom::parameter& each : made.parameters) {
    if (each.value != parameter) continue;
    if (each.observed_by != nullptr) {
      throw error("trace: the running statistic '" + made.values[parameter].name +
                  "' is observed twice; give every layer that observes one of its own");
    }
    each.observed_by = &update;
    each.attributes = attributes;
    each.gradients = {as_type(observed, made.precision)};
  }
}

MESHLOOM_INLINE value_id graph_builder::add_carried(std::string_view name, const vector<axis_id>& axes, region_id area,
                                                    dtype type) {
  return made.values.add({unique(std::string(name)), axes, type, value_kind::carried, node_id::none, area, {}});
}

MESHLOOM_INLINE bool graph_builder::is_undecided(value_id id) const {
  return std::find(undecided_.begin(), undecided_.end(), id) != undecided_.end();
}

MESHLOOM_INLINE dtype graph_builder::type_of_node(const record& op, std::span<const value_id> operands) const {
  if (exact || !op.rounded.any()) return made.precision;
  if (op.rounded.always) return made.compute;
  for (std::size_t k = 0; k < operands.size(); ++k) {
    if (op.rounded.operand(k) && made.values[operands[k]].type == made.compute && !is_undecided(operands[k]))
      return made.compute;
  }
  return made.precision;
}

MESHLOOM_INLINE value_id graph_builder::read_as(value_id id, dtype type) {
  value& read = made.values[id];
  if (read.type == dtype::i32) return id;
  if (erase(undecided_, id) != 0) read.type = type;
  return as_type(id, type);
}

MESHLOOM_INLINE value_id graph_builder::as_type(value_id id, dtype type) {
  if (made.values[id].type == type) return id;
  const vector<axis_id> axes = made.values[id].axes;
  const record& op = type == made.compute ? *every_rank<op::narrow>::records[axes.size()]
                                          : *every_rank<op::widen>::records[axes.size()];
  const bool was_exact = std::exchange(exact, false);
  const value_id converted = emit(op, std::array{id}, axes, {})[0];
  exact = was_exact;
  return converted;
}

MESHLOOM_INLINE value_id graph_builder::unrounded(value_id id) {
  value& slope = made.values[id];
  const bool was_read = std::any_of(made.nodes.begin(), made.nodes.end(), [&](const node& at) {
    return std::find(at.operands.begin(), at.operands.end(), id) != at.operands.end();
  });
  if (!was_read && slope.producer != node_id::none && made.nodes[slope.producer].op->rounded.wide)
    slope.type = made.precision;
  return as_type(id, made.precision);
}

MESHLOOM_INLINE value_id graph_builder::before_widening(value_id id) const {
  const value& read = made.values[id];
  if (read.producer == node_id::none) return id;
  const node& maker = made.nodes[read.producer];
  return maker.op == every_rank<op::widen>::records[read.axes.size()] ? maker.operands[0] : id;
}

MESHLOOM_INLINE std::array<value_id, max_results> graph_builder::emit(const record& op,
                                                                      std::span<const value_id> values,
                                                                      std::span<const axis_id> indices,
                                                                      const attribute_list& attributes) {
  const dtype type = type_of_node(op, values);
  vector<value_id> operands(values.begin(), values.end());
  for (std::size_t k = 0; k < operands.size(); ++k)
    operands[k] = read_as(operands[k], op.rounded.operand(k) ? type : made.precision);
  std::array<value_id, max_results> results{};
  for (const node& known : made.nodes) {
    if (known.op == &op && known.when == when_ && known.region == region_ && known.attributes == attributes &&
        std::equal(known.operands.begin(), known.operands.end(), operands.begin(), operands.end()) &&
        std::equal(known.indices.begin(), known.indices.end(), indices.begin(), indices.end())) {
      std::copy(known.results.begin(), known.results.end(), results.begin());
      return results;
    }
  }
  node next{&op,
            unique(path_.back().path + std::string(op.op.name)),
            when_,
            region_,
            std::move(operands),
            {},
            {indices.begin(), indices.end()},
            attributes,
            differentiated};
  const node_id id = made.nodes.next();
  for (std::size_t k = 0; k < static_cast<std::size_t>(op.op.result_count); ++k) {
    const index_list& list = op.op.results[k];
    vector<axis_id> axes;
    for (std::size_t axis = 0; axis < static_cast<std::size_t>(list.count); ++axis)
      axes.push_back(indices[static_cast<std::size_t>(list.at[axis])]);
    const std::string name = next.name + (op.op.result_count == 1 ? "" : "#" + std::to_string(k));
    const bool integers = (op.op.integer_results >> k & 1) != 0;
    const dtype of = integers ? dtype::i32 : op.rounded.result(k) ? type : made.precision;
    next.results.push_back(results[k] = made.values.add({name, axes, of, value_kind::activation, id, region_, {}}));
  }
  made.nodes.add(std::move(next));
  return results;
}

MESHLOOM_INLINE void graph_builder::enter(std::string_view name) {
  layer& parent = path_.back();
  std::string own(name);
  const auto taken = [&] {
    return std::find(parent.children.begin(), parent.children.end(), own) != parent.children.end();
  };
  for (int times = 2; taken(); ++times) own = std::string(name) + "_" + std::to_string(times);
  parent.children.push_back(own);
  std::string path = parent.path + own + ".";
  path_.push_back({std::move(path), {}});
}

MESHLOOM_INLINE void graph_builder::leave() { path_.pop_back(); }

MESHLOOM_INLINE void graph_builder::open_region(std::string_view name, std::int32_t count, bool repeated) {
  enter(name);
  const std::string path = path_.back().path;
  region_ = made.regions.add({path.substr(0, path.size() - 1), count, repeated, {}, {}});
}

MESHLOOM_INLINE void graph_builder::close_region() {
  leave();
  region_ = region_id::none;
}

MESHLOOM_INLINE void graph_builder::resume(phase when, region_id area, std::string prefix) {
  when_ = when;
  region_ = area;
  path_.assign(1, {std::move(prefix), {}});
}

MESHLOOM_INLINE std::string graph_builder::unique(std::string wanted) {
  std::string name = wanted;
  for (int times = 2; std::find(names_.begin(), names_.end(), name) != names_.end(); ++times)
    name = wanted + "_" + std::to_string(times);
  names_.push_back(name);
  return name;
}

}  // namespace meshloom
