// SPDX-License-Identifier: Apache-2.0
// Numbers of 16 bits: bf16 has the range of float and 8 bits of precision, f16 that of IEEE 754's binary16. They are
// kept and moved as such and computed with as float: reading one widens it, writing one rounds. Branch-free, so that
// every compiler vectorises them, on host and device.
// Law: widening is exact; rounding is to nearest, ties to even; infinities and NaN stay what they are.
#pragma once

#include <meshloom/base/config.hpp>

#include <cstdint>

namespace meshloom {

namespace detail {

MESHLOOM_DEVICE constexpr std::uint32_t bits_of(float value) { return __builtin_bit_cast(std::uint32_t, value); }
MESHLOOM_DEVICE constexpr float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }

}  // namespace detail

struct bf16 {
  std::uint16_t bits;

  bf16() = default;
  MESHLOOM_DEVICE constexpr explicit bf16(float value) : bits(rounded(detail::bits_of(value))) {}
  MESHLOOM_DEVICE constexpr bf16& operator=(float value) { return *this = bf16(value); }
  MESHLOOM_DEVICE constexpr operator float() const { return detail::float_of(static_cast<std::uint32_t>(bits) << 16); }

 private:
  MESHLOOM_DEVICE static constexpr std::uint16_t rounded(std::uint32_t of) {
    const std::uint32_t nearest = of + 0x7fffu + (of >> 16 & 1u);
    const bool nan = (of & 0x7fffffffu) > 0x7f800000u;
    return static_cast<std::uint16_t>((nan ? of | 0x400000u : nearest) >> 16);
  }
};

struct f16 {
  std::uint16_t bits;

  f16() = default;
  MESHLOOM_DEVICE constexpr explicit f16(float value) : bits(rounded(detail::bits_of(value))) {}
  MESHLOOM_DEVICE constexpr f16& operator=(float value) { return *this = f16(value); }
  MESHLOOM_DEVICE constexpr operator float() const {
    const std::uint32_t shifted = static_cast<std::uint32_t>(bits & 0x7fff) << 13;
    // 2^112 moves the exponent, also of subnormals; those of infinity and NaN are the largest on both sides.
    const std::uint32_t moved = detail::bits_of(detail::float_of(shifted) * detail::float_of(0x77800000u));
    const std::uint32_t special = shifted >= 0x0f800000u ? 0x7f800000u : 0u;
    return detail::float_of(moved | special | static_cast<std::uint32_t>(bits & 0x8000) << 16);
  }

 private:
  MESHLOOM_DEVICE static constexpr std::uint16_t rounded(std::uint32_t of) {
    const std::uint32_t sign = of >> 16 & 0x8000u, size = of & 0x7fffffffu;
    const std::uint32_t normal = (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13;
    // Adding 0.5 leaves a subnormal's bits, rounded, as the lowest of the sum.
    const std::uint32_t subnormal = detail::bits_of(detail::float_of(size) + 0.5f) - 0x3f000000u;
    const std::uint32_t special = size > 0x7f800000u ? 0x7e00u : 0x7c00u;
    const std::uint32_t finite = size < 0x38800000u ? subnormal : normal;
    return static_cast<std::uint16_t>((size >= 0x47800000u ? special : finite) | sign);
  }
};

}  // namespace meshloom
