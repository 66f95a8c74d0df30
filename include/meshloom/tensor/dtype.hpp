// SPDX-License-Identifier: Apache-2.0
// Element types. Layers never name one: precision is bound with the sizes, and every value records its own.
// Law: numbers of 16 bits are computed with, and summed, as float.
#pragma once

#include <meshloom/tensor/half.hpp>

#include <concepts>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace meshloom {

enum class dtype : std::uint8_t { f32, f64, i32, bf16, f16 };

constexpr std::int64_t size_of(dtype type) {
  constexpr std::int64_t sizes[] = {4, 8, 4, 2, 2};
  return sizes[static_cast<int>(type)];
}

constexpr std::string_view name_of(dtype type) {
  constexpr std::string_view names[] = {"f32", "f64", "i32", "bf16", "f16"};
  return names[static_cast<int>(type)];
}

constexpr bool is_half(dtype type) { return type == dtype::bf16 || type == dtype::f16; }

/// Numbers of 16 bits.
template <class Element>
concept half_type = std::same_as<Element, bf16> || std::same_as<Element, f16>;

/// What the elements of a tensor may be.
template <class Element>
concept element_type = std::same_as<Element, float> || std::same_as<Element, double> ||
    std::same_as<Element, std::int32_t> || half_type<Element>;

template <class Element>
inline constexpr dtype dtype_of = [] {
  static_assert(
      element_type<Element>,
      "meshloom: dtype_of: the elements of a tensor are float, double, bf16, f16 or std::int32_t; convert the "
      "values, or bind another precision");
  if constexpr (std::same_as<Element, double>) return dtype::f64;
  if constexpr (std::same_as<Element, std::int32_t>) return dtype::i32;
  if constexpr (std::same_as<Element, bf16>) return dtype::bf16;
  if constexpr (std::same_as<Element, f16>) return dtype::f16;
  return dtype::f32;
}();

/// The type in which elements are computed with and summed.
template <class Element>
using computed = std::conditional_t<half_type<Element>, float, Element>;

/// Calls `f` with a number of a floating element type.
template <class Function>
decltype(auto) with_floating(dtype type, Function f) {
  switch (type) {
    case dtype::f64:
      return f(double{});
    case dtype::bf16:
      return f(bf16{});
    case dtype::f16:
      return f(f16{});
    default:
      return f(float{});
  }
}

}  // namespace meshloom
