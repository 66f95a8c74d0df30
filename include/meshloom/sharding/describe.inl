// SPDX-License-Identifier: Apache-2.0
// The bodies of describe.hpp.
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/sharding/describe.hpp>

#include <algorithm>

namespace meshloom {

MESHLOOM_INLINE std::string describe_spec(const spec& layout, std::span<const std::string_view> axis_names,
                                          std::span<const std::string_view> mesh_axis_names) {
  std::string cuts, partials;
  int axis = -1;
  for (const cut& c : layout.cuts()) {
    if (c.axis == axis) {
      cuts += '>';
    } else {
      axis = c.axis;
      if (!cuts.empty()) cuts += ", ";
      cuts += axis_names[static_cast<std::size_t>(axis)];
      cuts += '@';
    }
    cuts += mesh_axis_names[static_cast<std::size_t>(c.mesh_axis)];
  }
  for (std::size_t mesh_axis = 0; mesh_axis < mesh_axis_names.size(); ++mesh_axis) {
    const auto kind = layout.on(static_cast<int>(mesh_axis)).kind;
    if (kind != placement::partial_sum && kind != placement::partial_max) continue;
    if (!partials.empty()) partials += ", ";
    partials += kind == placement::partial_sum ? "sum@" : "max@";
    partials += mesh_axis_names[mesh_axis];
  }
  std::string text = cuts.empty() ? "" : "split(" + cuts + ")";
  if (!partials.empty()) text += (text.empty() ? "partial(" : " partial(") + partials + ")";
  return text.empty() ? "whole" : text;
}

namespace detail {

/// Reads a spec from left to right and stops at the first fault.
struct spec_reader {
  std::string_view text;
  std::span<const std::string_view> axes;
  std::span<const std::string_view> mesh_axes;
  std::size_t at = 0;
  spec layout{};
  std::string fault{};

  bool fail(std::size_t column, const std::string& sentence) {
    fault = "meshloom: parse_spec: \"" + std::string(text) + "\", column " + std::to_string(column + 1);
    fault += ": " + sentence;
    return false;
  }

  /// Moves past `token` if it comes next, spaces aside.
  bool take(std::string_view token) {
    while (at < text.size() && text[at] == ' ') ++at;
    if (!text.substr(at).starts_with(token)) return false;
    at += token.size();
    return true;
  }

  bool expect(std::string_view token, std::string_view cure) {
    return take(token) || fail(at, "expected \"" + std::string(token) + "\"; " + std::string(cure));
  }

  /// Reads one of `names`, up to any character of `ends`, as its position.
  bool read_name(std::span<const std::string_view> names, std::string_view ends, std::string_view what, int& found) {
    take("");
    const std::size_t start = at;
    at = std::min(text.find_first_of(ends, start), text.size());
    std::string_view name = text.substr(start, at - start);
    name = name.substr(0, name.find_last_not_of(' ') + 1);
    std::string list;
    for (found = 0; found < static_cast<int>(names.size()); ++found) {
      if (names[static_cast<std::size_t>(found)] == name) return true;
      list += (found > 0 ? ", " : "") + std::string(names[static_cast<std::size_t>(found)]);
    }
    return fail(start, "\"" + std::string(name) + "\" is no " + std::string(what) + "; " +
                           (list.empty() ? "there is none" : "write one of " + list));
  }

  /// Reads a mesh axis that does nothing yet and lets it do `what`.
  bool read_mesh_axis(placement what) {
    int mesh_axis = 0;
    take("");
    const std::size_t start = at;
    if (!read_name(mesh_axes, ">,)", "axis of the mesh", mesh_axis)) return false;
    if (layout.on(mesh_axis).kind != placement::whole) {
      return fail(start, "\"" + std::string(mesh_axes[static_cast<std::size_t>(mesh_axis)]) +
                             "\" is used twice; name every mesh axis at most once");
    }
    layout = layout.with(mesh_axis, what);
    return true;
  }

  bool read_cut() {
    int axis = 0;
    take("");
    const std::size_t start = at;
    if (!read_name(axes, "@,)", "axis of this tensor", axis)) return false;
    for (const cut& c : layout.cuts()) {
      if (c.axis != axis) continue;
      return fail(start, "this axis is split already; write its cuts together, as in axis@outer>inner");
    }
    if (!expect("@", "write a cut as axis@mesh_axis")) return false;
    do {
      if (!read_mesh_axis({placement::split, static_cast<std::int8_t>(axis)})) return false;
    } while (take(">"));
    return true;
  }

  bool read_partial() {
    constexpr std::string_view names[] = {"sum", "max"};
    int kind = 0;
    if (!read_name(names, "@,)", "reduction", kind)) return false;
    return expect("@", "write a partial as sum@mesh_axis or max@mesh_axis") &&
           read_mesh_axis({kind == 0 ? placement::partial_sum : placement::partial_max, -1});
  }

  bool read_list(bool (spec_reader::*read_item)()) {
    do {
      if (!(this->*read_item)()) return false;
    } while (take(","));
    return expect(")", "close the list");
  }

  bool read() {
    const bool whole = take("whole");
    const bool split = !whole && take("split(");
    if (split && !read_list(&spec_reader::read_cut)) return false;
    const bool partial = !whole && take("partial(");
    if (partial && !read_list(&spec_reader::read_partial)) return false;
    if (!whole && !split && !partial) {
      return fail(at, "this is no spec; write whole, split(axis@mesh_axis) or partial(sum@mesh_axis)");
    }
    take("");
    return at == text.size() || fail(at, "the spec ends before this; remove the rest");
  }
};

}  // namespace detail

MESHLOOM_INLINE result<spec> parse_spec(std::string_view text, std::span<const std::string_view> axis_names,
                                        std::span<const std::string_view> mesh_axis_names) {
  detail::spec_reader reader{text, axis_names, mesh_axis_names};
  if (!reader.read()) return failure{reader.fault};
  return reader.layout;
}

}  // namespace meshloom
