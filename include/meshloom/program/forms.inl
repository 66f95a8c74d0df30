// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/forms.hpp>

#include <algorithm>

namespace meshloom {
namespace detail {

inline bytes aligned_size(const buffer& what, const mesh_shape& mesh) {
  const std::span extents(what.global.data(), static_cast<std::size_t>(what.rank));
  const std::int64_t exact = largest_shard(what.layout, mesh, extents, what.widened) * size_of(what.type);
  return {(exact + arena_alignment - 1) / arena_alignment * arena_alignment};
}

inline std::string full_name_of(const graph& whole, const instance& what) {
  const value& entry = whole.values[what.value];
  if (entry.region == region_id::none || !whole.regions[entry.region].repeated) return entry.name;
  const std::string& area = whole.regions[entry.region].name;
  const bool begins_with_it = entry.name.compare(0, area.size(), area) == 0;
  std::string name;
  name.reserve(area.size() + entry.name.size() + 16);
  name.append(area).append("[").append(std::to_string(what.copy)).append(begins_with_it ? "]" : "].");
  return name.append(entry.name, begins_with_it ? area.size() : 0);
}

}  // namespace detail

MESHLOOM_INLINE form_maker::form_maker(const graph& whole, const plan& made, const stage_plan& stage,
                                       known_paths& paths, bool named)
    : recomputed(whole, stage),
      whole_(whole),
      stage_(stage),
      paths_(paths),
      sizes_(micro_batch_sizes(whole, made.micro_batches)),
      named_(named) {
  out.first_rank = stage.first_rank;
  out.mesh = stage.mesh;
  out.mesh_axes = stage.mesh_axes;
}

MESHLOOM_INLINE buffer_id form_maker::add_buffer(std::string name, std::span<const std::int64_t> extents, dtype type,
                                                 const spec& layout, memory where, const block& of) {
  blocks.add(of);
  buffer made{.name = std::move(name),
              .rank = static_cast<std::int32_t>(extents.size()),
              .global = {},
              .type = type,
              .layout = layout,
              .where = where,
              .size = {},
              .offset = {}};
  std::copy(extents.begin(), extents.end(), made.global.begin());
  made.size = detail::aligned_size(made, stage_.mesh);
  return out.buffers.add(std::move(made));
}

MESHLOOM_INLINE buffer_id form_maker::add_form(const instance& what, const spec& layout, memory where) {
  const value& entry = whole_.values[what.value];
  std::array<std::int64_t, max_rank> extents{};
  for (std::size_t k = 0; k < entry.axes.size(); ++k) extents[k] = sizes_[entry.axes[k]].extent;
  const buffer_id made = add_buffer(name_of_instance(what), std::span(extents).first(entry.axes.size()), entry.type,
                                    layout, where, {entry.region, what.copy});
  forms.add(what, {layout, made, now, where == memory::fixed});
  return made;
}

MESHLOOM_INLINE std::string form_maker::name_of_instance(const instance& what) const {
  return named_ ? detail::full_name_of(whole_, what) : std::string();
}

MESHLOOM_INLINE std::string form_maker::name_of_node(const node& at, const block& here) const {
  if (!named_) return {};
  return whole_.regions[at.region].repeated ? name_of_instance({at.results.front(), here.copy}) : at.name;
}

MESHLOOM_INLINE form_maker::source form_maker::cheapest(const instance& what, const spec& layout) const {
  const bool keeps = whole_.values[what.value].kind == value_kind::activation && !recomputed.drops(what);
  source found;
  forms.for_each(what, now, keeps, [&](const form& each) {
    const reshard_path& next = paths_.find(what.value, each.layout, layout);
    const auto rank = [](const reshard_path& path) { return std::pair(path.time, path.steps.size()); };
    if (next.possible && (found.path == nullptr || rank(next) < rank(*found.path))) found = {each, &next};
  });
  return found;
}

MESHLOOM_INLINE buffer_id form_maker::need(const instance& what, const spec& layout) {
  if (whole_.values[what.value].kind == value_kind::input) return load(what, layout);
  const source from = cheapest(what, layout);
  if (from.path == nullptr) {
    throw error("lower: " + detail::full_name_of(whole_, what) +
                " cannot be had in the form that an operator of its stage wants; "
                "the plan does not fit the model, solve it again");
  }
  if (!from.best.always && from.best.made_in != now) out.buffers[from.best.buffer].where = memory::kept;
  buffer_id at = from.best.buffer;
  for (const reshard_step& step : from.path->steps) {
    at = emit_reshard(what, at, step, add_form(what, step.after, memory::transient));
  }
  return at;
}

MESHLOOM_INLINE buffer_id form_maker::emit_reshard(const instance& what, buffer_id from, const reshard_step& step,
                                                   buffer_id to) {
  body().push_back({.kind = instruction::redistribute,
                    .name = name_of_instance(what),
                    .operands = {from},
                    .results = {to},
                    .how = step.kind,
                    .mesh_axis = step.mesh_axis,
                    .combine = step.combine});
  return to;
}

MESHLOOM_INLINE buffer_id form_maker::widen(const instance& what, buffer_id from, const halo& lacked) {
  buffer wide = out.buffers[from];
  wide.where = memory::transient;
  wide.widened.push_back(lacked);
  wide.size = detail::aligned_size(wide, stage_.mesh);
  blocks.add(blocks[from]);
  const buffer_id to = out.buffers.add(std::move(wide));
  body().push_back({.kind = instruction::redistribute,
                    .name = name_of_instance(what),
                    .operands = {from},
                    .results = {to},
                    .how = collective::halo,
                    .mesh_axis = lacked.mesh_axis});
  return to;
}

MESHLOOM_INLINE void form_maker::let_visit(buffer_id home, int places, vector<buffer_id>& visiting) {
  buffer place = out.buffers[home];
  place.name += " (visiting)";
  place.where = memory::transient;
  for (int k = 0; k < places; ++k) {
    blocks.add(blocks[home]);
    visiting.push_back(out.buffers.add(place));
  }
}

MESHLOOM_INLINE buffer_id form_maker::load(const instance& what, const spec& layout) {
  buffer_id found = buffer_id::none;
  forms.for_each(what, now, false, [&](const form& each) {
    if (each.layout == layout) found = each.buffer;
  });
  if (found != buffer_id::none) return found;
  found = add_form(what, layout, memory::transient);
  const auto number = std::find(whole_.inputs.begin(), whole_.inputs.end(), what.value) - whole_.inputs.begin();
  body().push_back({.kind = instruction::load,
                    .name = name_of_instance(what),
                    .results = {found},
                    .port = static_cast<std::int32_t>(number)});
  return found;
}

MESHLOOM_INLINE spec form_maker::without_partial(const instance& what) const {
  spec layout;
  bool found = false;
  forms.for_each(what, now, true, [&](const form& each) {
    if (!found) layout = each.layout;
    found = true;
  });
  return layout.without_partial();
}

}  // namespace meshloom
