// SPDX-License-Identifier: Apache-2.0
// Packing buffers of known lifetimes into one arena: the offsets are fixed when a body is planned, so a step allocates
// nothing.
// Law: buffers alive at the same time never overlap; bound <= total; the same input gives the same offsets.
// Source: dynamic storage allocation, first and best fit over several orders as in TensorFlow Lite's and TVM's memory
// planners (Pisarchyk & Lee 2020, "Efficient memory management for deep neural net inference").
#pragma once

#include <meshloom/base/config.hpp>
#include <meshloom/base/error.hpp>
#include <meshloom/base/units.hpp>
#include <meshloom/base/vector.hpp>

#include <cstdint>
#include <optional>
#include <span>

namespace meshloom {

/// A buffer is alive from instruction `begin` up to, but not with, `end`; never if they are equal.
struct lifetime {
  bytes size;
  std::int32_t begin = 0;
  std::int32_t end = 0;
};

struct packing {
  vector<bytes> offset;  ///< of each buffer, a multiple of the alignment
  bytes total;           ///< the arena needed
  bytes bound;           ///< the most bytes, rounded up to the alignment, alive at once: no packing needs less
};

/// Tries a fixed set of heuristics, then improves the best within a fixed amount of work; stops where total == bound.
/// Throws if a size is negative, a lifetime ends before it begins or the alignment is not positive.
packing pack(std::span<const lifetime> buffers, std::int64_t alignment = 64);

/// Instructions [begin, end) that a longer body runs `times` times, one right after the other: alike before, in
/// [before, begin), and after, in [end, after).
struct refrain {
  std::int32_t before, begin, end, after;
  std::int64_t times;
};

/// The `total` that `pack` finds for the longer body; nothing where that is not sure. Buffers come in the order in
/// which they begin.
std::optional<bytes> total_with(std::span<const refrain> refrains, std::span<const lifetime> buffers,
                                std::int64_t alignment = 64);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/schedule/packing.inl>
#endif
