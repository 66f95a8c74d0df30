// SPDX-License-Identifier: Apache-2.0
// The steady state of an order of steps as a loop, so that the size of a program does not grow with the number of
// micro-batches.
// Law: expand(fold(steps)) == steps, for any steps. The folded size of a schedule has a bound that does not depend on
// the number of micro-batches.
#pragma once

#include <meshloom/schedule/rendezvous.hpp>

namespace meshloom {

/// The body, `count` times; iteration i adds i * `advance` to every micro-batch in it. An iteration is one micro-batch,
/// except where messages that skip stages make the order repeat only every few. Steps of reduce and update and their
/// messages belong to micro-batch 0 alone and are therefore only found in loops that run once.
struct loop {
  std::int32_t count = 1;
  std::vector<step> body;
  std::int32_t advance = 1;
  bool operator==(const loop&) const = default;
};

/// The most steps of a body that `fold` looks for.
inline constexpr std::size_t longest_body = 1024;

/// Takes the loop that saves most steps (the shortest and then the first among equals), then folds what lies before and
/// after it in the same way.
std::vector<loop> fold(std::span<const step> steps);

std::vector<step> expand(std::span<const loop> loops);

}  // namespace meshloom

#if !defined(MESHLOOM_COMPILED)
#include <meshloom/schedule/loops.inl>
#endif
