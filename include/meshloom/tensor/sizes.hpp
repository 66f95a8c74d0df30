// SPDX-License-Identifier: Apache-2.0
// Sizes are bound once, by axis. `sizes` is the typed form the user writes; `size_table` is the plain form every later
// noun reads: a graph's shapes are lists of axis ids over one table, so that another micro-batch or sequence length is
// another table, not another trace. Law: an axis without a size does not compile.
#pragma once

#include <meshloom/base/table.hpp>
#include <meshloom/tensor/axis.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace meshloom {

template <class Axis>
struct size {
  std::int64_t extent = 0;
};

template <class... Axis>
struct sizes {
  std::array<std::int64_t, sizeof...(Axis)> extents{};

  constexpr sizes(size<Axis>... bound) : extents{bound.extent...} {}

  template <class Wanted>
  static constexpr bool has = has_axis<axes<Axis...>, typename detail::derived<Wanted>::base>;

  template <class Wanted>
  constexpr std::int64_t get() const {
    static_assert(has<Wanted>,
                  "meshloom: sizes: the model uses an axis that has no size (`Wanted` in the lines around this one); "
                  "add size<axis>{n} to the sizes of the training");
    if constexpr (has<Wanted>) {
      using base = typename detail::derived<Wanted>::base;
      return detail::derived<Wanted>::extent(extents[static_cast<std::size_t>(position_in<base>(axes<Axis...>{}))]);
    } else {
      return 0;
    }
  }

  /// The same sizes with one axis changed.
  template <class Changed>
  constexpr sizes with(size<Changed> bound) const {
    static_assert(has<Changed>,
                  "meshloom: sizes::with: this axis has no size yet; add it to the sizes of the training");
    sizes changed = *this;
    changed.extents[static_cast<std::size_t>(position_in<Changed>(axes<Axis...>{}))] = bound.extent;
    return changed;
  }

 private:
  static constexpr bool distinct_names() {
    const std::array<std::string_view, 2 * sizeof...(Axis)> names{name_of<Axis>()..., name_of<keys<Axis>>()...};
    for (std::size_t a = 0; a < names.size(); ++a) {
      for (std::size_t b = a + 1; b < names.size(); ++b) {
        if (names[a] == names[b]) return false;
      }
    }
    return true;
  }
  static_assert(
      distinct_names(),
      "meshloom: sizes: two axes have the same printed name; plan files could not tell them apart, rename one");
};

template <class... Axis>
sizes(size<Axis>...) -> sizes<Axis...>;

struct axis_size {
  std::string name;
  std::int64_t extent = 0;
  bool operator==(const axis_size&) const = default;
};

/// Names and sizes of the axes of a graph.
using size_table = table<axis_id, axis_size>;

/// The axis of that name, or none.
inline axis_id find_axis(const size_table& sizes, std::string_view name) {
  for (std::size_t at = 0; at < sizes.size(); ++at) {
    if (sizes[static_cast<axis_id>(at)].name == name) return static_cast<axis_id>(at);
  }
  return axis_id::none;
}

}  // namespace meshloom
