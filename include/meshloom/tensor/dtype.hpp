// SPDX-License-Identifier: Apache-2.0
// Element types. Layers never name one: precision is bound with the sizes, and every value records its own.
#pragma once

#include <meshloom/base/config.hpp>

#include <cstdint>
#include <string_view>

namespace meshloom {

enum class dtype : std::uint8_t { f32, f64, i32 };

constexpr std::int64_t size_of(dtype type) { return type == dtype::f64 ? 8 : 4; }

constexpr std::string_view name_of(dtype type) {
  constexpr std::string_view names[] = {"f32", "f64", "i32"};
  return names[static_cast<int>(type)];
}

template <class Element>
inline constexpr dtype dtype_of = dtype::f32;
template <>
inline constexpr dtype dtype_of<double> = dtype::f64;
template <>
inline constexpr dtype dtype_of<std::int32_t> = dtype::i32;

}  // namespace meshloom
