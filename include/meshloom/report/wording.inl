// SPDX-License-Identifier: Apache-2.0
#include <meshloom/program/place.hpp>
#include <meshloom/report/wording.hpp>
#include <meshloom/sharding/describe.hpp>

#include <algorithm>

namespace meshloom::detail {

/// Consecutive numbers from `first` up to, but not with, `end`.
inline std::string range_text(std::int32_t first, std::int32_t end, std::string_view between) {
  return end - first == 1 ? sentence({first}) : sentence({first, between, end - 1});
}

MESHLOOM_INLINE std::string ranks_text(const stage_plan& stage) {
  return range_text(stage.first_rank, stage.first_rank + stage.mesh.ranks(), "-");
}

/// Blocks from `first_block` up to, but not with, `end_block`.
inline std::string blocks_text(const graph& whole, std::int32_t first_block, std::int32_t end_block) {
  std::string text;
  std::int32_t before = 0;
  for (const region& area : whole.regions) {
    const std::int32_t first = std::max(first_block - before, 0), end = std::min(end_block - before, area.count);
    before += area.count;
    if (first >= end) continue;
    const std::string copies = area.repeated ? "[" + range_text(first, end, "..") + "]" : "";
    text += (text.empty() ? "" : ", ") + area.name + copies;
  }
  return text;
}

MESHLOOM_INLINE std::string blocks_text(const graph& whole, const stage_plan& stage) {
  return blocks_text(whole, stage.first_block, stage.end_block);
}

MESHLOOM_INLINE std::string recomputed_text(const graph& whole, const stage_plan& stage) {
  const auto begin = stage.recompute.begin(), end = stage.recompute.end();
  const auto number = [&](auto at) { return stage.first_block + static_cast<std::int32_t>(at - begin); };
  if (!recomputes(stage)) return "none";
  if (std::find(begin, end, false) == end) return "all";
  std::string text;
  for (auto first = std::find(begin, end, true); first != end;) {
    const auto last = std::find(first, end, false);
    text += (text.empty() ? "" : ", ") + blocks_text(whole, number(first), number(last));
    first = std::find(last, end, true);
  }
  return text;
}

MESHLOOM_INLINE std::string grid_text(const stage_plan& stage) {
  std::string text;
  for (std::size_t axis = 0; axis < stage.mesh_axes.size(); ++axis) {
    text += sentence({axis == 0 ? "" : " x ", stage.mesh_axes[axis], "=", stage.mesh.size[axis]});
  }
  return text.empty() ? "single" : text;
}

MESHLOOM_INLINE std::string spec_text(const graph& whole, const value& entry, const spec& layout,
                                      const vector<std::string>& mesh_axes) {
  vector<std::string_view> axes;
  for (const axis_id axis : entry.axes) axes.push_back(whole.sizes[axis].name);
  return describe_spec(layout, axes, vector<std::string_view>(mesh_axes.begin(), mesh_axes.end()));
}

MESHLOOM_INLINE std::string layer_text(const region& area) {
  return area.repeated ? sentence({area.count, " x ", area.name}) : area.name;
}

MESHLOOM_INLINE std::string without_prefix(const std::string& name, const std::string& prefix) {
  return name.size() > prefix.size() + 1 && name.starts_with(prefix + ".") ? name.substr(prefix.size() + 1) : name;
}

MESHLOOM_INLINE std::string numbers_text(const vector<std::size_t>& numbers) {
  std::string text;
  for (const std::size_t each : numbers) text += sentence({text.empty() ? "" : ",", each});
  return text;
}

MESHLOOM_INLINE void add_table(std::string& text, std::string_view heading, const text_table& table) {
  if (!table.rows.empty()) text += sentence({text.empty() ? "" : "\n", heading, "\n", render(table)});
}

MESHLOOM_INLINE text_table violation_table(const vector<std::string>& violations) {
  text_table table{{{"what is wrong; the cure"}}, {}};
  for (const std::string& each : violations) table.rows.push_back({each});
  return table;
}

}  // namespace meshloom::detail
