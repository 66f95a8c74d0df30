// SPDX-License-Identifier: Apache-2.0
// Element types. Layers never name one: precision is bound with the sizes, and every value records its own.
#pragma once

#include <meshloom/base/config.hpp>

#include <concepts>
#include <cstdint>
#include <string_view>

namespace meshloom {

enum class dtype : std::uint8_t { f32, f64, i32 };

constexpr std::int64_t size_of(dtype type) { return type == dtype::f64 ? 8 : 4; }

constexpr std::string_view name_of(dtype type) {
  constexpr std::string_view names[] = {"f32", "f64", "i32"};
  return names[static_cast<int>(type)];
}

/// What the elements of a tensor may be.
template <class Element>
concept element_type =
    std::same_as<Element, float> || std::same_as<Element, double> || std::same_as<Element, std::int32_t>;

template <class Element>
inline constexpr dtype dtype_of = [] {
  static_assert(
      element_type<Element>,
      "meshloom: dtype_of: the elements of a tensor are float, double or std::int32_t; convert the values, or "
      "bind another precision");
  return std::same_as<Element, double> ? dtype::f64 : std::same_as<Element, float> ? dtype::f32 : dtype::i32;
}();

}  // namespace meshloom
